"""Backward rules on torchvision and timm nets: parity with captum, forward unchanged, full coverage."""

from __future__ import annotations

import copy
from functools import cache

import pytest
import timm
import torch
import torchvision
from captum.attr import Deconvolution, GuidedBackprop
from torch.nn import functional as F  # noqa: N812

from xaiwidgets.surgery.mode import check, require_same
from xaiwidgets.surgery.recipes import DECONV, GUIDED

ZOO = {
    "resnet18": ("relu", 17),
    "vgg11": ("relu", 10),
    "googlenet": ("relu", 57),
    "densenet121": ("relu", 121),
    "mobilenet_v2": ("relu6", 35),
    "tf_efficientnet_lite0": ("relu6", 33),
}


@cache
def zoo(name):
    """A net of random weights; built once, for nothing here may change it."""
    torch.manual_seed(0)
    if name.startswith("tf_"):
        return timm.create_model(name).eval()
    options = {"init_weights": False, "aux_logits": False} if name == "googlenet" else {}
    return getattr(torchvision.models, name)(weights=None, **options).eval()


def small_picture(dtype=torch.float32, size=64):
    return torch.randn(1, 3, size, size, dtype=dtype, generator=torch.Generator().manual_seed(1))


@pytest.mark.filterwarnings("ignore:Setting .*backward hooks", "ignore:Input Tensor 0 did not already")
@pytest.mark.parametrize(
    ("name", "dtype"), [("resnet18", torch.float32), ("resnet18", torch.float64), ("vgg11", torch.float32)]
)
@pytest.mark.parametrize(("made", "peer"), [(GUIDED, GuidedBackprop), (DECONV, Deconvolution)])
def test_equal_to_captum_bit_for_bit(ruled, name, made, peer, dtype):
    module, picture = copy.deepcopy(zoo(name)).to(dtype), small_picture(dtype)
    found = ruled(module, picture, made)
    wanted = peer(module).attribute(picture.clone(), target=0)
    assert wanted.abs().max() > 0
    assert torch.equal(found.gradient, wanted)


@pytest.mark.parametrize("name", ZOO)
def test_forward_is_unchanged_and_everything_is_covered(ruled, name):
    module, picture = zoo(name), small_picture()
    with torch.no_grad():
        plain = module(picture.clone())
    found = ruled(module, picture, GUIDED)
    kind, count = ZOO[name]
    assert torch.equal(found.scores, plain)
    require_same(found.scores, plain, GUIDED)
    assert (found.coverage.met[kind], found.coverage.ruled) == (count, {kind: count})
    assert found.coverage.plain == found.coverage.unruled == ()
    check(GUIDED, found.coverage, "guided_backprop")
    leaf = picture.clone().requires_grad_()
    (ordinary,) = torch.autograd.grad(module(leaf)[0, 0], leaf)
    assert not torch.allclose(found.gradient, ordinary, rtol=0.05, atol=0)


@pytest.mark.parametrize("name", ["googlenet", "densenet121"])
def test_functional_relus_equal_module_relus(ruled, monkeypatch, name):
    """Captum sees modules only: hand it the same net whose functional ReLUs became modules."""
    module, picture = copy.deepcopy(zoo(name)).double(), small_picture(torch.float64)
    found = ruled(module, picture, GUIDED)

    class Rectify(torch.autograd.Function):
        @staticmethod
        def forward(ctx, data):
            ctx.save_for_backward(data)
            return data.clamp(min=0)

        @staticmethod
        def backward(ctx, upstream):
            return torch.where(ctx.saved_tensors[0] > 0, upstream, 0.0).clamp(min=0)

    monkeypatch.setattr(F, "relu", lambda data, inplace=False: Rectify.apply(data))
    leaf = picture.clone().requires_grad_()
    (wanted,) = torch.autograd.grad(module(leaf)[0, 0], leaf)
    assert torch.equal(found.gradient, wanted)
