"""Excitation backpropagation against its definition, Zennit, and LRP's zplus rule; and its contrastive form."""

from __future__ import annotations

import nets
import numpy as np
import pytest
import slow_relevance as slow
import torch
from torch import nn
from torch.nn import functional
from zennit.attribution import Gradient
from zennit.composites import ExcitationBackprop as Peer

import xaiwidgets as xw
from xaiwidgets import ContrastiveExcitationBackprop, ExcitationBackprop, Lrp, Target
from xaiwidgets.errors import InvalidLayer, NotApplicable
from xaiwidgets.explainers.backprop.excitation import excite

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)


class Vgg(nn.Module):
    """What ``slow_relevance.Plain`` computes."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(3)
            self.one, self.two = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 5, 2)
            self.three, self.four = nn.Linear(5 * 2, 24), nn.Linear(24, 4)
        self.relu, self.pool, self.relu2, self.average = nn.ReLU(), nn.MaxPool2d(2), nn.ReLU(), nn.AvgPool2d(2)
        self.relu3 = nn.ReLU()

    def forward(self, x):
        x = self.pool(self.relu(self.one(x)))
        x = self.average(self.relu2(self.two(x)))
        return self.four(self.relu3(self.three(x.flatten(1))))


@pytest.fixture
def vgg(wrap):
    module = Vgg().double()
    layers = (module.one, module.two, module.three, module.four)
    plain = slow.Plain([(layer.weight.detach(), layer.bias.detach()) for layer in layers], (10, 8))
    return wrap(module, (10, 8)), plain


def positive(model, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand((1, *model.input_shape), generator=generator, dtype=torch.float64)


def winning(plain, image, target):
    """Return P by the definition: at the max-pooling's output and at the picture."""
    scores = plain.forward(image[0])
    chances = np.eye(len(scores))[target]
    for layer in (3, 2):
        weight, _ = plain.weights[layer]
        chances = step(weight.numpy(), plain.inputs[layer], chances)
    pool, _ = slow.matrix(lambda x: functional.avg_pool2d(x, 2), plain.second.shape)
    chances = step(pool, plain.second.ravel(), chances)
    found = []
    for layer, padding in ((1, 0), (0, 1)):
        weight, _ = plain.weights[layer]
        inputs = plain.inputs[layer]
        matrix, _ = slow.matrix(lambda x, w=weight, p=padding: functional.conv2d(x, w, padding=p), inputs.shape)
        chances = step(matrix, inputs.ravel(), chances).reshape(inputs.shape)
        found.append(chances)
        chances = plain._unpool(chances).ravel() if layer else None
    return found


def step(weights, inputs, chances):
    """P(a_j) = Σ_i P(a_i) a_j w⁺_ji / Σ_k a_k w⁺_ki, 0 where the denominator is."""
    found = np.zeros_like(inputs, dtype=float)
    for unit, chance in enumerate(chances):
        excitation = inputs * np.maximum(weights[unit], 0)
        if excitation.sum() > 0:
            found += chance * excitation / excitation.sum()
    return found


@pytest.mark.parametrize("target", range(4))
def test_is_the_marginal_winning_probability(target, vgg, close):
    model, plain = vgg
    image = positive(model)
    at_pool, at_picture = winning(plain, image, target)
    raw = ExcitationBackprop(layer="pool").raw(model, image, model.target(target))
    close(raw.values[0], at_pool.sum(axis=0, keepdims=True), 1e-9)
    raw = ExcitationBackprop(layer="input").raw(model, image, model.target(target))
    close(raw.values[0], at_picture.sum(axis=0, keepdims=True), 1e-9)
    assert float(raw.values.sum()) == pytest.approx(1)
    assert raw.gap == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("target", range(4))
def test_equals_zennit_where_nothing_is_negative(target, vgg, close):
    model, _ = vgg
    image = positive(model)
    one = torch.eye(4, dtype=torch.float64)[[target]]
    with Gradient(Vgg().double(), Peer(stabilizer=1e-20, zero_params="bias")) as attributor:
        _, theirs = attributor(image.clone(), one)
    raw = ExcitationBackprop(layer="input").raw(model, image, model.target(target))
    close(raw.values, theirs.sum(1, keepdim=True), 1e-9)


@pytest.mark.parametrize("make", [nets.f1, nets.f2, nets.f4, nets.reused], ids=lambda make: make.__name__)
def test_is_zplus_without_biases_that_starts_at_1(make, picture, close):
    """X9."""
    model = xw.Model(make().double(), size=nets.SIZE)
    image = picture(model)
    found = ExcitationBackprop(layer="input").raw(model, image, model.target(2)).values
    wanted = Lrp(composite="zplus", bias="ignore", start="one", epsilon=0.0).raw(model, image, model.target(2)).values
    close(found, wanted.sum(1, keepdim=True), 1e-9)


@pytest.mark.parametrize("make", nets.GOOD, ids=lambda make: make.__name__)
def test_probabilities_add_up_to_1_less_what_was_lost(make, picture, run):
    model = xw.Model(make(), size=nets.SIZE)
    image = picture(model)
    for layer in ("", "input"):
        result = run(ExcitationBackprop(layer=layer), model, image, 1)
        receipt = result.details["receipt"]
        assert (result.values >= 0).all()
        assert result.values.sum() == pytest.approx(receipt["input"], rel=1e-4)
        assert receipt["input"] + receipt["dropped"] == pytest.approx(1, rel=1e-5)
        assert receipt["bias"] == receipt["epsilon"] == 0
        assert result.values.shape[0] == 1
        lost = [row["dropped"] for row in result.details["receipt_layers"]]
        assert sum(lost) == pytest.approx(receipt["dropped"], abs=1e-5)


def test_the_default_layer_is_the_last_of_a_sixteenth(lite0, run):
    model, image, target = lite0
    result = run(ExcitationBackprop(), model, image, target)
    assert result.layer == "blocks.4"
    assert result.values.shape == (1, 14, 14)
    after = [stage for stage in model.stages if stage.order > model.layer("blocks.4").order]
    assert all(stage.shape[1] < 14 for stage in after)


def test_for_a_hidden_unit_it_lies_before_the_unit(vgg, run):
    model, _ = vgg
    result = run(ExcitationBackprop(), model, positive(model), Target.hidden("two", 2))
    assert model.layer(result.layer).order < model.layer("two").order
    assert "activation" in result.unit
    result = run(ExcitationBackprop(), model, positive(model), Target.hidden("one", 2))
    assert result.layer == ""
    assert result.values.shape == (1, 10, 8)
    with pytest.raises(NotApplicable, match=r"a layer before the explained unit \(two\); relu2 is not"):
        run(ExcitationBackprop(layer="relu2"), model, positive(model), Target.hidden("two", 2))


def test_a_mean_over_positions_shares_the_start(vgg, close):
    model, _ = vgg
    image = positive(model)
    positions = [(row, column) for row in range(4) for column in range(3)]
    each = [
        ExcitationBackprop(layer="pool").raw(model, image, model.target(Target.hidden("relu2", 1, place))).values
        for place in positions
    ]
    found = ExcitationBackprop(layer="pool").raw(model, image, model.target(Target.hidden("relu2", 1, "mean"))).values
    close(found, sum(each) / len(each), 1e-9)


def test_several_classes_share_the_start(vgg, close):
    model, _ = vgg
    image, method = positive(model), ExcitationBackprop()
    one, two = (method.raw(model, image, model.target(c)).values for c in (0, 1))
    close(method.raw(model, image, model.target((0, 1))).values, (one + two) / 2, 1e-9)
    difference = method.raw(model, image, model.target(Target.difference(0, 1))).values
    close(difference, (one - two).clamp(min=0), 1e-9)
    probability = method.raw(model, image, model.target(0).with_output("probability")).values
    close(probability, one, 0)


def test_weights_that_meet_negative_values_are_told(lite0, run):
    model, image, target = lite0
    result = run(ExcitationBackprop(), model, image, target)
    assert any("Weights meet negative activations in 6 layers" in note for note in result.notes)


def test_an_operation_below_the_map_needs_no_rule(wrap, run):
    module = nn.Sequential(
        nets.Apply(torch.abs),
        nn.Conv2d(3, 4, 3),
        nn.ReLU(),
        nn.Conv2d(4, 4, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.LazyLinear(3),
    ).double()
    module(torch.zeros(1, 3, 12, 14).double())
    model = wrap(module)
    assert run(ExcitationBackprop(layer="2"), model, positive(model), 1).values.any()
    with pytest.raises(NotApplicable, match="abs at 0"):
        run(ExcitationBackprop(layer="input"), model, positive(model), 1)


@pytest.mark.parametrize("method", [ExcitationBackprop, ContrastiveExcitationBackprop])
def test_bad_layers_are_named(method, vgg, run):
    model, _ = vgg
    with pytest.raises(InvalidLayer, match="got 'pol'"):
        run(method(layer="pol"), model, positive(model), 1)
    with pytest.raises(InvalidLayer, match="spatial map"):
        run(method(layer="three"), model, positive(model), 1)


@pytest.mark.parametrize("method", [ExcitationBackprop, ContrastiveExcitationBackprop])
def test_units_must_be_on_or_off(method, wrap, picture, run):
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.SiLU(), nn.Flatten(), nn.Linear(480, 5))
    model = wrap(module)
    with pytest.raises(NotApplicable, match="needs ReLU-like activations"):
        run(method(), model, picture(model))


# -- contrastive ----------------------------------------------------------------------------------------------------


def contrast(vgg, image, target, layer="pool"):
    """Return the difference before it is cut off, ``(N, C, h, w)``."""
    model, _ = vgg
    return excite("c", model, image, model.target(target), layer, dual=True)[0]


@pytest.mark.parametrize("target", range(4))
def test_the_dual_has_the_last_weights_negated(target, vgg, close):
    model, plain = vgg
    image = positive(model)
    turned = slow.Plain([*plain.weights[:3], tuple(-part for part in plain.weights[3])], (10, 8))
    one, other = (winning(net, image, target)[0] for net in (plain, turned))
    close(contrast(vgg, image, target)[0], one - other, 1e-9)
    raw = ContrastiveExcitationBackprop(layer="pool").raw(model, image, model.target(target))
    close(raw.values[0], (one - other).sum(axis=0, keepdims=True).clip(min=0), 1e-9)


@pytest.mark.parametrize("target", range(4))
def test_before_the_cut_it_adds_up_to_nothing(target, vgg):
    """X12."""
    difference = contrast(vgg, positive(vgg[0]), target)
    assert float(difference.sum()) == pytest.approx(0, abs=1e-12)
    assert difference.abs().max() > 1e-3


def test_target_and_dual_change_places_with_the_sign(vgg, wrap, close):
    model, _ = vgg
    turned = Vgg().double()
    with torch.no_grad():
        turned.four.weight.neg_()
    image = positive(model)
    close(contrast((wrap(turned, (10, 8)), None), image, 2), -contrast(vgg, image, 2), 1e-9)


def test_where_the_two_are_subtracted_does_not_matter(vgg, close):
    """The paper subtracts at the layer below the classifier and goes on from there; P is linear in its start."""
    model, plain = vgg
    image = positive(model)
    plain.forward(image[0])
    chances = np.eye(4)[1]
    weight = plain.weights[3][0].numpy()
    early = step(weight, plain.inputs[3], chances) - step(-weight, plain.inputs[3], chances)
    signed = np.zeros_like(plain.inputs[2])
    third = plain.weights[2][0].numpy()
    for sign in (1, -1):  # the definition above is for probabilities; a difference is two of them
        signed += sign * step(third, plain.inputs[2], np.maximum(sign * early, 0))
    pool, _ = slow.matrix(lambda x: functional.avg_pool2d(x, 2), plain.second.shape)
    matrix, _ = slow.matrix(lambda x: functional.conv2d(x, plain.weights[1][0]), plain.inputs[1].shape)
    at_pool = np.zeros(plain.inputs[1].size)
    for sign in (1, -1):
        chances = step(pool, plain.second.ravel(), np.maximum(sign * signed, 0))
        at_pool += sign * step(matrix, plain.inputs[1].ravel(), chances)
    close(contrast(vgg, image, 1)[0].flatten(), at_pool, 1e-9)


def test_it_tells_classes_apart_where_the_plain_form_does_not(lite0, run):
    model, image, target = lite0
    maps = {
        method: [run(method(), model, image, c).map().ravel() for c in (target, 281)]
        for method in (ExcitationBackprop, ContrastiveExcitationBackprop)
    }
    plain, contrastive = (np.corrcoef(pair)[0, 1] for pair in maps.values())
    assert plain > 0.7
    assert contrastive < plain - 0.3


def test_a_unit_that_no_weights_feed_is_refused():
    module = nn.Sequential(nn.ReLU(), nn.Conv2d(3, 5, 3), nets.Apply(lambda x: x.mean((2, 3))))
    model = xw.Model(module.double(), size=nets.SIZE)
    with pytest.raises(NotApplicable, match="needs weights that feed the target") as caught:
        ContrastiveExcitationBackprop().raw(model, positive(model), model.target(Target.hidden("0", 1)))
    assert caught.value.alternatives == ("excitation_backprop",)


def test_they_tell_what_they_are(vgg, run):
    model, _ = vgg
    plain = run(ExcitationBackprop(), model, positive(model), 1)
    assert (plain.signed, plain.unit, plain.provenance.passes) == (False, "share of the logit", (1, 1))
    ours = run(ContrastiveExcitationBackprop(), model, positive(model), 1)
    assert (ours.signed, ours.unit, ours.provenance.passes) == (False, "share of the logit", (1, 2))
    assert ours.layer == plain.layer
    assert ours.gap is None
    assert {row["rule"] for row in ours.details["coverage"]} >= {"zplus", "pass", "route", "average"}


def test_scores_before_a_softmax(vgg, wrap, run, close):
    model, _ = vgg
    ended = wrap(nn.Sequential(Vgg(), nn.Softmax(dim=1)).double(), (10, 8))
    image = positive(model)
    for method in (ExcitationBackprop, ContrastiveExcitationBackprop):
        result = run(method(layer="0.pool"), ended, image, 2)
        close(result.values, run(method(layer="pool"), model, image, 2).values)
        assert any("ends in a softmax" in note for note in result.notes)
