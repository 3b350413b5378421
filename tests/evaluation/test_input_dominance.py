"""Input dominance: the closed form for black and white pictures, and who shows the input."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scenes import MadeMap, fixed

import xaiwidgets as xw
from xaiwidgets.data.digits import digits
from xaiwidgets.data.shapes import shapes
from xaiwidgets.evaluation.input_dominance import products_alike

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
