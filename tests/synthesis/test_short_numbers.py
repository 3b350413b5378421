"""Networks with float16 or bfloat16 weights: what is made for them is kept in float32, saved, and goes on."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

import xaiwidgets as xw
from xaiwidgets.core.cards import resolve
from xaiwidgets.errors import InvalidModel
from xaiwidgets.model.objective_likeness import gram_cosines
from xaiwidgets.model.objective_terms import Layer

METHODS = {
    "adversarial_fgsm": {"iterations": 4},
    "adversarial_lbfgs": {"bisections": 1, "passes": 5},
    "fooling_gradient": {"iterations": 4},
    "multifaceted_visualization": {"pictures": "photos", "crops": 2, "used": 32, "facets": 2, "iterations": 2},
}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("method", METHODS)
def test_a_run_is_saved_and_goes_on(conv_net, method, dtype):
    short = xw.Model(copy.deepcopy(conv_net.module).to(dtype), size=16, mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3))
    made = resolve(method, **METHODS[method])
    photo = np.random.default_rng(0).random((16, 16, 3), np.float32) if made.card.uses_photo({}) else None
    whole = list(xw.synthesize_steps(short, made, target=1, image=photo))
    assert all(a is None or a.dtype in (np.float32, np.int64) for a in whole[-1].state.arrays.values())
    assert all(np.isfinite(value) for value in whole[-1].terms.values())
    rest = list(xw.synthesize_steps(short, made.resume(whole[1].state), target=1, image=photo))
    assert len(rest) == len(whole) - 2 and np.array_equal(rest[-1].image, whole[-1].image)


class Spectrum(nn.Module):
    """Its Fourier transform has no float16 on a CPU."""

    def forward(self, x):
        return torch.fft.rfft2(x).abs().flatten(1)[:, :5]


class Doubled(torch.autograd.Function):
    """Stands for an operation that has no derivative in float16."""

    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, slope):
        raise RuntimeError("\"doubled_backward\" not implemented for 'Half'")


class OneWay(nn.Module):
    def forward(self, x):
        return Doubled.apply(x).flatten(1)[:, :5]


def test_a_network_that_the_cpu_cannot_run_in_its_numbers_is_refused_with_what_would_work():
    with pytest.raises(InvalidModel, match=r"in float16 PyTorch lacks.*module\.float\(\)"):
        xw.Model(nn.Sequential(nn.Conv2d(3, 3, 1), Spectrum()).half(), size=16)
    assert xw.Model(nn.Sequential(nn.Conv2d(3, 3, 1), Spectrum()), size=16).classes == 5


@pytest.mark.parametrize("method", ["activation_maximization", "fourier_feature_visualization", "maco"])
def test_a_network_without_a_derivative_in_its_numbers_is_refused_at_its_first_step(method):
    model = xw.Model(nn.Sequential(nn.Conv2d(3, 3, 1), OneWay()).half(), size=16)
    with pytest.raises(InvalidModel, match=r"in float16 PyTorch lacks.*module\.float\(\)"):
        next(xw.synthesize_steps(model, method, target=1))


def test_scores_beyond_float16_are_told(conv_net):
    module = copy.deepcopy(conv_net.module).half()
    with torch.no_grad():
        [p.mul_(60000) for p in module.parameters()]
    with pytest.raises(InvalidModel, match="65504"):
        xw.Model(module, size=16)


def test_likeness_and_squares_hold_beyond_float16():
    maps = torch.full((2, 3, 4, 4), 500.0, dtype=torch.float16)
    assert torch.allclose(gram_cosines(maps), torch.ones(2, 2))
    assert torch.equal(gram_cosines(torch.zeros_like(maps)), torch.zeros(2, 2))
    assert Layer("x").score(maps, {"x": maps}).tolist() == [250000.0, 250000.0]
