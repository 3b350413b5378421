"""Fused convolutions: the same function, with and without gradients."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from xaiwidgets.model.fuse import ACTIVATIONS, FusedConv, faster, fuse, usable

PROBE = torch.randn(2, 6, 19, 22, generator=torch.Generator().manual_seed(0)).to(memory_format=torch.channels_last)


@pytest.mark.parametrize("act", list(ACTIVATIONS))
@pytest.mark.parametrize("shape", [(6, 8, 1, 1, 0, 1), (6, 8, 3, 2, 1, 1), (6, 6, 5, 1, 2, 6), (6, 12, 3, 1, 1, 2)])
def test_equals_convolution_then_activation(act, shape):
    inputs, outputs, kernel, stride, padding, groups = shape
    conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups).requires_grad_(False)
    fused = FusedConv(conv, act())
    with torch.no_grad():
        assert torch.allclose(fused(PROBE), act()(conv(PROBE)), atol=1e-5)


@pytest.mark.parametrize("size", [(19, 22), (20, 20), (21, 21), (7, 7)])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 2), (5, 2), (3, 1), (5, 1), (1, 1), (2, 2)])
def test_same_padding_of_timm(size, kernel, stride):
    from timm.layers import Conv2dSame

    conv = Conv2dSame(6, 6, kernel, stride, groups=6).requires_grad_(False)
    images = PROBE[..., :7, :7] if size == (7, 7) else nn.functional.pad(PROBE, (0, size[1] - 22, 0, size[0] - 19))
    with torch.no_grad():
        assert torch.allclose(FusedConv(conv, nn.ReLU6())(images), nn.ReLU6()(conv(images)), atol=1e-5)


def test_gradients_are_those_of_the_plain_layers():
    conv = nn.Conv2d(6, 8, 3, padding=1).requires_grad_(False)
    fused = FusedConv(conv, nn.ReLU())
    one, other = (PROBE.clone().requires_grad_() for _ in range(2))
    fused(one).sum().backward()
    torch.relu(conv(other)).sum().backward()
    assert torch.equal(one.grad, other.grad)


class OwnConv(nn.Conv2d):
    def forward(self, x):
        return 2 * super().forward(x)


def test_only_known_layers_are_fused():
    class Rest(nn.Module):
        def __init__(self, act, drop):
            super().__init__()
            self.act, self.drop = act, drop

    net = nn.ModuleDict(
        {
            "conv": nn.Conv2d(3, 4, 1),
            "norm": nn.Identity(),
            "own": OwnConv(3, 4, 1),
            "own_norm": nn.Identity(),
            "smooth": nn.Conv2d(3, 4, 1),
            "smooth_norm": Rest(nn.SiLU(), nn.Identity()),
            "dropping": nn.Conv2d(3, 4, 1),
            "dropping_norm": Rest(nn.ReLU(), nn.Dropout(0.5)),
            "mirrored": nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"),
            "mirrored_norm": nn.Identity(),
        }
    )
    followers = {name: f"{name}_norm" for name in ("own", "smooth", "dropping", "mirrored")} | {"conv": "norm"}
    assert fuse(net, followers) == 1
    assert isinstance(net["conv"], FusedConv)
    assert all(not isinstance(net[name], FusedConv) for name in ("own", "smooth", "dropping", "mirrored"))


def test_usable_says_no_to_other_numbers_and_shapes():
    assert not usable(PROBE.double())
    assert not usable(PROBE[0])


def test_faster_takes_the_quicker_of_two():
    class Slow(nn.Module):
        def forward(self, x):
            for _ in range(300):
                x = x + 1e-9
            return x

    images = torch.rand(1, 3, 64, 64)
    assert faster(nn.Identity(), Slow(), images)
    assert not faster(Slow(), nn.Identity(), images)
