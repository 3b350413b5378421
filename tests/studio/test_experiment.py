"""The record of one test: what counts as another question, and what its number is held against."""

from __future__ import annotations

import dataclasses

import pytest

from xaiwidgets.core.metric_cards import metric_card, metric_cards
from xaiwidgets.core.scores import Limit, Score
from xaiwidgets.errors import UnknownMethod
from xaiwidgets.render.look import Look
from xaiwidgets.studio.experiment import FIRST_REGION, Experiment, aimable, beyond, default_limit


def test_settings_are_clamped_and_kept_when_another_test_is_chosen():
    first = Experiment().with_knobs(stages=5, seeds=10**9, order="sideways", nonsense=1)
    assert first.knobs == (("seeds", 20), ("stages", 5))
    other = first.with_metric("deletion").with_knobs(substrate="blur")
    assert other.knobs == (("substrate", "blur"),)
    assert other.with_metric("model_parameter_randomization").knobs == first.knobs
    assert other.make().substrate == "blur"
    assert first.with_knobs(stages=0, seeds=1).settings == ()


def test_thresholds_and_looks_are_no_new_question_but_all_else_is():
    first = Experiment()
    same = [
        first.with_limit(Limit("<", 0.1)),
        first.replace(lens=first.lens.replace(look=Look(opacity=0.2))),
        first.replace(region=(0, 0, 0.5, 0.5)),  # this test has no aim
    ]
    assert {one.question for one in same} == {first.question}
    others = [
        first.with_metric("deletion"),
        first.with_knobs(stages=3),
        first.replace(seed=1),
        first.with_lens(first.lens.replace(image="rocket")),
        first.with_lens(first.lens.replace(target=(3,))),
        first.with_lens(first.lens.with_method("saliency")),
    ]
    assert len({one.question for one in (first, *others)}) == 7


def test_a_region_counts_where_an_attack_goes_for_it():
    attack = Experiment().with_metric("explanation_fragility").replace(region=(0, 0, 0.5, 0.5))
    assert aimable(attack.card)
    assert not attack.aims
    aimed = attack.with_knobs(attack="target")
    assert aimed.aims
    assert aimed.question != aimed.replace(region=None).question
    assert (aimed.aim, aimed.replace(region=None).aim) == ((0, 0, 0.5, 0.5), FIRST_REGION)
    assert attack.aim is None
    assert attack.question == attack.replace(region=None).question
    assert not aimable(metric_card("deletion"))


def test_another_method_drops_settings_that_name_its_hyper_parameters():
    named = Experiment().with_metric("sam_sensitivity").with_knobs(parameter="relu", count=3)
    assert dict(named.with_lens(named.lens.replace(image="rocket")).knobs)["parameter"] == "relu"
    other = named.with_lens(named.lens.with_method("smoothgrad"))
    assert dict(other.knobs) == {"count": 3}


def test_the_threshold_is_a_persons_or_the_one_that_is_written_down():
    score = Score(0.3, "", metric="deletion", controls={"random": 0.2})
    found = default_limit(score)
    assert (found.relation, found.value) == ("<", 0.2)
    assert default_limit(dataclasses.replace(score, progress=0.5)) is None  # random orders are not done
    assert default_limit(dataclasses.replace(score, metric="insertion")).relation == ">"
    assert default_limit(Score(0.3, "", metric="road")) is None
    experiment = Experiment().with_metric("deletion")
    assert experiment.judged(score).verdict == "fail"
    assert experiment.with_limit(Limit("<", 0.9)).judged(score).verdict == "pass"
    assert experiment.with_limit(Limit("<", 0.9)).with_limit(None).limits == ()
    other = experiment.with_limit(Limit("<", 0.9)).with_metric("insertion")
    assert other.judged(dataclasses.replace(score, metric="deletion")).verdict == "pass"  # kept for its own test


def test_tests_that_need_more_than_a_photo_say_what():
    assert beyond(metric_card("roar")) == ("recipe",)
    assert beyond(metric_card("data_randomization")) == ()  # it brings along what it needs
    assert beyond(metric_card("pointing_game")) == ("truth",)
    assert [card.id for card in metric_cards() if card.id == "deletion" and not beyond(card)] == ["deletion"]
    with pytest.raises(UnknownMethod):
        Experiment().with_metric("delation")
