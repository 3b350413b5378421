from __future__ import annotations

import numpy as np
import pytest
import torch

from xaiwidgets.errors import InvalidImage
from xaiwidgets.synthesis.graylevels import GrayLevels


def test_a_photo_of_8_bits_is_whole_numbers_and_comes_back(conv_net):
    pixels = np.random.default_rng(3).integers(0, 256, (16, 16, 3)).astype(np.float32)
    levels = GrayLevels(conv_net)
    found = levels.of(conv_net.from_pixels(pixels / 255))
    assert np.array_equal(found[0].permute(1, 2, 0).numpy(), pixels)
    np.testing.assert_allclose(levels.inputs(found), conv_net.from_pixels(pixels / 255), atol=1e-5)
    np.testing.assert_allclose(levels.pixels(found), pixels / 255, atol=1e-7)


def test_values_between_the_levels_stay_and_none_leaves_the_range(conv_net):
    pixels = np.full((16, 16, 3), 100.4 / 255, np.float32)
    pixels[0, 0] = (-0.2, 1.5, 0.0)
    found = GrayLevels(conv_net).of(conv_net.from_pixels(pixels))
    np.testing.assert_allclose(found[0, :, 1:], 100.4, atol=1e-3)
    assert found[0, :, 0, 0].tolist() == [0, 255, 0]


def test_the_derivative_by_levels_is_that_of_the_score(conv_net):
    levels, target = GrayLevels(conv_net), conv_net.target(1)
    picture = torch.full(levels.shape, 90.0)
    found = conv_net.gradient(levels.inputs(picture), target)
    slope = levels.per_level(found.input)
    step = 0.5 * slope / slope.norm()
    up, down = (conv_net.scores(levels.inputs(picture + s * step), target) for s in (1, -1))
    assert float(up - down) == pytest.approx(float(slope.norm()), rel=0.02)


def test_another_size_is_refused(conv_net):
    with pytest.raises(InvalidImage, match=r"image must be a network input of shape \(1, 3, 16, 16\)"):
        GrayLevels(conv_net).of(torch.zeros(1, 3, 8, 8))
