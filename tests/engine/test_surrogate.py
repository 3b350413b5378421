"""Surrogate fits from sums: against scikit-learn, LIME's own fit, closed forms, and all coalitions."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from lime.lime_base import LimeBase
from sklearn.linear_model import Ridge

from xaiwidgets.engine.surrogate import (
    Sums,
    by_size,
    choose,
    closeness,
    coalitions,
    eliminated,
    kernel_shap,
    ridge,
    shapley,
    shapley_weight,
)


@pytest.fixture
def data():
    chance = np.random.default_rng(0)
    z = chance.integers(0, 2, (200, 9)).astype(float)
    z[0] = 1
    y = z @ chance.normal(size=9) + 0.3 * z[:, 0] * z[:, 1] + 0.1 * chance.normal(size=200) + 4
    return z, y


def summed(z, y, weights, parts=5):
    sums = Sums(z.shape[1])
    for numbers in np.array_split(np.arange(len(z)), parts):
        sums.add(z[numbers], y[numbers], weights[numbers])
    return sums


def test_equals_scikit_learn_in_any_batches(data):
    z, y = data
    weights = closeness(z, 0.25)
    theirs = Ridge(alpha=1.0).fit(z, y, sample_weight=weights)
    for parts in (1, 7, 200):
        fit = ridge(summed(z, y, weights, parts), 1.0)
        np.testing.assert_allclose(fit.coefficients, theirs.coef_, rtol=1e-10)
        assert fit.intercept == pytest.approx(theirs.intercept_, rel=1e-10)
        assert fit.fidelity == pytest.approx(theirs.score(z, y, sample_weight=weights), rel=1e-9)


@pytest.mark.parametrize(("count", "how"), [(9, "none"), (3, "forward_selection"), (8, "highest_weights")])
def test_equals_limes_own_fit(data, count, how):
    z, y = data
    distances = 1 - np.sqrt(z.sum(axis=1) / z.shape[1])
    base = LimeBase(lambda d: np.sqrt(np.exp(-(d**2) / 0.25**2)), random_state=0)
    intercept, pairs, score, _ = base.explain_instance_with_data(
        z, np.stack([y, -y], axis=1), distances, 0, count, feature_selection=how
    )
    sums = summed(z, y, closeness(z, 0.25))
    fit = ridge(sums, 1.0, None if how == "none" else choose(sums, count))
    theirs = np.zeros(9)
    for which, value in pairs:
        theirs[which] = value
    np.testing.assert_allclose(fit.coefficients, theirs, rtol=1e-9, atol=1e-12)
    assert fit.intercept == pytest.approx(intercept, rel=1e-9)
    assert fit.fidelity == pytest.approx(score, rel=1e-8)


def test_recovers_a_linear_model_and_equal_results_give_nothing(data):
    z, _ = data
    truth = np.arange(9) - 3.0
    fit = ridge(summed(z, z @ truth + 2, closeness(z, 0.25)), 0.0)
    np.testing.assert_allclose(fit.coefficients, truth, atol=1e-8)
    assert fit.fidelity == pytest.approx(1)
    assert fit.errors.max() < 1e-5
    flat = ridge(summed(z, np.full(200, 0.1), closeness(z, 0.25)), 1.0)
    assert not flat.coefficients.any()
    assert flat.intercept == pytest.approx(0.1)
    assert math.isnan(flat.fidelity)


def test_standard_errors_tell_how_far_coefficients_scatter():
    truth, found, said = np.array([2.0, 0.0, -1.0, 0.5]), [], []
    for seed in range(300):
        chance = np.random.default_rng(seed)
        z = chance.integers(0, 2, (120, 4)).astype(float)
        y = z @ truth + chance.normal(size=120)
        fit = ridge(summed(z, y, closeness(z, 0.5)), 0.0)
        found.append(fit.coefficients)
        said.append(fit.errors)
    np.testing.assert_allclose(np.mean(said, axis=0), np.std(found, axis=0), rtol=0.15)


@pytest.mark.parametrize("players", [2, 3, 6, 7])
def test_all_coalitions_carry_the_kernels_weights(players):
    found = coalitions(players, 10_000, 0)
    assert len(found.members) == 2**players - 2
    assert len({tuple(row) for row in found.members}) == len(found.members)
    for row, weight in zip(found.members, found.weights, strict=True):
        size = int(row.sum())
        assert weight == pytest.approx((players - 1) / (math.comb(players, size) * size * (players - size)))


def test_a_sample_lists_the_heaviest_sizes_and_draws_the_rest_with_complements():
    players, samples = 12, 200
    found = coalitions(players, samples, 3)
    sizes = found.members.sum(axis=1)
    assert len(found.members) == samples == len({tuple(row) for row in found.members})
    assert [int((sizes == size).sum()) for size in (1, 11)] == [12, 12]
    drawn = found.members[(sizes > 1) & (sizes < 11)]
    rows = {tuple(row) for row in drawn}
    assert np.mean([tuple(~np.array(row)) in rows for row in rows]) > 0.98
    assert found.weights.sum() == pytest.approx(sum(shapley_weight(players, size) for size in range(1, players)))
    np.testing.assert_array_equal(coalitions(players, samples, 3).members, found.members)
    assert (coalitions(players, samples, 4).members != found.members).any()


def test_nearly_all_coalitions_are_found_without_end():
    found = coalitions(6, 2**6 - 3, 0)
    assert len(found.members) == len({tuple(row) for row in found.members}) == 61


def test_sizes_from_outside_in():
    assert by_size(5) == [(1, 4), (2, 3)]
    assert by_size(4) == [(1, 3), (2,)]


def by_orders(values, players):
    """The mean over all orders in which players come in."""
    found = np.zeros(players)
    for order in itertools.permutations(range(players)):
        mask = 0
        for player in order:
            found[player] += values[mask | (1 << player)] - values[mask]
            mask |= 1 << player
    return found / math.factorial(players)


def test_shapley_values_are_means_over_all_orders():
    values = np.random.default_rng(1).normal(size=2**5)
    found = shapley(values)
    np.testing.assert_allclose(found, by_orders(values, 5), atol=1e-12)
    assert found.sum() == pytest.approx(values[-1] - values[0])
    other = np.random.default_rng(2).normal(size=2**5)
    np.testing.assert_allclose(shapley(values + other), found + shapley(other), atol=1e-12)


def game(players, seed=0):
    return np.random.default_rng(seed).normal(size=2**players)


def fitted(values, players, samples):
    chosen = coalitions(players, samples, 0)
    masks = (chosen.members * (1 << np.arange(players))).sum(axis=1)
    whole, empty = values[-1], values[0]
    sums = Sums(players - 1)
    for numbers in np.array_split(np.arange(len(masks)), 4):
        sums.add(*eliminated(chosen.members[numbers], values[masks[numbers]], whole, empty), chosen.weights[numbers])
    return kernel_shap(sums, whole, empty)


@pytest.mark.parametrize("players", [2, 3, 8])
def test_with_all_coalitions_the_fit_is_exact(players):
    values = game(players)
    np.testing.assert_allclose(fitted(values, players, 10**6).coefficients, shapley(values), atol=1e-10)


def test_any_sample_sums_to_the_whole_and_a_sum_of_players_is_exact_soon():
    values = game(10)
    for samples in (10, 40, 300):
        assert fitted(values, 10, samples).coefficients.sum() == pytest.approx(values[-1] - values[0])
    worth = np.arange(10) - 4.0
    masks = np.arange(2**10)
    linear = ((masks[:, None] >> np.arange(10)) & 1) @ worth + 7
    np.testing.assert_allclose(fitted(linear, 10, 40).coefficients, worth, atol=1e-10)
