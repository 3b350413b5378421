"""Saliency is the derivative, whatever the network is written in."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from captum import attr
from torch import nn

from xaiwidgets import Saliency, Target


def autograd(module, image, target):
    leaf = image.clone().requires_grad_()
    return torch.autograd.grad(module(leaf)[0, target], leaf)[0][0]


@pytest.mark.parametrize("style", ["module", "functional", "inplace", "reused", "method"])
def test_is_the_derivative_of_the_users_own_module(style, net, wrap, picture, run, close):
    module = net(style)
    model = wrap(module)
    image = picture(model)
    result = run(Saliency(), model, image, 2)
    close(result.values, autograd(module, image, 2))
    assert result.score == pytest.approx(float(module(image)[0, 2].detach()))
    assert result.unit == "logit per unit of input"


def test_agrees_with_finite_differences(net, wrap, picture, run):
    module = net("functional")
    model = wrap(module)
    image, direction = picture(model), picture(model, 1)
    values = run(Saliency(), model, image, 1).values
    step = 1e-6
    with torch.no_grad():
        rise = float((module(image + step * direction) - module(image - step * direction))[0, 1]) / (2 * step)
    assert rise == pytest.approx(float((values * direction[0].numpy()).sum()), rel=1e-4)


def test_linear_net_gives_its_weights(linear, wrap, picture, run, close):
    module, weights = linear(5, 6)
    model = wrap(module, (5, 6))
    close(run(Saliency(), model, picture(model), 3).values, weights[3])


class Shifted(nn.Module):
    """The net before a constant shift of its input."""

    def __init__(self, net, shift):
        super().__init__()
        self.net = net
        self.register_buffer("shift", shift)

    def forward(self, x):
        return self.net(x - self.shift)


def test_a_shift_that_the_net_takes_back_changes_nothing(net, wrap, picture, run, close):
    model = wrap(net())
    image, shift = picture(model), picture(model, 3)
    shifted = wrap(Shifted(net(), shift))
    close(run(Saliency(), shifted, image + shift).values, run(Saliency(), model, image).values)


@pytest.mark.parametrize("style", ["module", "functional", "inplace", "reused"])
def test_equals_captum(style, net, wrap, picture, run, close):
    module = net(style)
    model = wrap(module)
    image = picture(model)
    theirs = attr.Saliency(module).attribute(image.clone().requires_grad_(), target=4, abs=False)
    close(run(Saliency(), model, image, 4).values, theirs[0])


def test_equals_captum_on_fully_connected_layers(digits_vgg, run, close):
    model, image, target = digits_vgg
    theirs = attr.Saliency(model.module).attribute(image.clone().requires_grad_(), target=target, abs=False)
    close(run(Saliency(), model, image, target).values, theirs[0])


def test_equals_captum_on_the_bundled_network(lite0_double, run, close):
    model, image, target = lite0_double
    theirs = attr.Saliency(model.module).attribute(image.clone().requires_grad_(), target=target, abs=False)
    close(run(Saliency(), model, image, target).values, theirs[0])


def test_float32_is_captums_bit_for_bit_on_the_bundled_network(lite0, run):
    model, image, target = lite0
    theirs = attr.Saliency(model.module).attribute(image.clone().requires_grad_(), target=target, abs=False)
    assert np.array_equal(run(Saliency(), model, image, target).values, theirs[0].numpy())


def test_float32_batches_stay_near_the_derivative(lite0, lite0_double):
    """The fast copy rounds otherwise, which turns a few gates; the map as a whole stays."""
    (model, image, target), (exact, double, _) = lite0, lite0_double
    found = Saliency().raw(model, image, model.target(target)).values[0].double().numpy()
    wanted = autograd(exact.module, double, target).numpy()
    assert np.linalg.norm(found - wanted) <= 0.02 * np.linalg.norm(wanted)


def test_shows_the_largest_channel(net, wrap, picture, run):
    model = wrap(net())
    result = run(Saliency(), model, picture(model))
    assert not result.signed
    np.testing.assert_array_equal(result.heatmap(), np.abs(result.values).max(axis=0))


@pytest.mark.parametrize("position", ["mean", "max", (2, 3)])
def test_a_hidden_unit_can_be_explained(position, net, wrap, picture, run, close):
    module = net()
    model = wrap(module)
    leaf = picture(model).requires_grad_()
    hidden = module.first(module.one(leaf))[0, 1]
    score = {"mean": hidden.mean(), "max": hidden.max(), (2, 3): hidden[2, 3]}[position]
    result = run(Saliency(), model, leaf.detach(), Target.hidden("first", 1, position))
    close(result.values, torch.autograd.grad(score, leaf)[0][0])
    assert result.unit == "activation per unit of input"
