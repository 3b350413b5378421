"""The driver of evaluations: what it counts, writes down and refuses, and that it leaves nothing behind."""

from __future__ import annotations

import numpy as np
import pytest
from scenes import MadeMap, fixed

import xaiwidgets as xw
from xaiwidgets.core.scores import Limit
from xaiwidgets.data.shapes import shapes
from xaiwidgets.evaluation.case import Case, map_of, reduced
from xaiwidgets.evaluation.judge import case_of
from xaiwidgets.model.meter import CURRENT


@pytest.fixture(scope="module")
def model():
    return xw.load_model("shapes_gap")


@pytest.fixture(scope="module")
def scene():
    return shapes("test", 1).scene(0)


def test_a_score_says_how_to_redo_it(model, scene):
    score = xw.evaluate(model, scene, ("smoothgrad", {"samples": 4}), "pointing_game", tolerance=3, seed=7)
    assert (score.metric, score.seed, score.knobs) == ("pointing_game", 7, {"tolerance": 3.0})
    assert score.direction == "higher"
    told = score.provenance
    assert (told.method, told.model, told.image) == ("smoothgrad", "shapes_gap", scene.name)
    assert told.knobs["samples"] == 4
    assert told.passes[1] == 4
    assert told.seconds > 0
    assert told.target == scene.label
    again = xw.evaluate(model, scene, (told.method, dict(told.knobs)), score.metric, seed=score.seed, **score.knobs)
    assert again.value == score.value
    assert again.controls == score.controls


def test_a_finished_map_is_not_computed_again(model, scene):
    image = (scene.pixels * 255).round().astype(np.uint8)
    found = xw.explain(model, image, "gradient_x_input", target=scene.label)
    case = case_of(model, image, found, target=scene.label)
    assert case.known
    assert type(case.method).card.id == "gradient_x_input"
    score = xw.evaluate(model, scene, found, "pointing_game")
    assert score.provenance.passes == (0, 0)
    assert np.array_equal(score.maps["map"], map_of(found, "pos"))


def test_the_default_target_is_the_scenes_class(model, scene):
    asked = []
    method = MadeMap(lambda model, image, target: asked.append(target.name) or np.ones((48, 48)))
    xw.evaluate(model, scene, method, "pointing_game")
    xw.evaluate(model, scene, method, "pointing_game", target="cross")
    assert asked == [scene.label, "cross"]


def test_cancelling_leaves_no_meter_behind(model, scene):
    steps = xw.evaluate_steps(model, scene, ("smoothgrad", {"samples": 64}), "pointing_game")
    assert next(steps) is None  # still at work: the map comes first
    steps.close()
    assert CURRENT.get() is None


def test_what_is_wrong_is_named(model, scene):
    with pytest.raises(xw.errors.InvalidKnob, match="model must be a Model"):
        xw.evaluate("shapes_gap", scene, metric="pointing_game")
    with pytest.raises(xw.errors.InvalidKnob, match="seed must be"):
        xw.evaluate(model, scene, "saliency", "pointing_game", seed=-1)
    with pytest.raises(xw.errors.InvalidKnob, match="limit must be a Limit"):
        xw.evaluate(model, scene, "saliency", "pointing_game", limit=0.5)
    with pytest.raises(xw.errors.InvalidKnob, match="activation_maximization is a synthesizer"):
        xw.evaluate(model, scene, "activation_maximization", "pointing_game")
    with pytest.raises(xw.errors.UnknownMethod, match="metric must be one of"):
        xw.evaluate(model, scene, "saliency", "beauty")
    with pytest.raises(xw.errors.InvalidImage, match="attribution of size"):
        small = xw.explain(xw.load_model("digits_gap"), np.zeros((24, 24), np.uint8), "saliency").replace(size=(24, 24))
        xw.evaluate(model, scene, small, "pointing_game")


def test_a_limit_of_ones_own_is_used(model, scene):
    score = xw.evaluate(model, scene, fixed(scene.mask), "pointing_game", limit=Limit(">", 2))
    assert score.verdict == "fail"


def test_explaining_yields_between_steps_and_sees_what_is_changed(model, scene):
    case = case_of(model, scene, ("smoothgrad", {"samples": 32}))
    steps, count = case.explaining(target=model.target("cross")), 0
    while True:
        try:
            next(steps)
            count += 1
        except StopIteration as end:
            found = end.value
            break
    assert count >= 1
    assert found.progress == 1
    whole = xw.explain(model, np.zeros((48, 48, 3)), "saliency")  # another network state would show here
    assert whole.progress == 1


def test_reductions():
    values = np.array([[[1.0, -2.0]], [[3.0, -4.0]]], np.float32)
    assert reduced(values, "abs").tolist() == [[4, 6]]
    assert reduced(values, "signed").tolist() == [[4, -6]]
    assert reduced(values, "pos").tolist() == [[4, 0]]
    assert reduced(values, "max").tolist() == [[3, 4]]
    with pytest.raises(ValueError, match="reduction must be"):
        reduced(values, "mean")


def test_a_case_draws_from_its_seed(model, scene):
    one = Case(model, model.from_pixels(scene.pixels), None, model.target("disk"), seed=3)
    assert one.rng(1).random() == one.rng(1).random()
    assert one.rng(1).random() != one.rng(2).random()
    assert one.size == (48, 48)
