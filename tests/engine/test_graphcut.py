"""Graph cut: every labeling tried out, closed forms of the mixtures, and OpenCV's GrabCut on pictures of two colors."""

from __future__ import annotations

import itertools

import cv2
import numpy as np
import pytest
from scipy.stats import multivariate_normal

from xaiwidgets.engine import graphcut
from xaiwidgets.engine.graphcut import BACKGROUND, FOREGROUND, UNKNOWN


def disc(side=60, radius=14, center=(26, 33)):
    rows, columns = np.ogrid[:side, :side]
    return (rows - center[0]) ** 2 + (columns - center[1]) ** 2 <= radius**2


def two_colors(mask, noise=0.0):
    picture = np.where(mask[..., None], (0.9, 0.1, 0.1), (0.1, 0.2, 0.9))
    return np.clip(picture + noise * np.random.default_rng(0).normal(size=picture.shape), 0, 1)


def some_seeds(mask):
    """A few seeds well inside each color."""
    seeds = np.zeros(mask.shape, np.int8)
    seeds[22:30, 30:38] = FOREGROUND
    seeds[:6] = seeds[-6:] = BACKGROUND
    assert mask[seeds == FOREGROUND].all()
    assert not mask[seeds == BACKGROUND].any()
    return seeds


# -- seeds ----------------------------------------------------------------------------------------------------------


def test_seeds_are_the_strongest_and_the_weakest_values():
    values = np.random.default_rng(1).permutation(200).reshape(10, 20) / 7.0
    seeds = graphcut.seeds_of(values, 0.95, 0.30)
    order = np.argsort(values.ravel())
    assert set(np.flatnonzero(seeds.ravel() == FOREGROUND)) == set(order[-10:])
    assert set(np.flatnonzero(seeds.ravel() == BACKGROUND)) == set(order[:60])


def test_many_equal_values_are_seeds_together():
    """A rectified map is zero in most places; its quantiles are, too."""
    values = np.zeros((10, 10))
    values[4, :3] = (1, 2, 3)
    seeds = graphcut.seeds_of(values)
    assert (seeds == FOREGROUND).sum() == 3
    assert (seeds == BACKGROUND).sum() == 97
    values[:5] = 7
    seeds = graphcut.seeds_of(values)
    np.testing.assert_array_equal(seeds, np.where(values == 7, FOREGROUND, BACKGROUND))


def test_a_constant_map_has_no_foreground():
    rounding = 1e-9 * np.random.default_rng(1).normal(size=(4, 5))
    for values in (np.zeros((4, 5)), np.full((4, 5), 0.3), 0.3 + rounding):
        assert (graphcut.seeds_of(values) == BACKGROUND).all()
    assert (graphcut.seeds_of(rounding) == FOREGROUND).any()


# -- colors ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
def test_one_component_is_the_normal_density_of_its_seeds(channels):
    rng = np.random.default_rng(2)
    pixels = rng.uniform(size=(12, 15, channels))
    seeds = rng.integers(-1, 2, (12, 15)).astype(np.int8)
    costs = graphcut.color_costs(pixels, seeds, components=1)
    for cost, kind in zip(costs, (BACKGROUND, FOREGROUND), strict=True):
        mine = pixels[seeds == kind]
        spread = np.cov(mine.T, bias=True).reshape(channels, channels) + 1e-4 * np.eye(channels)
        np.testing.assert_allclose(cost, -multivariate_normal(mine.mean(axis=0), spread).logpdf(pixels), rtol=1e-9)


def test_as_many_components_as_colors():
    """Three pixels in four of one color, one in four of another: the mixture's weights, each as wide as the least."""
    pixels = np.zeros((10, 20, 3))
    pixels[:, 10:15] = 0.5
    pixels[:, :10] = 1.0
    seeds = np.where(np.arange(20) < 10, BACKGROUND, FOREGROUND).astype(np.int8) * np.ones((10, 1), np.int8)
    seeds[0, 15:] = UNKNOWN
    _, cost = graphcut.color_costs(pixels, seeds, components=5)
    shares = {0.5: 50 / 95, 0.0: 45 / 95}
    for color, share in shares.items():
        density = share * multivariate_normal(np.zeros(3), 1e-4 * np.eye(3)).pdf(np.zeros(3))
        np.testing.assert_allclose(cost[(pixels == color).all(axis=2)], -np.log(density), rtol=1e-9)


def test_few_pixels_get_few_components():
    pixels = np.random.default_rng(3).uniform(size=(5, 6, 3))
    seeds = np.full((5, 6), BACKGROUND, np.int8)
    seeds[0, 0] = FOREGROUND
    _, cost = graphcut.color_costs(pixels, seeds)
    np.testing.assert_allclose(cost, -multivariate_normal(pixels[0, 0], 1e-4 * np.eye(3)).logpdf(pixels), rtol=1e-9)


def test_same_seed_same_costs():
    pixels = np.random.default_rng(4).uniform(size=(20, 20, 3))
    seeds = graphcut.seeds_of(pixels[..., 0])
    first = graphcut.color_costs(pixels, seeds, seed=5)
    np.testing.assert_array_equal(first, graphcut.color_costs(pixels, seeds, seed=5))


def test_no_seed_of_one_kind_is_an_error():
    with pytest.raises(ValueError, match="there are no such seeds"):
        graphcut.color_costs(np.zeros((3, 3, 3)), np.full((3, 3), BACKGROUND, np.int8))


def test_labels_as_seeds():
    np.testing.assert_array_equal(graphcut.as_seeds(np.array([[True, False]])), [[FOREGROUND, BACKGROUND]])


# -- energy ---------------------------------------------------------------------------------------------------------


def slow_pairs(pixels, smoothness):
    """Catalogue 2.2, (4), pixel by pixel."""
    height, width, _ = pixels.shape
    found = {}
    places = list(itertools.product(range(height), range(width)))
    for p, q in itertools.combinations(places, 2):
        if max(abs(p[0] - q[0]), abs(p[1] - q[1])) == 1:
            found[p, q] = ((pixels[p] - pixels[q]) ** 2).sum()
    beta = np.mean(list(found.values()))
    return {
        (p, q): smoothness * np.exp(-change / (2 * beta)) / np.hypot(p[0] - q[0], p[1] - q[1])
        for (p, q), change in found.items()
    }


def slow_energy(labels, costs, pairs):
    total = sum(costs[int(label)][place] for place, label in np.ndenumerate(labels))
    return total + sum(weight for (p, q), weight in pairs.items() if labels[p] != labels[q])


@pytest.mark.parametrize("shape", [(4, 5, 3), (6, 2, 1), (1, 7, 3)])
def test_pairs_and_energy_pixel_by_pixel(shape):
    rng = np.random.default_rng(5)
    pixels, labels, costs = rng.uniform(size=shape), rng.uniform(size=shape[:2]) < 0.5, rng.normal(size=(2, *shape[:2]))
    wanted, pairs = slow_pairs(pixels, 3.0), graphcut.pairs_of(pixels, 3.0)
    ours = {}
    for a, b, weight in zip(pairs.first, pairs.second, pairs.weight, strict=True):
        p, q = (tuple(int(i) for i in np.unravel_index(n, shape[:2])) for n in (a, b))
        ours[min(p, q), max(p, q)] = weight
    assert ours.keys() == wanted.keys()
    for pair, weight in wanted.items():
        assert ours[pair] == pytest.approx(weight, rel=1e-12)
    assert graphcut.energy(labels, costs, pairs) == pytest.approx(slow_energy(labels, costs, wanted), rel=1e-12)
    around = np.zeros(labels.size)
    np.add.at(around, pairs.first, pairs.weight)
    np.add.at(around, pairs.second, pairs.weight)
    assert around.max() <= pairs.around


def test_a_constant_picture_parts_at_full_cost():
    weight = graphcut.pairs_of(np.full((3, 3, 3), 0.4), 2.0).weight
    assert sorted(set(weight.round(12))) == sorted({2.0, round(2 / 2**0.5, 12)})


# -- cut ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trial", range(6))
def test_no_labeling_costs_less(trial):
    """All 4,096 labelings of a picture of 12 pixels."""
    rng = np.random.default_rng(trial)
    shape = (3, 4)
    pixels = rng.uniform(size=(*shape, 3))
    costs = rng.normal(size=(2, *shape)) * rng.choice([0.3, 3.0, 300.0], size=shape)
    seeds = rng.choice([BACKGROUND, UNKNOWN, UNKNOWN, UNKNOWN, FOREGROUND], size=shape).astype(np.int8)
    pairs, slow = graphcut.pairs_of(pixels, 1.5), slow_pairs(pixels, 1.5)
    best = min(
        slow_energy(labels, costs, slow)
        for flat in itertools.product((False, True), repeat=12)
        if (labels := np.reshape(flat, shape))[seeds == FOREGROUND].all() and not labels[seeds == BACKGROUND].any()
    )
    labels = graphcut.cut(costs, seeds, pairs)
    assert labels[seeds == FOREGROUND].all()
    assert not labels[seeds == BACKGROUND].any()
    assert slow_energy(labels, costs, slow) == pytest.approx(best, abs=1e-6)


def test_the_minimum_cut_is_the_maximum_flow():
    rng = np.random.default_rng(7)
    pairs = graphcut.pairs_of(rng.uniform(size=(20, 25, 3)), 4.0)
    weight = np.rint(pairs.weight * 1000).astype(np.int32)
    terminal = rng.integers(-9000, 9000, 500).astype(np.int32)
    side, flow = graphcut.source_side(terminal, pairs.first, pairs.second, weight)
    assert 0 < side.sum() < 500
    parted = weight[side[pairs.first] != side[pairs.second]].sum()
    assert (
        int(parted) + int(terminal[~side & (terminal > 0)].sum()) - int(terminal[side & (terminal < 0)].sum()) == flow
    )


def test_the_largest_capacities_do_not_overflow():
    """Every pixel of one half is tied to the source and every one of the other to the sink, by all that fits."""
    size = 2000
    terminal = np.where(np.arange(size) < size // 2, graphcut.LARGEST, -graphcut.LARGEST).astype(np.int32)
    first = np.arange(size // 2)
    weight = np.full(size // 2, graphcut.LARGEST, np.int32)
    _, flow = graphcut.source_side(terminal, first, first + size // 2, weight)
    assert flow == size // 2 * graphcut.LARGEST > 2**31


def test_a_tie_is_background():
    seeds = np.zeros((4, 5), np.int8)
    assert not graphcut.cut(np.zeros((2, 4, 5)), seeds, graphcut.pairs_of(np.zeros((4, 5, 3)))).any()


def test_without_a_price_on_outlines_every_pixel_decides_for_itself():
    rng = np.random.default_rng(8)
    pixels, costs = rng.uniform(size=(30, 40, 3)), rng.normal(size=(2, 30, 40))
    seeds = graphcut.seeds_of(rng.normal(size=(30, 40)))
    labels = graphcut.cut(costs, seeds, graphcut.pairs_of(pixels, 0.0))
    np.testing.assert_array_equal(labels, graphcut.decide(costs, seeds))
    np.testing.assert_array_equal(labels[seeds == UNKNOWN], (costs[1] < costs[0])[seeds == UNKNOWN])


def test_costs_less_than_what_it_started_from():
    mask = disc()
    pixels = two_colors(mask, 0.2)
    seeds = some_seeds(mask)
    costs, pairs = graphcut.color_costs(pixels, seeds), graphcut.pairs_of(pixels, 50.0)
    least = graphcut.energy(graphcut.cut(costs, seeds, pairs), costs, pairs)
    for other in (seeds == FOREGROUND, seeds != BACKGROUND, graphcut.decide(costs, seeds), mask):
        assert least <= graphcut.energy(other, costs, pairs)


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_a_disc_of_another_color_is_found_exactly(noise):
    mask = disc()
    pixels, seeds = two_colors(mask, noise), some_seeds(mask)
    costs, pairs = graphcut.color_costs(pixels, seeds), graphcut.pairs_of(pixels)
    found = graphcut.largest_part(graphcut.cut(costs, seeds, pairs))
    np.testing.assert_array_equal(found, mask)
    assert graphcut.box_of(found) == (12, 19, 41, 48)


@pytest.mark.parametrize("noise", [0.05, 0.15])
def test_agrees_with_grabcut(noise):
    """OpenCV's own mixtures and weights (λ = 50), one iteration from the same seeds."""
    mask = disc()
    pixels, seeds = two_colors(mask, noise), some_seeds(mask)
    start = np.where(seeds == FOREGROUND, cv2.GC_FGD, np.where(seeds == BACKGROUND, cv2.GC_BGD, cv2.GC_PR_BGD))
    start[10:44, 16:50] = np.where(start[10:44, 16:50] == cv2.GC_PR_BGD, cv2.GC_PR_FGD, start[10:44, 16:50])
    start = start.astype(np.uint8)
    cv2.setRNGSeed(0)
    photo = (pixels * 255).round().astype(np.uint8)
    cv2.grabCut(photo, start, None, np.zeros((1, 65)), np.zeros((1, 65)), 1, cv2.GC_INIT_WITH_MASK)
    theirs = graphcut.largest_part((start == cv2.GC_FGD) | (start == cv2.GC_PR_FGD))
    costs, pairs = graphcut.color_costs(pixels, seeds), graphcut.pairs_of(pixels)
    ours = graphcut.largest_part(graphcut.cut(costs, seeds, pairs))
    assert (ours & theirs).sum() / (ours | theirs).sum() >= 0.9


# -- parts, boxes, sizes --------------------------------------------------------------------------------------------


def flood(mask):
    """The 8-connected parts, by walking."""
    left, parts = {tuple(p) for p in np.argwhere(mask)}, []
    while left:
        part, todo = set(), [left.pop()]
        while todo:
            row, column = todo.pop()
            part.add((row, column))
            around = {(row + i, column + j) for i in (-1, 0, 1) for j in (-1, 0, 1)} & left
            left -= around
            todo += around
        parts.append(part)
    return parts


def test_largest_part_by_walking():
    mask = np.random.default_rng(9).uniform(size=(24, 31)) < 0.3
    parts = sorted(flood(mask), key=len)
    assert len(parts) > 3
    assert len(parts[-1]) > len(parts[-2])
    found = graphcut.largest_part(mask)
    assert {tuple(p) for p in np.argwhere(found)} == parts[-1]
    assert len(flood(found)) == 1
    np.testing.assert_array_equal(graphcut.largest_part(found), found)


def test_an_empty_mask_has_no_part_and_no_box():
    empty = np.zeros((4, 6), bool)
    assert not graphcut.largest_part(empty).any()
    assert graphcut.box_of(empty) is None


def test_the_box_is_tight_and_half_open():
    mask = np.zeros((6, 9), bool)
    mask[2, 3] = mask[4, 7] = True
    assert graphcut.box_of(mask) == (2, 3, 5, 8)


def test_shrinking_averages_areas():
    values = np.random.default_rng(10).uniform(size=(12, 20, 3))
    small = graphcut.shrunk(values, 10)
    np.testing.assert_allclose(small, values.reshape(6, 2, 10, 2, 3).mean(axis=(1, 3)), atol=1e-6)
    np.testing.assert_allclose(graphcut.shrunk(values[..., 0], 10), small[..., 0], atol=1e-7)
    np.testing.assert_array_equal(graphcut.shrunk(values, 20), values.astype(np.float32))


def test_enlarging_repeats_labels():
    labels = np.arange(6).reshape(2, 3)
    np.testing.assert_array_equal(graphcut.enlarged(labels, (4, 9)), np.kron(labels, np.ones((2, 3), int)))
    assert set(graphcut.enlarged(labels, (5, 7)).ravel()) == set(range(6))
    np.testing.assert_array_equal(graphcut.enlarged(labels, (2, 3)), labels)
