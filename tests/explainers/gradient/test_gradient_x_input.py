"""Gradient × input: shares of the score where the network has no biases."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from captum import attr

from xaiwidgets import GradientXInput, Target
from xaiwidgets.engine.baselines import baseline
from xaiwidgets.errors import InvalidKnob


def slow(score, leaf):
    return (leaf * torch.autograd.grad(score, leaf)[0])[0]


@pytest.mark.parametrize("style", ["functional", "reused"])
def test_is_the_product(style, net, wrap, picture, run, close):
    module = net(style)
    model = wrap(module)
    leaf = picture(model).requires_grad_()
    result = run(GradientXInput(), model, leaf.detach(), 2)
    close(result.values, slow(module(leaf)[0, 2], leaf))
    assert (result.unit, result.reduction, result.signed) == ("logit", "sum", True)


@pytest.mark.parametrize("style", ["module", "inplace"])
def test_adds_up_to_the_score_without_biases(style, net, wrap, picture, run):
    model = wrap(net(style, bias=False))
    result = run(GradientXInput(), model, picture(model), 1)
    assert float(result.values.sum(dtype=float)) == pytest.approx(result.score, rel=1e-6)
    assert abs(result.score) > 1e-3


def test_linear_net_gives_weights_times_input(linear, wrap, picture, run, close):
    module, weights = linear(5, 6)
    model = wrap(module, (5, 6))
    image = picture(model)
    close(run(GradientXInput(), model, image, 3).values, weights[3] * image[0])


@pytest.mark.parametrize("style", ["module", "functional", "reused"])
def test_equals_captum(style, net, wrap, picture, run, close):
    module = net(style)
    model = wrap(module)
    image = picture(model)
    theirs = attr.InputXGradient(module).attribute(image.clone().requires_grad_(), target=4)
    close(run(GradientXInput(), model, image, 4).values, theirs[0])


def test_equals_captum_on_trained_networks(lite0_double, digits_vgg, run, close):
    for model, image, target in (lite0_double, digits_vgg):
        theirs = attr.InputXGradient(model.module).attribute(image.clone().requires_grad_(), target=target)
        close(run(GradientXInput(), model, image, target).values, theirs[0])


def test_float32_is_captums_bit_for_bit_on_the_bundled_network(lite0, run):
    model, image, target = lite0
    theirs = attr.InputXGradient(model.module).attribute(image.clone().requires_grad_(), target=target)
    assert np.array_equal(run(GradientXInput(), model, image, target).values, theirs[0].detach().numpy())


@pytest.mark.parametrize("name", ["black", "white", "gray", "blur", "border"])
def test_the_general_form_takes_the_difference_from_a_baseline(name, net, wrap, picture, run, close):
    module = net("functional")
    model = wrap(module)
    leaf = picture(model).requires_grad_()
    slope = torch.autograd.grad(module(leaf)[0, 2], leaf)[0]
    start = baseline(model, leaf.detach(), name)
    close(run(GradientXInput(baseline=name), model, leaf.detach(), 2).values, ((leaf - start) * slope)[0])


def test_the_mean_color_is_zero_to_the_network(net, wrap, picture, run):
    model = wrap(net())
    image = picture(model)
    default = run(GradientXInput(), model, image).values
    np.testing.assert_array_equal(default, run(GradientXInput(baseline="mean"), model, image).values)


@pytest.mark.parametrize("wrong", ["grey", 0, None])
def test_a_bad_baseline_is_named(wrong):
    with pytest.raises(InvalidKnob, match=r"^baseline must be one of mean, black"):
        GradientXInput(baseline=wrong)


def test_a_hidden_unit_can_be_explained(net, wrap, picture, run, close):
    module = net()
    model = wrap(module)
    leaf = picture(model).requires_grad_()
    score = module.first(module.one(leaf))[0, 2].mean()
    result = run(GradientXInput(), model, leaf.detach(), Target.hidden("first", 2))
    close(result.values, slow(score, leaf))
