"""Sensitivity-n: sums that have the property exactly, a minimum that tells methods apart, what cannot be measured."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from linear import bright, linear_model
from scenes import FixedMap, fixed
from scipy.stats import pearsonr
from torch import nn

import xaiwidgets as xw
from xaiwidgets.data.scenes import Scene
from xaiwidgets.data.shapes import shapes
from xaiwidgets.evaluation.judge import case_of
from xaiwidgets.evaluation.sensitivity_n import sizes_of


@pytest.fixture(scope="module")
def linear():
    return linear_model()


@pytest.fixture(scope="module")
def model():
    return xw.load_model("shapes_gap")


def scene():
    return Scene(bright(), 0)


SINGLE = {"window_height": 1, "window_width": 1, "stride_height": 1, "stride_width": 1, "fill": "mean"}
ADDITIVE = [
    "gradient_x_input",
    ("integrated_gradients", {"baseline": "mean"}),
    ("deeplift_rescale", {"baseline": "mean"}),
    ("lrp", {"composite": "epsilon", "epsilon": 1e-9}),
    ("occlusion", SINGLE),
]


@pytest.mark.parametrize("method", ADDITIVE, ids=lambda m: m if isinstance(m, str) else m[0])
def test_methods_that_sum_to_the_score_have_it_on_a_sum(method, linear):
    """Measured: 1 - 1e-9 and nearer."""
    found = xw.evaluate(linear[0], scene(), method, "sensitivity_n", subsets=20)
    assert found.details["correlations"] == pytest.approx(np.ones(len(found.details["n"])), abs=1e-6)
    assert found.value > 1 - 1e-6


def test_the_plain_gradient_has_it_only_where_the_picture_is_constant(linear):
    model, weights = linear
    found = xw.evaluate(model, scene(), FixedMap(weights[0], signed=True), "sensitivity_n")
    assert found.value < 0.999
    flat = Scene(np.full((8, 8, 1), 0.5), 0)
    assert xw.evaluate(model, flat, FixedMap(weights[0], signed=True), "sensitivity_n").value > 1 - 1e-6
    assert abs(found.controls["random"]) < 0.5


class LeastOfHalves(nn.Module):
    """The smaller of the sums of the left and the right half."""

    def forward(self, x):
        """Return (minimum, 0)."""
        left, right = x[..., :4].sum((1, 2, 3)), x[..., 4:].sum((1, 2, 3))
        least = left - torch.relu(left - right)
        return torch.stack([least, 0 * least], dim=1)


def map_of(model, picture, method):
    """Return the finished map of a picture, at its own size."""
    steps = case_of(model, picture, method).attribution()
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def test_of_a_minimum_what_is_removed_one_by_one_counts_twice_and_a_path_does_not():
    """min(x₁, x₂) of two halves: removing either takes all of it; integrated gradients sum to what both take."""
    model = xw.Model(LeastOfHalves(), mean=(0.0,), std=(1.0,), size=8, crop=1.0)
    pixels = np.full((8, 8, 1), 0.5)
    pixels[:, 4:] = 0.75
    picture = Scene(pixels, 0)
    lost = float(model.logits(model.from_pixels(picture.pixels))[0, 0])  # with both halves gone, 0 is left
    assert lost == pytest.approx(16)
    path = map_of(model, picture, ("integrated_gradients", {"baseline": "mean"}))
    assert path.values.sum() == pytest.approx(lost, rel=0.01)
    halves = {"window_height": 8, "window_width": 4, "stride_height": 8, "stride_width": 4, "fill": "mean"}
    single = map_of(model, picture, ("occlusion", halves))
    assert single.values[0, 0, [0, 7]].sum() == pytest.approx(2 * 16)


def test_the_correlation_is_pearsons_of_the_two_sides(model):
    """Done once more by hand, with the sets that the metric draws."""
    picture = shapes("test").scene(1)
    values = np.random.default_rng(0).normal(size=(48, 48)).astype(np.float32)
    found = xw.evaluate(model, picture, FixedMap(values, signed=True), "sensitivity_n", sizes=3, subsets=12, seed=4)
    image, target = model.from_pixels(picture.pixels), model.target(picture.label)
    sizes = found.details["n"]
    sides = {int(n): ([], []) for n in sizes}
    for visit in range(36):
        n = int(sizes[visit % 3])
        gone = np.random.default_rng([4, 2, visit]).choice(48 * 48, n, replace=False, shuffle=False)
        less = image.clone().contiguous().reshape(1, 3, -1)
        less[..., torch.as_tensor(gone)] = 0
        sides[n][0].append(values.ravel()[gone].sum())
        sides[n][1].append(float(model.scores(image, target)[0] - model.scores(less.reshape(1, 3, 48, 48), target)[0]))
    wanted = [pearsonr(*sides[int(n)])[0] for n in sizes]
    assert found.details["correlations"] == pytest.approx(wanted, abs=1e-3)
    assert found.value == pytest.approx(np.mean(wanted), abs=1e-3)


def test_completeness_is_sensitivity_to_all_features(model):
    """Integrated gradients with 50 steps; measured: within 0.4 %."""
    picture = shapes("test").scene(1)
    target = model.target(picture.label)
    found = map_of(model, picture, ("integrated_gradients", {"baseline": "mean", "points": 50}))
    nothing = torch.zeros_like(model.from_pixels(picture.pixels))
    lost = float(found.score - model.scores(nothing, target)[0])
    assert found.values.sum() == pytest.approx(lost, rel=0.01)


def test_a_side_that_never_changes_has_no_correlation(linear):
    model, _ = linear
    found = xw.evaluate(model, scene(), fixed(np.ones((8, 8))), "sensitivity_n")
    assert np.isnan(found.value)
    assert "W_DEGENERATE" in found.warnings
    assert any("no signs" in note for note in found.notes)


def test_intervals_shrink_with_more_sets(model):
    picture = shapes("test").scene(0)
    few, many = (
        xw.evaluate(model, picture, "integrated_gradients", "sensitivity_n", sizes=3, subsets=subsets)
        for subsets in (8, 64)
    )
    width = lambda score: (score.details["high"] - score.details["low"]).mean()
    assert width(many) < width(few)


def test_it_streams_all_sizes_at_once(model):
    running = xw.evaluate_steps(model, shapes("test").scene(0), "saliency", "sensitivity_n", sizes=4, subsets=40)
    scores = [score for score in running if score is not None]
    assert len(scores) > 3
    assert not np.isnan(scores[0].details["correlations"]).any()
    assert scores[0].details["subsets"] < scores[-1].details["subsets"] == 40


def test_signed_evidence_beats_chance_on_shapes(model):
    """Integrated gradients from the mean color on 6 shapes; measured: 0.6, random 0.0."""
    found = [
        xw.evaluate(model, one, ("integrated_gradients", {"baseline": "mean"}), "sensitivity_n", sizes=5, subsets=20)
        for one in shapes("test").scenes(6)
    ]
    value, chance = np.mean([one.value for one in found]), np.mean([one.controls["random"] for one in found])
    assert value > chance + 0.2


def test_squares_are_features_with_the_sum_of_their_values(linear):
    model, weights = linear
    values = weights[0] * scene().pixels[..., 0]
    found = xw.evaluate(model, scene(), FixedMap(values, signed=True), "sensitivity_n", features="squares", square=2)
    assert found.details["n"].max() <= 0.8 * 16
    assert found.value > 1 - 1e-6


@pytest.mark.parametrize("number", [2, 16, 64, 50176])
def test_sizes_go_from_one_feature_to_most(number):
    found = sizes_of(number, 8)
    assert found[0] == 1
    assert found[-1] == max(1, int(0.8 * number))
    assert (np.diff(found) > 0).all()


@pytest.mark.parametrize("wrong", [{"subsets": 1}, {"features": "colors"}, {"sizes": 0}, {"baseline": "none"}], ids=str)
def test_bad_knobs_are_named(wrong, linear):
    with pytest.raises(xw.errors.InvalidKnob, match=next(iter(wrong))):
        xw.evaluate(linear[0], scene(), "saliency", "sensitivity_n", **wrong)
