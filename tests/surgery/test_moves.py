"""Rows and columns are followed through indexing and reshaping."""

from __future__ import annotations

import pytest
import torch

from xaiwidgets.surgery.fields import PIXEL, PIXEL_AXIS, WHOLE, Axis, Field
from xaiwidgets.surgery.trace import TraceMode


def field_of(call):
    picture = torch.rand(1, 4, 6, 8)
    with torch.no_grad(), TraceMode(picture, lambda: "") as mode:
        output = call(picture)
    return mode.field_of(output)


@pytest.mark.parametrize(
    "call",
    [
        lambda x: x[0],
        lambda x: x[:, 0],
        lambda x: x[:, None],
        lambda x: x[:, torch.tensor([0, 2])],
        lambda x: x.squeeze(0),
        lambda x: x.unsqueeze(2),
        lambda x: x.view(2, 2, 6, 8),
        lambda x: x.permute(2, 0, 3, 1).permute(1, 3, 0, 2),
        lambda x: x.transpose(1, 3).transpose(3, 1),
        lambda x: x.select(1, 2),
        lambda x: x.unbind(1)[1],
        lambda x: x.mean(1),
        lambda x: x.mean(1, keepdim=True).expand(-1, 4, -1, -1),
        lambda x: torch.stack([x, x], 1).sum(1),
        lambda x: x.narrow(1, 1, 2),
    ],
)
def test_rows_and_columns_stay(call):
    assert field_of(call) == PIXEL
    assert field_of(lambda x: call(x).double().abs()) == PIXEL


def test_slices_shift_and_step():
    assert field_of(lambda x: x[:, :, 2:, ::3]) == Field(Axis(1, 2, 2), Axis(3, 0, 0))
    assert field_of(lambda x: x[..., -3:]) == Field(PIXEL_AXIS, Axis(1, 5, 5))


def test_one_averaged_axis_sees_a_whole_row():
    field = field_of(lambda x: x.mean(3, keepdim=True))
    assert field.rows == PIXEL_AXIS
    assert field.columns.whole


@pytest.mark.parametrize("call", [lambda x: x.view(1, 4, 48), lambda x: x.reshape(1, 4, 8, 6), lambda x: x.flatten()])
def test_flattened_over_rows_and_columns_sees_everything(call):
    assert field_of(call) == WHOLE


@pytest.mark.parametrize("call", [lambda x: x[:, :, 1], lambda x: x[x > 0], lambda x: x[:, :, torch.tensor([1, 0])]])
def test_unknown_rather_than_wrong(call):
    assert field_of(call) is None
