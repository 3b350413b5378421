"""What a picture is made for: the definitions of objectives, their arithmetic, and what models make of them."""

from __future__ import annotations

import dataclasses
import pickle
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

import xaiwidgets as xw
from tests import nets
from xaiwidgets import objectives as o
from xaiwidgets.errors import InvalidLayer, InvalidTarget
from xaiwidgets.model.objective_algebra import Constant, Objective

SIDE = 16


def make_net(dtype=torch.float64):
    torch.manual_seed(3)
    net = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.Tanh(), nn.AvgPool2d(2), nn.Conv2d(6, 8, 3, padding=1), nn.Softplus(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4),
    )  # fmt: skip
    return net.to(dtype).eval()


@pytest.fixture(scope="module")
def model():
    return xw.Model(make_net(), size=SIDE, labels=["cat", "big dog", "3", 'a "b" \\c'], name="smooth")


@pytest.fixture(scope="module")
def batch():
    return torch.randn(3, 3, SIDE, SIDE, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def scores(model, objective, images):
    return model.gradient(images, model.objective(objective)).score


def test_each_objective_is_what_its_definition_says(model, batch):
    maps = model.activations(batch, ["4"])["4"]
    logits = model.logits(batch)
    vector = np.linspace(-1, 1, 8)
    dot = (maps * torch.tensor(vector)[None, :, None, None]).sum(1)
    cosine = dot / (maps.norm(dim=1) * float(np.linalg.norm(vector)))
    for objective, expected in [
        (o.label("cat"), logits[:, 0]),
        (o.label("big dog", "probability"), logits.softmax(1)[:, 1]),
        (o.label(2, "log_probability"), logits.log_softmax(1)[:, 2]),
        (o.channel("4", 5), maps[:, 5].mean((1, 2))),
        (o.channel("4", 5, "max"), maps[:, 5].amax((1, 2))),
        (o.channel("4", 5, (0, 7)), maps[:, 5, 0, 7]),
        (o.neuron("4", 5), maps[:, 5, 4, 4]),
        (o.channel("7", "big dog"), logits[:, 1]),
        (o.dream("4"), maps.square().mean((1, 2, 3))),
        (o.norm("4"), maps.flatten(1).norm(dim=1)),
        (o.direction("4", vector, 0.0), dot.mean((1, 2))),
        (o.direction("4", vector), (dot * cosine.clamp_min(0.1)).mean((1, 2))),
        (o.direction("4", vector, 2.0, "center"), (dot * cosine.clamp_min(0.1) ** 2)[:, 4, 4]),
    ]:
        assert torch.allclose(scores(model, objective, batch), expected, rtol=1e-5), objective
        assert torch.allclose(model.scores(batch, model.objective(objective)), expected, rtol=1e-5), objective


def test_a_channel_of_a_map_of_one_place_is_its_neuron(model, batch):
    assert torch.equal(scores(model, o.channel("5", 2), batch), scores(model, o.neuron("5", 2), batch))
    assert torch.allclose(scores(model, o.channel("5", 2), batch), scores(model, o.channel("6", 2), batch))


def test_a_one_hot_direction_without_cosine_is_the_channel(model, batch):
    hot = o.direction("4", {5: 1.0}, 0.0)
    assert torch.allclose(scores(model, hot, batch), scores(model, o.channel("4", 5), batch), rtol=1e-12)
    zeros = np.zeros(8)
    zeros[5] = 1
    assert o.direction("4", zeros, 0.0) == hot


def test_a_photo_matches_itself_and_its_caricature_follows_the_definition(model, batch):
    photo = np.random.default_rng(0).random((SIDE, SIDE, 3)).astype(np.float32)
    seen = model.activations(model.input(photo), ["4"])["4"]
    assert float(scores(model, o.match("4", photo), model.input(photo))[0]) == pytest.approx(0, abs=1e-9)
    maps = model.activations(batch, ["4"])["4"]
    expected = -(maps - seen).square().sum((1, 2, 3)) / seen.square().sum()
    assert torch.allclose(scores(model, o.match("4", photo), batch), expected, rtol=1e-4)
    dot = (maps * seen).sum(1)
    cosine = dot / (maps.norm(dim=1) * seen.norm(dim=1))
    expected = (dot * cosine.clamp_min(0.1) ** 2).mean((1, 2))
    assert torch.allclose(scores(model, o.caricature("4", photo, 2), batch), expected, rtol=1e-4)


def test_likeness_is_one_for_each_twin_and_nothing_without_anything_in_common(model, batch):
    twins = batch[:1].expand(4, -1, -1, -1)
    assert scores(model, o.likeness("4"), twins).mean() == pytest.approx(3)
    assert torch.allclose(scores(model, o.likeness("4"), batch[:1]), torch.zeros(1, dtype=torch.float64))
    apart = torch.zeros(3, 3, 4, 4)
    for index in range(3):
        apart[index, index] = 1
    assert torch.equal(o.likeness("x").score(apart, {"x": apart}), torch.zeros(3))


ALL = [
    o.label("cat"),
    o.label("cat", "log_probability"),
    o.channel("4", 3),
    o.neuron("4", 3),
    o.dream("4"),
    o.norm("4"),
    o.direction("4", {1: 1.0, 6: -0.7}),
    o.caricature("4", "coffee"),
    o.match("4", "chelsea"),
    o.likeness("4"),
    o.label("cat") * o.channel("4", 1) - 0.3 * o.dream("1"),
]


@pytest.mark.parametrize("objective", ALL, ids=str)
def test_gradients_agree_with_finite_differences(model, batch, objective):
    goal = model.objective(objective)
    found = model.gradient(batch, goal)
    way = torch.randn(batch.shape, dtype=batch.dtype, generator=torch.Generator().manual_seed(2))
    step = 1e-4
    up, down = (model.gradient(batch + sign * step * way, goal).score.sum() for sign in (1, -1))
    expected = float(up - down) / (2 * step)
    assert float((found.input * way).sum()) == pytest.approx(expected, rel=1e-3, abs=1e-8)


def test_gradients_of_combinations_are_combinations_of_gradients(model, batch):
    first, second = o.channel("4", 2), o.label("big dog")

    def gradient(objective):
        return model.gradient(batch, model.objective(objective)).input

    combined = gradient(2 * first - 0.25 * second)
    assert torch.allclose(combined, 2 * gradient(first) - 0.25 * gradient(second), rtol=1e-9, atol=1e-12)
    assert torch.equal(gradient(-first), -gradient(first))
    product = gradient(first * second)
    a, b = (scores(model, one, batch)[:, None, None, None] for one in (first, second))
    assert torch.allclose(product, a * gradient(second) + b * gradient(first), rtol=1e-9, atol=1e-12)


def test_arithmetic_has_one_form_for_each_value():
    a, b, c = o.label("cat"), o.channel("4", 1), o.dream("1")
    assert (a + b) + c == a + (b + c)
    assert a - b == a + -b == a + -1 * b
    assert 2 * (3 * a) == 6 * a == a * 6
    assert a + 0 == a * 1 == a == -1 * -a
    assert a + 1 + b == a + b + 1
    assert 3 - a == -a + 3
    assert a + b != b + a
    assert hash(2 * a - b) == hash(2 * a - b)
    assert o.label("cat", "probability") != a


@pytest.mark.parametrize("objective", ALL, ids=str)
def test_objectives_are_values(model, objective):
    bound = model.objective(objective)
    again = pickle.loads(pickle.dumps(bound))
    assert again == bound
    assert bound.bind(model) == bound
    assert set(bound.layers) <= {layer.name for layer in model.layers}


def test_what_is_known_of_an_objective(model):
    wanted = model.objective(o.label("cat") + 2 * o.label(1) - o.label("3") + o.channel("4", 0))
    assert wanted.classes == (0, 1)
    assert wanted.layers == ("4",)
    assert wanted.whole
    assert wanted.unit == "objective"
    assert (o.label(0) - 2 * o.label(1)).unit == "logit"
    assert not model.objective(o.channel("4", 1) * o.dream("1")).whole
    assert model.objective(o.label(1)).name == '"big dog"'


class Twice(nn.Module):
    """One ReLU module that is called twice."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.relu, self.head = nn.ReLU(), nn.Linear(4, 2)

    def forward(self, images):
        hidden = self.relu(self.second(self.relu(self.first(images))))
        return self.head(torch.relu(hidden).mean((2, 3)))


def test_the_second_call_of_a_module_is_a_layer_of_its_own():
    net = xw.Model(nets.seeded(Twice)(), size=8, name="twice")
    second = net.objective(xw.parse_objective("relu#2:1"))
    images = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    maps = net.activations(images, ["relu#2"])["relu#2"]
    assert torch.allclose(net.gradient(images, second).score, maps[:, 1].mean((1, 2)))


@pytest.mark.parametrize(
    ("objective", "error", "words"),
    [
        (o.label("cow"), InvalidTarget, "cow"),
        (o.label(9), InvalidTarget, "9"),
        (o.channel("nowhere", 1), InvalidLayer, "nowhere"),
        (o.channel("4", 8), InvalidTarget, "0 to 7"),
        (o.channel("4", 1, (0, 8)), InvalidTarget, "8 rows"),
        (o.channel("4", 1, "left"), InvalidTarget, "center"),
        (o.direction("4", {8: 1.0}), InvalidTarget, "0 to 7"),
        (o.direction("4", [1.0] * 6), InvalidTarget, "each of the 8 channels"),
        (o.direction("4", {1: 1.0}, 1.0, "max"), InvalidTarget, "center"),
        (o.dream("nowhere"), InvalidLayer, "nowhere"),
        (Constant(3.0), InvalidTarget, "depends on the network"),
        (o.label("cat") + o.likeness("nowhere"), InvalidLayer, "nowhere"),
    ],
    ids=str,
)
def test_what_a_model_does_not_have_is_named(model, objective, error, words):
    with pytest.raises(error, match=words):
        model.objective(objective)


@pytest.mark.parametrize(
    "make",
    [
        lambda: o.label("cat", "score"),
        lambda: o.label("cat") * float("nan"),
        lambda: o.label("cat") + float("inf"),
        lambda: 1e30 * (1e30 * o.label("cat")),
        lambda: o.direction("4", {}),
        lambda: o.direction("4", {1: 0.0}),
        lambda: o.direction("4", [[1.0]]),
        lambda: o.direction("4", {1: 1.0}, -1),
        lambda: o.direction("4", {1: "much"}),
    ],
)
def test_numbers_that_are_none_are_refused(make):
    with pytest.raises(InvalidTarget):
        make()


def test_words_cannot_be_added():
    for make in (lambda: o.label("cat") + "dog", lambda: None * o.label("cat"), lambda: True - o.label("cat")):
        with pytest.raises(TypeError):
            make()


def test_explainers_take_no_objectives(model):
    photo = np.zeros((SIDE, SIDE, 3), np.float32)
    with pytest.raises(InvalidTarget, match="synthesize"):
        xw.explain(model, photo, "saliency", target=o.label("cat") + o.dream("4"))


def test_a_picture_is_made_for_an_objective_and_its_run_goes_on():
    model = xw.Model(make_net(torch.float32), size=SIDE, labels=["cat", "dog", "cow", "hen"])
    wanted = o.label("cat") + 0.5 * o.channel("4", 3) - 0.1 * o.norm("1")
    short = xw.ActivationMaximization(iterations=3, jitter=0)
    made = xw.synthesize(model, short, target=wanted)
    assert made.curve[-1] > made.curve[0]
    assert made.provenance.target == str(model.objective(wanted))
    assert 0 < made.terms["probability"] < 1
    state = pickle.loads(pickle.dumps(made.state))
    longer = dataclasses.replace(short, iterations=5).resume(state)
    again = xw.synthesize(model, longer, target=xw.parse_objective(made.provenance.target, model))
    assert again.step == 5
    whole = xw.synthesize(model, dataclasses.replace(short, iterations=5), target=wanted)
    assert np.array_equal(again.image, whole.image)
    with pytest.raises(InvalidTarget, match="saved run"):
        xw.synthesize(model, longer, target=wanted + 1)


def test_less_of_something_is_less_of_it():
    model = xw.Model(make_net(torch.float32), size=SIDE)
    steps = list(xw.synthesize_steps(model, target=-o.channel("4", 3), iterations=4, jitter=0))
    images = [model.input(step.image) for step in steps]
    values = [float(scores(model, o.channel("4", 3), image)[0]) for image in images]
    assert values[-1] < values[0]


def test_values_agree_with_lucent(model, batch):
    """Lucent gives minus the mean over the batch. Its direction is the cosine alone and not compared."""
    lucent = pytest.importorskip("lucent.optvis.objectives", exc_type=ImportError)
    maps = model.activations(batch, ["4"])["4"]
    vector = torch.linspace(-1, 1, 8, dtype=torch.float64)

    def theirs(objective):
        return -float(objective(lambda _: maps))

    for mine, other in [
        (o.channel("4", 5), lucent.channel("4", 5)),
        (o.neuron("4", 5), lucent.neuron("4", 5)),
        (o.direction("4", vector.numpy(), 0.0), lucent.channel_weight("4", vector * 8)),
        (o.likeness("4"), lucent.diversity("4")),
        (o.channel("4", 5) - 2 * o.likeness("4"), lucent.channel("4", 5) - 2 * lucent.diversity("4")),
    ]:
        assert float(scores(model, mine, batch).mean()) == pytest.approx(theirs(other), rel=1e-6)


def test_every_objective_says_what_it_reads():
    assert all(isinstance(one, Objective) and one.unit and one.text for one in ALL)
    silent = SimpleNamespace(labels=["x"])
    with pytest.raises(InvalidTarget, match="looked up"):
        o.label("cat").score(torch.zeros(1, 2), silent)
