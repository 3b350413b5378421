"""Surrogate fits from sums: against scikit-learn, LIME's own fit, closed forms, and all coalitions."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from lime.lime_base import LimeBase
from sklearn.linear_model import Ridge

from xaiwidgets.engine.surrogate import (
    GROUPS,
    Game,
    Sums,
    by_size,
    choose,
    closeness,
    coalitions,
    ridge,
    shapley,
    shapley_weight,
    strongest,
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


@pytest.mark.parametrize(
    ("count", "how"),
    [(9, "none"), (3, "auto"), (8, "auto")]
    + [(count, how) for how in ("forward_selection", "highest_weights", "lasso_path") for count in (1, 2, 3, 5, 8)],
)
def test_equals_limes_own_fit(data, count, how):
    z, y = data
    distances = 1 - np.sqrt(z.sum(axis=1) / z.shape[1])
    base = LimeBase(lambda d: np.sqrt(np.exp(-(d**2) / 0.25**2)), random_state=0)
    intercept, pairs, score, _ = base.explain_instance_with_data(
        z, np.stack([y, -y], axis=1), distances, 0, count, feature_selection=how
    )
    sums = summed(z, y, closeness(z, 0.25))
    fit = ridge(sums, 1.0, None if how == "none" else choose(sums, count, how))
    theirs = np.zeros(9)
    for which, value in pairs:
        theirs[which] = value
    np.testing.assert_allclose(fit.coefficients, theirs, rtol=1e-10, atol=1e-12)
    assert fit.intercept == pytest.approx(intercept, rel=1e-10)
    assert fit.fidelity == pytest.approx(score, rel=1e-10)


def test_the_choices_differ_where_segments_work_together():
    """Two that always go together share a coefficient, and a fit to all underrates both."""
    chance = np.random.default_rng(2)
    z = chance.integers(0, 2, (400, 6)).astype(float)
    z[:, 1] = np.where(chance.random(400) < 0.03, 1 - z[:, 0], z[:, 0])
    y = 1.0 * z[:, 0] + 1.0 * z[:, 1] + 1.2 * z[:, 2] + 0.1 * chance.normal(size=400)
    sums = summed(z, y, np.ones(400))
    assert choose(sums, 1, "highest_weights").tolist() == [2]
    assert choose(sums, 1, "forward_selection").tolist() in ([0], [1])
    assert choose(sums, 2, "forward_selection").tolist() in ([0, 2], [1, 2])


@pytest.mark.parametrize("how", ["forward_selection", "highest_weights", "lasso_path"])
@pytest.mark.parametrize("samples", [1, 2, 5, 30])
def test_few_samples_or_equal_results_choose_at_most_so_many(samples, how, data):
    z, y = data
    for results in (y, np.full(200, 0.3)):
        sums = summed(z[:samples], results[:samples], np.ones(samples), 1)
        chosen = choose(sums, 4, how)
        assert len(chosen) <= 4
        assert (np.diff(chosen) > 0).all()
        assert np.isfinite(ridge(sums, 1.0, chosen).coefficients).all()


def test_a_segment_that_a_weaker_penalty_drops_again_is_not_chosen():
    """On this path one comes in and leaves again: the last fit of a size counts, not that before the first larger."""
    from sklearn.linear_model import lars_path

    def passed(sizes):
        return np.flatnonzero(np.diff(sizes) < 0)

    for seed in range(200):
        chance = np.random.default_rng(seed)
        z = chance.normal(size=(60, 6)) @ chance.normal(size=(6, 6))
        y = z @ chance.normal(size=6) + chance.normal(size=60)
        _, _, path = lars_path(z - z.mean(axis=0), y - y.mean(), method="lasso")
        sizes = np.count_nonzero(path, axis=0)
        if len(passed(sizes)):
            break
    count = int(sizes[passed(sizes)[0]]) - 1
    larger, fits = int(np.argmax(sizes > count)), np.flatnonzero(sizes <= count)
    first, last = (np.flatnonzero(path[:, number]) for number in (larger - 1, fits[-1]))
    assert first.tolist() != last.tolist()
    np.testing.assert_array_equal(choose(summed(z, y, np.ones(60)), count, "lasso_path"), last)


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


def by_mask(members):
    return (members * (1 << np.arange(members.shape[1]))).sum(axis=1)


def fitted(values, players, samples, seed=0, parts=4):
    """Return the last fit and all sums on the way, the scores looked up by bit mask."""
    chosen = coalitions(players, samples, seed)
    made, totals = Game(chosen, values[-1], values[0]), []
    for scores in np.array_split(values[by_mask(chosen.members)], parts):
        made.add(scores)
        totals.append(made.values()[0].sum())
    return (*made.values(), totals)


@pytest.mark.parametrize("players", [2, 3, 8])
def test_with_all_coalitions_the_fit_is_exact_and_says_so(players):
    values = game(players)
    found, errors, _ = fitted(values, players, 10**6)
    np.testing.assert_allclose(found, shapley(values), atol=1e-10)
    np.testing.assert_array_equal(errors, np.zeros(players))


def test_the_constraint_is_that_of_infinite_weights():
    """Slow reference: the whole and the empty coalition as samples of huge weight, in one least-squares fit."""
    values = game(7)
    chosen = coalitions(7, 60, 0)
    rows = np.concatenate([chosen.members, np.ones((1, 7)), np.zeros((1, 7))])
    rows = np.column_stack([np.ones(len(rows)), rows])
    weights = np.sqrt([*chosen.weights, 1e9, 1e9])
    y = np.array([*values[by_mask(chosen.members)], values[-1], values[0]])
    wanted = np.linalg.lstsq(rows * weights[:, None], y * weights, rcond=None)[0][1:]
    np.testing.assert_allclose(fitted(values, 7, 60)[0], wanted, rtol=1e-6)


def test_any_sample_sums_to_the_whole_and_a_sum_of_players_is_exact_soon():
    values = game(10)
    for samples in (10, 40, 300):
        found, _, totals = fitted(values, 10, samples, parts=7)
        np.testing.assert_allclose([*totals, found.sum()], values[-1] - values[0], rtol=1e-12)
    worth = np.arange(10) - 4.0
    masks = np.arange(2**10)
    linear = ((masks[:, None] >> np.arange(10)) & 1) @ worth + 7
    np.testing.assert_allclose(fitted(linear, 10, 40)[0], worth, atol=1e-10)


def test_what_no_coalition_tells_yet_is_an_equal_share():
    made = Game(coalitions(6, 30, 0), 5.0, 2.0)
    made.add(np.empty(0))
    values, errors = made.values()
    np.testing.assert_allclose(values, np.full(6, 0.5))
    assert errors is None
    assert (coalitions(6, 30, 0).members[:1] == np.eye(6, dtype=bool)[:1]).all(), "the first player alone comes first"
    made.add(np.array([4.0]))
    values, _ = made.values()
    assert values[0] > 0.5
    np.testing.assert_allclose(values[1:], values[1])


@pytest.mark.parametrize(("players", "samples"), [(9, 60), (9, 200), (12, 300), (12, 3000)])
def test_errors_tell_how_far_values_are_from_the_exact_ones(players, samples):
    """Over many seeds; a smooth game, as a network is, not one of noise."""
    chance = np.random.default_rng(0)
    shown = (np.arange(2**players)[:, None] >> np.arange(players)) & 1
    hidden = shown @ chance.normal(size=(players, 12)) / players**0.5 + 0.3 * chance.normal(size=12)
    values = np.maximum(hidden, 0) @ chance.normal(size=12)
    exact = shapley(values)
    found, said, _ = zip(*(fitted(values, players, samples, seed, 1) for seed in range(60)), strict=True)
    off = np.sqrt(((np.array(found) - exact) ** 2).mean(axis=0)).mean()
    assert np.sqrt((np.array(said) ** 2).mean(axis=0)).mean() == pytest.approx(off, rel=0.2)


def test_errors_wait_for_half_of_the_draws():
    chosen = coalitions(20, 200, 0)
    values = np.random.default_rng(0).normal(size=200)
    made, done = Game(chosen, 1.0, 0.0), chosen.drawn.sum(axis=1).cumsum() / chosen.drawn.sum()
    for number, score in enumerate(values):
        made.add(np.array([score]))
        assert (made.values()[1] is None) == (done[number] < 0.5)
    assert chosen.drawn.shape == (200, GROUPS)
    assert (chosen.drawn.sum(axis=0) > 0).all()


def test_the_strongest_are_positive():
    np.testing.assert_array_equal(strongest(np.array([1.0, -5, 3, 3, 0]), 2), [False, False, True, True, False])
    np.testing.assert_array_equal(strongest(np.array([1.0, -5, 0]), 3), [True, False, False])
