"""Windows: they cover the picture, are visited coarse to fine, and a pixel gets the mean of its own."""

from __future__ import annotations

import math

import numpy as np
import pytest

from xaiwidgets.engine.windows import Grid, largest, mean_of_sizes, refined, share_done

GRIDS = [
    Grid((16, 16), (4, 4), (2, 2)),
    Grid((17, 23), (5, 3), (2, 3)),
    Grid((16, 16), (16, 16), (1, 1)),
    Grid((16, 16), (16, 16), (16, 16)),
    Grid((7, 5), (1, 1), (1, 1)),
    Grid((10, 10), (3, 3), (3, 3)),
    Grid((10, 12), (4, 7), (4, 5)),
    Grid((1, 9), (1, 2), (1, 1)),
]
GAPS = [Grid((10, 10), (1, 1), (5, 5)), Grid((16, 9), (2, 3), (7, 4)), Grid((10, 10), (3, 3), (100, 9))]
ids = lambda g: f"{g.size} {g.window} {g.stride}"


def boxes(grid):
    rows, columns = grid.shape
    return {(r, c): grid.box(r, c) for r in range(rows) for c in range(columns)}


@pytest.mark.parametrize("grid", GRIDS, ids=ids)
def test_every_pixel_is_covered_and_no_window_is_empty(grid):
    seen = np.zeros(grid.size, int)
    for top, left, bottom, right in boxes(grid).values():
        assert 0 <= top < bottom <= grid.size[0]
        assert 0 <= left < right <= grid.size[1]
        assert (bottom - top) <= grid.window[0]
        assert (right - left) <= grid.window[1]
        seen[top:bottom, left:right] += 1
    assert seen.min() >= 1


@pytest.mark.parametrize("grid", GRIDS, ids=ids)
def test_there_are_as_many_windows_as_captum_takes(grid):
    axes = zip(grid.size, grid.window, grid.stride, strict=True)
    assert grid.shape == tuple(math.ceil((size - window) / stride) + 1 for size, window, stride in axes)


def test_the_count_of_captum_itself():
    import torch
    from captum.attr import Occlusion

    grid = Grid((17, 23), (5, 3), (2, 3))
    passes = []
    count = Occlusion(lambda x: passes.append(1) or x.sum((1, 2, 3)))
    count.attribute(torch.zeros(1, 1, 17, 23), sliding_window_shapes=(1, 5, 3), strides=(1, 2, 3))
    assert len(passes) - 1 == math.prod(grid.shape), "one pass is of the picture as it is"


@pytest.mark.parametrize("grid", [*GRIDS, *GAPS], ids=ids)
def test_coarse_to_fine_visits_every_window_once(grid):
    order = grid.coarse_to_fine()
    assert len(order) == len(set(order)) == math.prod(grid.shape)
    assert set(order) == set(boxes(grid))


def test_any_prefix_covers_the_picture_about_evenly():
    grid = Grid((64, 64), (4, 4), (4, 4))
    order = np.array(grid.coarse_to_fine())
    for count in (4, 16, 64):
        places = order[:count]
        apart = np.abs(np.array(sorted(boxes(grid)))[:, None] - places[None]).max(-1).min(1)
        assert apart.max() < 16 / math.sqrt(count), count


@pytest.mark.parametrize("grid", GRIDS, ids=ids)
def test_spread_is_the_mean_over_the_covering_windows(grid):
    values = np.random.default_rng(0).normal(size=grid.shape)
    expected = np.zeros(grid.size)
    for row in range(grid.size[0]):
        for column in range(grid.size[1]):
            covering = [values[k] for k, (y, x, b, r) in boxes(grid).items() if y <= row < b and x <= column < r]
            expected[row, column] = np.mean(covering)
    found = grid.spread(values)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("grid", GAPS, ids=ids)
def test_gaps_between_windows_are_zero(grid):
    found = grid.spread(np.ones(grid.shape))
    expected = np.zeros(grid.size)
    for top, left, bottom, right in boxes(grid).values():
        assert bottom > top
        assert right > left
        expected[top:bottom, left:right] = 1
    assert not expected.all()
    np.testing.assert_array_equal(found, expected)


def test_windows_that_are_not_done_take_the_nearest():
    grid = Grid((3, 4), (1, 1), (1, 1))
    values = np.full((3, 4), np.nan)
    values[0, 0], values[2, 3] = 1, 5
    # ties go to the one above, then to the one at the left
    np.testing.assert_array_equal(grid.spread(values), [[1, 1, 1, 5], [1, 1, 5, 5], [1, 5, 5, 5]])
    assert np.isnan(values).sum() == 10, "what came in is not filled in place"
    np.testing.assert_array_equal(grid.spread(np.full((3, 4), np.nan)), np.zeros((3, 4)))


def test_the_first_results_are_unbiased_on_a_ramp():
    grid = Grid((32, 32), (4, 4), (4, 4))
    ramp = np.add.outer(np.arange(8.0), np.arange(8.0))
    values = np.full(grid.shape, np.nan)
    for place in grid.coarse_to_fine()[:16]:
        values[place] = ramp[place]
    assert abs(grid.spread(values).mean() - ramp.mean()) <= 1.0 + 1e-6


def test_half_the_size_at_half_the_stride():
    assert Grid((20, 20), (8, 5), (4, 3)).halved() == Grid((20, 20), (4, 2), (2, 1))
    assert Grid((20, 20), (1, 2), (1, 1)).halved() == Grid((20, 20), (1, 1), (1, 1))


@pytest.mark.parametrize("grid", [*GRIDS, *GAPS], ids=ids)
def test_sums_counts_and_means_pixel_by_pixel(grid):
    rng = np.random.default_rng(0)
    values, field = rng.normal(size=grid.shape), rng.normal(size=grid.size)
    among = rng.random(grid.shape) < 0.5
    total, count, few = np.zeros(grid.size), np.zeros(grid.size), np.zeros(grid.size)
    means = np.zeros(grid.shape)
    for place, (top, left, bottom, right) in boxes(grid).items():
        total[top:bottom, left:right] += values[place]
        count[top:bottom, left:right] += 1
        few[top:bottom, left:right] += among[place]
        means[place] = field[top:bottom, left:right].mean()
    assert grid.number == len(boxes(grid))
    np.testing.assert_allclose(grid.total(values), total, atol=1e-12)
    np.testing.assert_array_equal(grid.count(), count)
    np.testing.assert_array_equal(grid.count(among), few)
    np.testing.assert_allclose(grid.means(field), means, atol=1e-12)
    some = np.where(among, values, np.nan)
    wanted = np.where(few > 0, grid.total(np.where(among, values, 0)) / np.maximum(few, 1), 0)
    np.testing.assert_allclose(grid.spread(some, among), wanted, atol=1e-6)


def test_the_largest_windows_and_the_first_of_equal_ones():
    grid = Grid((4, 6), (2, 2), (2, 2))
    assert np.argwhere(largest(grid, np.ones((4, 6)), 2)).tolist() == [[0, 0], [0, 1]]
    field = np.zeros((4, 6))
    field[2:, 4:], field[:2, 2] = 5, 3
    assert np.argwhere(largest(grid, field, 2)).tolist() == [[0, 1], [1, 2]]


def test_the_share_that_is_done():
    grids = [Grid((2, 4), (2, 2), (2, 2)), Grid((2, 4), (1, 1), (1, 1))]
    one, two = np.array([[1.0, np.nan]]), np.full((2, 4), np.nan)
    chosen = np.zeros((2, 4), dtype=bool)
    chosen[0, :3], two[0, 1] = True, 1
    found = share_done(grids, [one, two], chosen)
    np.testing.assert_array_equal(found, [[0.5, 1, 0, 0], [1, 1, 0, 0]])
    assert found.dtype == np.float32


def test_a_size_that_has_begun_counts_little():
    grids = [Grid((2, 4), (2, 2), (2, 2)), Grid((2, 4), (1, 1), (1, 1))]
    one, two = np.array([[1.0, 3.0]]), np.full((2, 4), np.nan)
    np.testing.assert_array_equal(mean_of_sizes(grids, [one, two]), [[1, 1, 3, 3]] * 2)
    two[0, 0] = 10  # 1 of 8 done
    wanted = (np.array([[1, 1, 3, 3]] * 2) + 10 / 8) / (1 + 1 / 8)
    np.testing.assert_allclose(mean_of_sizes(grids, [one, two]), wanted, rtol=1e-6)
    two[:] = np.arange(8).reshape(2, 4)
    np.testing.assert_allclose(mean_of_sizes(grids, [one, two]), (np.array([[1, 1, 3, 3]] * 2) + two) / 2)


@pytest.mark.parametrize(
    ("finer", "factor"), [((1, 0), 4.0), ((2, 1), 8 / 3), ((9, 7), 1.0), ((1, -1), 1.0), ((-1, -2), 1.0), ((0, 0), 1.0)]
)
def test_a_refined_map_keeps_its_sum(finer, factor):
    grid = Grid((2, 4), (2, 1), (2, 1))
    values = np.array([[4, 4, 1, 1]] * 2, dtype=np.float32)
    falls, among = np.full((1, 4), np.nan), np.array([[True, True, False, False]])
    falls[0, :2] = finer
    found = refined(values, grid, falls, among, most=4)
    np.testing.assert_array_equal(found[:, 2:], values[:, 2:])
    assert found.sum() == pytest.approx(20)
    np.testing.assert_allclose(found[:, 0] - found[:, 1], factor * (finer[0] - finer[1]), rtol=1e-6)
    np.testing.assert_array_equal(values[0], [4, 4, 1, 1])
