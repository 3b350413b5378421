"""Similarities of maps, against SciPy, scikit-image and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest

from xaiwidgets.evaluation.controls import CONTROLS
from xaiwidgets.evaluation.similarity import (
    SIMILARITIES,
    hog,
    normalized,
    random_spearman,
    small,
    spearman_nz,
    ssim,
)

RNG = np.random.default_rng(0)
ONE, OTHER = RNG.normal(size=(64, 64)), RNG.normal(size=(64, 64))


@pytest.mark.parametrize("name", SIMILARITIES)
def test_a_map_is_like_itself_and_like_a_multiple_of_itself(name):
    assert SIMILARITIES[name](ONE, ONE) == pytest.approx(1, abs=1e-12)
    assert SIMILARITIES[name](ONE, 3 * ONE) == pytest.approx(1, abs=1e-9)
    assert abs(SIMILARITIES[name](ONE, OTHER)) < 0.35


def test_signs_matter_to_one_and_not_to_the_other():
    assert SIMILARITIES["spearman_signed"](ONE, -ONE) == pytest.approx(-1)
    assert SIMILARITIES["spearman_abs"](ONE, -ONE) == pytest.approx(1)


def test_a_common_background_does_not_count():
    one, other = np.zeros((50, 50)), np.zeros((50, 50))
    one[:5, :5], other[:5, :5] = RNG.random((2, 5, 5))
    assert SIMILARITIES["spearman_abs"](one, other) > 0.9
    assert abs(spearman_nz(one, other)) < 0.6


def test_normalization_is_by_the_99th_percentile():
    values = np.arange(101.0)
    found = normalized(values - 200)
    assert found.min() == 0
    assert found.max() == 1
    assert normalized(np.where(np.arange(1000) == 3, 5.0, 0.0)).max() == 1  # where that percentile is 0


def test_small_maps_get_small_windows():
    tiny = RNG.random((8, 8))
    assert ssim(tiny, tiny) == pytest.approx(1)
    assert hog(tiny, tiny) == pytest.approx(1)
    assert small((8, 8))
    assert not small((48, 48))
    assert math.isnan(ssim(tiny[:2, :2], tiny[:2, :2]))


def test_ssim_is_that_of_its_definition():
    """Means, variances and covariance under a Gaussian of sigma 1.5, away from the border."""
    from scipy.ndimage import gaussian_filter

    a, b = normalized(ONE), normalized(OTHER)
    blur = lambda v: gaussian_filter(v, 1.5, truncate=3.5)
    ma, mb = blur(a), blur(b)
    va, vb, cov = blur(a * a) - ma**2, blur(b * b) - mb**2, blur(a * b) - ma * mb
    c1, c2 = 0.01**2, 0.03**2
    values = (2 * ma * mb + c1) * (2 * cov + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2))
    assert ssim(ONE, OTHER) == pytest.approx(values[5:-5, 5:-5].mean(), abs=1e-6)


@pytest.mark.parametrize("name", CONTROLS)
def test_controls_know_nothing_of_a_network(name):
    pixels = RNG.random((40, 30, 3), np.float32)
    one = CONTROLS[name](pixels, 0)
    assert one.shape == (40, 30)
    assert one.dtype == np.float32
    assert np.array_equal(one, CONTROLS[name](pixels, 0))
    assert np.array_equal(one, CONTROLS[name](pixels, 1)) == (name != "random")


def test_edges_are_edges_and_the_center_is_the_center():
    step = np.zeros((20, 20, 3), np.float32)
    step[:, 10:] = 1
    edges = CONTROLS["edges"](step, 0)
    assert edges[:, 9:11].min() > 10 * max(edges[:, :8].max(), edges[:, 12:].max(), 1e-9)
    center = CONTROLS["center"](step, 0)
    assert np.unravel_index(center.argmax(), center.shape) in {(9, 9), (9, 10), (10, 9), (10, 10)}


@pytest.mark.parametrize("count", [40, 5000])
def test_random_maps_correlate_as_random_orders_do(count):
    rng = np.random.default_rng(0)
    found = np.array([random_spearman(count, rng) for _ in range(2000)])
    assert abs(found.mean()) < 4 / math.sqrt(2000 * count)
    assert found.std() == pytest.approx(1 / math.sqrt(count - 1), rel=0.08)
