"""Correlations are SciPy's, also with ties and with what is no number."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import pearsonr, rankdata, spearmanr

from xaiwidgets.core.correlation import pearson, ranks, spearman

RNG = np.random.default_rng(0)
ONE, OTHER = RNG.normal(size=(64, 64)), RNG.normal(size=(64, 64))


def test_rank_correlation_is_scipys_also_with_ties():
    tied = np.round(ONE, 1)
    assert spearman(tied, OTHER) == pytest.approx(spearmanr(tied.ravel(), OTHER.ravel()).statistic, abs=1e-12)
    assert pearson(ONE, OTHER) == pytest.approx(pearsonr(ONE.ravel(), OTHER.ravel()).statistic, abs=1e-12)


def test_a_constant_map_has_no_order():
    assert math.isnan(spearman(np.ones((4, 4)), OTHER[:4, :4]))
    assert math.isnan(pearson(np.full((4, 4), 0.1), OTHER[:4, :4]))


#: Of both signs, with both zeros and both infinities, and from denormal to large.
FLOATS = np.float32([0.0, -0.0, 0.0, np.inf, -np.inf, 1e-40, -1e-40, 1e30, -1e30, 1.4, 1.3, -1.4, -1.3, 2.5, 2.5, -7.0])


@pytest.mark.parametrize(
    "values", [OTHER, np.random.default_rng(3).integers(0, 5, (9, 7)), np.zeros(6), np.zeros(0), np.array([2.0]),
               np.array([1.0, math.nan, 0.0]), FLOATS, np.round(FLOATS), FLOATS[:1], FLOATS[:0],
               np.array([0, -math.nan], "f4")],
    ids=["no ties", "ties", "one value", "none", "one", "nan", "float32", "float32 ties", "float32 one", "float32 none",
         "float32 nan"],
)  # fmt: skip
def test_ranks_are_those_of_scipy(values):
    np.testing.assert_array_equal(ranks(values), rankdata(values, axis=None))
