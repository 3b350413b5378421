"""The saliency metric: its formula on known crops, photos on grass, and where it is unfair."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scenes import FixedMap, fixed

import xaiwidgets as xw
from xaiwidgets.data.scenes import Scene
from xaiwidgets.data.shapes import shapes
from xaiwidgets.evaluation.saliency_metric import box_around, cropped, metric_of


@pytest.fixture(scope="module")
def model():
    return xw.load_model("shapes_gap")


@pytest.fixture(scope="module")
def lite():
    return xw.load_model()


def marked(*box):
    values = np.zeros((48, 48), np.float32)
    top, left, bottom, right = box
    values[top:bottom, left:right] = 1
    return values


def test_small_crops_count_as_a_twentieth():
    assert metric_of((0, 0, 2, 2), (48, 48), 1.0) == pytest.approx(math.log(0.05))
    assert metric_of((0, 0, 24, 48), (48, 48), 0.5) == pytest.approx(math.log(0.5) - math.log(0.5))
    assert metric_of((0, 0, 48, 48), (48, 48), 0.0) == pytest.approx(-math.log(1e-12))


def test_of_the_whole_picture_it_is_the_log_probability(model):
    picture = shapes("test").scene(2)
    found = xw.evaluate(model, picture, fixed(np.ones((48, 48))), "saliency_metric", share=1.0)
    image = model.from_pixels(picture.pixels)
    target = model.target(picture.label).with_output("log_probability")
    assert found.value == pytest.approx(-float(model.scores(image, target)[0]), abs=1e-5)
    assert found.value == pytest.approx(found.controls["whole picture"])


def test_the_crop_is_enlarged_and_classified(model):
    picture = shapes("test").scene(2)
    found = xw.evaluate(model, picture, fixed(marked(10, 5, 30, 40)), "saliency_metric")
    assert found.details["box"] == (10, 5, 30, 40)
    image = model.from_pixels(picture.pixels)
    crop = torch.nn.functional.interpolate(image[..., 10:30, 5:40], (48, 48), mode="bilinear")
    probability = float(model.probabilities(crop)[0, model.target(picture.label).classes[0]])
    assert found.details["probability"] == pytest.approx(probability, abs=1e-6)
    assert found.value == pytest.approx(math.log(20 * 35 / 48**2) - math.log(max(probability, 1e-12)), abs=1e-4)
    assert found.pictures["crop"].shape == (48, 48, 3)


def test_the_box_holds_the_strongest_pixels_with_the_share():
    values = np.zeros((10, 12), np.float32)
    values[2, 3], values[4, 5], values[8, 11] = 6, 3, 1
    assert box_around(values, 0.5) == (2, 3, 3, 4)
    assert box_around(values, 0.9) == (2, 3, 5, 6)
    assert box_around(values, 0.95) == (2, 3, 9, 12)
    assert box_around(-values, 0.9) == (0, 0, 10, 12)


def test_proportions_are_kept_by_padding():
    image = torch.ones(1, 3, 40, 40)
    found = cropped(image, (0, 0, 10, 20), keep=True)
    assert found[0, 0, 10:30].min() == 1
    assert found[0, 0, :10].abs().max() == found[0, 0, 30:].abs().max() == 0
    assert torch.equal(cropped(image, (0, 0, 10, 20)), image)


def test_the_best_of_three_is_never_worse_and_says_that_it_is_optimistic(model):
    picture = shapes("test").scene(2)
    each = [xw.evaluate(model, picture, "grad_cam", "saliency_metric", share=share).value for share in (0.5, 0.8, 0.95)]
    best = xw.evaluate(model, picture, "grad_cam", "saliency_metric", best=True)
    assert best.value == pytest.approx(min(each))
    assert any("optimistic" in note for note in best.notes)


def test_a_map_that_marks_nothing_is_the_whole_picture(model):
    found = xw.evaluate(model, shapes("test").scene(2), FixedMap(-np.ones((48, 48)), signed=True), "saliency_metric")
    assert found.details["box"] == (0, 0, 48, 48)
    assert "W_DEGENERATE" in found.warnings


def test_a_good_crop_beats_a_good_map_beats_the_gradient_on_photos(lite):
    """On 8 photos on grass; measured: true box -0.47 < Grad-CAM 0.84 < gradient 1.30 = whole picture 1.30."""
    pictures = xw.scenes("composites", lite, 8)
    cam = [xw.evaluate(lite, one, "grad_cam", "saliency_metric") for one in pictures]
    gradient = [xw.evaluate(lite, one, "saliency", "saliency_metric") for one in pictures]
    mean = lambda scores: np.mean(list(scores))
    true, whole = (mean(one.controls[name] for one in cam) for name in ("true box", "whole picture"))
    assert true < mean(one.value for one in cam) < mean(one.value for one in gradient)
    assert mean(one.value for one in gradient) == pytest.approx(whole, abs=0.5)


def test_a_network_that_never_saw_large_objects_is_judged_unfairly(model):
    """Shapes of one size range; measured: true box 9.4, whole picture 0.01."""
    found = [xw.evaluate(model, one, "grad_cam", "saliency_metric") for one in shapes("test").scenes(12)]
    true, whole = (np.mean([one.controls[name] for one in found]) for name in ("true box", "whole picture"))
    assert true > 3
    assert whole < 0.1
    assert all("W_OOD" in one.warnings for one in found)


def test_without_a_mask_there_is_no_true_box(model):
    plain = Scene(shapes("test").scene(2).pixels, "disk")
    assert "true box" not in xw.evaluate(model, plain, "grad_cam", "saliency_metric").controls


def test_bad_input_is_named(model):
    picture = shapes("test").scene(0)
    with pytest.raises(xw.errors.InvalidKnob, match="share"):
        xw.evaluate(model, picture, "saliency", "saliency_metric", share=0)
    with pytest.raises(xw.errors.NotApplicable, match="hidden unit"):
        xw.evaluate(model, picture, "saliency", "saliency_metric", target=model.unit("features.7", 3))
