"""A run whose hyper-parameters were moved is made again from what its result says, also after JSON."""

from __future__ import annotations

import json

import numpy as np
import pytest

import xaiwidgets as xw
from xaiwidgets import ActivationMaximization, ExtremalPerturbation, MeaningfulPerturbation, Saliency
from xaiwidgets.engine.replay import planned
from xaiwidgets.engine.run import drive, last
from xaiwidgets.errors import InvalidKnob
from xaiwidgets.render.record import provenance_line, record_json

METHOD = "meaningful_perturbation"


@pytest.fixture(scope="module")
def digits():
    return xw.load_model("digits_gap")


def moved(running, changes, when=lambda result: result.details["step"]):
    """Run to the end and send in, once each, what is to be sent when ``when`` gives that number."""
    result, changes = next(running), dict(changes)
    while result.progress < 1:
        result = running.send(changes.pop(when(result), None))
    return result


@pytest.fixture(scope="module")
def first(digits):
    running = xw.explain_steps(digits, "coffee", METHOD, iterations=10)
    return moved(running, {3: {"sparsity": 0.05}, 7: {"step_size": 0.3, "jitter": 0}})


def test_the_record_of_a_result_gives_the_same_map_again(digits, first):
    made = json.loads(record_json(first))["provenance"]
    again = xw.explain(digits, made["image"], made["method"], events=made["events"], **made["knobs"])
    np.testing.assert_array_equal(again.values, first.values)
    assert again.provenance.events == first.provenance.events
    assert again.provenance.knobs == first.provenance.knobs
    settings_alone = xw.explain(digits, made["image"], made["method"], **made["knobs"])
    assert np.abs(settings_alone.values - first.values).max() > 0.01
    assert settings_alone.provenance.events == ()


def test_the_receipt_says_what_was_moved_and_that_settings_alone_do_not_do(first):
    events = ((4, "sparsity", 3e-4, 0.05), (8, "step_size", 0.1, 0.3), (8, "jitter", 4, 0))
    assert first.provenance.events == events
    line = "moved: sparsity 0.0003 → 0.05 at step 4, step_size 0.1 → 0.3 at step 8, jitter 4 → 0 at step 8"
    assert line in provenance_line(first)
    assert "the settings alone do not give this map" in first.notes[-1]


def test_what_is_sent_between_the_masks_of_one_step_waits_for_the_next(digits):
    """With several areas a step has many results; a replay knows only steps."""
    image = digits.input("coffee")
    method = ExtremalPerturbation(several=True, iterations=4, seed_step=8, width=8)
    results = list(drive(method, digits, image, digits.target(3)))
    places = [round(result.progress * 30) for result in results]  # five passes of six masks
    assert places == list(range(1, 31))
    inside = moved(
        drive(method, digits, image, digits.target(3)),
        {9: {"constraint": 900.0}},
        lambda result: round(result.progress * 30),
    )
    assert inside.details["events"] == ((3, "constraint", 100.0, 900.0),)  # passes 7 to 12 are the second step
    again = xw.explain(digits, "coffee", method, target=3, events=inside.provenance.events)
    np.testing.assert_array_equal(again.values, inside.values)
    assert np.abs(results[-1].values - inside.values).max() > 1e-4


def test_synthesis_too_says_what_was_moved(digits):
    running = drive(ActivationMaximization(iterations=3), digits, None, digits.target(3))
    next(running)
    end = running.send(ActivationMaximization(iterations=3, decay=0.2))
    assert end.provenance.events == end.events != ()


@pytest.mark.parametrize(
    ("events", "message"),
    [
        ([(2, "sparsity", 3e-4, -1.0)], "sparsity must be a number from 0.0 to 10.0; got -1.0"),
        ([(2, "sparsity", 0.5, 1.0)], "at step 2, sparsity was 0.5; it is 0.0003"),
        ([(2, "iterations", 10, 20)], "'iterations' cannot, these can: sparsity, smoothness"),
        ([(2, "nonsense", 1, 2)], "'nonsense' cannot"),
        ([(3, "sparsity", 3e-4, 1.0), (2, "sparsity", 1.0, 2.0)], "step 2 comes after step 3"),
        ([(0, "sparsity", 3e-4, 1.0)], "each .step, name, old value, new value."),
        ([(2, "sparsity", 1.0)], "each .step, name, old value, new value."),
        (["sparsity"], "each .step, name, old value, new value."),
        ("sparsity", "got str"),
        ([(11, "sparsity", 3e-4, 1.0)], "there is one at step 11, and it had 10"),
    ],
)
def test_events_that_are_none_or_of_another_run(events, message, digits):
    with pytest.raises(InvalidKnob, match=message):
        xw.explain(digits, "coffee", METHOD, iterations=10, events=events)


def test_a_method_that_nothing_can_be_moved_of():
    with pytest.raises(InvalidKnob, match="saliency runs; 'samples' cannot, none of its hyper-parameters can"):
        planned(Saliency(), [(1, "samples", 1, 2)])


def test_an_early_stop_before_a_change_is_not_passed_over(digits):
    method = MeaningfulPerturbation(iterations=300, tolerance=0.2)
    stopped = last(drive(method, digits, digits.input("coffee"), digits.target(3)))
    assert stopped.details["step"] < 299
    with pytest.raises(InvalidKnob, match="there is one at step 299"):
        xw.explain(digits, "coffee", method, target=3, events=[(299, "sparsity", 3e-4, 0.1)])
