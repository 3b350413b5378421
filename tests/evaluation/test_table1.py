"""The table of localization errors: rows as they come, and a run that goes on where it was."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

import xaiwidgets as xw
from xaiwidgets.core.cards import cards
from xaiwidgets.errors import InvalidKnob
from xaiwidgets.evaluation.table1 import LEFT_OUT, PRINTED, Trial, scaled

METHODS = ["saliency", "grad_cam", "pattern_attribution"]


@pytest.fixture(scope="module")
def trial():
    model = xw.load_model("digits_gap")
    return Trial("digits", model, xw.scenes("digits", model, 12), xw.scenes("digits", model, 12, seed=1))


@pytest.fixture(scope="module")
def rows(trial):
    return list(xw.table1(methods=METHODS[:2], data=[trial]))


def test_rows_say_what_the_metric_says(rows, trial):
    found = {(row.method, row.protocol): row for row in rows}
    assert len(found) == len(rows) == 2 * (5 + 2)
    single = [xw.evaluate(trial.model, scene, "grad_cam", "localization_error") for scene in trial.scenes]
    review = found["grad_cam", "review"]
    assert review.error == np.mean([one.value for one in single])
    assert review.overlap == pytest.approx(np.mean([one.details["iou"] for one in single]))
    tuned = found["grad_cam", "tuned"]
    knobs = {"rule": tuned.rule, "level": tuned.level}
    again = [xw.evaluate(trial.model, scene, "grad_cam", "localization_error", **knobs) for scene in trial.scenes]
    assert tuned.error == np.mean([one.value for one in again])
    assert tuned.tuned_error == xw.tune_localization(trial.model, trial.held_out, "grad_cam").error
    assert (review.rule, review.level, review.printed) == ("energy", 0.95, 0.475)
    assert (review.forward, review.backward) == (24, 24)
    assert (tuned.forward, tuned.count, tuned.held_out) == (0, 12, 12)
    assert review.low <= review.error <= review.high


def test_boxes_that_need_no_explanation_come_first(rows):
    assert [row.method for row in rows[:10:2]] == ["whole picture", "middle", "random", "center", "edges"]
    assert all(row.trivial for row in rows[:10])
    assert not any(row.trivial for row in rows[10:])


def test_a_run_goes_on_where_it_was(trial, rows, tmp_path):
    path = tmp_path / "table1.jsonl"
    steps = xw.table1(methods=METHODS[:2], data=[trial], path=path)
    for _ in range(12):
        next(steps)
    steps.close()
    with path.open("a") as file:
        file.write('{"key": "cut off')
    asked = []
    again = list(xw.table1_steps(methods=METHODS[:2], data=[trial], path=path))
    asked = [row for row in again if row is not None]
    assert len(asked) == len(rows)
    for one, other in zip(asked, rows, strict=True):
        assert (one.method, one.protocol, one.error, one.rule) == (
            other.method,
            other.protocol,
            other.error,
            other.rule,
        )
    whole = list(xw.table1_steps(methods=METHODS[:2], data=[trial], path=path))
    assert whole.count(None) == 1, "nothing is computed again"
    lines = path.read_text().splitlines()
    assert len(lines) == len({json.loads(line)["key"] for line in lines})
    path.write_text("what\n")
    with pytest.raises(InvalidKnob, match="line 1 is none"):
        next(xw.table1(methods=METHODS[:2], data=[trial], path=path))


def test_what_does_not_apply_says_why(trial):
    model = xw.load_model("digits_vgg")
    small = Trial("digits", model, trial.scenes[:1], trial.held_out[:1])
    found = [row for row in xw.table1(methods=["cam"], data=[small]) if not row.trivial]
    assert [row.protocol for row in found] == ["review", "tuned"]
    assert all(math.isnan(row.error) and "average pooling" in row.note for row in found)


def test_pixels_are_scaled_with_the_picture():
    method = scaled(xw.Occlusion(), 48)
    assert (method.window_height, method.stride_height) == (7, 3)
    assert scaled(xw.Occlusion(window_height=9), 48).window_height == 9
    assert scaled(xw.Occlusion(), 224) == xw.Occlusion()


def test_printed_values_belong_to_methods():
    known = {card.id for card in cards("explainer")}
    assert set(PRINTED) <= known
    assert set(LEFT_OUT) <= known


def test_unknown_data_is_named():
    with pytest.raises(InvalidKnob, match="Did you mean shapes"):
        next(xw.table1(data=["shape"]))
    with pytest.raises(InvalidKnob, match="Did you mean shapes"):
        next(xw.table1(data="shape"))
    assert next(xw.table1(methods=["saliency"], data="shapes", count=1)).data == "shapes"


@pytest.mark.lab
@pytest.mark.parametrize("data", ["shapes", "digits"])
def test_every_method_has_its_rows(data):
    """All explainers on five scenes; minutes. A row without an error says why."""
    rows = [row for row in xw.table1(data=[data], count=5) if not row.trivial]
    assert {row.method for row in rows} == {card.id for card in cards("explainer")} - set(LEFT_OUT)
    assert all(row.note for row in rows if math.isnan(row.error))
    assert sum(math.isnan(row.error) for row in rows) <= len(rows) / 5
