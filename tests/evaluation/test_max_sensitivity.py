"""Max-sensitivity: closed forms on linear models, nested draws, and the peer with the same noise."""

from __future__ import annotations

import math

import nets
import numpy as np
import pytest
import torch
from scenes import MadeMap, fixed
from torch import nn

import xaiwidgets as xw
from xaiwidgets.data.shapes import shapes
from xaiwidgets.evaluation.judge import case_of
from xaiwidgets.model.model import Model

ID = "max_sensitivity"


@pytest.fixture(scope="module")
def model():
    return xw.load_model("shapes_gap")


@pytest.fixture(scope="module")
def scene():
    return shapes("test", 1).scene(0)


def linear():
    torch.manual_seed(0)
    return Model(nn.Sequential(nn.Flatten(), nn.Linear(3 * 256, 3)), size=16)


PICTURE = np.random.default_rng(0).random((16, 16, 3)).astype(np.float32)


def test_a_linear_models_gradient_never_changes():
    assert xw.evaluate(linear(), PICTURE, "saliency", ID).value == 0


def test_a_linear_models_product_changes_by_the_noise_alone():
    model = linear()
    score = xw.evaluate(model, PICTURE, "gradient_x_input", ID, target=1, radius=4)
    case = case_of(model, PICTURE, "gradient_x_input", target=1)
    weight = model.module[1].weight[1].detach().numpy().reshape(3, 16, 16)
    image = case.image[0].numpy()
    changes = [np.linalg.norm(weight * xw.MaxSensitivity(radius=4).noise(case, draw)[0].numpy()) for draw in range(10)]
    assert score.value == pytest.approx(max(changes) / np.linalg.norm(weight * image), rel=1e-4)
    assert score.details["mean"] == pytest.approx(np.mean(changes) / np.linalg.norm(weight * image), rel=1e-4)
    bound = 4 / 255 / min(model.preprocessing.std) * np.linalg.norm(weight) / np.linalg.norm(weight * image)
    assert score.value <= bound


def test_a_map_that_looks_at_nothing_is_least_sensitive_and_zero_is_divided_by_one(model, scene):
    assert xw.evaluate(model, scene, fixed(np.eye(48)), ID).value == 0
    assert xw.evaluate(model, scene, fixed(np.zeros((48, 48))), ID).value == 0
    jump = MadeMap(lambda model, image, target: np.full((1, 1), 0.0 if bool((image == first).all()) else 3.0))
    first = model.from_pixels(scene.pixels)
    assert xw.evaluate(model, scene, jump, ID).value == pytest.approx(3)


def test_draws_are_nested_and_the_maximum_only_grows(model, scene):
    few = xw.evaluate(model, scene, "saliency", ID, samples=4)
    many = xw.evaluate(model, scene, "saliency", ID, samples=12)
    assert many.items[:4] == pytest.approx(few.items, rel=1e-4)
    assert many.value >= few.value
    assert many.value == max(many.items)
    line = many.curves[0].y
    assert (np.diff(line) >= 0).all()


def test_noise_stays_in_its_ball_and_comes_from_the_seed(model, scene):
    case, other = (case_of(model, scene, "saliency", seed=seed) for seed in (0, 1))
    metric = xw.MaxSensitivity(radius=3)
    std = torch.tensor(model.preprocessing.std).reshape(1, -1, 1, 1)
    noise = metric.noise(case, 0) * std * 255
    assert float(noise.abs().max()) <= 3 + 1e-4
    assert float(noise.abs().max()) > 2.95
    assert abs(float(noise.mean())) < 0.1
    assert not torch.equal(metric.noise(case, 0), metric.noise(other, 0))
    assert not torch.equal(metric.noise(case, 0), metric.noise(case, 1))


def test_smoothed_gradients_are_less_sensitive(model):
    scenes = shapes("test", 6).scenes()
    plain, smooth = (
        np.mean([xw.evaluate(model, s, m, ID, samples=5, radius=8).value for s in scenes])
        for m in ("saliency", ("smoothgrad", {"samples": 20}))
    )
    assert smooth < plain


@pytest.mark.parametrize("norm", ["l1", "l2", "max"])
def test_norms(norm):
    values = np.array([[[3.0, -4.0]]], np.float32)
    assert xw.MaxSensitivity(norm=norm)._size(values) == {"l1": 7, "l2": 5, "max": 4}[norm]


@pytest.mark.parametrize("make", [nets.f3, nets.in_place_input], ids=lambda f: f.__name__)
def test_captum_agrees_with_the_same_noise(make):
    """Given our draws in turn, it finds the same maximum.

    It calls the explanation with a tuple first and takes what comes back for one, too: a bare tensor of one picture
    would be read as three pictures, without a word.
    """
    from captum.metrics import sensitivity_max

    model = Model(make(), size=nets.SIZE)
    picture = np.random.default_rng(0).random((nets.SIZE, nets.SIZE, 3)).astype(np.float32)
    score = xw.evaluate(model, picture, "gradient_x_input", ID, target=1, samples=6)
    case = case_of(model, picture, "gradient_x_input", target=1)
    draws = iter(range(6))

    def explain(images):
        several = isinstance(images, tuple)
        images = images[0] if several else images
        found = torch.cat([model.gradient(one[None], case.target).input * one[None] for one in images]).contiguous()
        return (found,) if several else found

    def perturb(images, radius):
        images = images[0] if isinstance(images, tuple) else images
        return images + torch.cat([xw.MaxSensitivity().noise(case, next(draws)) for _ in range(len(images))])

    peer = sensitivity_max(
        explain, case.image.contiguous(), perturb_func=perturb, n_perturb_samples=6, max_examples_per_batch=1
    )
    assert score.value == pytest.approx(float(peer), rel=1e-3)


def test_what_changes_the_class_is_counted(model, scene):
    score = xw.evaluate(model, scene, "saliency", ID, radius=64, samples=8)
    case = case_of(model, scene, "saliency")
    first = int(model.logits(case.image).argmax())
    noises = [xw.MaxSensitivity(radius=64).noise(case, draw) for draw in range(8)]
    assert score.details["changed"] == sum(int(model.logits(case.image + n).argmax()) != first for n in noises)


@pytest.mark.parametrize("make", [nets.f3, nets.in_place_input, nets.f2], ids=lambda f: f.__name__)
@pytest.mark.parametrize("method", ["saliency", "grad_cam", "guided_backprop", "lrp", "integrated_gradients"])
def test_a_batch_is_explained_as_each_of_its_pictures(make, method, monkeypatch):
    """Also where a batch takes further passes for the classes, and for methods that are never batched."""
    from xaiwidgets.evaluation import batched

    model = Model(make(), size=nets.SIZE)
    one = xw.evaluate(model, PICTURE, method, ID, target=1, samples=9, radius=32)
    monkeypatch.setattr(batched, "batches", lambda case: False)
    other = xw.evaluate(model, PICTURE, method, ID, target=1, samples=9, radius=32)
    assert one.items == pytest.approx(other.items, rel=2e-3, abs=1e-6)
    assert one.details["changed"] == other.details["changed"]
    assert one.maps["map"] == pytest.approx(other.maps["map"])


def test_batched_maps_take_no_pass_for_the_class(model, scene):
    saved = xw.explain(model, scene.pixels, "saliency", target=scene.label)
    score = xw.evaluate(model, scene, saved, ID, target=scene.label, samples=10)
    assert score.provenance.passes == (11, 11)


def test_no_noise_no_change(model, scene):
    assert xw.evaluate(model, scene, "saliency", ID, radius=0, samples=2).value == pytest.approx(0, abs=1e-6)
    with pytest.raises(xw.errors.InvalidKnob, match="samples"):
        xw.MaxSensitivity(samples=0)
    assert math.isfinite(xw.MaxSensitivity().radius)
