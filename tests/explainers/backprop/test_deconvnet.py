"""DeconvNet: ReLUs that rectify the signal on its way back, and nothing else."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from captum import attr
from torch import nn

from xaiwidgets import DeconvNet, GuidedBackprop, Saliency, Target
from xaiwidgets.errors import NotApplicable

X = [[-1.0, 2, -3], [-5, -4, 6], [9, 8, -7]]
R = [[-5.0, 3, 8], [7, -6, -4], [-2, 1, 9]]


class Vector(nn.Module):
    """Σ R ⊙ relu(x): the signal that reaches the ReLU is R."""

    def forward(self, x):
        return (x.relu() * x.new_tensor(R)).sum(dim=(1, 2, 3))[:, None]


class Rectify(torch.autograd.Function):
    """The rule, in the plainest way there is."""

    @staticmethod
    def forward(ctx, x):
        return x.clamp(0, 6)

    @staticmethod
    def backward(ctx, signal):
        return signal.clamp(min=0)


class Deconv(nn.Module):
    def forward(self, x):
        return Rectify.apply(x)


def test_review_example(wrap, run):
    model = wrap(Vector(), (3, 3), mean=(0.0,), std=(1.0,))
    found = run(DeconvNet(), model, torch.tensor([[X]])).values
    np.testing.assert_array_equal(found[0], [[0, 3, 8], [7, 0, 0], [0, 1, 9]])


@pytest.mark.parametrize("style", ["functional", "inplace", "reused", "method"])
def test_does_not_depend_on_how_the_relus_are_written(style, net, wrap, picture, run, close):
    twin, model = wrap(net("module")), wrap(net(style))
    image = picture(model)
    close(run(DeconvNet(), model, image, 3).values, run(DeconvNet(), twin, image, 3).values, 0)


@pytest.mark.parametrize("pool", [True, False])
def test_equals_captum_on_modules(pool, net, wrap, picture, run, close):
    module = net("module", pool=pool)
    model = wrap(module)
    image = picture(model)
    with pytest.warns(UserWarning, match="Setting backward hooks"):
        theirs = attr.Deconvolution(module).attribute(image.clone().requires_grad_(), target=2)
    close(run(DeconvNet(), model, image, 2).values, theirs[0])


def test_equals_captum_on_fully_connected_layers(digits_vgg, run, close):
    model, image, target = digits_vgg
    with pytest.warns(UserWarning, match="Setting backward hooks"):
        theirs = attr.Deconvolution(model.module).attribute(image.clone().requires_grad_(), target=target)
    close(run(DeconvNet(), model, image, target).values, theirs[0])


def test_reaches_the_relu6_of_the_bundled_network(lite0_double, run, close):
    """Captum hooks ``nn.ReLU`` only and would give the plain gradient here."""
    model, image, target = lite0_double
    swapped = copy.deepcopy(model.module)
    for parent in list(swapped.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.ReLU6):
                setattr(parent, name, Deconv())
    leaf = image.clone().requires_grad_()
    wanted = torch.autograd.grad(swapped(leaf)[0, target], leaf)[0]
    result = run(DeconvNet(), model, image, target)
    close(result.values, wanted[0])
    assert any("33 of 33 ReLU6 ruled" in note for note in result.notes)


def test_without_max_pooling_the_photo_plays_no_part(net, wrap, picture, run):
    model = wrap(net(pool=False))
    one, other = (run(DeconvNet(), model, picture(model, seed)) for seed in (0, 1))
    np.testing.assert_array_equal(one.values, other.values)
    assert any("no max-pooling" in note for note in one.notes)
    pooled = wrap(net(pool=True))
    one, other = (run(DeconvNet(), pooled, picture(pooled, seed)) for seed in (0, 1))
    assert np.abs(one.values - other.values).max() > 0
    assert not any("no max-pooling" in note for note in one.notes)


def test_equals_guided_backprop_where_all_units_are_active(net, wrap, picture, run):
    module = net()
    with torch.no_grad():
        module.one.bias.fill_(50)
        module.two.bias.fill_(500)
    model = wrap(module)
    image = picture(model)
    one, other = (run(method, model, image, 1).values for method in (DeconvNet(), GuidedBackprop()))
    np.testing.assert_array_equal(one, other)
    assert np.abs(one).max() > 0


def test_a_hidden_unit_can_be_explained(net, wrap, picture, run, close):
    module = net(pool=False)
    model = wrap(module)
    image = picture(model)
    leaf = image.clone().requires_grad_()
    score = module.two(Rectify.apply(module.one(leaf)))[0, 3].mean()
    close(run(DeconvNet(), model, image, Target.hidden("two", 3)).values, torch.autograd.grad(score, leaf)[0][0])


def test_differs_from_the_gradient(net, wrap, picture, run):
    model = wrap(net())
    image = picture(model)
    assert np.abs(run(DeconvNet(), model, image).values - run(Saliency(), model, image).values).max() > 1e-3


def test_an_activation_without_a_gate_is_refused(wrap, picture):
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.SiLU(), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(2))
    module(torch.zeros(1, 3, 12, 14))
    model = wrap(module)
    with pytest.raises(NotApplicable, match="SiLU at 1"):
        next(DeconvNet().steps(model, picture(model), model.target(0)))
