"""A traced pass of real nets: order, paths, fields against autograd, nothing changed."""

from __future__ import annotations

import pytest
import timm
import torch
import torchvision
from torch import nn
from torch.nn import functional as F  # noqa: N812

from xaiwidgets.surgery.trace import TraceMode

SIDE = 96


def positive(module):
    """Weights that average: every gradient is positive and ReLU6 stays open."""
    torch.manual_seed(0)
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            weight = torch.rand_like(part.weight) + 0.5
            part.weight.data = weight / weight.sum((1, 2, 3), keepdim=True)
            if part.bias is not None:
                part.bias.data.zero_()
    return module.eval().double()


def fields(module, picture, watching):
    found, ops = {}, None
    with watching(module) as watch, torch.no_grad(), TraceMode(picture, watch.where) as mode:
        watch.told = lambda path, output: found.__setitem__(path, mode.field_of(output))
        module(picture)
    ops = mode.ops
    return found, ops


def support(module, picture, layer, row, column, watching):
    held = {}
    leaf = picture.clone().requires_grad_()
    with watching(module) as watch:
        watch.told = lambda path, output: held.__setitem__(path, output * 1) if path == layer else None
        module(leaf)
    (gradient,) = torch.autograd.grad(held[layer][0, :, row, column].sum(), leaf)
    seen = gradient[0].abs().sum(0) > 0
    down, across = seen.any(1).nonzero().flatten().tolist(), seen.any(0).nonzero().flatten().tolist()
    return (down[0], across[0], down[-1] + 1, across[-1] + 1), held[layer].shape[-2:]


def corners(shape):
    rows, columns = shape
    return [(0, 0), (rows // 2, columns // 2), (rows - 1, columns // 2), (rows - 1, columns - 1)]


@pytest.mark.parametrize(
    ("make", "layer", "exact"),
    [
        (lambda: timm.create_model("tf_efficientnet_lite0"), "blocks.0", True),
        (lambda: timm.create_model("tf_efficientnet_lite0"), "blocks.1", True),
        (lambda: timm.create_model("tf_efficientnet_lite0"), "blocks.2", True),
        (lambda: torchvision.models.resnet18(weights=None), "conv1", True),
        (lambda: torchvision.models.resnet18(weights=None), "layer1", False),
        (lambda: torchvision.models.resnet18(weights=None), "layer2.1", False),
        (lambda: torchvision.models.mobilenet_v2(weights=None), "features.4", True),
        (lambda: torchvision.models.vgg11(weights=None).features, "10", False),
    ],
)
def test_fields_equal_or_contain_the_gradient_support(make, layer, exact, watching):
    module = positive(make())
    picture = torch.rand(1, 3, SIDE, SIDE, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 0.1
    found, _ = fields(module, picture, watching)
    _, shape = support(module, picture, layer, 0, 0, watching)
    for row, column in corners(shape):
        seen, _ = support(module, picture, layer, row, column, watching)
        box = found[layer].box(row, column, SIDE, SIDE)
        if exact:
            assert box == seen
        else:
            assert box[0] <= seen[0] < seen[2] <= box[2]
            assert box[1] <= seen[1] < seen[3] <= box[3]


def test_a_resnet_without_switches_is_exact(watching):
    """With averages in place of the maximum, whose gradient touches one pixel a window, nothing is lost."""
    module = positive(torchvision.models.resnet18(weights=None))
    module.maxpool = nn.AvgPool2d(3, 2, 1)
    picture = torch.rand(1, 3, SIDE, SIDE, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 0.1
    found, _ = fields(module, picture, watching)
    for layer in ("layer1", "layer2.0"):
        _, shape = support(module, picture, layer, 0, 0, watching)
        for row, column in corners(shape):
            seen, _ = support(module, picture, layer, row, column, watching)
            assert found[layer].box(row, column, SIDE, SIDE) == seen


def test_published_receptive_fields(watching):
    """Araujo et al. 2019, table 1: AlexNet 195 at stride 32; VGG-16 212 at stride 32 (unpooled 196, 16)."""
    alexnet = torchvision.models.alexnet(weights=None).features.eval()
    found, _ = fields(alexnet, torch.rand(1, 3, 64, 64), watching)
    assert (found["12"].size, found["12"].stride) == ((195, 195), (32, 32))
    vgg = torchvision.models.vgg16(weights=None).features.eval()
    found, _ = fields(vgg, torch.rand(1, 3, 64, 64), watching)
    assert (found["30"].size, found["30"].stride) == ((212, 212), (32, 32))
    assert (found["29"].size, found["29"].stride) == ((196, 196), (16, 16))


def test_records_are_in_execution_order_with_paths(watching):
    module = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.Sequential(nn.ReLU(), nn.AdaptiveAvgPool2d(1)), nn.Flatten(), nn.Linear(4, 2)
    )
    _, ops = fields(module.eval(), torch.rand(1, 3, 8, 8), watching)
    assert [(op.kind, op.path) for op in ops] == [
        ("conv", "0"), ("relu", "1.0"), ("adaptive_avg_pool", "1.1"), ("reshape", "2"), ("linear", "3"),
    ]  # fmt: skip
    assert (ops[0].inputs, ops[0].output, ops[0].sources, ops[0].kernel) == (
        ((1, 3, 8, 8),),
        (1, 4, 6, 6),
        (-1,),
        (3, 3),
    )
    assert [op.sources for op in ops[1:]] == [(0,), (1,), (2,), (3,)]


def test_the_pass_is_unchanged_and_weights_are_not_traced(watching):
    torch.manual_seed(0)
    module, picture = torchvision.models.mobilenet_v3_small(weights=None).eval(), torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        wanted = module(picture.clone())
        with TraceMode(picture, lambda: "") as mode:
            weight = torch.ones(3).relu()
            found = module(picture)
    assert torch.equal(found, wanted)
    assert mode.field_of(weight) is None
    assert mode.field_of(found).whole
    assert len([op for op in mode.ops if op.kind == "relu"]) == 14


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_what_was_not_seen_is_unknown():
    scripted = torch.jit.script(shift)
    picture = torch.rand(1, 3, 8, 8).requires_grad_()
    with TraceMode(picture, lambda: "") as mode:
        output = F.relu(scripted(picture * 1))
    assert mode.field_of(output) is None


def shift(x: torch.Tensor) -> torch.Tensor:
    return torch.roll(x, 1, 3)
