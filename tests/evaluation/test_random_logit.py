"""Random logit: which classes are asked about, maps that cannot change, and what a peer computes instead."""

from __future__ import annotations

import math

import nets
import numpy as np
import pytest
import torch
from scenes import MadeMap, fixed

import xaiwidgets as xw
from xaiwidgets.data.shapes import shapes
from xaiwidgets.evaluation.similarity import SIMILARITIES, normalized, ssim
from xaiwidgets.model.model import Model

METRIC = "random_logit"


@pytest.fixture(scope="module")
def model():
    return xw.load_model("shapes_gap")


def scene():
    return shapes("test", 1).scene(0)


def test_every_other_class_is_asked_about_once(model):
    asked = []

    def make(network, image, target):
        asked.append(target.classes)
        return np.random.default_rng(target.classes[0]).random((48, 48))

    found = xw.evaluate(model, scene(), MadeMap(make), METRIC, target=2)
    assert asked[0] == (2,)
    assert sorted(asked[1:]) == [(0,), (1,), (3,)]
    assert len(found.items) == 3
    maps = {c: np.random.default_rng(c).random((48, 48), np.float64).astype(np.float32) for c in range(4)}
    assert found.items == pytest.approx([ssim(maps[2], maps[c[0]]) for c in asked[1:]], abs=1e-6)
    assert found.value == pytest.approx(np.mean(found.items))
    assert tuple(found.details["means"]) == tuple(SIMILARITIES)
    assert found.details["classes"] == tuple(model.labels.short(c[0]) for c in asked[1:])


@pytest.mark.parametrize("output", ["logit", "probability", "log_probability"])
def test_other_classes_are_asked_about_in_the_same_unit(model, output):
    asked = []

    def make(network, image, target):
        asked.append(target.output)
        return np.random.default_rng(target.classes[0]).random((48, 48))

    xw.evaluate(model, scene(), MadeMap(make), METRIC, target=model.target(2).with_output(output))
    assert asked == [output] * 4


def test_a_map_without_a_class_gets_one_and_opposite_maps_are_told_apart_by_sign(model):
    edges = xw.evaluate(model, scene(), fixed(np.random.default_rng(0).random((48, 48))), METRIC)
    assert edges.value == pytest.approx(1)
    assert edges.controls["edges"] == 1
    assert abs(edges.controls["random"]) < 0.1
    values = np.random.default_rng(0).standard_normal((48, 48))
    turning = MadeMap(lambda m, image, target: values if target.classes == (0,) else -values)
    found = xw.evaluate(model, scene(), turning, METRIC, target=0)
    assert found.value == pytest.approx(1)
    assert found.details["means"]["spearman_signed"] == pytest.approx(-1)


def test_grad_cam_depends_on_the_class_and_absolute_gradients_hardly(model):
    """Means of SSIM over 10 shapes; measured: saliency 0.59, guided backpropagation 0.41, Grad-CAM 0.18.

    Of four classes, a gradient that speaks against one speaks for another at the same places: its sign is what differs.
    """
    ids = ("saliency", "guided_backprop", "grad_cam")
    runs = {name: [xw.evaluate(model, one, name, METRIC) for one in shapes("test").scenes(10)] for name in ids}
    found = {name: np.mean([one.value for one in scores]) for name, scores in runs.items()}
    print({name: round(value, 3) for name, value in found.items()})
    assert found["saliency"] > found["grad_cam"] + 0.2
    assert found["guided_backprop"] > found["grad_cam"] + 0.1
    signed = np.mean([one.details["means"]["spearman_signed"] for one in runs["saliency"]])
    absolute = np.mean([one.details["means"]["spearman_abs"] for one in runs["saliency"]])
    assert signed < absolute - 0.3


def test_the_peer_slides_its_window_along_one_row_of_all_pixels(model):
    """Quantus flattens maps before SSIM, so that a window of 7 pixels knows nothing of the rows above and below.

    Two maps that differ by a shuffle of rows, the same one for both, are as alike to it as before.
    """
    from quantus.functions.similarity_func import ssim as theirs

    rng = np.random.default_rng(0)
    base = rng.random((48, 48))
    one, other = base, np.clip(base + 0.5 * rng.random((48, 48)), 0, None)
    flat = theirs(one.reshape(1, -1), other.reshape(1, -1), batched=True)[0]
    order = rng.permutation(48)
    shuffled = theirs(one[order].reshape(1, -1), other[order].reshape(1, -1), batched=True)[0]
    assert flat == pytest.approx(shuffled, abs=0.01)
    rows = np.sin(np.arange(48) / 4)[:, None] * np.ones(48) + 1
    ours = ssim(rows, rows[:, ::-1])
    assert ours == pytest.approx(1)
    from skimage.metrics import structural_similarity

    direct = structural_similarity(
        normalized(one), normalized(other), data_range=1.0, gaussian_weights=True, sigma=1.5,
        use_sample_covariance=False,
    )  # fmt: skip
    assert ssim(one, other) == pytest.approx(direct)


def test_what_is_no_class_is_refused(model):
    unit = xw.Target.hidden("features.3", 2)
    with pytest.raises(xw.errors.NotApplicable, match="random_logit needs a class as the target"):
        xw.evaluate(model, scene(), "saliency", METRIC, target=unit)
    with pytest.raises(xw.errors.NotApplicable, match="there is no other"):
        xw.evaluate(model, scene(), "saliency", METRIC, target=(0, 1, 2, 3))
    with pytest.raises(xw.errors.InvalidKnob, match="similarity must be"):
        xw.RandomLogit(similarity="cosine")


def test_constant_maps_have_no_rank_correlation(model):
    found = xw.evaluate(model, scene(), fixed(np.ones((48, 48))), METRIC, similarity="spearman_abs")
    assert math.isnan(found.value)
    assert found.warnings == ("W_DEGENERATE",)


@pytest.mark.parametrize("make", [nets.f3, nets.in_place_input], ids=lambda f: f.__name__)
def test_odd_networks_work(make):
    model = Model(make(), size=nets.SIZE)
    before = {key: value.clone() for key, value in model.module.state_dict().items()}
    picture = np.random.default_rng(0).random((nets.SIZE, nets.SIZE, 3)).astype(np.float32)
    found = xw.evaluate(model, picture, "saliency", METRIC, classes=2)
    assert len(found.items) == 2
    assert "W_SMALL" in found.warnings
    assert all(torch.equal(value, before[key]) for key, value in model.module.state_dict().items())
