"""Input dominance: the closed form for black and white pictures, and who shows the input."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scenes import MadeMap, fixed

import xaiwidgets as xw
from xaiwidgets.data.digits import digits
from xaiwidgets.data.shapes import shapes
from xaiwidgets.evaluation.input_dominance import products_alike
from xaiwidgets.evaluation.judge import case_of
from xaiwidgets.evaluation.one_layer import one_layer_gradient, random_filters, steps_of
from xaiwidgets.model.pictures import read_picture

ID = "input_dominance"


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_products_of_a_binary_picture_are_alike_by_a_closed_form(share):
    """Ties of the pixels that are 0 make the correlation 3(1 - q) / (3(1 - q) + q²), q the share of ones."""
    rng = np.random.default_rng(0)
    given = np.zeros(40_000)
    given[: round(share * given.size)] = 1
    found = products_alike(given.reshape(200, 200), rng.random((8, 200, 200)))
    expected = 3 * (1 - share) / (3 * (1 - share) + share**2)
    assert found == pytest.approx(expected, abs=0.02)


def picture(kind):
    if kind == "digits":
        return xw.load_model("digits_vgg"), digits("single", "test", 4).images[1]
    return xw.load_model("shapes_gap"), shapes("test", 1).scene(0)


def test_the_input_itself_fails_and_chance_passes():
    model, scene = picture("shapes")
    shown = MadeMap(lambda model, image, target: image[0].abs().sum(0).numpy())
    score = xw.evaluate(model, scene, shown, ID)
    assert score.value >= score.controls["two products"] - 0.05
    random = xw.evaluate(model, scene, fixed(np.random.default_rng(3).random((48, 48))), ID)
    assert abs(random.value) < 0.05
    assert random.verdict == "pass"
    assert abs(random.controls["random"]) < 0.02


def test_sparser_inputs_make_products_more_alike():
    model, scene = picture("shapes")
    line = xw.evaluate(model, scene, "saliency", ID).curves[0].y
    assert (np.diff(line) > 0).all()


def test_the_product_shows_more_of_the_input_than_the_gradient():
    model, scene = picture("shapes")
    product, gradient = (xw.evaluate(model, scene, name, ID).value for name in ("gradient_x_input", "saliency"))
    assert product > gradient + 0.1


def test_a_constant_map_has_no_score():
    model, scene = picture("shapes")
    score = xw.evaluate(model, scene, fixed(np.ones((48, 48))), ID)
    assert math.isnan(score.value)
    assert score.warnings == ("W_DEGENERATE",)


def test_draws_are_reproducible_and_have_an_error():
    model, scene = picture("shapes")
    few, many = (xw.evaluate(model, scene, "saliency", ID, draws=n) for n in (5, 80))
    assert many.standard_error < few.standard_error
    assert abs(few.value - many.value) < 5 * few.standard_error


def test_digits_are_dominated_by_their_black_background_and_photos_are_not():
    """Of 20 digits as pixels in [0, 1], products 0.92 and chance 0.00; of the coffee 0.48."""
    canvases = digits8()
    rng = np.random.default_rng(0)
    chance = rng.random((20, 8, 8))
    sparse = [products_alike(one, chance) for one in canvases]
    assert np.mean(sparse) > 0.8
    pairs = rng.random((40, 64, 64))
    assert abs(products_alike(np.ones((64, 64)), pairs)) < 0.05
    photo = read_picture("coffee").pixels.mean(axis=2).astype(np.float64)[::4, ::4] / 255
    assert products_alike(photo, rng.random((6, *photo.shape))) < np.mean(sparse) - 0.1


def digits8():
    from sklearn.datasets import load_digits

    return load_digits().images[:20] / 16


@pytest.mark.parametrize("count", [1, 4, 16])
def test_of_one_layer_the_gradient_is_constant_where_the_picture_is_and_steps_at_edges(count):
    image = torch.full((1, 3, 20, 24), 0.2)
    image[..., 11:] = 0.9
    slope = one_layer_gradient(image, random_filters(3, count, 0))
    assert slope.shape == (16, 20)
    left, right = slope[:, :6], slope[:, 13:]
    assert np.ptp(left) < 1e-6
    assert np.ptp(right) < 1e-6
    if count > 1:  # a filter whose sum is far from 0 answers to both sides alike
        assert np.ptp(slope[:, 6:13]) > 1e-3
    steps = steps_of(slope)
    assert steps[:, :5].max() < 1e-6
    assert steps[:, 14:].max() < 1e-6


def test_one_random_layer_shows_edges_of_photos():
    """Rank correlation of its steps with Sobel's edges: 0.62 on the coffee, 0.37 on the cat."""
    model = xw.load_model()
    for name in ("coffee", "chelsea"):
        case = case_of(model, name, fixed(np.ones((7, 7))), target=0)
        assert xw.InputDominance().one_layer(case, np.random.default_rng(0).random(case.size))["one_layer_edges"] > 0.3
    found = xw.evaluate(*picture("shapes"), "saliency", ID, draws=2)
    assert found.details["one_layer_edges"] > 0.3
    assert set(found.maps) >= {"gradient of one random layer", "its steps"}
