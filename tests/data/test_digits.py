"""The canvases: their shapes, their ground truth, and that nothing leaks from one split into the other."""

from __future__ import annotations

import time

import numpy as np
import pytest

from xaiwidgets.data import digits as module
from xaiwidgets.data.digits import BODY, COUNTS, DIGIT, HEAD, SIDE, base_digits, digits
from xaiwidgets.errors import InvalidKnob

KINDS = ("single", "pairs", "parts")
SPLITS = ("train", "test")


@pytest.mark.parametrize("kind", KINDS)
def test_shapes_types_and_ranges(kind):
    objects = 2 if kind == "pairs" else 1
    found = digits(kind, "test", 50)
    assert len(found) == 50
    assert (found.images.shape, found.images.dtype) == ((50, SIDE, SIDE), np.float32)
    assert (found.labels.shape, found.labels.dtype) == ((50, 2) if kind == "pairs" else (50,), np.int64)
    assert (found.boxes.shape, found.boxes.dtype) == ((50, objects, 4), np.int64)
    assert (found.masks.shape, found.masks.dtype) == ((50, objects, SIDE, SIDE), np.bool_)
    assert found.images.min() >= 0
    assert found.images.max() <= 1
    assert set(np.unique(found.labels)) <= set(range(10))
    for array in (found.images, found.labels, found.boxes, found.masks):
        assert not array.flags.writeable


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("split", SPLITS)
def test_the_same_seed_gives_the_same_bits(kind, split):
    one, two, other = digits(kind, split, 20, seed=3), digits(kind, split, 20, seed=3), digits(kind, split, 20, seed=4)
    for name in ("images", "labels", "boxes", "masks"):
        assert np.array_equal(getattr(one, name), getattr(two, name))
    assert not np.array_equal(one.images, other.images)


@pytest.mark.parametrize("kind", ["single", "pairs"])
def test_boxes_are_tight_around_the_masks(kind):
    found = digits(kind, "test", 60)
    for box, mask in zip(found.boxes.reshape(-1, 4), found.masks.reshape(-1, SIDE, SIDE), strict=True):
        rows, columns = np.nonzero(mask)
        assert box.tolist() == [rows.min(), columns.min(), rows.max() + 1, columns.max() + 1]
        assert max(box[2] - box[0], box[3] - box[1]) <= DIGIT


def test_the_box_of_parts_is_the_whole_object():
    found = digits("parts", "test", 60)
    for (top, left, bottom, right), mask, image in zip(found.boxes[:, 0], found.masks[:, 0], found.images, strict=True):
        assert (bottom - top, right - left) == (HEAD + BODY, BODY)
        assert top >= 0
        assert left >= 0
        assert bottom <= SIDE
        assert right <= SIDE
        assert not mask[:top].any()
        assert not mask[bottom:].any()
        assert not mask[:, :left].any()
        assert not mask[:, right:].any()
        head = mask[top : top + HEAD]
        assert head.any()
        assert not head[:, : left + (BODY - HEAD) // 2].any()
        assert not head[:, left + (BODY + HEAD) // 2 :].any()
        assert mask[top + HEAD : bottom].any()
        assert image[mask].mean() > 0.5


@pytest.mark.parametrize("kind", KINDS)
def test_masks_are_where_the_ink_is(kind):
    found = digits(kind, "test", 100)
    inside, outside = found.masks.any(axis=1), ~found.masks.any(axis=1)
    assert found.images[inside].mean() > 0.55
    assert found.images[outside].mean() < 0.25
    assert (found.images[inside] > 0.05).mean() > 0.99


def test_pairs_are_two_classes_in_two_halves():
    found = digits("pairs", "test", 200)
    assert np.all(found.labels[:, 0] != found.labels[:, 1])
    assert not found.masks[:, 0, SIDE // 2 :].any()
    assert not found.masks[:, 1, : SIDE // 2].any()


def test_only_single_digits_have_clutter():
    for kind, cluttered in (("single", True), ("pairs", False), ("parts", False)):
        found = digits(kind, "test", 100)
        bright = (found.images > 0.55) & ~found.masks.any(axis=1)
        assert (bright.any(axis=(1, 2)).mean() > 0.9) == cluttered
        assert (bright.any(axis=(1, 2)).mean() == 0) != cluttered


def test_bodies_agree_with_the_label_about_two_times_in_three(monkeypatch):
    """The body's class is 0.6 the label and 0.4 random, so it agrees with probability 0.64."""
    drawn = []
    original = module._of_class

    def spy(rng, pool, classes):
        drawn.append(classes)
        return original(rng, pool, classes)

    monkeypatch.setattr(module, "_of_class", spy)
    found = digits("parts", "train")
    assert abs(np.mean(drawn[0] == found.labels) - 0.64) < 0.03


@pytest.mark.parametrize("kind", KINDS)
def test_all_classes_come_about_equally_often(kind):
    shares = np.bincount(digits(kind, "train").labels.ravel(), minlength=10) / digits(kind, "train").labels.size
    assert np.all(np.abs(shares - 0.1) < 0.03)


def test_the_splits_share_no_base_digit():
    train, test = base_digits("train"), base_digits("test")
    assert (len(train), len(test)) == (1400, 397)
    assert sorted([*train, *test]) == list(range(1797))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("split", SPLITS)
def test_no_pixel_comes_from_the_other_split(kind, split, monkeypatch):
    expected = digits(kind, split, 100)
    scans, classes = module._scans()
    blanked = scans.copy()
    blanked[base_digits("test" if split == "train" else "train")] = 1
    monkeypatch.setattr(module, "_scans", lambda: (blanked, classes))
    assert np.array_equal(digits(kind, split, 100).images, expected.images)
    blanked[:] = 1
    assert not np.array_equal(digits(kind, split, 100).images, expected.images)


def test_a_digits_clutter_is_made_of_others(monkeypatch):
    """With the clutter's own digit blanked in the pool, the clutter of that canvas stays as it was."""
    pool = module._pool("test", DIGIT)
    own = np.arange(50)
    for chosen in own:
        blanked = pool.glyphs.copy()
        blanked[chosen] = 1
        canvases = []
        for glyphs in (pool.glyphs, blanked):
            canvas = np.zeros((1, SIDE, SIDE))
            module._clutter(np.random.default_rng(chosen), canvas, pool._replace(glyphs=glyphs), np.array([chosen]))
            canvases.append(canvas)
        assert np.array_equal(*canvases)


def test_resizing_is_linear_between_pixel_centers():
    import torch

    images = np.random.default_rng(0).uniform(size=(3, 8, 8))
    for side in (14, 22, 24, 48):
        theirs = torch.nn.functional.interpolate(
            torch.tensor(images)[:, None], size=(side, side), mode="bilinear", align_corners=False
        )
        assert np.allclose(module.resize(images, side), theirs[:, 0].numpy(), rtol=0, atol=1e-14)


def test_the_default_sizes_take_seconds():
    for split, count in COUNTS.items():
        assert len(digits("pairs", split)) == count
    start = time.process_time()
    assert len(digits("single", "train")) == 2500
    assert time.process_time() - start < 10


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("singel", "test"), "kind must be one of single, pairs, parts; got 'singel'. Did you mean single"),
        (("single", "val"), "split must be one of train, test; got 'val'"),
        ((None, "test"), "kind must be one of"),
        (("single", "test", 0), "count must be a whole number from 1 to 50000; got 0"),
        (("single", "test", 10**9), "count must be a whole number from 1 to 50000; got 1000000000"),
        (("single", "test", 2.5), "count must be a whole number"),
        (("single", "test", 5, -1), "seed must be a whole number from 0 to 4294967295; got -1"),
        (("single", "test", 5, True), "seed must be a whole number"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(InvalidKnob, match=message):
        digits(*arguments)
