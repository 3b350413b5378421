"""Quadrature: weights that sum to one, exact where the rule is, and an order that is early everywhere."""

from __future__ import annotations

import numpy as np
import pytest

from xaiwidgets.engine.quadrature import RULES, early_first, nodes

#: Highest degree that a rule of n points integrates exactly.
EXACT = {
    "riemann_middle": lambda n: 1,
    "riemann_trapezoid": lambda n: 1,
    "riemann_left": lambda n: 0,
    "riemann_right": lambda n: 0,
    "gausslegendre": lambda n: 2 * n - 1,
    "pair": lambda n: 1,
}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("count", [2, 3, 8, 33])
def test_weights_sum_to_one_on_the_interval(rule, count):
    positions, weights = nodes(rule, count)
    assert positions.shape == weights.shape == (count,)
    assert positions.min() >= 0
    assert positions.max() <= 1
    assert (weights > 0).all()
    assert weights.sum() == pytest.approx(1, abs=1e-12)
    assert (np.diff(positions) > 0).all()


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("count", [2, 5, 8])
def test_polynomials_are_integrated_exactly_up_to_the_degree(rule, count):
    positions, weights = nodes(rule, count)
    degree = EXACT[rule](count)
    for power in range(degree + 1):
        assert weights @ positions**power == pytest.approx(1 / (power + 1), abs=1e-12)
    beyond = degree + 1
    assert abs(weights @ positions**beyond - 1 / (beyond + 1)) > 1e-11


def test_the_ends():
    assert nodes("riemann_left", 4)[0].tolist() == [0, 0.25, 0.5, 0.75]
    assert nodes("riemann_right", 4)[0].tolist() == [0.25, 0.5, 0.75, 1]
    assert nodes("riemann_middle", 2)[0].tolist() == [0.25, 0.75]
    positions, weights = nodes("riemann_trapezoid", 3)
    assert (positions.tolist(), weights.tolist()) == ([0, 0.5, 1], [0.25, 0.5, 0.25])
    positions, weights = nodes("pair", 3)
    assert positions.tolist() == [0, 0.5, 1]
    np.testing.assert_allclose(weights, 1 / 3)


def test_an_unknown_rule_lists_the_known():
    with pytest.raises(ValueError, match=r"rule must be one of riemann_middle, .*; got 'simpson'"):
        nodes("simpson", 4)


@pytest.mark.parametrize("count", [1, 2, 3, 32, 50, 129])
def test_the_order_is_a_permutation_whose_prefixes_are_spread(count):
    order = early_first(count)
    assert sorted(order.tolist()) == list(range(count))
    for prefix in range(1, count + 1):
        share = np.sort(order[:prefix]) / count
        gaps = np.diff(np.concatenate([[0], share, [1]]))
        assert gaps.max() <= 4 / prefix + 1 / count


def test_the_order_by_hand():
    assert early_first(8).tolist() == [0, 4, 2, 6, 1, 5, 3, 7]
    assert early_first(5).tolist() == [0, 4, 2, 1, 3]
