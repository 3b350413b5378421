"""Regions by rank, and how small one can be."""

from __future__ import annotations

import math

import numpy as np
import pytest

from xaiwidgets.engine.ranks import coarse_to_fine, first_lasting, ranks, saliency_metric, tight_box


def test_the_largest_comes_first_and_equal_ones_row_by_row():
    assert ranks(np.array([[1.0, 3.0], [3.0, -2.0]])).tolist() == [[2, 0], [1, 3]]
    assert ranks(np.zeros((2, 3))).tolist() == [[0, 1, 2], [3, 4, 5]]
    assert ranks(np.array([0, 200, 100], np.uint8)).tolist() == [2, 0, 1]


@pytest.mark.parametrize("count", [2, 3, 5, 8, 40, 64])
def test_every_level_once_and_coarse_ones_first(count):
    order = coarse_to_fine(count)
    assert sorted(order) == list(range(1, count))
    gaps = [max(np.diff(sorted([0, count, *order[: n + 1]]))) for n in range(len(order))]
    assert gaps == sorted(gaps, reverse=True)
    if count == 8:
        assert order == [4, 2, 6, 1, 3, 5, 7]


@pytest.mark.parametrize(
    ("reached", "first"),
    [
        ([0, 0, 1, 1, 1], 2),
        ([0, 1, 0, 1, 1], 3),  # one alone does not last
        ([0, 0, 0, 0, 1], 4),  # after the last there is none
        ([1, 1, 0, 0, 0], 0),
        ([0, 1, 0, 0, 0], None),
    ],
)
def test_the_first_that_lasts(reached, first):
    assert first_lasting({level: bool(there) for level, there in enumerate(reached)}) == first


def test_a_tight_box():
    region = np.zeros((6, 8), bool)
    assert tight_box(region) is None
    region[1, 3] = region[4, 2] = True
    assert tight_box(region) == (1, 2, 5, 4)


def test_the_saliency_metric():
    assert saliency_metric(1.0, 1.0) == 0
    assert saliency_metric(0.2, 0.5) == pytest.approx(math.log(0.2) - math.log(0.5))
    assert saliency_metric(0.01, 0.5) == saliency_metric(0.05, 0.5) == pytest.approx(math.log(0.1))
    assert saliency_metric(0.3, 0.0) == pytest.approx(math.log(0.3) - math.log(1e-12))
