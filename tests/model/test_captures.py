"""Captures: one pass serves every layer, and nobody gets another question's answer."""

from __future__ import annotations

import nets
import pytest
import torch

from xaiwidgets.model.captures import KEPT, Captures, ScoreTable
from xaiwidgets.model.meter import CURRENT, Meter
from xaiwidgets.model.model import Model
from xaiwidgets.model.targets import EachClass


@pytest.fixture
def meter():
    token = CURRENT.set(Meter())
    yield CURRENT.get()
    CURRENT.reset(token)


@pytest.fixture
def model():
    return Model(nets.f3(), size=nets.SIZE)


def test_one_pass_serves_all_stages_and_equals_single_ones(model, meter):
    captures, x, target = Captures(), nets.images(), model.target(1)
    found = {s.name: captures.pair(model, x, target, s.name) for s in model.stages}
    assert meter.passes == (1, 1)
    for name, ((activation, gradient), score) in found.items():
        alone = model.gradient(x, target, layers=[name], wrt_input=False)
        torch.testing.assert_close(activation, alone.layers[name][0], rtol=1e-5, atol=1e-7)
        torch.testing.assert_close(gradient, alone.layers[name][1], rtol=1e-5, atol=1e-7)
        torch.testing.assert_close(score, alone.score)


def test_a_layer_that_is_no_stage_costs_one_more_pass(model, meter):
    captures, x, target = Captures(), nets.images(), model.target(1)
    captures.pair(model, x, target, "bn3")
    captures.pair(model, x, target, "conv1")
    assert meter.passes == (2, 2)
    captures.pair(model, x, target, "conv1")
    captures.pair(model, x, target, "relu")
    assert meter.passes == (2, 2)


def test_another_picture_target_or_weights_is_another_question(model, meter):
    captures, x = Captures(), nets.images()
    one = captures.pair(model, x, model.target(1), "bn3")
    assert not torch.equal(captures.pair(model, x, model.target(2), "bn3")[0][1], one[0][1])
    assert not torch.equal(captures.pair(model, x + 1, model.target(1), "bn3")[0][0], one[0][0])
    with torch.no_grad():
        model.module.conv1.weight.mul_(2)
    assert not torch.equal(captures.pair(model, x, model.target(1), "bn3")[0][0], one[0][0])
    assert meter.passes == (4, 4)


def test_only_the_last_few_are_kept(model, meter):
    captures, x = Captures(), nets.images()
    for index in range(KEPT):
        captures.pair(model, x, model.target(index), "bn3")
    captures.pair(model, x, model.target(0), "conv1")  # used again, so that it is not the oldest
    captures.pair(model, x, model.target(KEPT), "bn3")
    spent = meter.forward
    assert spent == KEPT + 2
    captures.pair(model, x, model.target(0), "bn3")
    assert meter.forward == spent
    captures.pair(model, x, model.target(1), "bn3")
    assert meter.forward == spent + 1


def test_a_sharing_view_has_captures_of_its_own(model):
    view = model.sharing()
    assert model.captures is None
    assert isinstance(view.captures, Captures)
    changed = view.with_weights(lambda name, value: value)
    assert isinstance(changed.captures, Captures)
    assert changed.captures is not view.captures
    assert model.with_weights({}).captures is None


def test_a_whole_pass_serves_the_picture_and_every_stage(model, meter):
    view, x, target = model.sharing(whole=True), nets.images(), model.target(1)
    view.captures.admit(x)
    found = view.gradient(x, target)
    for stage in model.stages:
        activation, gradient = view.gradient(x, target, layers=[stage.name], wrt_input=False).layers[stage.name]
        alone = model.exactly().gradient(x, target, layers=[stage.name])
        torch.testing.assert_close(activation, alone.layers[stage.name][0], rtol=1e-5, atol=1e-7)
        torch.testing.assert_close(gradient, alone.layers[stage.name][1], rtol=1e-5, atol=1e-7)
        torch.testing.assert_close(found.input, alone.input, rtol=1e-5, atol=1e-7)
    assert meter.passes == (1 + len(model.stages), 1 + len(model.stages))  # one of them is the view's


def test_a_whole_pass_is_for_admitted_pictures_one_at_a_time(model, meter):
    view, x, target = model.sharing(whole=True), nets.images(2), model.target(1)
    view.captures.admit(x[:1])
    view.gradient(x, target)
    view.gradient(x[1:], target)
    view.gradient(x[1:], target)
    assert meter.passes == (4, 4)
    view.gradient(x[:1], target)
    view.gradient(x[:1], target)
    assert meter.passes == (5, 5)
    model.gradient(x[:1], target)
    assert meter.passes == (6, 6)


def test_a_whole_pass_follows_target_and_weights(model, meter):
    view, x = model.sharing(whole=True), nets.images()
    view.captures.admit(x)
    one = view.gradient(x, model.target(1)).input
    assert not torch.equal(view.gradient(x, model.target(2)).input, one)
    with torch.no_grad():
        model.module.conv1.weight.mul_(2)
    assert not torch.equal(view.gradient(x, model.target(1)).input, one)
    assert meter.passes == (3, 3)
    assert not view.with_weights({}).captures.whole


def table(classes=(0, 2), count=6):
    return ScoreTable(EachClass(classes, "logit"), torch.zeros(1, len(classes)), count)


def test_a_table_grows_without_gaps_and_keeps_what_it_knows():
    one = table()
    one.add(range(2, 4), torch.ones(2, 2))
    assert one.done == 0, "what comes before is not known"
    one.add(range(3), torch.full((3, 2), 5.0))
    one.add(range(2, 5), torch.full((3, 2), 7.0))
    assert one.done == 5
    assert one.rows(range(5)).tolist() == [[5.0, 5.0]] * 3 + [[7.0, 7.0]] * 2
    assert one.rows(range(4, 6)) is None
    one.rows(range(2)).zero_()
    assert one.rows(range(2)).min() == 5, "what was handed out is a copy"


def test_only_the_last_few_tables_are_kept_and_the_longest_that_fits_is_found(model):
    captures, x, target = Captures(), nets.images(), model.target(0)
    made = [captures.table(model, x, ("a", number), target, table) for number in range(KEPT + 1)]
    assert len(set(map(id, made))) == KEPT + 1
    assert captures.table(model, x, ("a", KEPT), target, table) is made[KEPT]
    assert captures.table(model, x, ("a", 1), target, table) is made[1]
    fresh = captures.table(model, x, ("a", 0), target, table)
    assert fresh is not made[0]
    more = captures.table(model, x, ("a", 0), model.target(1), lambda: table((0, 1)))
    assert captures.table(model, x, ("a", 0), target, table) in (fresh, more)
    more.add(range(2), torch.ones(2, 2))
    assert captures.table(model, x, ("a", 0), target, table) is more
    fresh.add(range(3), torch.ones(3, 2))
    assert captures.table(model, x, ("a", 0), target, table) is fresh
