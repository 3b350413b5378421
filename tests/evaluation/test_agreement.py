"""Agreement: maps that are equal or opposed, and the mean of maps as a bound."""

from __future__ import annotations

import numpy as np
import pytest
from nets import f3
from scenes import FixedMap, fixed

import xaiwidgets as xw
from xaiwidgets.core.cards import resolve
from xaiwidgets.data.shapes import shapes
from xaiwidgets.engine.alike import alike
from xaiwidgets.evaluation.agreement import neighbors, similarities


@pytest.fixture(scope="module")
def model():
    return xw.load_model("shapes_gap")


@pytest.fixture(scope="module")
def scene():
    return shapes("test", 1).scene(0)


def test_the_same_method_agrees_wholly(model, scene):
    found = xw.evaluate(model, scene, "saliency", "agreement", members="saliency,gradient_x_input")
    assert found.items[0] == pytest.approx(1)
    assert found.items[1] < 0.999
    assert found.value == pytest.approx(np.mean(found.items))
    assert found.details["names"] == ("this map", "saliency", "gradient_x_input")


def test_a_map_against_it_is_the_opposite(model, scene):
    same = {"members": "gradient_x_input", "similarity": "spearman_signed"}
    own = xw.evaluate(model, scene, "gradient_x_input", "agreement", **same).maps["this map"]
    against = FixedMap(-own, signed=True)
    found = xw.evaluate(model, scene, against, "agreement", **same)
    assert found.value == pytest.approx(-1)
    size = xw.evaluate(model, scene, against, "agreement", members="gradient_x_input")
    assert size.value > 0.5  # sizes are summed over colors, and signs cancel in a sum


def test_the_matrix_does_not_depend_on_the_order_of_methods(model, scene):
    one = xw.evaluate(model, scene, "saliency", "agreement", members="lrp,grad_cam,gradient_x_input")
    other = xw.evaluate(model, scene, "saliency", "agreement", members="gradient_x_input,lrp,grad_cam")
    assert one.value == pytest.approx(other.value)
    names, matrix = other.details["names"], other.details["matrix"]
    order = [names.index(name) for name in one.details["names"]]
    assert np.allclose(one.details["matrix"], matrix[np.ix_(order, order)])
    assert np.allclose(one.maps["AGG-Mean"], other.maps["AGG-Mean"])
    assert np.allclose(matrix, matrix.T)


def test_equal_maps_have_themselves_as_their_mean_and_no_other_is_worse_on_average(model, scene):
    """By Jensen's inequality the mean is never farther from the truth than its members are on average."""
    rng = np.random.default_rng(0)
    maps = [alike(rng.random((9, 9)), "mass") for _ in range(6)]
    truth = alike(rng.random((9, 9)) ** 4, "mass")
    mean = resolve("agg_mean").combine(maps)
    assert np.mean((mean - truth) ** 2) <= np.mean([(one - truth) ** 2 for one in maps])
    assert np.allclose(resolve("agg_mean").combine([truth] * 4), truth)
    found = xw.evaluate(model, scene, "grad_cam", "agreement", members="grad_cam")
    assert np.allclose(found.maps["AGG-Mean"], alike(found.maps["this map"], "mass"), atol=1e-9)


def test_those_that_are_alike_are_neighbors():
    matrix = np.eye(4)
    matrix[0, 2] = matrix[2, 0] = 0.9
    matrix[1, 3] = matrix[3, 1] = 0.8
    order, tree = neighbors(matrix)
    assert abs(order.index(0) - order.index(2)) == 1
    assert abs(order.index(1) - order.index(3)) == 1
    assert tree.shape == (3, 4)
    assert tree[0, :3].tolist() == pytest.approx([0, 2, 0.1])


def test_a_constant_map_agrees_with_none(model, scene):
    found = xw.evaluate(model, scene, fixed(np.ones((48, 48))), "agreement", members="saliency")
    assert np.isnan(found.value)
    assert "no order to compare" in found.notes[-1]
    assert np.isnan(similarities([np.ones((9, 9)), np.eye(9)], "spearman_abs")[0, 1])


def test_members_that_do_not_apply_are_left_out_and_said(scene):
    net = f3().eval()
    model = xw.Model(net, mean=(0.5,) * 3, std=(0.5,) * 3, size=16, crop=1.0)
    picture = np.random.default_rng(0).random((16, 16, 3))
    found = xw.evaluate(
        model, picture, "saliency", "agreement", members="desalinet,guided_backprop,pattern_attribution"
    )
    assert found.progress == 1
    assert len(found.items) + len(found.notes) >= 3
    assert -1 <= found.value <= 1


def test_small_maps_are_said_to_be_small():
    model = xw.Model(f3().eval(), mean=(0.5,) * 3, std=(0.5,) * 3, size=16, crop=1.0)
    found = xw.evaluate(
        model, np.ones((16, 16, 3)) * 0.4, "saliency", "agreement", members="guided_backprop", similarity="ssim"
    )
    assert found.warnings == ("W_SMALL",)


def test_what_is_wrong_is_named():
    with pytest.raises(xw.errors.InvalidKnob, match="members must be explainers"):
        xw.Agreement(members="beauty")
    with pytest.raises(xw.errors.InvalidKnob, match="agg_mean"):
        xw.Agreement(members="agg_mean,saliency")
