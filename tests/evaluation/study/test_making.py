"""Items made from networks: only pictures that a question can be asked about, and checks that check."""

from __future__ import annotations

import numpy as np
import pytest

import xaiwidgets as xw
from xaiwidgets.data.pairs import shape_pairs
from xaiwidgets.data.shapes import SHAPES, shapes
from xaiwidgets.errors import InvalidImage, InvalidKnob, NotApplicable
from xaiwidgets.evaluation.study.making import prepare_study, prepare_study_steps
from xaiwidgets.evaluation.study.outcome import study_results
from xaiwidgets.evaluation.study.simulated import simulated_rater


@pytest.fixture(scope="module")
def network():
    return xw.load_model("shapes_gap")


@pytest.fixture(scope="module")
def bundled():
    """The bundled study of two networks, with all that was told while it was made."""
    return list(prepare_study_steps("model", count=12))


def test_the_bundled_study_of_two_networks_is_one_that_masks_can_answer(bundled):
    made = bundled[-1].study
    assert (len(made.items), sum(item.check for item in made.items)) == (14, 2)
    assert made.facts["accuracy of the better"] > made.facts["accuracy of the worse"]
    found = study_results(made, [simulated_rater(made)])
    assert found.overall.mean > 0.8 * 2
    assert found.attention == {1: 1.0}
    for item in made.items:
        assert np.array_equal(*item.maps) == item.check
    assert any("Training" in state.text for state in bundled)
    assert all(state.progress is None or 0 <= state.progress <= 1 for state in bundled)


def test_the_bundled_study_of_two_classes_is_one_that_masks_can_answer():
    made = prepare_study("class", methods=["grad_cam"], count=8, checks=1)
    found = study_results(made, [simulated_rater(made)])
    assert found.overall.mean > 0.8
    assert found.attention == {1: 1.0}
    assert all(item.options[0] in item.picture for item in made.items)


def test_pictures_to_be_recognized_are_painted(network):
    made = prepare_study("recognition", methods=[("activation_maximization")], count=4, checks=1)
    counted = [item for item in made.items if not item.check]
    assert len(counted) == 4
    assert {item.options[0] for item in counted} <= set(SHAPES)
    assert all(set(item.options) == set(SHAPES) and not item.maps for item in made.items)
    for item in counted:
        pixels = network.input(item.photo)
        assert network.logits(pixels).argmax() == network.labels.index(item.options[0])


def test_only_pictures_that_both_networks_know_are_asked_about(network):
    rng = np.random.default_rng(0)
    other = network.with_weights(
        lambda name, value: value + value.std() * value.new_tensor(rng.normal(size=value.shape)) * 0.8
        if value.ndim > 1 else value
    )  # fmt: skip
    scenes = shapes("test", seed=5).scenes(60)
    made = prepare_study("model", model=other, other=network, scenes=scenes, methods=["saliency"], count=4, checks=1)
    known = {scene.name: scene for scene in scenes}
    for item in made.items:
        scene = known[item.picture]
        for one in (network, other):
            assert one.logits(one.from_pixels(scene.pixels)).argmax() == one.labels.index(scene.label)
    first = next(item for item in made.items if not item.check)
    scene = known[first.picture]
    maps = [xw.explain(one, scene.pixels, "saliency", target=scene.label).heatmap() for one in (network, other)]
    alike = np.corrcoef(np.stack([first.maps[0], *maps]).reshape(3, -1))[0, 1:]
    assert alike[0] > 0.95 > alike[1]  # the more accurate network comes first, however it is given


def test_two_shapes_lie_apart_and_are_both_named():
    found = shape_pairs(40, seed=1)
    assert all((a.pixels == b.pixels).all() for a, b in zip(found, shape_pairs(40, seed=1), strict=True))
    for scene in found:
        other = scene.facts["other_mask"]
        assert not (scene.mask & other).any()
        assert scene.mask.any()
        assert other.any()
        assert scene.label != scene.facts["other"]
    first = [np.argwhere(scene.mask).mean(0) < np.argwhere(scene.facts["other_mask"]).mean(0) for scene in found]
    assert 0.2 < np.mean(first) < 0.8
    with pytest.raises(InvalidKnob, match="count"):
        shape_pairs(0)


def test_a_preparation_can_be_stopped_at_every_step():
    steps = prepare_study_steps("model")
    for state in steps:
        if "Training" in state.text:
            break
    steps.close()
    assert next(steps, None) is None


def test_what_cannot_be_asked_is_refused(network):
    scenes = shapes("test").scenes(6)
    own = {"model": network, "scenes": scenes}
    for mode, options, error, words in (
        ("trust", {}, InvalidKnob, "mode must be"),
        ("model", {"count": 1}, InvalidKnob, "count must be"),
        ("model", {"count": True}, InvalidKnob, "count must be"),
        ("model", {"checks": -1}, InvalidKnob, "checks must be"),
        ("model", {"methods": []}, InvalidKnob, "at least one"),
        ("model", {"methods": ["activation_maximization"]}, InvalidKnob, "must be explainers"),
        ("recognition", {"methods": ["saliency"]}, InvalidKnob, "must be synthesizers"),
        ("model", {"scenes": scenes}, InvalidKnob, "without a model"),
        ("model", own, InvalidKnob, "other must be a second network"),
        ("class", {"model": network}, InvalidKnob, "scenes must be pictures"),
        ("class", own, NotApplicable, "two classes"),
        ("class", {"model": network, "scenes": [1]}, InvalidImage, "list of at least one Scene"),
        ("model", {**own, "other": network}, NotApplicable, "more accurate"),
        ("nothing", {}, InvalidKnob, "mode must be one of class, model, recognition"),
    ):
        with pytest.raises(error, match=words):
            prepare_study(mode, **options)
