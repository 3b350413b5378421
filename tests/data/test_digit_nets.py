"""The two nets with the weights that ship."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from xaiwidgets import data
from xaiwidgets.data.digit_nets import NETS, digits_gap, digits_vgg
from xaiwidgets.data.train_digits import accuracy

FOLDER = Path(data.__file__).parent


def shipped(name):
    net = NETS[name]()
    net.load_state_dict(torch.load(FOLDER / f"{name}.pt", weights_only=True))
    return net.eval()


def kinds(net):
    return [type(module).__name__ for module in net.modules() if not list(module.children())]


@pytest.mark.parametrize("name", list(NETS))
def test_the_shipped_weights_read_the_held_out_canvases(name):
    assert accuracy(shipped(name)) >= 0.95


def test_the_shipped_weights_are_small():
    assert sum((FOLDER / f"{name}.pt").stat().st_size for name in NETS) < 2e6


@pytest.mark.parametrize("name", list(NETS))
def test_the_shipped_weights_are_plain_finite_floats(name):
    for tensor in torch.load(FOLDER / f"{name}.pt", weights_only=True).values():
        assert tensor.dtype in (torch.float32, torch.int64)
        assert torch.isfinite(tensor).all()


def test_gap_has_normalization_pooling_and_a_linear_head_on_the_average():
    net = digits_gap().eval()
    block = ["Conv2d", "BatchNorm2d", "ReLU"]
    head = ["AdaptiveAvgPool2d", "Flatten", "Linear"]
    assert kinds(net) == [*block, "MaxPool2d", *block, "MaxPool2d", *block, *block, *head]
    assert 30_000 < sum(p.numel() for p in net.parameters()) < 40_000
    maps = net.features(torch.rand(2, 1, 48, 48))
    assert maps.shape == (2, 48, 12, 12)


def test_gaps_head_is_a_1x1_convolution_and_an_average():
    net = shipped("digits_gap").double()
    images = torch.rand(3, 1, 48, 48, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    maps = nn.functional.conv2d(net.features(images), net.classifier.weight[:, :, None, None], net.classifier.bias)
    assert torch.allclose(maps.mean(dim=(2, 3)), net(images), rtol=0, atol=1e-12)


def test_vgg_has_no_normalization_max_pooling_and_a_fully_connected_head():
    net = digits_vgg().eval()
    block = ["Conv2d", "ReLU"]
    trunk = [*block, "MaxPool2d", *block, "MaxPool2d", *block, *block, "MaxPool2d"]
    assert kinds(net) == [*trunk, "Flatten", "Linear", "ReLU", "Linear"]
    assert all(m.bias is not None for m in net.modules() if isinstance(m, nn.Conv2d | nn.Linear))
    assert net.features(torch.rand(2, 1, 48, 48)).shape == (2, 48, 6, 6)
    assert net(torch.rand(2, 1, 48, 48)).shape == (2, 10)
