"""A region drawn by hand, by keys and by sliders; a browser may send anything."""

from __future__ import annotations

import numpy as np
import pytest

from xaiwidgets.widgets.lab.attack import GRID, Aim


@pytest.fixture
def regions():
    return []


@pytest.fixture
def aim(regions):
    made = Aim(regions.append)
    made.show(np.zeros((440, 440, 3), np.uint8), (0.0, 0.0, 0.25, 0.25), True)
    yield made
    made.close()


def mouse(aim, event, row, column):
    aim.stage.canvas._handle_custom_msg({"event": event, "x": column, "y": row}, [])


def test_a_drag_draws_a_new_rectangle(aim, regions):
    mouse(aim, "mouse_down", 220, 220)
    mouse(aim, "mouse_move", 300, 280)
    mouse(aim, "mouse_move", 330, 330)
    assert regions == []
    mouse(aim, "mouse_up", 330, 330)
    top, left, bottom, right = regions[0]
    assert (top, left) == (0.5, 0.5)
    assert (bottom, right) == (pytest.approx(0.75, abs=0.03), pytest.approx(0.75, abs=0.03))
    assert aim.sliders["top"].value == GRID // 2


def test_the_rectangle_can_be_taken_hold_of(aim, regions):
    mouse(aim, "mouse_down", 55, 55)
    mouse(aim, "mouse_move", 165, 55)
    mouse(aim, "mouse_up", 165, 55)
    assert regions == [(0.25, 0.0, 0.5, 0.25)]


def test_a_press_without_a_drag_is_a_rectangle_around_it(aim, regions):
    mouse(aim, "mouse_down", 220, 330)
    mouse(aim, "mouse_up", 220, 330)
    top, left, bottom, right = regions[0]
    assert (top + bottom) / 2 == pytest.approx(0.5, abs=0.01)
    assert (left + right) / 2 == pytest.approx(0.75, abs=0.01)
    assert bottom - top == pytest.approx(0.25, abs=0.01)


def test_keys_and_sliders_do_the_same(aim, regions):
    aim.stage.canvas._handle_custom_msg(
        {"event": "key_down", "key": "ArrowDown", "shift_key": False, "ctrl_key": False, "meta_key": False}, []
    )
    assert regions[0][0] > 0
    aim.sliders["left"].value = GRID // 2
    assert regions[-1][1] == 0.5
    aim.sliders["height"].value = GRID
    assert regions[-1][0] == 0.0
    assert regions[-1][2] == 1.0


@pytest.mark.parametrize("place", [(float("nan"), 3), (10**9, -(10**9)), (float("inf"), 0), ("x", 1), (None, None)])
def test_places_that_are_none_do_no_harm(aim, regions, place):
    aim._down(*place)
    aim._move(*place)
    aim._up()
    assert all(0 <= top < bottom <= 1 and 0 <= left < right <= 1 for top, left, bottom, right in regions)


def test_without_an_aim_nothing_is_drawn(aim, regions):
    aim.show(np.zeros((440, 440, 3), np.uint8), None, False)
    mouse(aim, "mouse_down", 220, 220)
    mouse(aim, "mouse_up", 300, 300)
    assert regions == []
    assert aim.box.layout.display == "none"
