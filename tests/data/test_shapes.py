"""The shapes: their truth, their seeds, and the tag that should not matter."""

from __future__ import annotations

import numpy as np
import pytest

from xaiwidgets.data.shapes import COLORS, LEAST, MOST, NOISE, SHAPES, SIDE, TAG, TAGGED, shapes, silhouette
from xaiwidgets.errors import InvalidKnob

NAMES = ("images", "labels", "colors", "textures", "boxes", "masks", "tagged")


def test_shapes_types_and_ranges():
    found = shapes("test", 60)
    assert len(found) == 60
    assert (found.images.shape, found.images.dtype) == ((60, SIDE, SIDE, 3), np.float32)
    assert (found.boxes.shape, found.masks.shape) == ((60, 1, 4), (60, 1, SIDE, SIDE))
    assert found.images.min() >= 0
    assert found.images.max() <= 1
    assert not any(getattr(found, name).flags.writeable for name in NAMES)
    assert set(found.labels) == {0, 1, 2, 3}


def test_the_same_seed_gives_the_same_bits_and_splits_differ():
    one, two, other, train = shapes("test", 9), shapes("test", 9), shapes("test", 9, seed=1), shapes("train", 9)
    assert all(np.array_equal(getattr(one, name), getattr(two, name)) for name in NAMES)
    assert not np.array_equal(one.images, other.images)
    assert not np.array_equal(one.images, train.images)


def test_a_mask_is_where_the_color_is():
    found = shapes("test", 40)
    for image, color, mask in zip(found.images, found.colors, found.masks[:, 0], strict=True):
        expected = list(COLORS.values())[color]
        assert np.abs(image[mask].mean(axis=0) - expected).max() < 0.02
        assert np.ptp(image[~mask].mean(axis=0)) < 0.02  # textures are gray
        assert np.abs(image[mask] - expected).max() < 6 * NOISE + 1e-6


def test_boxes_are_tight():
    found = shapes("test", 40)
    for mask, (top, left, bottom, right) in zip(found.masks[:, 0], found.boxes[:, 0], strict=True):
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        assert (top, left, bottom, right) == (rows[0], columns[0], rows[-1] + 1, columns[-1] + 1)


@pytest.mark.parametrize("radius", [LEAST, MOST])
def test_silhouettes_have_the_areas_of_geometry(radius):
    areas = {name: silhouette(name, radius, np.array([24, 24])).sum() for name in SHAPES}
    assert areas["disk"] == pytest.approx(np.pi * radius**2, rel=0.08)
    assert areas["square"] == (2 * int(0.8 * radius) + 1) ** 2
    assert areas["triangle"] == pytest.approx(2 * radius**2, rel=0.2)
    arm = 2 * int(radius / 3) + 1
    assert areas["cross"] == 2 * arm * (2 * radius + 1) - arm**2


def test_a_tag_goes_with_its_class_or_with_none():
    plain, by_class, by_chance = (shapes("train", 2000, tags=kind) for kind in ("none", "correlated", "random"))
    assert not plain.tagged.any()
    own = by_class.labels == TAGGED
    assert by_class.tagged[own].mean() == pytest.approx(0.95, abs=0.03)
    assert by_class.tagged[~own].mean() == pytest.approx(0.05, abs=0.03)
    assert by_chance.tagged.mean() == pytest.approx(0.5, abs=0.04)
    height, width = TAG
    corner = plain.images[:, SIDE - height - 1 : SIDE - 1, 1 : width + 1]
    changed = np.abs(by_chance.images - plain.images).max(axis=(1, 2, 3)) > 0.3
    assert np.array_equal(changed, by_chance.tagged)
    outside = by_chance.images.copy()
    outside[:, SIDE - height - 1 : SIDE - 1, 1 : width + 1] = corner
    assert np.array_equal(outside, plain.images)


def test_a_scene_says_what_is_on_it():
    found = shapes("test", 5, tags="random")
    for number, scene in enumerate(found.scenes()):
        assert scene.label == SHAPES[found.labels[number]]
        assert scene.facts["tagged"] == found.tagged[number]
        assert np.array_equal(scene.mask, found.masks[number, 0])
    assert len(found.scenes(2)) == 2


@pytest.mark.parametrize(
    "arguments", [("validation",), ("test", 0), ("test", True), ("test", 10, -1), ("test", 10**9)], ids=str
)
def test_bad_arguments_are_named(arguments):
    with pytest.raises(InvalidKnob, match=r"split|count|seed"):
        shapes(*arguments)
    with pytest.raises(InvalidKnob, match="tags must be one of none, correlated, random"):
        shapes("test", 3, tags="some")
