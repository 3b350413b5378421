"""Contrastive LRP: the two duals, and what must cancel."""

from __future__ import annotations

from dataclasses import replace

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
from xaiwidgets import Clrp, Lrp, Sglrp, Target
from xaiwidgets.errors import NotApplicable
from xaiwidgets.explainers.relevant import relevance_pass, taylor

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


def _net(classes):
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 8, 3), nn.ReLU(), nn.AvgPool2d(2),
        nn.Flatten(), nn.Linear(72, classes),
    )  # fmt: skip


@nets.seeded
def net():
    return _net(nets.CLASSES)


@nets.seeded
def pair():
    return _net(2)


def zennit(module, image, start):
    """Return Zennit's relevance under the method's rules, from a start at the logits."""
    mean, std = (torch.tensor(v, dtype=torch.float64).reshape(1, 3, 1, 1) for v in (MEAN, STD))
    rules = [
        (Activation, peer.Pass()), (AvgPool, peer.Norm(TINY)), (Convolution, peer.ZPlus(TINY, zero_params="bias")),
        (Linear, peer.ZPlus(TINY, zero_params="bias")),
    ]  # fmt: skip
    first = [(Convolution, peer.ZBox(low=-mean / std, high=(1 - mean) / std, stabilizer=TINY, zero_params="bias"))]
    with Gradient(module, SpecialFirstLayerMapComposite(rules, first)) as attributor:
        return attributor(image.clone(), start)[1].detach()


def starts(scores, target, kind):
    """Return the start of the target and of its dual of type 1."""
    own, dual = np.zeros_like(scores), np.zeros_like(scores)
    own[0, target] = scores[0, target]
    others = [c for c in range(scores.shape[1]) if c != target]
    weights = np.ones(len(others)) if kind == "uniform" else np.abs(scores[0, others])
    dual[0, others] = scores[0, target] * weights / weights.sum()
    return torch.from_numpy(own), torch.from_numpy(dual)


def contrast(one, other, normalize, clip):
    if normalize:
        one, other = one / one.sum(), other / other.sum()
    return (one - other).clamp(min=0) if clip else one - other


@pytest.mark.parametrize("clip", [True, False])
@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("start", ["uniform", "logits"])
def test_type_1_is_the_difference_of_two_runs_of_zennit(start, normalize, clip):
    module, image = net().double(), pixels()
    model = wrapped(module)
    scores = model.logits(image).numpy()
    for target in range(nets.CLASSES):
        runs = [zennit(module, image, begun) for begun in starts(scores, target, start)]
        method = Clrp(start=start, normalize_sums=normalize, clip=clip)
        found = method.raw(model, image, model.target(target))
        wanted = contrast(*runs, normalize, clip)
        assert (found.values - wanted).abs().max() <= 1e-5 * wanted.abs().max()
        assert float(found.scores[0]) == pytest.approx(scores[0, target])


@pytest.mark.parametrize("normalize", [True, False])
def test_type_2_negates_the_last_weights(normalize):
    module, image = net().double(), pixels()
    model = wrapped(module)
    scores = model.logits(image).numpy()
    turned = net().double()
    with torch.no_grad():
        turned[7].weight.neg_()
    for target in range(nets.CLASSES):
        own, _ = starts(scores, target, "uniform")
        wanted = contrast(zennit(module, image, own), zennit(turned, image, own), normalize, clip=False)
        found = Clrp(type="clrp2", normalize_sums=normalize, clip=False).raw(model, image, model.target(target))
        assert (found.values - wanted).abs().max() <= 1e-5 * wanted.abs().max()


@pytest.mark.parametrize("kind", ["clrp1", "clrp2"])
@pytest.mark.parametrize("make", nets.GOOD, ids=lambda make: make.__name__)
def test_shares_that_are_not_clipped_add_up_to_nothing(make, kind):
    """X12."""
    model, image = wrapped(make()), pixels()
    found = Clrp(type=kind, clip=False).raw(model, image, model.target(2)).values
    assert found.abs().max() > 0
    assert float(found.sum()) == pytest.approx(0, abs=1e-5 * float(found.abs().sum()))
    clipped = Clrp(type=kind).raw(model, image, model.target(2)).values
    assert torch.equal(clipped, found.clamp(min=0))


def test_of_two_classes_the_dual_is_the_other_one():
    model, image = wrapped(pair()), pixels()
    target = model.target(0)
    found, _, _ = relevance_pass("clrp", model, image, target, taylor(model), start=Clrp()._starts)
    score = float(found.score[0])
    assert found.starts[1].tolist() == [[0.0, score]]
    other = (
        Lrp(composite="zplus_box", bias="ignore", start="one", epsilon=TINY).raw(model, image, model.target(1)).values
    )
    torch.testing.assert_close(found.inputs[1], other * score, rtol=1e-9, atol=1e-12)


def test_equal_classes_leave_nothing():
    module = net().double()
    with torch.no_grad():
        module[7].weight.copy_(module[7].weight[:1].expand(5, -1))
    model, image = wrapped(module), pixels()
    found = Clrp(clip=False).raw(model, image, model.target(2)).values
    one = Lrp(composite="zplus_box", bias="ignore", epsilon=TINY).raw(model, image, model.target(2)).values
    assert found.abs().max() < 1e-9 * (one / one.sum()).abs().max()


def test_the_last_weights_negated_twice_are_those_of_lrp():
    turned = net().double()
    with torch.no_grad():
        turned[7].weight.neg_()
    image = pixels()
    for module, other in ((net().double(), turned), (turned, net().double())):
        model = wrapped(module)
        made = Clrp(type="clrp2")
        found, _, _ = relevance_pass(
            "clrp", model, image, model.target(1), replace(taylor(model), ends="dual"), start=made._starts
        )
        single = (
            Lrp(composite="zplus_box", bias="ignore", start="one", epsilon=TINY)
            .raw(wrapped(other), image, model.target(1))
            .values
        )
        torch.testing.assert_close(found.inputs[1], single * float(found.score[0]), rtol=1e-9, atol=1e-12)


def test_maps_of_two_classes_differ_more_than_those_of_lrp(lite0, run):
    model, image, target = lite0
    plain = [
        run(Lrp(composite="zplus_box", bias="ignore", start="one", epsilon=TINY), model, image, c).map().ravel()
        for c in (target, 281)
    ]
    ours = [run(Clrp(), model, image, c).map().ravel() for c in (target, 281)]
    one, two = (np.corrcoef(maps)[0, 1] for maps in (plain, ours))
    assert one > 0.5
    assert two < one - 0.3


def test_a_probability_is_explained_at_its_logit(run):
    model, image = wrapped(net()), pixels()
    target = model.target(2)
    one, other = (run(Clrp(), model, image, t) for t in (target, target.with_output("probability")))
    np.testing.assert_array_equal(one.values, other.values)
    assert other.unit == "share of the logit"


@pytest.mark.parametrize("kind", ["clrp1", "clrp2"])
def test_a_hidden_unit_has_the_other_channels_of_its_place_for_rivals(kind):
    model, image = wrapped(net()), pixels()
    target = model.target(Target.hidden("4", 3, (2, 2)))
    found, _, _ = relevance_pass("clrp", model, image, target, taylor(model), start=Clrp()._starts)
    value = float(found.score[0])
    assert found.starts[1].sum() == pytest.approx(value)
    assert found.starts[1][0, :, 2, 2].tolist() == pytest.approx([value / 7 * (c != 3) for c in range(8)])
    assert (found.starts[1] != 0).sum() == 7 * (value != 0)
    raw = Clrp(type=kind, clip=False).raw(model, image, target)
    assert raw.values.shape == image.shape


def test_without_rivals_it_is_refused():
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 14 * 14, 1))
    model = wrapped(module)
    with pytest.raises(NotApplicable, match="clrp needs classes besides the target"):
        Clrp().raw(model, pixels(), model.target(0))
    assert Clrp(type="clrp2", clip=False).raw(model, pixels(), model.target(0)).values.any()


def test_without_weights_below_the_unit_the_second_type_is_refused():
    module = nn.Sequential(nn.ReLU(), nn.Conv2d(3, 5, 3), nets.Apply(lambda x: x.mean((2, 3))))
    model = wrapped(module)
    with pytest.raises(NotApplicable, match="clrp needs weights that feed the target"):
        Clrp(type="clrp2").raw(model, pixels(), model.target(Target.hidden("0", 1, "mean")))


def test_it_tells_what_it_is(run):
    result = run(Clrp(), wrapped(net()), pixels(), 2)
    assert (result.signed, result.unit, result.reduction) == (False, "share of the logit", "sum")
    assert ("0", "zbox") in {(row["layer"], row["rule"]) for row in result.details["coverage"]}
    result = run(Clrp(clip=False, normalize_sums=False), wrapped(net()), pixels(), 2)
    assert (result.signed, result.unit) == (True, "logit")
    assert result.provenance.passes == (1, 2)


@pytest.mark.parametrize("method", [Clrp, Sglrp])
def test_negative_activations_are_told(method, run):
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.SiLU(), nn.Conv2d(4, 5, 3), nets.Apply(lambda x: x.mean((2, 3))))
    result = run(method(), wrapped(module), pixels(), 1)
    assert any("Weights meet negative activations in 2: there contributions" in note for note in result.notes)
    assert run(method(), wrapped(net()), pixels(), 1).notes == ()
