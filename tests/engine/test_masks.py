"""Random masks: soft, of the wanted mean, and the same for any batching."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from xaiwidgets.engine.masks import MaskSums, RandomMasks


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


@pytest.mark.parametrize("keep", [0.2, 0.5])
def test_the_second_of_a_pair_is_the_counterpart(keep):
    masks = RandomMasks((24, 28), 31, 4, keep, seed=0, pairs=True)
    assert masks.grids.shape == (31, 1, 4, 4)
    assert torch.equal(masks.offsets[0:30:2], masks.offsets[1:30:2])
    one, other = masks.grids[0:30:2], masks.grids[1:30:2]
    if keep == 0.5:
        assert torch.equal(one + other, torch.ones_like(one))
        drawn = masks.draw(range(30))
        torch.testing.assert_close(drawn[0::2] + drawn[1::2], torch.ones(15, 1, 24, 28))
    else:
        assert not (one * other).any(), "no cell is visible in both"
    assert len({grid.numpy().tobytes() for grid in one}) == 15


@pytest.mark.parametrize("keep", [0.2, 0.5, 0.8])
def test_the_mean_of_pairs_is_the_kept_share_too(keep):
    masks = RandomMasks((14, 14), 4000, 3, keep, seed=1, pairs=True).draw(range(4000)).double()
    pairs = masks.mean(dim=(1, 2, 3)).reshape(2000, 2).mean(dim=1)
    assert abs(float(pairs.mean()) - keep) <= 3 * float(pairs.std()) / 2000**0.5 + 1e-7


def drawn_sums(count, each, coverage, batch, seed=0):
    """Return MaskSums fed in batches, with the weights and masks."""
    generator = torch.Generator().manual_seed(seed)
    masks = torch.rand((count, 3), generator=generator, dtype=torch.float64)
    weights = torch.rand(count, generator=generator, dtype=torch.float64) + masks[:, 0]
    sums = MaskSums(3, each, 0.5, coverage=coverage)
    for start in range(0, count, batch):
        sums.add(weights[start : start + batch], masks[start : start + batch])
    return sums, weights.numpy(), masks.numpy()


@pytest.mark.parametrize("coverage", [False, True])
@pytest.mark.parametrize("each", [1, 2])
@pytest.mark.parametrize("batch", [1, 3, 4, 40])
def test_mean_and_error_are_those_of_the_draws(batch, each, coverage):
    sums, weights, masks = drawn_sums(40, each, coverage, batch)
    tops = (weights[:, None] * masks).reshape(-1, each, 3).sum(axis=1)
    bottoms = (masks if coverage else np.full_like(masks, 0.5)).reshape(-1, each, 3).sum(axis=1)
    mean = tops.sum(axis=0) / bottoms.sum(axis=0)
    np.testing.assert_allclose(sums.mean, mean, rtol=1e-12)
    left = tops - mean * bottoms  # of the ratio, to first order
    np.testing.assert_allclose(sums.error, np.sqrt((left**2).sum(axis=0)) / bottoms.sum(axis=0), rtol=1e-9)


def test_an_unfinished_pair_counts_as_a_draw():
    sums, weights, masks = drawn_sums(5, 2, True, 3)
    tops, bottoms = weights[:, None] * masks, masks
    mean = tops.sum(axis=0) / bottoms.sum(axis=0)
    left = tops - mean * bottoms
    parts = np.stack([left[0] + left[1], left[2] + left[3], left[4]])
    np.testing.assert_allclose(sums.mean, mean, rtol=1e-12)
    np.testing.assert_allclose(sums.error, np.sqrt((parts**2).sum(axis=0)) / bottoms.sum(axis=0), rtol=1e-9)


@pytest.mark.parametrize("coverage", [False, True])
@pytest.mark.parametrize("each", [1, 2])
def test_the_error_is_the_spread_between_runs(each, coverage):
    runs = [drawn_sums(200, each, coverage, 50, seed)[0] for seed in range(200)]
    spread = np.std([run.mean.numpy() for run in runs], axis=0, ddof=1)
    claimed = np.mean([run.error.numpy() for run in runs], axis=0)
    np.testing.assert_allclose(claimed, spread, rtol=0.2)
