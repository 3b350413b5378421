from __future__ import annotations

import numpy as np
import pytest

from xaiwidgets.render.stretch import LARGEST_GAIN, PERCENTILE, stretch


def picture(spread, seed=0):
    """Return noise around middle gray."""
    noise = np.random.default_rng(seed).uniform(-spread, spread, (40, 40, 3))
    return (0.5 + noise).astype(np.float32)


def test_distance_from_middle_gray_is_enlarged_until_half_a_percent_clips():
    image = picture(0.2)
    found = stretch(image)
    gain = 0.5 / np.percentile(np.abs(image - np.float32(0.5)), PERCENTILE)
    np.testing.assert_allclose(found, np.clip(0.5 + gain * (image - 0.5), 0, 1), atol=1e-6)
    clipped = ((found == 0) | (found == 1)).mean()
    assert 0.004 < clipped <= 0.006


def test_colors_keep_their_hue_and_order():
    image = np.full((10, 10, 3), 0.5, np.float32)
    image[:5] = (0.6, 0.5, 0.45)
    found = stretch(image)
    np.testing.assert_allclose(found[0, 0], (1.0, 0.5, 0.25), atol=1e-5)
    np.testing.assert_allclose(found[9, 9], 0.5)


@pytest.mark.parametrize("spread", [0.001, 0.01, 0.05])
def test_gain_is_capped_so_that_noise_stays_noise(spread):
    image = picture(spread)
    found = stretch(image)
    np.testing.assert_allclose(found - 0.5, LARGEST_GAIN * (image - 0.5), atol=1e-5)


@pytest.mark.parametrize("spread", [0.001, 0.1, 0.3, 0.49, 0.5])
@pytest.mark.parametrize("seed", range(3))
def test_contrast_is_never_lowered(spread, seed):
    image = picture(spread, seed)
    assert (np.abs(stretch(image) - 0.5) >= np.abs(image - 0.5) - 1e-6).all()


def test_a_picture_that_uses_the_whole_range_stays_as_it_is():
    image = np.zeros((8, 8, 3), np.float32)
    image[::2] = 1
    image[0, 0] = 0.37
    np.testing.assert_allclose(stretch(image), image, atol=1e-6)


def test_plain_gray_stays_plain_gray():
    assert (stretch(np.full((4, 4, 3), 0.5, np.float32)) == 0.5).all()


def test_result_is_a_new_picture_between_black_and_white():
    image = picture(0.3)
    before = image.copy()
    found = stretch(image)
    np.testing.assert_array_equal(image, before)
    assert found.dtype == np.float32
    assert found.shape == image.shape
    assert 0 <= found.min() <= found.max() <= 1
    assert stretch(picture(0.1).astype(np.float64)).dtype == np.float32
