"""Grad-CAM++ of any layer: on plain passes, against a library that is right, and against what a second pass derives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pytorch_grad_cam import GradCAMPlusPlus
from torch import nn
from torchcam.methods import GradCAMpp

from xaiwidgets import GradCamPP
from xaiwidgets.errors import InvalidKnob, InvalidLayer


def slow(activation, gradient):
    """Chattopadhay et al. 2018, eq. 8, 9 and 19; divided by g² where it is not zero."""
    total = activation.sum(axis=(1, 2), keepdims=True)
    alpha = np.divide(1.0, 2 + total * gradient, where=gradient != 0, out=np.zeros_like(gradient))
    weights = (alpha * np.maximum(gradient, 0)).sum(axis=(1, 2))
    return np.einsum("k,khw->hw", weights, activation)


@pytest.mark.parametrize("relu", [True, False])
def test_is_its_definition_however_the_network_is_written(odd, relu, pair, wrap, picture, run, close):
    module, layers, size = odd
    model = wrap(module, size)
    image = picture(model)
    for layer in layers:
        result = run(GradCamPP(layer=layer, relu=relu), model, image, 2)
        wanted = slow(*pair(module, layer, image, 2))
        close(result.values[0], np.maximum(wanted, 0) if relu else wanted)
        assert (result.layer, result.unit, result.signed) == (layer, "logit", not relu)
        assert result.provenance.passes == (1, 1)


def test_its_powers_are_the_derivatives_of_exp_of_the_score(net, wrap, picture, run, close):
    """By automatic differentiation of exp(S), three times, at each place of a layer."""
    module = net()
    model = wrap(module)
    image = picture(model)
    kept = module.first(module.one(image)).detach()
    weights = torch.zeros(kept.shape[1], dtype=kept.dtype)
    for place in np.ndindex(*kept.shape[1:]):

        def rest(value, place=place):
            moved = torch.zeros_like(kept)
            moved[(0, *place)] = 1
            y = module.two(nn.functional.max_pool2d(kept + (value - kept[(0, *place)]) * moved, 2))
            return module.head(module.second(y).mean(dim=(2, 3)))[0, 1].exp()

        orders = []
        value = kept[(0, *place)].clone().requires_grad_()
        y = rest(value)
        for _ in range(3):
            (y,) = torch.autograd.grad(y, value, create_graph=True)
            orders.append(y)
        if orders[0] > 0:
            below = 2 * orders[1] + kept[0, place[0]].sum() * orders[2]
            weights[place[0]] += (orders[1] / below * orders[0]).detach()
    scale = module(image)[0, 1].exp().detach()
    wanted = torch.einsum("k,khw->hw", weights, kept[0]) / scale
    close(run(GradCamPP(layer="first"), model, image, 1).values[0], wanted.clamp_min(0))


def larger(module, factor):
    with torch.no_grad():
        module.head.weight.mul_(factor)
    return module


@pytest.mark.parametrize("layer", ["first", "second"])
def test_equals_a_library_where_what_it_adds_to_the_denominator_is_small(layer, net, wrap, picture, run, close, jacobs):
    """It adds 1e-6 to 2 g² + …, which is nothing for scores in the thousands."""
    module = larger(net("module"), 1e5)
    model = wrap(module)
    image = picture(model)
    found = run(GradCamPP(layer=layer), model, image, 3).values
    close(found, jacobs(GradCAMPlusPlus, module, layer, image, 3), 2e-6)


def test_another_library_adds_too_much_for_small_gradients(net, wrap, picture, run, close, jacobs, pair):
    """With gradients of 1e-3, as at the last layer of most networks, its map is another one."""
    module = larger(net("module"), 0.03)
    model = wrap(module)
    image = picture(model)
    ours = run(GradCamPP(layer="first"), model, image, 3).values[0]
    activation, gradient = pair(module, "first", image, 3)
    assert 1e-4 < np.abs(gradient).max() < 1e-2
    close(ours, slow(activation, gradient))
    theirs = jacobs(GradCAMPlusPlus, module, "first", image, 3)[0]
    assert np.abs(ours / ours.max() - theirs / theirs.max()).max() > 0.01


def test_a_third_library_loses_its_division(net, wrap, picture, run, close, torchcams, pair):
    """What torchcam calls Grad-CAM++ weights channels by the sum of g² · ReLU(g)."""
    module = net("module")
    model = wrap(module)
    image = picture(model)
    theirs = torchcams(GradCAMpp, module, "first", image, 3)[0]
    activation, gradient = pair(module, "first", image, 3)
    lost = np.einsum("k,khw->hw", (gradient**2 * np.maximum(gradient, 0)).sum(axis=(1, 2)), activation)
    close(theirs, lost)
    ours = run(GradCamPP(layer="first"), model, image, 3).values[0]
    assert np.abs(ours / ours.max() - theirs / theirs.max()).max() > 0.01


def test_with_a_mean_and_a_linear_head_its_weights_have_a_closed_form(net, wrap, picture, run, close, pair):
    module = net()
    model = wrap(module)
    image = picture(model)
    activation = pair(module, "second", image, 1)[0]
    count, weights = activation[0].size, module.head.weight[1].detach().numpy()
    slope = weights / count
    weights = count * np.maximum(slope, 0) / (2 + slope * activation.sum(axis=(1, 2)))
    close(run(GradCamPP(), model, image, 1).values[0], np.einsum("k,khw->hw", weights, activation))


def test_what_it_takes_for_granted_is_said(net, wrap, picture, run):
    model = wrap(net())
    image = picture(model)
    assert run(GradCamPP(layer="first"), model, image).notes == ()
    (note,) = run(GradCamPP(layer="one"), model, image).notes
    assert "activations for not negative" in note
    curved = net()
    curved.second = nn.SiLU()
    (note,) = run(GradCamPP(layer="first"), wrap(curved), image).notes
    assert "piecewise linear above the layer; SiLU is not" in note


def test_bad_input_is_named(net, wrap, picture, run):
    model = wrap(net())
    with pytest.raises(InvalidLayer, match=r"layer must be one of.*'secnod'.*Did you mean second"):
        run(GradCamPP(layer="secnod"), model, picture(model))
    with pytest.raises(InvalidKnob, match=r"^relu must be True or False"):
        GradCamPP(relu=1)
