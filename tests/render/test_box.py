"""Boxes on maps: where the line is, pixel by pixel, and that every picture of a result shows it."""

from __future__ import annotations

import numpy as np
import pytest

from xaiwidgets.core.results import Attribution
from xaiwidgets.render.box import EDGE, LINE, found_box, outlined
from xaiwidgets.render.compose import compose
from xaiwidgets.render.figure import attribution_figure
from xaiwidgets.render.look import Look
from xaiwidgets.render.scale import Scale
from xaiwidgets.studio.frame import Frame
from xaiwidgets.studio.lens import Lens

SCALE = Scale(0, 1)


@pytest.fixture
def photo():
    return np.random.default_rng(0).integers(30, 220, (40, 60, 3), dtype=np.uint8)


def result(box=(2, 1, 6, 5)):
    details = {} if box is ... else {"box": box}
    return Attribution(np.ones((1, 8, 6)), "foreground", False, (8, 6), details=details)


def colored(picture, color):
    return (picture == np.array(color, np.uint8)).all(axis=2)


def test_boxes_are_told_as_shares_of_the_picture():
    assert found_box(result()) == (2 / 8, 1 / 6, 6 / 8, 5 / 6)
    assert found_box(result(np.array([0, 0, 8, 6]))) == (0, 0, 1, 1)
    assert found_box(result(None)) is None
    assert found_box(result(...)) is None


def test_the_line_is_the_inside_of_the_edge_between_dark_ones(photo):
    before = photo.copy()
    found = outlined(photo, (0.25, 0.1, 0.75, 0.9))  # rows 10 to 29, columns 6 to 53
    np.testing.assert_array_equal(photo, before)
    line, edge, same = colored(found, LINE), colored(found, EDGE), (found == photo).all(axis=2)
    wanted = np.zeros((40, 60), int)
    wanted[9:31, 5:55] = 2
    wanted[10:30, 6:54] = 1
    wanted[11:29, 7:53] = 2
    wanted[12:28, 8:52] = 0
    np.testing.assert_array_equal(line, wanted == 1)
    np.testing.assert_array_equal(edge, wanted == 2)
    np.testing.assert_array_equal(same, wanted == 0)


def test_a_box_as_large_as_the_picture_keeps_its_line(photo):
    line = colored(outlined(photo, (0.0, 0.0, 1.0, 1.0)), LINE)
    assert line[0].all()
    assert line[-1].all()
    assert line[:, 0].all()
    assert line[:, -1].all()
    assert line.sum() == 2 * 60 + 2 * 38


@pytest.mark.parametrize("box", [(0.5, 0.5, 0.5, 0.5), (0.0, 0.0, 0.02, 0.02), (0.5, 0.2, 0.52, 0.9), (0.9, 0.9, 1, 1)])
def test_small_boxes_stay_near_their_place(box, photo):
    found = outlined(photo, box)
    rows, columns = np.nonzero((found != photo).any(axis=2))
    assert found.shape == photo.shape
    if len(rows):
        assert rows.min() >= round(box[0] * 40) - 1
        assert rows.max() <= round(box[2] * 40)
        assert columns.min() >= round(box[1] * 60) - 1
        assert columns.max() <= round(box[3] * 60)


def test_the_line_is_wider_on_larger_pictures():
    widths = []
    for side in (100, 240, 480, 960):
        found = outlined(np.full((side, side, 3), 100, np.uint8), (0.25, 0.25, 0.75, 0.75))
        widths.append(int(colored(found, LINE)[side // 2, : side // 2].sum()))
    assert widths == [1, 1, 2, 4]


@pytest.mark.parametrize("layout", ["overlay", "map", "side", "photo"])
def test_every_layout_with_a_map_shows_it(layout, photo):
    look, box, heat = Look(layout=layout), (0.25, 0.1, 0.75, 0.9), np.full((4, 6), 0.4)
    plain, found = compose(photo, heat, SCALE, look), compose(photo, heat, SCALE, look, box)
    if layout == "photo":
        np.testing.assert_array_equal(found, photo)
    elif layout == "side":
        np.testing.assert_array_equal(found[:, :68], plain[:, :68])
        np.testing.assert_array_equal(found[:, 68:], outlined(np.ascontiguousarray(plain[:, 68:]), box))
    else:
        np.testing.assert_array_equal(found, outlined(plain, box))
    np.testing.assert_array_equal(compose(photo, None, SCALE, look, box), compose(photo, None, SCALE, look))


def test_the_screen_and_the_figure_show_the_box_of_any_method():
    photo = np.full((80, 60, 3), 90, np.uint8)
    for box in ((2, 1, 6, 5), None):
        frame = Frame(Lens(), photo, result(box), "cup")
        assert colored(frame.pixels(Look()), LINE).any() == (box is not None)
        panels = [axes.images[0].get_array() for axes in attribution_figure(result(box), photo).axes[:3]]
        assert [bool(colored(panel, LINE).any()) for panel in panels] == [False, box is not None, box is not None]
        alone = attribution_figure(result(box)).axes[0].images[0].get_array()
        assert colored(alone, LINE).any() == (box is not None)
