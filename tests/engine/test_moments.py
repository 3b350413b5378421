"""Running moments: those of NumPy over all samples at once."""

from __future__ import annotations

import numpy as np
import pytest

from xaiwidgets.engine.moments import Moments


def gathered(samples, sizes):
    moments, start = Moments(), 0
    for size in sizes:
        moments.add(samples[start : start + size])
        start += size
    assert start == len(samples)
    return moments


@pytest.mark.parametrize("sizes", [[12], [1] * 12, [5, 4, 3], [1, 11]], ids=str)
@pytest.mark.parametrize("shift", [0.0, 1e6], ids=["around 0", "around a million"])
def test_moments_are_those_of_numpy(sizes, shift):
    samples = np.random.default_rng(0).normal(size=(12, 2, 3)) + shift
    found = gathered(samples, sizes)
    assert found.count == 12
    np.testing.assert_allclose(found.of("mean"), samples.mean(0), rtol=1e-6)
    np.testing.assert_allclose(found.of("square"), (samples**2).mean(0), rtol=1e-6)
    np.testing.assert_allclose(found.of("variance"), samples.var(0), rtol=1e-6)
    np.testing.assert_allclose(found.standard_error(), samples.std(0, ddof=1) / np.sqrt(12), rtol=1e-6)
    assert {found.of(m).dtype for m in ("mean", "square", "variance")} == {np.dtype(np.float32)}


def test_one_sample_has_no_error_yet():
    found = gathered(np.ones((1, 4)), [1])
    np.testing.assert_array_equal(found.standard_error(), np.zeros(4))
    np.testing.assert_array_equal(found.of("variance"), np.zeros(4))


def test_samples_are_not_changed_or_kept():
    samples = np.ones((3, 4))
    moments = Moments()
    moments.add(samples)
    samples[:] = 7
    np.testing.assert_array_equal(moments.of("mean"), np.ones(4))
