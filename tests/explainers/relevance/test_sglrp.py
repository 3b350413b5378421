"""Softmax-gradient LRP: its start, and what adds up to nothing."""

from __future__ import annotations

import nets
import numpy as np
import pytest
import torch
from torch import nn
from zennit import rules as peer
from zennit.attribution import Gradient
from zennit.composites import SpecialFirstLayerMapComposite
from zennit.types import Activation, AvgPool, Convolution, Linear

import xaiwidgets as xw
from xaiwidgets import Lrp, Sglrp, Target
from xaiwidgets.explainers.relevance.sglrp import softmax_slope

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
#: Stabilizer of the method's rules.
TINY = 1e-12


def wrapped(module):
    return xw.Model(module.double(), size=nets.SIZE, mean=MEAN, std=STD)


def pixels(seed=5):
    values = torch.rand(
        (1, 3, nets.SIZE, nets.SIZE), generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    mean, std = (torch.tensor(v, dtype=torch.float64).reshape(1, 3, 1, 1) for v in (MEAN, STD))
    return (values - mean) / std


@nets.seeded
def net():
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 8, 3), nn.ReLU(), nn.AvgPool2d(2),
        nn.Flatten(), nn.Linear(72, nets.CLASSES),
    )  # fmt: skip


def zennit(module, image, start):
    mean, std = (torch.tensor(v, dtype=torch.float64).reshape(1, 3, 1, 1) for v in (MEAN, STD))
    rules = [
        (Activation, peer.Pass()), (AvgPool, peer.Norm(TINY)), (Convolution, peer.ZPlus(TINY, zero_params="bias")),
        (Linear, peer.ZPlus(TINY, zero_params="bias")),
    ]  # fmt: skip
    first = [(Convolution, peer.ZBox(low=-mean / std, high=(1 - mean) / std, stabilizer=TINY, zero_params="bias"))]
    with Gradient(module, SpecialFirstLayerMapComposite(rules, first)) as attributor:
        return attributor(image.clone(), start)[1].detach()


def slope_by_hand(scores, target):
    chances = torch.softmax(scores[0], 0)
    start = -chances[target] * chances
    start[target] = chances[target] * (1 - chances[target])
    return start[None]


def test_the_start_is_the_gradient_of_the_softmax():
    logits = torch.randn(3, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for classes in ((2,), (0, 4)):
        leaf = logits.clone().requires_grad_()
        (wanted,) = torch.autograd.grad(leaf.softmax(1)[:, list(classes)].sum(), leaf)
        torch.testing.assert_close(softmax_slope(logits, classes), wanted, rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(softmax_slope(logits, (1,))[:1], slope_by_hand(logits, 1))


def test_equal_logits():
    start = softmax_slope(torch.zeros(1, 4), (1,))
    np.testing.assert_allclose(start[0], [-1 / 16, 3 / 16, -1 / 16, -1 / 16], rtol=1e-6)


def test_two_classes_start_with_opposite_numbers():
    start = softmax_slope(torch.tensor([[0.3, -1.0]]), (0,))
    assert start[0, 0] == -start[0, 1]


def test_a_saturated_softmax_still_has_a_start_that_adds_up():
    """In float32 the probability is exactly 1 here, and 1 − p exactly 0; the paper's program adds a constant."""
    start = softmax_slope(torch.tensor([[90.0, 10.0, 20.0, -30.0]]), (0,))
    assert start[0, 0] == pytest.approx(np.exp(-70), rel=1e-5)
    assert start[0, 2] == pytest.approx(-np.exp(-70), rel=1e-5)
    assert float(start.double().sum()) == pytest.approx(0, abs=1e-6 * float(start[0, 0]))
    assert start.dtype == torch.float32


def test_a_hopeless_rival_hardly_counts():
    logits = torch.tensor([[2.0, 1.0, -20.0]])
    start = softmax_slope(logits, (0,))
    assert abs(float(start[0, 2])) < 1e-8
    torch.testing.assert_close(softmax_slope(logits[:, :2], (0,)), start[:, :2], rtol=1e-6, atol=0)


@pytest.mark.parametrize("target", range(nets.CLASSES))
def test_is_zennits_run_from_that_start(target):
    module, image = net().double(), pixels()
    model = wrapped(module)
    start = slope_by_hand(model.logits(image), target)
    wanted = zennit(module, image, start)
    found = Sglrp(rescale=False).raw(model, image, model.target(target)).values
    assert (found - wanted).abs().max() <= 1e-5 * wanted.abs().max()
    own, rivals = zennit(module, image, start.clamp(min=0)), zennit(module, image, -start.clamp(max=0))
    wanted = own - rivals * own.sum() / rivals.sum()
    found = Sglrp().raw(model, image, model.target(target)).values
    assert (found - wanted).abs().max() <= 1e-5 * wanted.abs().max()
    assert torch.equal(Sglrp(relu=True).raw(model, image, model.target(target)).values, found.clamp(min=0))


@pytest.mark.parametrize("make", nets.GOOD, ids=lambda make: make.__name__)
def test_the_map_adds_up_to_nothing(make):
    """X12; rescaled by construction, and without it wherever the rules conserve relevance."""
    model, image = wrapped(make()), pixels()
    raw = Sglrp().raw(model, image, model.target(2))
    assert raw.values.any()
    assert float(raw.values.sum()) == pytest.approx(0, abs=1e-9 * float(raw.values.abs().sum()))
    raw = Sglrp(rescale=False).raw(model, image, model.target(2))
    receipt = raw.details["receipt"]
    assert receipt["start"] == pytest.approx(0, abs=1e-12)
    if make in {nets.f1, nets.f2, nets.f4}:
        lost = abs(receipt["dropped"])
        assert float(raw.values.sum()) == pytest.approx(0, abs=1e-5 * float(raw.values.abs().sum()) + lost)
        assert make is nets.f4 or lost < 1e-5 * float(raw.values.abs().sum())


def test_sums_and_differences_start_with_the_derivative_of_their_probability():
    model, image = wrapped(net()), pixels()
    method = Sglrp(rescale=False)
    one, two = (method.raw(model, image, model.target(c)).values for c in (1, 2))
    torch.testing.assert_close(method.raw(model, image, model.target((1, 2))).values, one + two, rtol=1e-8, atol=1e-12)
    found = method.raw(model, image, model.target(Target.difference(1, 2))).values
    torch.testing.assert_close(found, one - two, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("rescale", [True, False])
def test_a_hidden_unit_gets_its_plain_relevance(rescale, run, close):
    model, image = wrapped(net()), pixels()
    target = Target.hidden("3", 2)
    result = run(Sglrp(rescale=rescale), model, image, target)
    close(result.values, run(Lrp(composite="zplus_box", bias="ignore", epsilon=TINY), model, image, target).values)
    assert any("no softmax" in note for note in result.notes)
    assert result.unit == "activation"


def test_it_tells_what_it_is(run):
    model, image = wrapped(net()), pixels()
    result = run(Sglrp(), model, image, 1)
    assert (result.signed, result.unit, result.gap) == (True, "probability per logit", None)
    assert result.provenance.passes == (1, 2)
    result = run(Sglrp(rescale=False, relu=True), model, image, 1)
    assert (result.signed, result.gap) == (False, None)
    assert result.provenance.passes == (1, 1)
    result = run(Sglrp(rescale=False), model, image, 1)
    assert result.gap == pytest.approx(0, abs=1e-6)
    assert result.details["receipt"]["bias"] == 0
