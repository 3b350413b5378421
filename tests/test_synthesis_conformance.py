"""Laws that every synthesizer keeps. A new card is tested here by being registered; SMALL makes its run short."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import random
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import xaiwidgets as xw
from xaiwidgets.core.cards import ASKS, cards
from xaiwidgets.core.knobs import Choice, Flag, Range
from xaiwidgets.engine.run import drive, synthesize_steps
from xaiwidgets.errors import InvalidImage, XaiError
from xaiwidgets.model.targets import NOTHING

CARDS = cards("synthesizer")
every_card = pytest.mark.parametrize("card", CARDS, ids=lambda card: card.id)
#: Those of which something can be moved while they run.
LIVE = [card for card in CARDS if any(knob.live for knob in card.knobs)]
every_live_card = pytest.mark.parametrize("card", LIVE, ids=lambda card: card.id)
SIDE = 32
#: Hyper-parameters that keep the runs here short, by method.
SMALL: dict[str, dict[str, Any]] = {
    "activation_maximization": {"iterations": 5},
    "center_bias_optimization": {"pace": 0.02},
    "class_model_visualization": {"iterations": 5},
    "multifaceted_visualization": {"pictures": "digits", "crops": 0, "used": 40, "facets": 2, "iterations": 3},
    "regularized_optimization": {"iterations": 5},
    "natural_preimage": {"iterations": 4, "settle": 2, "jitter": 3},
    "representation_inversion": {"iterations": 5, "repeats": 2},
    "adversarial_fgsm": {"iterations": 5},
    "fooling_evolution": {"generations": 4, "offspring": 12},
    "fooling_gradient": {"iterations": 5},
    "diversity_objective": {"iterations": 4, "pictures": 2},
    "fourier_feature_visualization": {"iterations": 5},
    "maco": {"iterations": 4, "crops": 2},
    "patch_prior_visualization": {"iterations": 5, "patches": 500},
    "dgn_am": {"iterations": 5},
    "training_film": {"iterations": 5},
}
#: What a run with these asks for, where that depends on a hyper-parameter, so that the card asks for less.
GIVEN: dict[str, tuple[str, ...]] = {"natural_preimage": ("photo",)}
#: A live hyper-parameter and a value for it that changes the picture, where the first one found would not.
MOVED: dict[str, tuple[str, Any]] = {}


def make_net() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.MaxPool2d(2),
        nn.Conv2d(8, 12, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 5),
    ).eval()  # fmt: skip


@pytest.fixture(scope="module")
def model():
    return xw.Model(make_net(), size=SIDE, mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3), name="small")


@pytest.fixture(scope="module", autouse=True)
def trained(model):
    """Methods that go through a trained network find one for each network here."""
    for one in (model, xw.Model(make_net(), size=SIDE, name="mine")):
        train_for(one)
    keep_checkpoints(model)


def train_for(model):
    pictures = np.random.default_rng(0).random((300, SIDE, SIDE, 3), dtype=np.float32)
    xw.train_decoder(model, pictures, feature="5", epochs=1, name=f"decoder of {model.name}")
    xw.train_generator(model, pictures, layer="7", epochs=1, name=f"generator of {model.name}")


def keep_checkpoints(model, name=""):
    state = model.module.state_dict()
    early = {k: v / 2 for k, v in state.items() if k.endswith("weight")}
    return xw.checkpoints(model, [("early", early), ("late", state)], name=name)


@pytest.fixture(scope="module")
def photo():
    rows, columns = np.mgrid[0:SIDE, 0:SIDE] / SIDE
    return np.stack([rows, columns, 0.5 + 0.5 * np.sin(9 * rows * columns)], axis=2).astype(np.float32)


def method_of(card):
    return card.make(**SMALL.get(card.id, {}))


def steps_of(card, model, photo, method=None):
    given = GIVEN.get(card.id, card.asks)
    start = model.input(photo) if "photo" in given else None
    goal = model.target(1) if "target" in given else NOTHING
    return drive(method or method_of(card), model, start, goal)


def same(one, other):
    return np.array_equal(one.image, other.image) and np.array_equal(one.curve, other.curve) and all(
        np.array_equal(a.image, b.image) for a, b in zip(one.beside, other.beside, strict=True)
    )  # fmt: skip


@every_card
def test_a_card_says_what_it_asks_for(card):
    assert set(card.asks) <= set(ASKS)


@every_card
def test_pictures_are_pictures_and_progress_ends(card, model, photo):
    before = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002 - read, not used
    found = list(steps_of(card, model, photo))
    assert found
    for one in found:
        assert one.image.dtype == np.float32 and one.image.ndim == 3 and one.image.shape[2] == 3
        for picture in (one.image, *(exhibit.image for exhibit in one.beside)):
            assert picture.min() >= 0 and picture.max() <= 1 and np.isfinite(picture).all()
        assert all(exhibit.caption for exhibit in one.beside)
        assert all(len(curve) == len(one.curve) for curve in one.curves.values())
        assert 0 <= one.progress <= 1
    assert all(one.progress <= other.progress and one.step <= other.step for one, other in pairwise(found))
    assert found[-1].progress == 1
    assert np.isfinite(found[-1].score) and found[-1].unit
    assert found[-1].provenance.passes[0] > 0
    assert random.getstate() == before[0]
    assert np.array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002 - read, not used
    assert torch.equal(torch.get_rng_state(), before[2])


@every_card
def test_the_same_seed_gives_the_same_run(card, model, photo):
    assert same(list(steps_of(card, model, photo))[-1], list(steps_of(card, model, photo))[-1])


@every_card
def test_a_saved_run_goes_on_bit_for_bit(card, model, photo):
    whole = list(steps_of(card, model, photo))
    if len(whole) < 3:
        pytest.fail(f"SMALL must let {card.id} take three steps")
    state = pickle.loads(pickle.dumps(whole[1].state))
    rest = list(steps_of(card, model, photo, method_of(card).resume(state)))
    assert [one.step for one in rest] == [one.step for one in whole[2:]]
    assert same(rest[-1], whole[-1])


@every_live_card
def test_a_live_knob_acts_at_the_next_step_and_is_logged(card, model, photo):
    live = [k for k in card.knobs if k.live]
    method = method_of(card)
    name, value = MOVED.get(card.id) or other_value(live[0], method)
    old = getattr(method, name)
    steps = steps_of(card, model, photo)
    next(steps)
    second = next(steps)
    moved = [steps.send(dataclasses.replace(method, **{name: value})), *steps]
    assert moved[0].events == ((second.step + 1, name, old, value),)
    assert moved[-1].provenance.events == moved[0].events
    plain = list(steps_of(card, model, photo))
    assert not same(moved[-1], plain[-1])


@every_live_card
def test_a_knob_that_is_moved_between_two_runs_acts_as_if_it_had_been_sent(card, model, photo):
    live = [k for k in card.knobs if k.live]
    method = method_of(card)
    name, value = MOVED.get(card.id) or other_value(live[0], method)
    changed = dataclasses.replace(method, **{name: value})
    steps = steps_of(card, model, photo)
    next(steps)
    second = next(steps)
    sent = [steps.send(changed), *steps]
    resumed = list(steps_of(card, model, photo, changed.resume(second.state)))
    assert [one.step for one in resumed] == [one.step for one in sent]
    assert same(resumed[-1], sent[-1]) and resumed[-1].events == sent[-1].events


def other_value(knob, method):
    now = getattr(method, knob.name)
    domain = knob.domain
    if isinstance(domain, Flag):
        return knob.name, not now
    if isinstance(domain, Choice):
        return knob.name, next(v for v in domain.options if v != now)
    assert isinstance(domain, Range)
    wanted = now / 2 if now else (domain.low + domain.high) / 2
    return knob.name, type(knob.default)(max(domain.low, wanted))


@every_card
def test_the_users_network_is_left_as_it_was(card, photo):
    net = make_net().train()
    mine = xw.Model(net, size=SIDE, name="mine")
    kept = copy.deepcopy(net.state_dict()), [m.training for m in net.modules()]
    steps = steps_of(card, mine, photo)
    next(steps)
    next(steps)
    steps.close()
    assert all(torch.equal(a, b) for a, b in zip(kept[0].values(), net.state_dict().values(), strict=True))
    assert [m.training for m in net.modules()] == kept[1]
    assert not any(m._forward_hooks or m._forward_pre_hooks or m._backward_hooks for m in net.modules())
    assert all(p.grad is None for p in net.parameters())


@pytest.fixture(scope="module", params=[torch.bfloat16, torch.float64], ids=["bfloat16", "float64"])
def other_numbers(request, trained):
    name = f"in {request.param}"
    model = xw.Model(make_net().to(request.param), size=SIDE, mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3), name=name)
    train_for(model)
    keep_checkpoints(model, name)
    return model


@every_card
def test_networks_of_other_numbers_are_painted_for_too_and_a_saved_run_goes_on(card, other_numbers, photo):
    method = method_of(card)
    if card.id == "training_film":
        method = dataclasses.replace(method, checkpoints=other_numbers.name)
    whole = list(steps_of(card, other_numbers, photo, method))
    last = whole[-1]
    for picture in (last.image, *(exhibit.image for exhibit in last.beside)):
        assert picture.dtype == np.float32 and picture.min() >= 0 and picture.max() <= 1
    assert not np.array_equal(last.image, whole[0].image)
    assert np.isfinite(last.score) and all(np.isfinite(curve).all() for curve in last.curves.values())
    # what is kept has at least the numbers of float32, so that small steps are not lost between two of bfloat16
    assert all(a is None or a.dtype.kind == "i" or a.itemsize >= 4 for a in last.state.arrays.values())
    rest = list(steps_of(card, other_numbers, photo, method.resume(pickle.loads(pickle.dumps(whole[1].state)))))
    assert same(rest[-1], last)


@every_card
def test_what_it_cannot_do_without_is_asked_for(card, model):
    if "photo" in card.asks:
        with pytest.raises(InvalidImage, match="image must be given"):
            next(synthesize_steps(model, method_of(card), target=1))
    elif "target" in card.asks:
        with pytest.raises(XaiError, match="target"):
            next(synthesize_steps(model, method_of(card)))


@pytest.mark.parametrize("card", [card for card in CARDS if not card.uses_photo({})], ids=lambda card: card.id)
def test_a_photo_that_it_would_do_nothing_with_is_refused(card, model, photo):
    with pytest.raises(InvalidImage, match=rf"image must be left out for {card.id}.*start='photo'") as refused:
        next(synthesize_steps(model, method_of(card), target=1, image=photo))
    if not card.starts_from_photo:
        assert all(one.id in str(refused.value) for one in CARDS if one.uses_photo({}) or one.starts_from_photo), (
            "what would use it is named"
        )
        return
    assert next(synthesize_steps(model, card.make(**{**SMALL[card.id], "start": "photo"}), target=1, image=photo))
