"""Random masks: soft, of the wanted mean, and the same for any batching."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from xaiwidgets.engine.masks import RandomMasks


@pytest.mark.parametrize("size", [(32, 32), (30, 47)], ids=str)
@pytest.mark.parametrize("cells", [2, 7])
def test_masks_are_soft_and_of_the_size_of_the_picture(size, cells):
    masks = RandomMasks(size, 50, cells, 0.5, seed=0).draw(range(50))
    assert masks.shape == (50, 1, *size)
    assert masks.min() >= 0
    assert masks.max() <= 1
    assert ((masks > 0) & (masks < 1)).float().mean() > 0.2, "soft edges"
    assert len({m.numpy().tobytes() for m in masks}) == 50


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.9])
def test_the_mean_is_the_kept_share(keep):
    masks = RandomMasks((28, 28), 2000, 7, keep, seed=1).draw(range(2000)).double()
    means = masks.mean(dim=(1, 2, 3))
    assert abs(float(means.mean()) - keep) < 3 * float(means.std()) / 2000**0.5
    for row, column in ((14, 14), (0, 0), (27, 13)):  # also at the border
        pixel = masks[:, 0, row, column]
        assert abs(float(pixel.mean()) - keep) < 3.5 * float(pixel.std()) / 2000**0.5


def test_batching_does_not_change_a_mask():
    masks = RandomMasks((24, 24), 20, 4, 0.5, seed=3)
    whole = masks.draw(range(20))
    for size in (1, 3, 8):
        parts = [masks.draw(range(start, min(start + size, 20))) for start in range(0, 20, size)]
        assert torch.equal(torch.cat(parts), whole)
    assert torch.equal(masks.draw(range(5, 9)), whole[5:9])


def test_the_seed_decides():
    one, same, other = (RandomMasks((24, 24), 5, 4, 0.5, seed=s).draw(range(5)) for s in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_the_global_random_state_is_left_alone():
    state = torch.get_rng_state()
    RandomMasks((24, 24), 5, 4, 0.5, seed=0).draw(range(5))
    assert torch.equal(torch.get_rng_state(), state)


def test_masks_are_the_definition_by_hand():
    """Petsiuk et al. 2018, section 3.2: enlarge the grid, cut at an offset within one cell."""
    masks = RandomMasks((12, 16), 30, 4, 0.5, seed=0)
    assert masks.cell == (3, 4)
    assert masks.large == (15, 20)
    assert set(masks.grids.unique().tolist()) == {0.0, 1.0}
    assert {tuple(o) for o in masks.offsets.tolist()} <= {(a, b) for a in range(3) for b in range(4)}
    assert len({tuple(o) for o in masks.offsets.tolist()}) > 6
    found = masks.draw(range(30)).numpy()
    for number in (0, 7, 29):
        grid = masks.grids[number, 0].numpy()
        top, left = masks.offsets[number].tolist()
        for row, column in ((0, 0), (5, 9), (11, 15)):
            y, x = (row + top + 0.5) * 4 / 15 - 0.5, (column + left + 0.5) * 4 / 20 - 0.5
            rows, columns = (np.clip([np.floor(v), np.floor(v) + 1], 0, 3).astype(int) for v in (y, x))
            down, across = (np.clip(v, 0, 3) - np.clip(np.floor(v), 0, 3) for v in (y, x))
            pair = grid[rows][:, columns]
            expected = np.array([1 - down, down]) @ pair @ np.array([1 - across, across])
            np.testing.assert_allclose(found[number, 0, row, column], expected, atol=1e-5)
