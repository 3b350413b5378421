"""What a mask makes of a photo, and how that changes with it."""

from __future__ import annotations

import pytest
import torch

from xaiwidgets.engine.baselines import gaussian_blur
from xaiwidgets.engine.levels import Levels, blurred


def random(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("count", [2, 3, 8])
def test_a_mask_mixes_the_two_copies_next_to_it(count):
    copies, mask = random(count, 3, 4, 5), random(4, 5, seed=1)
    mask[0, 0], mask[0, 1] = 0.0, 1.0
    levels = Levels(copies)
    seen, slope = levels.under(mask)[0], levels.slope(mask)[0]
    for row in range(4):
        for column in range(5):
            place = float(mask[row, column]) * (count - 1)
            below = min(int(place), count - 2)
            one, other = copies[below, :, row, column], copies[below + 1, :, row, column]
            torch.testing.assert_close(seen[:, row, column], one + (place - below) * (other - one))
            torch.testing.assert_close(slope[:, row, column], (other - one) * (count - 1))
    assert torch.equal(seen[:, 0, 0], copies[0, :, 0, 0])
    assert torch.equal(seen[:, 0, 1], copies[-1, :, 0, 1])


def test_moving_repeats_the_border():
    copies = torch.arange(12.0).reshape(1, 1, 3, 4)
    moved = Levels(copies).shifted(1, -2).copies[0, 0]
    wanted = torch.tensor([[2.0, 3, 3, 3], [2, 3, 3, 3], [6, 7, 7, 7]])
    assert torch.equal(moved, wanted)
    assert Levels(copies).shifted(0, 0).copies is copies


def test_blur_goes_from_all_to_nothing():
    image = random(1, 3, 12, 12)
    levels = blurred(image, 4, 5).copies
    assert torch.equal(levels[-1:], image)
    for number, sigma in enumerate((4, 3, 2, 1)):
        torch.testing.assert_close(levels[number : number + 1], gaussian_blur(image, sigma))
