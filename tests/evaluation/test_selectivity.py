"""Selectivity, region perturbation and pixel flipping: sums whose curves are known, shapes, and Quantus."""

from __future__ import annotations

import numpy as np
import pytest
import quantus
from linear import bright, linear_model
from scenes import FixedMap, MadeMap, fixed

import xaiwidgets as xw
from xaiwidgets.data.digits import digits
from xaiwidgets.data.scenes import Scene
from xaiwidgets.data.shapes import shapes
from xaiwidgets.evaluation.parts import part_ranks, squares, sums

TRIO = ("selectivity", "region_perturbation", "pixel_flipping")


@pytest.fixture(scope="module")
def model():
    return xw.load_model("shapes_gap")


@pytest.fixture(scope="module")
def linear():
    return linear_model(np.random.default_rng(0).normal(size=(1, 8, 8)).astype(np.float32))


def scene():
    return Scene(bright(), 0)


def true_parts(weights):
    return weights[0] * scene().pixels[..., 0]


def order_of(values, metric, model, **knobs):
    return xw.evaluate(model, scene(), FixedMap(values, signed=True), metric, output="logit", **knobs)


# -- parts ------------------------------------------------------------------------------------------------------------


def test_a_part_has_the_sum_of_its_relevance_and_the_border_adds_nothing():
    parts = squares((5, 7), 3)
    assert parts.max() == 5
    assert parts[4, 6] == 5
    assert parts[2, 2] == 0
    found = sums(np.ones((5, 7)), parts)
    assert found.tolist() == [9, 9, 3, 6, 6, 2]
    assert part_ranks(found, parts)[0].tolist() == [0, 0, 0, 1, 1, 1, 4]


# -- region perturbation ----------------------------------------------------------------------------------------------


def aopc_of(parts, order):
    falls = np.concatenate([[0], parts[order].cumsum()])
    return falls.mean()


def test_true_regions_have_the_largest_area(linear):
    """Against 200 random orders; the curve of a sum is the running sum of what went."""
    model, weights = linear
    values = true_parts(weights)
    regions = sums(values, squares((8, 8), 2))
    found = order_of(values, "region_perturbation", model, region=2, fill="mean", points=100)
    best = np.argsort(-regions)
    assert found.value == pytest.approx(aopc_of(regions, best), abs=1e-5)
    assert found.details["lerf"] == pytest.approx(aopc_of(regions, best[::-1]), abs=1e-5)
    assert found.details["between"] == pytest.approx(found.value - found.details["lerf"])
    rng = np.random.default_rng(0)
    others = [aopc_of(regions, rng.permutation(16)) for _ in range(200)]
    assert found.value > max(others)
    assert found.details["lerf"] < min(others)
    assert found.details["aopc"][5] == pytest.approx(np.concatenate([[0], regions[best].cumsum()])[:6].mean(), abs=1e-5)


def test_a_random_order_is_half_way(linear):
    model, weights = linear
    regions = sums(true_parts(weights), squares((8, 8), 2))
    found = [
        xw.evaluate(
            model, scene(), FixedMap(true_parts(weights), signed=True), "region_perturbation",
            output="logit", region=2, fill="mean", seed=seed,
        ).controls["random"]
        for seed in range(40)
    ]  # fmt: skip
    assert np.mean(found) == pytest.approx(regions.sum() / 2, abs=4 * np.std(found) / np.sqrt(40))


@pytest.mark.parametrize(("fill", "gap"), [("noise", 0.0), ("mean", 0.2)])
def test_least_relevant_random_most_relevant_on_shapes(fill, gap, model):
    """Integrated gradients on 16 shapes; measured: noise 0.71, 0.72, 0.75, mean 0.29, 0.35, 0.68.

    Patches of random colors take this network's decision at once, wherever they are: that fill hardly tells orders
    apart here.
    """
    found = [
        xw.evaluate(
            model, one, "integrated_gradients", "region_perturbation", region=6, points=12, repeats=1, fill=fill
        )
        for one in shapes("test").scenes(16)
    ]
    least, chance, most = (
        np.mean([take(one) for one in found])
        for take in (lambda s: s.details["lerf"], lambda s: s.controls["random"], lambda s: s.value)
    )
    assert least <= chance <= most
    assert most > chance + gap


def test_orders_and_directions_are_told(model):
    one = shapes("test").scene(0)
    given = xw.explain(model, (one.pixels * 255).astype(np.uint8), "saliency", target=one.label)
    made = {
        order: xw.evaluate(model, one, given, "region_perturbation", order=order, repeats=1)
        for order in ("morf", "lerf", "between")
    }
    assert [score.direction for score in made.values()] == ["higher", "lower", "higher"]
    assert made["between"].value == pytest.approx(made["morf"].value - made["lerf"].value)
    assert made["between"].controls == {}


def test_fewer_places_give_nearly_the_same_area(model):
    one = shapes("test").scene(0)
    every, some = (
        xw.evaluate(model, one, "grad_cam", "region_perturbation", region=3, points=points, repeats=1)
        for points in (1000, 12)
    )
    assert some.value == pytest.approx(every.value, abs=0.03)
    assert some.provenance.passes[0] < every.provenance.passes[0] / 4


def test_random_fills_are_repeated(model):
    one = shapes("test").scene(0)
    found = xw.evaluate(model, one, "grad_cam", "region_perturbation", repeats=3, points=5)
    line = next(curve for curve in found.curves if curve.name == "most relevant first")
    assert (line.high > line.low).any()


# -- selectivity ------------------------------------------------------------------------------------------------------


def test_the_selectivity_of_a_sum(linear):
    model, weights = linear
    values = true_parts(weights)
    parts = sums(values, squares((8, 8), 2))
    left = parts.sum() - np.concatenate([[0], np.sort(parts)[::-1].cumsum()])
    found = order_of(values, "selectivity", model, patches=4)
    assert found.details["values"] == pytest.approx(left, abs=1e-5)
    assert found.value == pytest.approx((left.sum() - (left[0] + left[-1]) / 2) / 16, abs=1e-5)
    assert found.details["order"].tolist() == np.argsort(-parts, kind="stable").tolist()
    assert found.value < found.controls["random"]


def test_explaining_again_follows_what_is_left():
    """The map hides its second-best patch until the best is gone."""
    model, _ = linear_model(np.ones((1, 8, 8), np.float32))
    seen = []

    def make(net, image, target):
        pixels = net.to_pixels(image)[..., 0]
        seen.append((pixels == 0).sum())
        values = np.zeros((8, 8))
        values[:2, :2], values[6:, 6:], values[2:4, 2:4] = 3, 2, 1
        if (pixels[:2, :2] == 0).all():
            values[2:4, 2:4] = 5
        return values

    kept = xw.evaluate(model, scene(), MadeMap(make), "selectivity", patches=4, output="logit")
    assert kept.details["order"][:3].tolist() == [0, 15, 5]
    seen.clear()
    again = xw.evaluate(model, scene(), MadeMap(make), "selectivity", patches=4, output="logit", again=True)
    assert again.details["order"][:3].tolist() == [0, 5, 15]
    assert seen == [4 * number for number in range(16)]


def test_methods_are_more_selective_than_chance(model):
    """Measured on 10 shapes: guided backpropagation 0.26, random 0.62."""
    found = [
        xw.evaluate(model, one, "guided_backprop", "selectivity", reduction="abs") for one in shapes("test").scenes(10)
    ]
    assert np.mean([one.value for one in found]) < np.mean([one.controls["random"] for one in found]) - 0.1


# -- pixel flipping ---------------------------------------------------------------------------------------------------


def test_flipping_a_sum():
    """Black for white and white for black: each flipped pixel changes the sum by w(1 - 2x)."""
    model, weights = linear_model()
    pixels = scene().pixels[..., 0]
    values = np.random.default_rng(3).permutation(64).reshape(8, 8) - 32.0
    change = (weights[0] * (1 - 2 * pixels)).ravel()
    found = order_of(values, "pixel_flipping", model, steps=64)
    start = float((weights[0] * pixels).sum())

    def area(order):
        curve = start + np.concatenate([[0], change[order].cumsum()])
        return (curve.sum() - (curve[0] + curve[-1]) / 2) / 64

    order = np.argsort(-values, axis=None)
    assert found.value == pytest.approx(area(order), abs=1e-4)
    assert found.details["lowest"] == pytest.approx(area(order[::-1]), abs=1e-4)
    assert found.details["nearest"] == pytest.approx(
        area(np.argsort(np.abs(values), axis=None, kind="stable")), abs=1e-4
    )


def test_flipped_evidence_counts_and_flipped_nothing_does_not(model):
    """Guided backpropagation on 10 shapes; measured: highest first 0.38, nearest to zero first 0.90."""
    found = [
        xw.evaluate(model, one, "guided_backprop", "pixel_flipping", reduction="abs", steps=14, draws=1)
        for one in shapes("test").scenes(10)
    ]
    highest, nearest = np.mean([one.value for one in found]), np.mean([one.details["nearest"] for one in found])
    assert highest < nearest - 0.2


# -- Quantus ----------------------------------------------------------------------------------------------------------


def with_black(number=4):
    """A shape's picture whose darkest value is black: Quantus' "black" is the least value of the input."""
    pixels = shapes("test").scene(number).pixels.copy()
    pixels[0, 0] = 0
    return Scene(pixels, shapes("test").scene(number).label)


def theirs(metric, model, picture, values):
    x = model.from_pixels(picture.pixels).contiguous().numpy()
    answer = np.array([model.target(picture.label).classes[0]])
    found = metric(model=model.module, x_batch=x, y_batch=answer, a_batch=values[None], device="cpu", softmax=True)
    return np.asarray(found[0], np.float64)


PLAIN = {"abs": False, "normalise": False, "perturb_baseline": "black", "disable_warnings": True}


def test_the_same_selectivity_as_quantus(model):
    values = np.random.default_rng(0).normal(size=(3, 48, 48)).astype(np.float32)
    picture = with_black()
    wanted = theirs(quantus.Selectivity(patch_size=8, **PLAIN), model, picture, values)
    found = xw.evaluate(model, picture, FixedMap(values, signed=True), "selectivity", patches=6)
    assert found.details["values"][1:] == pytest.approx(wanted, abs=2e-6)


@pytest.mark.parametrize("order", ["morf", "lerf"])
def test_the_same_region_perturbation_as_quantus(order, model):
    values = np.random.default_rng(0).normal(size=(3, 48, 48)).astype(np.float32)
    picture = with_black()
    metric = quantus.RegionPerturbation(patch_size=8, order=order, regions_evaluation=20, **PLAIN)
    falls = theirs(metric, model, picture, values)
    found = xw.evaluate(
        model, picture, FixedMap(values, signed=True), "region_perturbation", region=8, steps=20, points=20,
        order=order, fill="black",
    )  # fmt: skip
    assert found.value == pytest.approx(falls.sum() / 21, abs=2e-6)


def test_the_same_flipping_as_quantus_which_leaves_out_the_first_place():
    """Quantus' curve starts after the first step, so that the picture itself is not on it."""
    model = xw.load_model("digits_gap")
    pixels = digits("single", "test", 1).images[0][..., None]
    picture = Scene(pixels, int(digits("single", "test", 1).labels[0]))
    assert pixels.min() == 0
    values = np.random.default_rng(0).random((1, 48, 48)).astype(np.float32)
    found = xw.evaluate(model, picture, fixed(values), "pixel_flipping", steps=48, substrate="black", draws=1)
    curve = theirs(quantus.PixelFlipping(features_in_step=48, **PLAIN), model, picture, values)
    assert found.details["values"][1:] == pytest.approx(curve, abs=2e-6)


@pytest.mark.parametrize("metric", TRIO)
def test_hidden_units_have_no_probability(metric, model):
    unit = model.unit("features.7", 3)
    with pytest.raises(xw.errors.NotApplicable, match="hidden unit"):
        xw.evaluate(model, shapes("test").scene(0), "saliency", metric, target=unit)


@pytest.mark.parametrize(
    ("metric", "wrong"),
    [
        ("selectivity", {"patches": 0}),
        ("region_perturbation", {"order": "most"}),
        ("region_perturbation", {"region": 0}),
        ("pixel_flipping", {"substrate": "none"}),
    ],
)
def test_bad_knobs_are_named(metric, wrong, model):
    with pytest.raises(xw.errors.InvalidKnob, match=next(iter(wrong))):
        xw.evaluate(model, shapes("test").scene(0), "saliency", metric, **wrong)
