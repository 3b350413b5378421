"""Joining tensors: unions, gates, constants, in-place results and their views."""

from __future__ import annotations

import torch
from torch.nn import functional as F  # noqa: N812

from xaiwidgets.surgery.fields import PIXEL, WHOLE
from xaiwidgets.surgery.trace import TraceMode


def run(call):
    picture = torch.rand(1, 4, 6, 8)
    with torch.no_grad(), TraceMode(picture, lambda: "") as mode:
        outputs = call(picture)
    return [mode.field_of(output) for output in outputs]


def blur(x):
    return F.avg_pool2d(x, 3, 1, 1)


def test_constants_do_not_matter():
    mean = torch.rand(1, 4, 1, 1)
    assert run(lambda x: [(x - mean) / 2, torch.cat([x, torch.zeros(1, 1, 6, 8)], 1), mean * 2]) == [PIXEL, PIXEL, None]


def test_an_in_place_result_is_known_at_once_under_the_old_name():
    def call(x):
        out = blur(x)
        narrow = run_field(out)
        out += blur(blur(x))
        return narrow, run_field(out)

    picture = torch.rand(1, 4, 6, 8)
    with torch.no_grad(), TraceMode(picture, lambda: "") as mode:
        run_field = mode.field_of
        before, after = call(picture)
    assert (before.size, after.size) == ((3, 3), (5, 5))


def test_views_learn_of_in_place_changes_and_bases_too():
    def call(x):
        base = x * 1
        view, other = base[:, :2], base[:, 2:]
        view += blur(x)[:, :2]
        return base, view, other

    base, view, _ = run(call)
    assert base.size == view.size == (3, 3)


def test_an_assigned_slice_counts():
    def call(x):
        out = torch.zeros(1, 4, 6, 8)
        out[:, :2] = blur(x)[:, :2]
        return [out]

    assert run(call)[0].size == (3, 3)


def test_a_local_map_spread_over_the_picture_is_unknown():
    assert run(lambda x: [x + x[:, :, :1, :1]]) == [None]


def test_a_whole_gate_wins():
    assert run(lambda x: [x * x.mean((2, 3)).view(1, 4, 1, 1), x + x.amax((2, 3), keepdim=True)]) == [WHOLE, WHOLE]
