"""Two networks: the same twice, one with other weights, and pairs that were trained (lab)."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import xaiwidgets as xw
from xaiwidgets.data.scenes import Scene
from xaiwidgets.data.shapes import SHAPES, SIDE, TAG, shapes
from xaiwidgets.evaluation.uses.two_models import overlap
from xaiwidgets.learned.recipes import Recipe, recipe, train

TAG_BOX = (SIDE - TAG[0] - 1, 1, SIDE - 1, TAG[1] + 1)


@pytest.fixture(scope="module")
def model():
    return xw.load_model("shapes_gap")


@pytest.fixture(scope="module")
def scenes():
    return shapes("test", 6).scenes()


def test_a_network_agrees_with_itself(model, scenes):
    found = xw.compare_models(model, model, scenes)
    assert found.value == pytest.approx(1)
    assert found.details["ssim"] == pytest.approx(1)
    assert found.details["overlap of the top tenth"] == 1
    assert found.details["equal"]
    assert found.details["both right"] == len(found.rows) == 6
    areas = found.details["deletion"]
    assert areas["first by the first's map"] == pytest.approx(areas["second by the second's map"])
    assert all(len(curve.x) == 21 and curve.y[0] > 0.5 for curve in found.curves)


def test_other_weights_have_other_reasons_and_the_least_alike_come_first(model, scenes):
    """Noise on the last layers keeps the answers and moves the maps."""
    other = model.with_weights(lambda name, value: value if "features.0" in name else value * 1.0 + 0.02 * value.std())
    found = xw.compare_models(model, other, scenes, "gradient_x_input", deletion=False)
    assert found.value < 0.9999
    similar = [row[1] for row in found.rows]
    assert similar == sorted(similar)
    assert found.curves == ()
    assert len(found.maps) == 2 * len(found.pictures)


def test_shares_are_those_of_the_region(model, scenes):
    whole = xw.compare_models(model, model, scenes[:2], region=TAG_BOX, deletion=False)
    own = xw.compare_models(model, model, scenes[:2], deletion=False)
    assert whole.details["shares"][0] < 0.1 < own.details["shares"][0]


def test_overlap_counts_pixels():
    one, other = np.zeros((10, 10)), np.zeros((10, 10))
    one[0], other[0, :5], other[5, :5] = 1, 1, -1
    assert overlap(one, one) == 1
    assert overlap(one, other) == pytest.approx(5 / 15)


def test_networks_that_are_never_both_right_have_no_value(model, scenes):
    always = model.with_weights({"classifier.bias": torch.tensor([1e4, 0, 0, 0])})
    crosses = [s for s in scenes if s.label != "disk"]
    found = xw.compare_models(model, always, crosses)
    assert found.details["accuracy"] == (1, 0)
    assert not found.details["equal"]
    assert np.isnan(found.value)
    assert "differ by more than a point" in found.notes[0]
    assert "no scene on which both" in found.notes[1]


def test_what_does_not_fit_is_named(model):
    with pytest.raises(xw.errors.InvalidModel, match="the same classes"):
        xw.compare_models(model, xw.load_model("digits_gap"), shapes("test", 1).scenes())
    with pytest.raises(xw.errors.InvalidImage, match="scenes must have classes"):
        xw.compare_models(model, model, [Scene(np.zeros((48, 48, 3)))])
    larger = xw.Model(model.module, labels=list(SHAPES), mean=(0.5,) * 3, std=(0.25,) * 3, size=64, crop=1.0)
    with pytest.raises(xw.errors.InvalidModel, match="the same pictures"):
        xw.compare_models(model, larger, shapes("test", 1).scenes())


def digit_scenes(count):
    images, labels = recipe("digits8").load("test")
    return [
        Scene(image, str(label), name=f"digit {k}") for k, (image, label) in enumerate(zip(images, labels, strict=True))
    ][:count]


@pytest.mark.lab
def test_seeds_of_one_network_are_the_control():
    """Calibrated on digits: rank correlation of gradients 0.67, of gradient × input 0.96."""
    one, other = (train("digits8", seed=seed) for seed in (0, 1))
    scenes = digit_scenes(60)
    saliency = xw.compare_models(one, other, scenes, deletion=False)
    product = xw.compare_models(one, other, scenes, ("gradient_x_input", {"baseline": "black"}), deletion=False)
    assert saliency.value >= 0.5
    assert product.value >= 0.9


@pytest.mark.lab
def test_a_linear_classifier_is_right_for_other_reasons():
    made = recipe("digits8")
    linear = Recipe(
        "linear", "Softmax regression", lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), made.load, made.labels,
        made.mean, made.std, epochs=40, rate=2e-2,
    )  # fmt: skip
    net, regression, seeded = train("digits8"), train(linear), train("digits8", seed=1)
    scenes = digit_scenes(40)
    control = xw.compare_models(net, seeded, scenes, deletion=False)
    assert xw.compare_models(net, regression, scenes, deletion=False).value < control.value - 0.1


@pytest.mark.lab
def test_equal_accuracy_and_other_reasons(hans, honest, tagged_disks):
    """On tagged shapes both are right; one looks at the tag, and what one needs, the other's map deletes late."""
    data = shapes("test", 400, tags="correlated")
    scenes = [data.scene(k) for k in range(400)]
    equal = xw.compare_models(hans, honest, scenes[:200], "gradient_x_input", deletion=False)
    assert abs(equal.details["accuracy"][0] - equal.details["accuracy"][1]) <= 0.02
    found = xw.compare_models(hans, honest, tagged_disks[:30], "integrated_gradients", region=TAG_BOX)
    first, second = found.details["shares"]
    assert first >= 5 * second
    areas = found.details["deletion"]
    assert areas["second by the first's map"] > areas["second by the second's map"]
