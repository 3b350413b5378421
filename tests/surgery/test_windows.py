"""Receptive fields of single operations and small stacks against the support of autograd's gradient."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from xaiwidgets.surgery.fields import WHOLE
from xaiwidgets.surgery.trace import TraceMode

HEIGHT, WIDTH = 23, 26


def ones(*shape):
    return torch.ones(*shape, dtype=torch.float64)


def traced(call, height=HEIGHT, width=WIDTH):
    """Field of the output, the output, and its picture (positive, so that no gradient cancels)."""
    generator = torch.Generator().manual_seed(0)
    picture = torch.rand(1, 4, height, width, dtype=torch.float64, generator=generator) + 0.1
    with torch.no_grad(), TraceMode(picture, lambda: "") as mode:
        output = call(picture)
    return mode.field_of(output), picture


def supports(call, picture):
    """Yield (row, column, box of the pixels with a gradient) for units inside, at the borders and in the corners."""
    leaf = picture.clone().requires_grad_()
    output = call(leaf * 1)
    rows, columns = output.shape[-2:]
    for row in {0, 1, rows // 2, rows - 1}:
        for column in {0, columns // 2, columns - 1}:
            (gradient,) = torch.autograd.grad(output[0, :, row, column].sum(), leaf, retain_graph=True)
            seen = gradient[0].abs().sum(0) > 0
            if not seen.any():
                continue  # a border that output padding adds
            down, across = seen.any(1).nonzero().flatten().tolist(), seen.any(0).nonzero().flatten().tolist()
            yield row, column, (down[0], across[0], down[-1] + 1, across[-1] + 1)


def conv(kernel, **options):
    return lambda x: F.conv2d(x, ones(4, 4 // options.get("groups", 1), *kernel), **options)


EXACT = {
    "3x3": conv((3, 3), padding=1),
    "stride": conv((3, 3), padding=1, stride=2),
    "rectangular": conv((1, 5), padding=(0, 2), stride=(1, 2)),
    "same, even kernel": conv((4, 2), padding="same"),
    "valid": conv((3, 3), padding="valid"),
    "depthwise": conv((3, 3), padding=1, groups=4),
    "stack": lambda x: conv((3, 3), dilation=2, padding=2)(
        conv((5, 5), stride=2, padding=2)(conv((3, 3), padding=1)(x))
    ),
    "asymmetric padding": lambda x: conv((3, 3), stride=2)(F.pad(x, (0, 1, 1, 2))),
    "cropping": lambda x: F.pad(x, (-2, -1, -3, 0)),
    "average pool": lambda x: F.avg_pool2d(x, 3, 2, 1),
    "pool default stride": lambda x: F.avg_pool2d(x, 2),
    "residual": lambda x: x + conv((3, 3), padding=1)(x),
    "residual in place": lambda x: conv((3, 3), padding=1)(x).add_(x),
    "cat": lambda x: torch.cat([conv((1, 1))(x), conv((5, 5), padding=2)(x)], 1),
    "product of maps": lambda x: x * conv((3, 3), padding=1)(x),
    "slice with a step": lambda x: x[..., 1::2, 2:20],
    "channels": lambda x: torch.cat([x[:, :2], conv((3, 3), padding=1)(x).chunk(2, 1)[1]], 1),
    "channel shuffle": lambda x: conv((3, 3), padding=1)(x).view(1, 2, 2, HEIGHT, WIDTH).transpose(1, 2).flatten(1, 2),
    "channels last": lambda x: F.linear(x.permute(0, 2, 3, 1), ones(4, 4)).permute(0, 3, 1, 2),
    "layer norm over channels": lambda x: F.layer_norm(x.permute(0, 2, 3, 1), (4,), ones(4)).permute(0, 3, 1, 2).exp(),
    "pixel unshuffle": lambda x: F.pixel_unshuffle(x[..., :22, :], 2),
    "lrn": lambda x: F.local_response_norm(conv((3, 3), padding=1)(x), 3),
    "columns of a transposed map": lambda x: conv((3, 1), padding=(1, 0))(x.mT).mT,
}

CONTAINED = {
    "dilation": conv((3, 3), padding=2, dilation=2),  # at a border the first tap that counts lies further in
    "max pool": lambda x: F.max_pool2d(x, 3, 2, 1),
    "max pool, ceil": lambda x: F.max_pool2d(x, 3, 2, ceil_mode=True),
    "max pool, dilated": lambda x: F.max_pool2d(x, 2, 1, dilation=2),
    "transposed": lambda x: F.conv_transpose2d(x, ones(4, 2, 3, 3), stride=2, padding=1),
    "transposed, output padding": lambda x: F.conv_transpose2d(x, ones(4, 2, 4, 4), stride=3, output_padding=1),
    "nearest": lambda x: conv((3, 3), padding=1)(F.interpolate(x, scale_factor=2)),
    "nearest, odd factor": lambda x: F.interpolate(x, size=(31, 17)),
    "bilinear": lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"),
    "bilinear down": lambda x: F.interpolate(x, size=(10, 11), mode="bilinear", align_corners=False),
    "bilinear, corners": lambda x: F.interpolate(x, size=(50, 40), mode="bilinear", align_corners=True),
    "bicubic": lambda x: F.interpolate(x, scale_factor=2, mode="bicubic"),
    "pixel shuffle": lambda x: conv((3, 3), padding=1)(F.pixel_shuffle(x, 2).expand(1, 4, -1, -1)),
    "adaptive": lambda x: F.adaptive_avg_pool2d(x, (7, 5)),
    "reflect": lambda x: conv((5, 5))(F.pad(x, (2, 2, 2, 2), mode="reflect")),
    "replicate": lambda x: conv((5, 5))(F.pad(x, (2, 2, 2, 2), mode="replicate")),
    "border after a stride": lambda x: conv((3, 3), padding=1)(conv((1, 1), stride=2)(x)),
}


def test_dilation_is_exact_inside():
    field, picture = traced(CONTAINED["dilation"])
    (inside,) = [seen for row, column, seen in supports(CONTAINED["dilation"], picture) if (row, column) == (11, 13)]
    assert field.box(11, 13, HEIGHT, WIDTH) == inside == (9, 11, 14, 16)


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("name", EXACT)
def test_equal_to_the_gradient_support(name):
    field, picture = traced(EXACT[name])
    for row, column, seen in supports(EXACT[name], picture):
        assert field.box(row, column, HEIGHT, WIDTH) == seen


@pytest.mark.parametrize("name", CONTAINED)
def test_contains_the_gradient_support(name):
    field, picture = traced(CONTAINED[name])
    assert not field.whole
    for row, column, (top, left, bottom, right) in supports(CONTAINED[name], picture):
        box = field.box(row, column, HEIGHT, WIDTH)
        assert box[0] <= top
        assert box[1] <= left
        assert box[2] >= bottom
        assert box[3] >= right


@pytest.mark.parametrize(
    "call",
    [
        lambda x: F.adaptive_avg_pool2d(x, 1),
        lambda x: x.mean((2, 3)),
        lambda x: x.mean((-1, -2), keepdim=True),
        lambda x: x.flatten(1),
        lambda x: F.linear(x.flatten(1), ones(2, 4 * HEIGHT * WIDTH)),
        lambda x: x * torch.sigmoid(x.mean((2, 3), keepdim=True)),
        lambda x: x * F.adaptive_avg_pool2d(x, 1).expand_as(x),
        lambda x: F.group_norm(x, 2),
        F.instance_norm,
        lambda x: x.mT @ x,
        lambda x: torch.cumsum(x * x.mean((2, 3), keepdim=True), 1),
    ],
)
def test_sees_the_whole_picture(call):
    assert traced(call)[0] == WHOLE


@pytest.mark.parametrize(
    "call",
    [
        lambda x: torch.cumsum(x, 2),
        lambda x: x.flip(-1),
        lambda x: x.roll(1, -1),
        lambda x: torch.cat([x, x], 2),
        lambda x: F.pad(x, (1, 1, 1, 1), mode="circular"),
        lambda x: x.chunk(2, 3)[1],
        lambda x: F.max_pool2d(x, 2) + F.avg_pool2d(x[:, :, :, :], 1)[..., :11, :13],
    ],
)
def test_unknown_rather_than_wrong(call):
    assert traced(call)[0] is None


def test_a_pool_of_one_position_changes_nothing():
    field, _ = traced(lambda x: F.adaptive_avg_pool2d(conv((HEIGHT, WIDTH))(x), 1))
    assert field.box(0, 0, HEIGHT, WIDTH) == (0, 0, HEIGHT, WIDTH)
    assert not field.whole


def test_modules_and_functions_agree():
    torch.manual_seed(0)
    module = (
        nn.Sequential(nn.Conv2d(4, 4, 3, 2, 1), nn.BatchNorm2d(4), nn.ReLU6(inplace=True), nn.MaxPool2d(2))
        .eval()
        .double()
    )
    field, _ = traced(module)
    assert (field.size, field.stride) == ((5, 5), (4, 4))
