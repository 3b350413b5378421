"""Regions: the authors' program on the same segments, a slow greedy search, and the laws of the sum."""

from __future__ import annotations

import numpy as np
import pytest
from saliency.core import xrai
from skimage.data import coffee
from skimage.morphology import dilation, disk
from skimage.transform import resize

from xaiwidgets.engine import regions
from xaiwidgets.engine.regions import Regions


def bumps(shape, seed):
    """An attribution with a few soft blobs of both signs, and noise."""
    rng = np.random.default_rng(seed)
    rows, columns = np.indices(shape)
    total = 0.1 * rng.normal(size=shape)
    for sign in (1, 1, -1):
        place = rng.uniform(size=2) * shape
        total += sign * np.exp(-((rows - place[0]) ** 2 + (columns - place[1]) ** 2) / (2 * (0.15 * shape[0]) ** 2))
    return total


def boxes(shape, count, seed):
    """Overlapping rectangles as masks, among them an empty one, the same one twice, and one of a single pixel."""
    rng = np.random.default_rng(seed)
    masks = []
    for _ in range(count):
        mask = np.zeros(shape, bool)
        (top, bottom), (left, right) = (sorted(rng.integers(0, side + 1, 2)) for side in shape)
        mask[top:bottom, left:right] = True
        masks.append(mask)
    single = np.zeros(shape, bool)
    single[3, 4] = True
    return [*masks, np.zeros(shape, bool), masks[0], single]


def grown(attribution, masks, **options):
    found = Regions(attribution)
    counts = list(found.grow([np.flatnonzero(mask) for mask in masks], **options))
    assert counts == list(range(1, len(counts) + 1))
    assert len(found.gains) == len(counts) == found.order.max(initial=0)
    return found


# -- segments -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def photo():
    return resize(coffee(), (150, 224), anti_aliasing=True).astype(np.float32)


@pytest.mark.parametrize("size", [(224, 224), (80, 60)])
def test_segments_are_those_of_the_authors(size, monkeypatch):
    """Save that ours do not fade to gray at the border where the size changes."""
    photo = resize(coffee(), size, anti_aliasing=True).astype(np.float32)
    if size != (224, 224):
        monkeypatch.setattr(xrai, "resize", lambda *given, **options: resize(*given, **{**options, "mode": "edge"}))
    theirs = xrai._get_segments_felzenszwalb(photo.astype(np.float64))
    ours = [s for scale in regions.SCALES for s in regions.segments_of(regions.labels_at(photo, scale))]
    theirs = [np.flatnonzero(mask) for mask in theirs if mask.any()]
    assert len(ours) == len(theirs) > 100
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("radius", [0, 1, 3, 5])
def test_dilation_by_a_disc(radius):
    labels = np.random.default_rng(0).integers(0, 5, (6, 7)).repeat(5, axis=0).repeat(4, axis=1)
    labels[labels == 2] = 9  # numbers may be missing, as after a change of size
    found = regions.segments_of(labels, radius)
    present = np.unique(labels)
    assert len(found) == len(present)
    for number, segment in zip(present, found, strict=True):
        wanted = dilation(labels == number, footprint=disk(radius))
        np.testing.assert_array_equal(segment, np.flatnonzero(wanted))


def test_gray_photos_and_photos_of_one_color(photo):
    gray = regions.labels_at(photo[..., :1], 100)
    assert gray.shape == photo.shape[:2]
    assert gray.max() > 5
    flat = np.full((20, 30, 3), (0.3, 0.2, 0.9), np.float32)
    assert not regions.labels_at(flat, 50).any()
    assert [len(s) for s in regions.segments_of(regions.labels_at(flat, 50))] == [600]


def test_a_segmentation_is_kept_and_cannot_be_changed(photo):
    first = regions.labels_at(photo, 150)
    assert regions.labels_at(photo.copy(), 150) is first
    with pytest.raises(ValueError, match="read-only"):
        first[0, 0] = 1
    assert not np.array_equal(regions.labels_at(photo[::-1], 150), first)


def test_means_of_segments():
    labels = np.random.default_rng(1).integers(0, 4, (9, 11)) * 2
    values = np.random.default_rng(2).normal(size=(9, 11))
    found = regions.segment_means(values, labels)
    for number in np.unique(labels):
        np.testing.assert_allclose(found[labels == number], values[labels == number].mean(), rtol=1e-12)
    assert found.sum() == pytest.approx(values.sum(), rel=1e-12)


# -- greedy search --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["full", "fast"])
@pytest.mark.parametrize("least", [1, 20, 50])
@pytest.mark.parametrize("seed", range(3))
def test_equals_the_authors_program(seed, least, algorithm):
    attribution, masks = bumps((40, 50), seed), boxes((40, 50), 60, seed)
    options = xrai.XRAIParameters(algorithm=algorithm, return_xrai_segments=True)
    options.experimental_params["min_pixel_diff"] = least
    image = np.repeat(attribution[..., None], 3, axis=2)
    theirs = xrai.XRAI().GetMaskWithDetails(
        image, None, base_attribution=image, segments=masks, extra_parameters=options
    )
    ours = grown(attribution, masks, least=least, fast=algorithm == "fast")
    np.testing.assert_allclose(ours.values(), theirs.attribution_mask, rtol=0, atol=1e-12)
    # theirs are numbered by their gains, what is left over comes last
    ranks = np.argsort(np.argsort(-np.array(ours.gains), kind="stable")) + 1
    numbers = np.array([len(ranks) + 1, *ranks])[ours.order]
    np.testing.assert_array_equal(numbers, theirs.segments)


@pytest.mark.parametrize("area", [0.15, 0.4, 0.8])
def test_equals_the_authors_program_up_to_an_area(area):
    attribution, masks = bumps((40, 50), 5), boxes((40, 50), 80, 5)
    image = attribution[..., None]
    options = xrai.XRAIParameters(area_threshold=area)
    theirs = xrai.XRAI().GetMask(image, None, base_attribution=image, segments=masks, extra_parameters=options)
    ours = grown(attribution, masks, area=area)
    assert area <= ours.share < 1
    np.testing.assert_allclose(ours.values(), theirs, rtol=0, atol=1e-12)
    without_last = ours.order[ours.order > 0] < len(ours.gains)
    assert without_last.sum() / ours.order.size < area


def slow(attribution, masks, least):
    """Catalogue 2.10, (3): all means anew at every step."""
    covered, order, left = np.zeros(attribution.shape, bool), [], list(range(len(masks)))
    while left:
        left = [k for k in left if (masks[k] & ~covered).sum() >= least]
        if not left:
            break
        best = max(left, key=lambda k: attribution[masks[k] & ~covered].mean())
        order.append((masks[best] & ~covered, attribution[masks[best] & ~covered].mean()))
        covered |= masks[best]
        left.remove(best)
    return order


def test_the_order_is_that_of_a_slow_search():
    attribution, masks = bumps((30, 33), 7), boxes((30, 33), 50, 7)
    wanted, ours = slow(attribution, masks, 10), grown(attribution, masks, least=10)
    assert len(wanted) == len(ours.gains) > 5
    for number, (mask, gain) in enumerate(wanted, 1):
        np.testing.assert_array_equal(ours.order == number, mask)
        assert ours.gains[number - 1] == pytest.approx(gain, rel=1e-12)


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize(("least", "area"), [(1, 1.0), (50, 1.0), (50, 0.3)])
def test_the_sum_is_that_of_the_attribution_after_every_region(least, area, fast):
    attribution, masks = bumps((40, 50), 9), boxes((40, 50), 40, 9)
    found = Regions(attribution)
    np.testing.assert_allclose(found.values(), attribution.mean(), rtol=1e-9)
    for _ in found.grow([np.flatnonzero(m) for m in masks], least=least, area=area, fast=fast):
        assert found.values().sum() == pytest.approx(attribution.sum(), rel=1e-9)


@pytest.mark.parametrize("fast", [False, True])
def test_disjoint_segments_come_by_falling_mean(fast):
    attribution = bumps((24, 30), 11)
    labels = np.arange(6).reshape(2, 3).repeat(12, axis=0).repeat(10, axis=1)
    found = grown(attribution, [labels == k for k in range(6)], least=1, fast=fast)
    means = np.array([attribution[labels == k].mean() for k in range(6)])
    np.testing.assert_allclose(found.gains, sorted(means, reverse=True), rtol=1e-12)
    np.testing.assert_allclose(found.values(), means[labels], rtol=1e-12)
    assert (np.diff(found.gains) <= 0).all()
    assert found.share == 1


@pytest.mark.parametrize("fast", [False, True])
def test_one_segment_of_the_whole_picture_is_its_mean(fast):
    attribution = bumps((12, 14), 12)
    found = grown(attribution, [np.ones((12, 14), bool)], fast=fast)
    np.testing.assert_allclose(found.values(), attribution.mean(), rtol=1e-12)
    assert (found.order == 1).all()


@pytest.mark.parametrize("fast", [False, True])
def test_no_segment_that_adds_enough_leaves_the_mean(fast):
    attribution = bumps((6, 7), 13)
    for masks in ([], [np.ones((6, 7), bool)]):
        found = grown(attribution, masks, least=50, fast=fast)
        assert not found.order.any()
        np.testing.assert_allclose(found.values(), attribution.mean(), rtol=1e-12)


# -- the first k percent --------------------------------------------------------------------------------------------


def test_top_is_the_first_regions_that_cover_a_share():
    order = np.array([[1, 1, 2, 2, 2], [3, 3, 0, 0, 0]])
    for share, last in ((0.0, 0), (0.1, 1), (0.2, 1), (0.21, 2), (0.5, 2), (0.6, 3), (0.7, 3), (1.0, 3)):
        np.testing.assert_array_equal(regions.top(order, share), (order > 0) & (order <= last))
    assert not regions.top(np.zeros((2, 2), int), 0.5).any()
