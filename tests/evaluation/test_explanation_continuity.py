"""Explanation continuity: linear models, a maximum that jumps, moved pictures, and who is smooth on digits."""

from __future__ import annotations

import math
from itertools import pairwise

import nets
import numpy as np
import pytest
import torch
from scenes import MadeMap, fixed
from torch import nn

import xaiwidgets as xw
from xaiwidgets.data.digits import digits
from xaiwidgets.data.shapes import shapes
from xaiwidgets.evaluation.explanation_continuity import quarters_of, variation
from xaiwidgets.evaluation.judge import case_of
from xaiwidgets.model.model import Model

ID = "explanation_continuity"
PICTURE = np.random.default_rng(0).random((16, 16, 3)).astype(np.float32)


def linear():
    torch.manual_seed(0)
    return Model(nn.Sequential(nn.Flatten(), nn.Linear(3 * 256, 3)).double(), size=16)


def test_a_linear_models_gradient_never_changes():
    assert xw.evaluate(linear(), PICTURE, "saliency", ID, target=1).value == 0


@pytest.mark.parametrize("direction", ["across", "down"])
def test_a_linear_models_product_changes_by_what_moves(direction):
    model = linear()
    knobs = {"target": 1, "normalized": False, "shifts": 6, "direction": direction}
    score = xw.evaluate(model, PICTURE, "gradient_x_input", ID, **knobs)
    case = case_of(model, PICTURE, "gradient_x_input", target=1)
    weight = model.module[1].weight[1].detach().reshape(3, 16, 16)
    metric = xw.ExplanationContinuity(direction=direction)
    moved = [metric.moved(case, shift)[0] for shift in score.details["shifts"]]
    ratios = [float((weight * (b - a)).abs().sum() / (b - a).square().sum().sqrt()) for a, b in pairwise(moved)]
    assert score.value == pytest.approx(max(ratios), rel=1e-5)
    assert score.curves[-1].y == pytest.approx(ratios, rel=1e-5)
    assert score.value <= float(weight.square().sum().sqrt())
    assert score.curves[0].y == pytest.approx([float(model.logits(x[None])[0, 1]) for x in moved], rel=1e-5)


def test_the_gradient_of_a_maximum_jumps():
    """f = max(x₁, x₂): the smaller the step across x₁ = x₂, the larger the variation, without a bound."""

    class Largest(nn.Module):
        def forward(self, x):
            return torch.cat([x.flatten(1).amax(1, keepdim=True), 0 * x.flatten(1)[:, :1]], dim=1)

    model = Model(Largest(), size=(1, 2), mean=(0.0,), std=(1.0,))
    found = []
    for step in (0.1, 0.01, 0.001):
        ends = [torch.tensor([[[[0.5 + s, 0.5]]]]) for s in (step, -step)]
        maps = [model.gradient(x, model.target(0)).input.double().numpy() for x in ends]
        found.append(variation(maps, ends))
    assert found == pytest.approx([2 / 0.2, 2 / 0.02, 2 / 0.002], rel=1e-3)
    assert math.isnan(variation(maps, [ends[0], ends[0]]))


def test_the_largest_step_is_the_one_that_is_shown():
    """A map that is one thing until the bright column has passed the middle, and another from there on."""
    picture = np.zeros((16, 16, 3), np.float32)
    picture[:, 8] = 1

    def make(network, image, target):
        column = int(network.to_pixels(image).mean(axis=(0, 2)).argmax())
        values = np.ones((16, 16))
        values[:, :8] = 5 if column < 10 else 1
        return values

    knobs = {"shifts": 9, "reach": 0.25, "fill": "black", "normalized": False}
    score = xw.evaluate(linear(), picture, MadeMap(make), ID, target=1, **knobs)
    shifts = score.details["shifts"]
    before = max(shift for shift in shifts if 8 + shift < 10)
    assert score.details["worst"] == (before, min(shift for shift in shifts if shift > before))
    assert score.maps["map before the largest step"][0, 0] == 5
    assert score.maps["map after it"][0, 0] == 1
    assert int(score.pictures["before the largest step"].mean(axis=(0, 2)).argmax()) == 8 + before
    assert int(score.pictures["after it"].mean(axis=(0, 2)).argmax()) >= 10


def test_a_picture_without_anything_in_it_is_no_step():
    model = xw.load_model("shapes_gap")
    score = xw.evaluate(model, xw.Scene(np.full((48, 48, 3), 0.5), label=0), "saliency", ID, shifts=4)
    assert math.isnan(score.value)
    assert "the same wherever" in score.notes[0]
    zero = xw.evaluate(model, shapes("test", 1).scene(0), fixed(np.zeros((48, 48))), ID, shifts=4)
    assert math.isnan(zero.value)
    assert zero.warnings == ("W_DEGENERATE",)


@pytest.mark.parametrize("fill", ["reflect", "edge", "black"])
@pytest.mark.parametrize("direction", ["across", "down"])
def test_pictures_are_moved_as_numpy_moves_them(fill, direction):
    model = Model(nets.f1(), size=nets.SIZE)
    case = case_of(model, PICTURE, "saliency")
    metric = xw.ExplanationContinuity(fill=fill, direction=direction)
    whole = case.image[0].contiguous().numpy()
    if direction == "down":
        whole = whole.transpose(0, 2, 1)
    black = (0 - np.array(model.preprocessing.mean)) / np.array(model.preprocessing.std)
    for shift in (-3, 0, 5):
        pads = ((0, 0), (0, 0), (max(shift, 0), max(-shift, 0)))
        if fill == "black":
            padded = np.broadcast_to(black[:, None, None], (3, 16, 16 + abs(shift))).copy()
            padded[:, :, max(shift, 0) : max(shift, 0) + 16] = whole
        else:
            padded = np.pad(whole, pads, mode=fill)
        wanted = padded[..., :16] if shift >= 0 else padded[..., -16:]
        moved = metric.moved(case, shift)[0].contiguous().numpy()
        moved = moved.transpose(0, 2, 1) if direction == "down" else moved
        np.testing.assert_allclose(moved, wanted, atol=1e-6)


def test_positions_are_whole_pixels():
    metric = xw.ExplanationContinuity()
    assert metric.places((224, 224)).tolist()[:3] == [-56, -52, -48]
    assert len(metric.places((224, 224))) == 28
    assert metric.places((48, 48)).tolist() == list(range(-12, 13))
    assert xw.ExplanationContinuity(direction="down").places((16, 48)).tolist() == list(range(-4, 5))


def test_relevance_and_smoothed_gradients_are_smoother_than_gradients_on_digits():
    """Of 12 digits on black: LRP 0.050, SmoothGrad 0.050, gradient 0.058, simple Taylor 0.060."""
    model = xw.load_model("digits_vgg")
    scenes = digits("single", "test", 5).scenes()
    found = {
        name: np.mean([xw.evaluate(model, s, m, ID, shifts=12, fill="black").value for s in scenes])
        for name, m in {
            "lrp": "lrp",
            "smooth": ("smoothgrad", {"samples": 16}),
            "gradient": "saliency",
            "taylor": ("gradient_x_input", {"baseline": "black"}),
        }.items()
    }
    assert max(found["lrp"], found["smooth"]) < min(found["gradient"], found["taylor"]), found


@pytest.mark.parametrize("make", [nets.f3, nets.in_place_input], ids=lambda f: f.__name__)
@pytest.mark.parametrize("method", ["saliency", "grad_cam", "guided_backprop"])
def test_batches_and_single_pictures_agree(make, method, monkeypatch):
    from xaiwidgets.evaluation import batched

    model = Model(make(), size=nets.SIZE)
    one = xw.evaluate(model, PICTURE, method, ID, target=1)
    monkeypatch.setattr(batched, "batches", lambda case: False)
    other = xw.evaluate(model, PICTURE, method, ID, target=1)
    assert one.value == pytest.approx(other.value, rel=1e-3, nan_ok=True)
    for first, second in zip(one.curves, other.curves, strict=True):
        assert first.y == pytest.approx(second.y, rel=1e-3, abs=1e-6, nan_ok=True)


def test_quarters_hold_the_whole_map_and_follow_an_object():
    maps = np.random.default_rng(0).random((2, 5, 7))
    assert quarters_of(maps).sum(axis=1) == pytest.approx(maps.sum(axis=(1, 2)))
    assert quarters_of(np.eye(4)[None])[0].tolist() == [2, 0, 0, 2]
    model = xw.load_model("shapes_gap")
    pixels = np.zeros((48, 48, 3), np.float32)
    pixels[4:10, 20:28] = 1
    bright = MadeMap(lambda m, image, t: m.to_pixels(image).mean(axis=2))
    score = xw.evaluate(model, xw.Scene(pixels, label=0), bright, ID, fill="black")
    lines = {curve.name: curve.y for curve in score.curves}
    assert lines["top left"][0] == pytest.approx(1)
    assert lines["top right"][-1] == pytest.approx(1)
    assert score.details["total_variation"] == pytest.approx(2)
    assert score.details["from_start"] <= score.value * len(score.details["shifts"])
    assert score.controls["random map"] > 0
