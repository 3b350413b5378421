"""Guided backpropagation, on every way to write a ReLU."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from captum import attr
from torch import nn

from xaiwidgets import GuidedBackprop, Saliency, Target
from xaiwidgets.errors import NotApplicable

X = [[-1.0, 2, -3], [-5, -4, 6], [9, 8, -7]]
R = [[-5.0, 3, 8], [7, -6, -4], [-2, 1, 9]]


class Vector(nn.Module):
    """Σ R ⊙ relu(x): the signal that reaches the ReLU is R."""

    def forward(self, x):
        return (x.relu() * x.new_tensor(R)).sum(dim=(1, 2, 3))[:, None]


class Guide(torch.autograd.Function):
    """The rule, in the plainest way there is."""

    @staticmethod
    def forward(ctx, x, high):
        ctx.save_for_backward((x > 0) & (x < high))
        return x.clamp(0, high)

    @staticmethod
    def backward(ctx, signal):
        return signal.clamp(min=0) * ctx.saved_tensors[0], None


class Guided(nn.Module):
    def forward(self, x):
        return Guide.apply(x, 6.0)


def test_review_example(wrap, run):
    model = wrap(Vector(), (3, 3), mean=(0.0,), std=(1.0,))
    found = run(GuidedBackprop(), model, torch.tensor([[X]])).values
    np.testing.assert_array_equal(found[0], [[0, 3, 0], [0, 0, 0], [0, 1, 0]])


@pytest.mark.parametrize("style", ["functional", "inplace", "reused", "method"])
def test_does_not_depend_on_how_the_relus_are_written(style, net, wrap, picture, run, close):
    """Captum gives the plain gradient for the functional ones, without a word."""
    twin, model = wrap(net("module")), wrap(net(style))
    image = picture(model)
    found = run(GuidedBackprop(), model, image, 3)
    close(found.values, run(GuidedBackprop(), twin, image, 3).values, 0)
    assert any("2 of 2 ReLU ruled" in note for note in found.notes)
    assert np.abs(found.values - run(Saliency(), model, image, 3).values).max() > 1e-3


@pytest.mark.parametrize("style", ["module", "inplace", "reused"])
def test_equals_captum_on_modules(style, net, wrap, picture, run, close):
    module = net(style)
    model = wrap(module)
    image = picture(model)
    with pytest.warns(UserWarning, match="Setting backward hooks"):
        theirs = attr.GuidedBackprop(module).attribute(image.clone().requires_grad_(), target=2)
    close(run(GuidedBackprop(), model, image, 2).values, theirs[0])


def test_equals_captum_on_fully_connected_layers(digits_vgg, run, close):
    model, image, target = digits_vgg
    with pytest.warns(UserWarning, match="Setting backward hooks"):
        theirs = attr.GuidedBackprop(model.module).attribute(image.clone().requires_grad_(), target=target)
    close(run(GuidedBackprop(), model, image, target).values, theirs[0])


def test_is_equal_to_captum_to_the_last_bit(net, wrap, picture, run):
    module = net("module").float()
    model = wrap(module)
    image = picture(model)
    with pytest.warns(UserWarning, match="Setting backward hooks"):
        theirs = attr.GuidedBackprop(module).attribute(image.clone().requires_grad_(), target=2)
    np.testing.assert_array_equal(run(GuidedBackprop(), model, image, 2).values, theirs[0].detach().numpy())


def test_reaches_the_relu6_of_the_bundled_network(lite0_double, run, close):
    """Captum hooks ``nn.ReLU`` only and would give the plain gradient here."""
    model, image, target = lite0_double
    swapped = copy.deepcopy(model.module)
    for parent in list(swapped.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.ReLU6):
                setattr(parent, name, Guided())
    leaf = image.clone().requires_grad_()
    wanted = torch.autograd.grad(swapped(leaf)[0, target], leaf)[0]
    result = run(GuidedBackprop(), model, image, target)
    close(result.values, wanted[0])
    assert any("33 of 33 ReLU6 ruled" in note for note in result.notes)


def test_is_the_gradient_where_no_weight_is_negative(net, wrap, picture, run, close):
    module = net()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.abs_()
    model = wrap(module)
    image = picture(model)
    close(run(GuidedBackprop(), model, image, 1).values, run(Saliency(), model, image, 1).values)


def test_a_hidden_unit_can_be_explained(net, wrap, picture, run, close):
    module = net(pool=False)
    model = wrap(module)
    image = picture(model)
    leaf = image.clone().requires_grad_()
    score = module.two(Guide.apply(module.one(leaf), 1e9))[0, 3].mean()
    found = run(GuidedBackprop(), model, image, Target.hidden("two", 3))
    close(found.values, torch.autograd.grad(score, leaf)[0][0])


def test_a_net_without_relus_is_refused(linear, wrap, picture, run):
    model = wrap(linear(5, 6)[0], (5, 6))
    with pytest.raises(NotApplicable, match="guided_backprop needs ReLU-like activations") as caught:
        run(GuidedBackprop(), model, picture(model))
    assert "saliency" in caught.value.alternatives


def test_an_activation_without_a_gate_is_refused(wrap, picture):
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.GELU(), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(2))
    module(torch.zeros(1, 3, 12, 14))
    model = wrap(module)
    with pytest.raises(NotApplicable, match="GELU at 1"):
        next(GuidedBackprop().steps(model, picture(model), model.target(0)))
