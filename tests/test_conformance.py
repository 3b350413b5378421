"""Laws that every explainer keeps. No code per method: a new card is tested here by being registered."""

from __future__ import annotations

import ast
import dataclasses
import random
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import nets
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import xaiwidgets as xw
from xaiwidgets.core.cards import cards, choices
from xaiwidgets.core.knobs import LayerName, MethodName, MethodNames, Range
from xaiwidgets.engine.cost import passes
from xaiwidgets.engine.run import drive
from xaiwidgets.errors import NotApplicable
from xaiwidgets.model.tape import _TAPE
from xaiwidgets.model.targets import Target

CARDS = cards("explainer")
every_card = pytest.mark.parametrize("card", CARDS, ids=lambda card: card.id)
SIDE = 36
#: Counts of passes are cut down to this where a law does not ask for the default.
FEW = 40
#: Iterations of an optimization where any number of them shows the law.
MANY = 60
#: Without this change the map of a constant score shows how often a pixel was visible.
EVEN = {"rise": {"normalize": "coverage"}}
#: Nothing of the score enters these maps: they stay as they are when it is made constant.
CLASS_AGNOSTIC = {"eigen_cam"}
#: Equal scores give equal weights, by definition: the map is the mean of the channels.
EQUAL_WEIGHTS = {"score_cam"}
#: No part of the mixed net's picture lowers the score when it is hidden, so nothing is; but something must be kept.
GAMES = {"meaningful_perturbation": {"game": "preservation"}}

#: Knobs that let a run end before it has spent its cost.
MAY_STOP = {"tolerance"}
#: Methods that end when the class has changed.
FEWER = {"fgvis"}

#: What a network of ``nets.GOOD`` does not offer, of what cards may need: a flattened head takes one size of picture,
#: and averages no map.
LACKS = {"f4": {"sizes", "gap_head"}}


#: Maps of shares, of the evidence or of a photo that is hidden: they have no unit of the score.
UNITLESS = {"agg_mean", "agg_var", "disagreement", "fgvis"}


#: Positions of a hidden unit that a method refuses, which it must say: a class activation map is of the mean of a map,
#: and the maps of common components and of dominant classes are about classes, whatever is asked for.
REFUSES_UNITS = {"cam": {"(4, 5)"}, "ccam": {"mean", "(4, 5)"}, "clear": {"mean", "(4, 5)"}}


class Mixed(nn.Module):
    """BatchNorm, a residual addition in place, and ReLUs as a function, in place, reused and as a tensor method."""

    def __init__(self):
        super().__init__()
        self.one = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.two = nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.inner = nn.BatchNorm2d(8)
        self.three = nn.Conv2d(8, 12, 3, stride=2, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.head = nn.Linear(12, 5)

    def forward(self, x):
        x = self.relu(self.norm(self.one(x)))
        y = self.inner(self.two(functional.relu(self.two(x))))
        y += x
        y = self.three(self.relu(y)).relu()
        return self.head(y.mean(dim=(2, 3)))


def mixed():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return nets.randomize_norms(Mixed()).eval()


def model_of(module, side=SIDE):
    return xw.Model(module, size=side, mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3))


def picture(model, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((1, *model.input_shape), generator=generator).to(model.like)


def small(card, side=SIDE, **changes):
    """Return the method with its defaults, fitted to a small picture and a short run."""
    values = {}
    for knob in card.knobs:
        if knob.unit == "px":
            values[knob.name] = min(knob.default, side // 3)
        elif isinstance(knob.domain, Range) and knob.domain.log:
            values[knob.name] = min(knob.default, FEW)
    return card.make(**{**values, **changes})


def steps(method, model, image=None, target=1):
    image = picture(model) if image is None else image
    return drive(method, model, image, model.target(target))


def last(method, model, image=None, target=1):
    return list(steps(method, model, image, target))[-1]


def check(result, model):
    """What holds for every result, finished or not."""
    assert result.values.dtype == np.float32
    assert result.values.ndim == 3
    assert result.values.shape[0] in (1, model.input_shape[0])
    assert np.isfinite(result.values).all()
    assert result.size == model.input_shape[1:]
    assert result.heatmap().shape == result.size
    assert result.unit
    assert np.isfinite(result.score)


@every_card
def test_results_rise_to_the_whole(card):
    model = model_of(mixed())
    model.remember(("batch size", False), lambda: 4)
    model.remember(("batch size", True), lambda: 4)
    method = small(card, **GAMES.get(card.id, {}))
    results = list(steps(method, model))
    assert results
    for result in results:
        check(result, model)
    progress = [0.0, *(result.progress for result in results)]
    assert all(a < b for a, b in pairwise(progress))
    assert progress[-1] == 1
    assert results[-1].values.any()
    spent = np.array([(0, 0), *(result.provenance.passes for result in results)])
    most = passes(method, model, results[-1].size)
    assert tuple(spent[-1]) == most or (card.id in FEWER and 2 <= spent[-1][0] < most[0])
    each = np.diff(spent, axis=0)
    assert each[0].max() <= 4 + 2, "the first step may also score the picture and its baseline"
    later = 4 + 2 * (card.family == "aggregate")  # each member has a first step
    assert len(each) == 1 or each[1:].max() <= later


@every_card
def test_same_seed_same_bits(card):
    model = model_of(mixed())
    np.testing.assert_array_equal(last(small(card), model).values, last(small(card), model).values)


def grid():
    """Yield (card, knob, value): every knob at its least, default and largest value, each option, some layers."""
    for card in CARDS:
        for knob in card.knobs:
            values = list(knob.domain.samples(knob.default))
            if knob.unit == "px":
                values = [min(value, SIDE) for value in values]
            if isinstance(knob.domain, Range) and knob.domain.log:
                values = [min(value, 50 * FEW) for value in values]
            if knob.name == "iterations":
                values = [min(value, MANY) for value in values]
            if isinstance(knob.domain, LayerName):
                values = ["", "0", "3"]
            if isinstance(knob.domain, MethodName):
                values = [other.id for other in choices(knob.domain)]
                if card.id != "smoothgrad":  # one wrapper meets them all; the others one of each family
                    values = list({other.family: other.id for other in CARDS if other.id in values}.values())
            if isinstance(knob.domain, MethodNames):
                values += ["grad_cam,saliency", "guided_backprop,rise,noisegrad,guided_ig"]
            for value in dict.fromkeys(values):
                yield pytest.param(card, knob.name, value, id=f"{card.id}-{knob.name}-{value}")


@pytest.mark.parametrize(("card", "name", "value"), list(grid()))
def test_every_knob_over_its_domain(card, name, value):
    model = model_of(nets.f2())
    wraps = isinstance(next(k for k in card.knobs if k.name == name).domain, MethodName)
    few = {"samples": 3} if wraps and any(k.name == "samples" for k in card.knobs) else {}
    few |= {k.name: MANY // 3 for k in card.knobs if k.name == "iterations"}
    method = card.make(**{**few, name: value})
    result = last(method, model)
    check(result, model)
    assert result.progress == 1
    spent, cost = result.provenance.passes, passes(method, model, result.size)
    assert spent <= cost if name in MAY_STOP or {card.id, value} & FEWER else spent == cost


@every_card
def test_float32_and_float64_agree(card):
    single, double = model_of(nets.f2()), model_of(nets.f2().double())
    image = picture(single)
    ours, exact = last(small(card), single, image).values, last(small(card), double, image.double()).values
    np.testing.assert_allclose(ours, exact, rtol=0, atol=1e-4 * np.abs(exact).max())


@every_card
def test_the_batch_size_changes_nothing(card):
    maps = []
    for count in (1, 4, 16):
        model = model_of(mixed().double())
        for gradient in (False, True):
            model.remember(("batch size", gradient), lambda count=count: count)
        maps.append(last(small(card), model).values)
    for found in maps[1:]:
        np.testing.assert_allclose(found, maps[0], rtol=0, atol=1e-5 * np.abs(maps[0]).max())


def fingerprint(module):
    """All of a user's module that an explainer could leave a mark on."""
    tensors = [*module.named_parameters(), *module.named_buffers()]
    return (
        [(n, id(t), t.data_ptr(), t._version, t.requires_grad, t.grad is None, t.detach().clone()) for n, t in tensors],
        [
            (
                n,
                id(m),
                m.training,
                sorted(vars(m)),
                len(m._forward_hooks),
                len(m._forward_pre_hooks),
                len(m._backward_hooks),
            )
            for n, m in module.named_modules()
        ],
    )


def assert_same(before, after):
    assert before[1] == after[1]
    for one, other in zip(before[0], after[0], strict=True):
        assert one[:-1] == other[:-1]
        assert torch.equal(one[-1], other[-1])


@every_card
@pytest.mark.parametrize("training", [False, True])
def test_leaves_no_mark_on_the_users_module(card, training):
    module = mixed().train(training)
    before = fingerprint(module)
    model = model_of(module)
    last(small(card), model)
    half = steps(small(card), model)
    next(half)
    half.close()
    assert_same(before, fingerprint(module))


@every_card
def test_an_exception_inside_forward_leaves_nothing_behind(card):
    module = nets.raises_on_demand()
    model = model_of(module)
    wanted = last(small(card), model).values
    before = fingerprint(module)
    with pytest.raises(RuntimeError, match="too bright"):
        last(small(card), model, picture(model) + 200)  # a mean over picture and baseline, too
    assert_same(before, fingerprint(module))
    assert_outside()
    np.testing.assert_array_equal(last(small(card), model).values, wanted)


def assert_outside():
    """No mode, tape or grad switch of a method is on in this thread."""
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()
    assert torch._C._len_torch_function_stack() == 0
    assert _TAPE.get() is None


@every_card
def test_nothing_is_on_while_a_result_is_looked_at(card):
    for _ in steps(small(card), model_of(mixed())):
        assert_outside()


@every_card
def test_global_random_state_is_not_touched(card):
    model = model_of(mixed())
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    last(small(card), model)
    assert torch.equal(before[0], torch.get_rng_state())
    np.testing.assert_array_equal(before[1], np.random.get_state()[1])  # noqa: NPY002
    assert before[2] == random.getstate()


@every_card
@pytest.mark.parametrize("make", nets.GOOD, ids=lambda make: make.__name__)
def test_works_however_the_network_is_written(card, make):
    """Among them functional, in-place and reused ReLUs, residual additions, flattened heads, ReLU6, user hooks."""
    model = model_of(make(), nets.SIZE)
    if not LACKS.get(make.__name__, set()).isdisjoint(card.needs):
        with pytest.raises(NotApplicable, match=f"^{card.id} needs.*These would work: "):
            last(small(card, nets.SIZE), model)
        return
    wanted = [*range(nets.CLASSES), Target.difference(3, 0)]
    results = [last(small(card, nets.SIZE), model, target=target) for target in wanted]
    for result in results:
        check(result, model)
    assert any(result.values.any() for result in results)


@every_card
@pytest.mark.parametrize("position", ["mean", (4, 5)], ids=str)
def test_a_hidden_unit_can_be_explained(card, position):
    model = model_of(nets.f2())
    if str(position) in REFUSES_UNITS.get(card.id, ()):
        with pytest.raises(NotApplicable, match=f"^{card.id} needs.*3 channel 2.*These would work: "):
            last(small(card), model, target=Target.hidden("3", 2, position))
        return
    result = last(small(card), model, target=Target.hidden("3", 2, position))
    check(result, model)
    assert result.values.any()
    assert "activation" in result.unit or card.id in UNITLESS


@every_card
def test_four_threads_give_the_serial_results(card):
    model = model_of(mixed())
    images = [picture(model, seed) for seed in range(4)]
    serial = [last(small(card), model, image).values for image in images]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda image: last(small(card), model, image).values, images * 2))
    for ours, wanted in zip(found, serial * 2, strict=True):
        np.testing.assert_array_equal(ours, wanted)


@every_card
def test_a_cancel_ends_the_work_within_one_step(card):
    model = model_of(mixed())
    passes = []
    model.logits(picture(model))
    for name in ("scores", "tail", "gradient", "propagate", "pooled"):
        plain = getattr(model, name)
        setattr(model, name, lambda *a, plain=plain, **k: passes.append(1) or plain(*a, **k))
    running = steps(small(card), model)
    next(running)
    spent = len(passes)
    assert spent
    running.close()
    assert len(passes) == spent
    with pytest.raises(StopIteration):
        next(running)


@every_card
def test_a_constant_score_gives_an_empty_map(card):
    module = mixed()
    nn.init.zeros_(module.head.weight)
    result = last(small(card, **EVEN.get(card.id, {})), model_of(module))
    check(result, model_of(module))
    if card.id in EVEN:
        np.testing.assert_allclose(result.values, result.score, rtol=1e-6)
    elif card.id in EQUAL_WEIGHTS:
        assert np.ptp(result.details["weights"][np.isfinite(result.details["weights"])]) < 1e-6
    elif card.id in CLASS_AGNOSTIC:
        np.testing.assert_array_equal(result.values, last(small(card), model_of(mixed())).values)
    else:
        assert not result.values.any()


@every_card
def test_is_frozen_and_its_repr_makes_it_again(card):
    method = small(card)
    assert dataclasses.is_dataclass(method)
    for knob in card.knobs:
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(method, knob.name, knob.default)
    again = eval(repr(method), {card.cls.__name__: card.cls})
    assert again == method
    assert hash(again) == hash(method)


@every_card
def test_a_card_tells_what_it_is(card):
    for text in (card.title, card.idea, card.cite, card.paper, card.section, card.how, card.formula, card.caution):
        assert text.strip()
    assert getattr(xw, card.cls.__name__) is card.cls


PACKAGE = Path(xw.__file__).parent
ROOMS = ("engine", "explainers", "synthesis")


def yields_in_a_context(source):
    """Return the lines of ``yield`` that stand inside a ``with`` block of the same function."""
    found = []

    def look(node, inside):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
                look(child, False)
                continue
            if isinstance(child, (ast.Yield, ast.YieldFrom)) and inside:
                found.append(child.lineno)
            look(child, inside or isinstance(child, (ast.With, ast.AsyncWith)))

    look(ast.parse(source), False)
    return found


@pytest.mark.parametrize(
    "path",
    [p for r in ROOMS for p in sorted((PACKAGE / r).rglob("*.py"))],
    ids=lambda p: p.relative_to(PACKAGE).as_posix(),
)
def test_no_yield_inside_a_context(path):
    assert yields_in_a_context(path.read_text("utf-8")) == []


def test_the_rule_sees_what_it_forbids():
    bad = "def f():\n    with x:\n        for i in y:\n            got = yield i\n        yield from z\n"
    assert yields_in_a_context(bad) == [4, 5]
    assert yields_in_a_context("def f():\n    with x:\n        a = 1\n    yield a\n") == []
