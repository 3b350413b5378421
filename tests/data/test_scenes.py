"""Scenes: what truth may be given, and what is made of it."""

from __future__ import annotations

import numpy as np
import pytest

import xaiwidgets as xw
from xaiwidgets.data.scenes import Scene, tight_boxes
from xaiwidgets.errors import InvalidImage

PIXELS = np.full((20, 30, 3), 0.5)


def test_boxes_make_masks_and_masks_make_boxes():
    boxed = Scene(PIXELS, boxes=[2, 3, 5, 9])
    assert boxed.boxes.shape == (1, 4)
    assert boxed.mask.sum() == 3 * 6
    masked = Scene(PIXELS, masks=boxed.mask)
    assert np.array_equal(masked.boxes, boxed.boxes)
    assert Scene(PIXELS).mask is None
    both = Scene(PIXELS, boxes=[[0, 0, 2, 2], [1, 1, 3, 3]])
    assert both.mask.sum() == 4 + 4 - 1


def test_nothing_can_be_written_to_and_the_givers_arrays_stay_theirs():
    pixels, masks = PIXELS.copy(), np.ones((1, 20, 30), bool)
    scene = Scene(pixels, masks=masks)
    pixels[0] = masks[0, 0] = 0
    assert scene.pixels.min() == 0.5
    assert scene.mask.all()
    assert not scene.pixels.flags.writeable


def test_bytes_are_scaled():
    assert Scene(np.full((4, 4, 1), 255, np.uint8)).pixels.max() == 1


def test_tight_boxes_of_nothing_are_empty():
    assert tight_boxes(np.zeros((1, 5, 5), bool)).tolist() == [[0, 0, 0, 0]]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"pixels": PIXELS * 255}, "Divide by 255"),
        ({"pixels": PIXELS[..., 0]}, "pixels of a Scene"),
        ({"pixels": np.full((4, 4, 3), np.nan)}, "finite"),
        ({"boxes": [0, 0, 21, 5]}, "inside the picture"),
        ({"boxes": [5, 5, 5, 9]}, "boxes must be"),
        ({"boxes": []}, "boxes must be"),
        ({"masks": np.zeros((20, 30), bool)}, "none of them empty"),
        ({"masks": np.ones((1, 5, 5), bool)}, "masks must be"),
    ],
    ids=lambda v: v if isinstance(v, str) else next(iter(v)),
)
def test_wrong_truth_is_refused(given, says):
    with pytest.raises(InvalidImage, match=says):
        Scene(**{"pixels": PIXELS, **given})


def test_a_scene_of_another_size_is_refused_with_both_sizes():
    with pytest.raises(InvalidImage, match=r"\(48, 48, 3\).*\(20, 30, 3\)"):
        xw.evaluate(xw.load_model("shapes_gap"), Scene(PIXELS, "disk", boxes=[2, 3, 5, 9]), "saliency", "pointing_game")
