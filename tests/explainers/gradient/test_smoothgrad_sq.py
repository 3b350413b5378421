"""SmoothGrad²: the square that SmoothGrad offers, captum with the same noise, and linear nets."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from captum import attr

from xaiwidgets import SmoothGrad, SmoothGradSquared
from xaiwidgets.engine.noise import noisy_copies
from xaiwidgets.errors import InvalidKnob


@pytest.mark.parametrize("base", ["saliency", "grad_cam", "integrated_gradients"])
def test_is_a_moment_of_smoothgrad(base, net, wrap, picture, run):
    model = wrap(net())
    image = picture(model)
    found = run(SmoothGradSquared(samples=5, base=base, seed=2), model, image, 1)
    wanted = run(SmoothGrad(samples=5, base=base, seed=2, moment="square"), model, image, 1)
    np.testing.assert_array_equal(found.values, wanted.values)
    assert (found.unit, found.signed, found.layer) == (wanted.unit, False, wanted.layer)
    assert found.unit.endswith("²")
    assert found.values.min() >= 0


@pytest.mark.parametrize("style", ["module", "functional"])
def test_equals_captum_with_the_same_noise(style, net, wrap, picture, run, close, monkeypatch):
    module = net(style)
    model = wrap(module)
    image = picture(model)
    drawn = noisy_copies(image, range(6), 0.15, seed=0) - image
    monkeypatch.setattr(torch, "normal", lambda mean, std, **_: drawn)
    found = attr.NoiseTunnel(attr.Saliency(module)).attribute(
        image.clone().requires_grad_(), nt_type="smoothgrad_sq", nt_samples=6, stdevs=1.0, abs=False, target=2
    )
    monkeypatch.undo()
    close(run(SmoothGradSquared(samples=6), model, image, 2).values, found[0])


def test_equals_captum_on_fully_connected_layers(digits_vgg, run, close, monkeypatch):
    model, image, target = digits_vgg
    drawn = noisy_copies(image, range(4), 0.15, seed=0) - image
    monkeypatch.setattr(torch, "normal", lambda mean, std, **_: drawn)
    found = attr.NoiseTunnel(attr.Saliency(model.module)).attribute(
        image.clone().requires_grad_(), nt_type="smoothgrad_sq", nt_samples=4, stdevs=1.0, abs=False, target=target
    )
    monkeypatch.undo()
    close(run(SmoothGradSquared(samples=4), model, image, target).values, found[0])


def test_is_the_square_of_the_weights_of_a_linear_net(linear, wrap, picture, run, close):
    module, weights = linear(5, 6)
    model = wrap(module, (5, 6))
    close(run(SmoothGradSquared(noise=0.4), model, picture(model), 3).values, weights[3] ** 2)


@pytest.mark.parametrize("base", ["smoothgrad_sq", "smoothgrad", "noisegrad", "rize"])
def test_a_base_that_it_cannot_wrap_is_named(base):
    with pytest.raises(InvalidKnob, match=r"^base must be"):
        SmoothGradSquared(base=base)
