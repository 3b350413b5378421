"""Foregrounds, boxes and their overlap: against closed forms and a slow count of pixels."""

from __future__ import annotations

import numpy as np
import pytest

from xaiwidgets.evaluation.boxes import best_iou, box_of, center_box, foreground, iou, outline, whole_box


def test_energy_is_the_smallest_set_that_reaches_its_share():
    rng = np.random.default_rng(0)
    values = rng.random((20, 30))
    for level in (0.1, 0.5, 0.95, 0.999):
        found = foreground(values, "energy", level)
        total = values.sum()
        assert values[found].sum() >= level * total
        assert values[found].sum() - values[found].min() < level * total
        assert values[found].min() > values[~found].max()


def test_a_level_that_the_sum_meets_exactly_needs_no_further_pixel():
    values = np.zeros((4, 4))
    values[0, :4] = 5, 3, 1, 1
    assert foreground(values, "energy", 0.8).sum() == 2
    assert foreground(values, "energy", 0.81).sum() == 4  # the two that are equal go together
    assert foreground(values, "energy", 0.0).sum() == 1
    assert foreground(values, "energy", 1.0).sum() == 4


def test_nearly_all_of_a_positive_map_is_the_whole_picture():
    values = np.random.default_rng(1).random((24, 31)) + 0.01
    assert box_of(foreground(values, "energy", 1 - 1e-9)) == whole_box((24, 31))


def test_value_and_mean():
    values = np.array([[0.0, 1.0], [2.0, 5.0]])
    assert foreground(values, "value", 0.4).tolist() == [[False, False], [True, True]]
    assert foreground(values + 7, "value", 0.4).tolist() == [[False, False], [True, True]]  # the least value is its 0
    assert foreground(values, "mean", 1.0).tolist() == [[False, False], [True, True]]
    assert foreground(values, "mean", 2.6).sum() == 0
    assert foreground(np.zeros((2, 2)), "energy", 0.95).all()
    with pytest.raises(ValueError, match="rule must be"):
        foreground(values, "median", 0.5)


def test_iou_is_that_of_counted_pixels():
    rng = np.random.default_rng(2)
    for _ in range(200):
        boxes, masks = [], []
        for _ in range(2):
            (top, bottom), (left, right) = np.sort(rng.integers(0, 12, 2)), np.sort(rng.integers(0, 12, 2))
            boxes.append((top, left, bottom + 1, right + 1))
            masks.append(np.zeros((13, 13), bool))
            masks[-1][top : bottom + 1, left : right + 1] = True
        assert iou(*boxes) == pytest.approx((masks[0] & masks[1]).sum() / (masks[0] | masks[1]).sum())
    assert iou((0, 0, 2, 4), (0, 2, 2, 6)) == pytest.approx(1 / 3)
    assert best_iou((0, 0, 2, 4), np.array([[8, 8, 9, 9], [0, 2, 2, 6]])) == pytest.approx(1 / 3)
    assert best_iou(None, np.array([[0, 0, 2, 2]])) == 0


def test_pixels_that_touch_at_a_corner_are_one_component():
    found = np.zeros((8, 8), bool)
    found[0, :3] = True
    found[3, 3] = found[4, 4] = found[5, 5] = found[6, 6] = True
    assert box_of(found, largest=True) == (3, 3, 7, 7)


def test_the_largest_component_is_boxed_alone():
    found = np.zeros((10, 10), bool)
    found[1:3, 1:3] = found[5:9, 4:8] = True
    found[3, 3] = True  # touches the first by a corner
    assert box_of(found) == (1, 1, 9, 8)
    assert box_of(found, largest=True) == (5, 4, 9, 8)
    assert box_of(np.zeros((3, 3), bool)) is None


def test_the_box_in_the_middle_is_half_of_the_picture():
    top, left, bottom, right = center_box((224, 112))
    assert (bottom - top) * (right - left) / (224 * 112) == pytest.approx(0.5, abs=0.01)
    assert abs(top - (224 - bottom)) <= 1
    assert outline((1, 1, 5, 6), (8, 8)).sum() == 2 * 5 + 2 * 2
