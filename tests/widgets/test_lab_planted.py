"""A pattern painted by hand, by keys and by buttons; a browser may send anything."""

from __future__ import annotations

import numpy as np
import pytest

from xaiwidgets.studio.experiment import CELLS, Experiment
from xaiwidgets.widgets.lab.code import code_for_experiment
from xaiwidgets.widgets.lab.planted import Painter, painted

SIDE = 70 * CELLS


@pytest.fixture
def patterns():
    return []


@pytest.fixture
def painter(patterns):
    made = Painter(patterns.append)
    made.show(np.full((SIDE, SIDE, 3), 100, np.uint8), None, True)
    yield made
    made.close()


def mouse(painter, event, row, column):
    painter.stage.canvas._handle_custom_msg({"event": event, "x": column, "y": row}, [])


def key(painter, name):
    painter.stage.canvas._handle_custom_msg(
        {"event": "key_down", "key": name, "shift_key": False, "ctrl_key": False, "meta_key": False}, []
    )


def cells(pattern):
    return {(row, column) for row, line in enumerate(pattern) for column, one in enumerate(line) if one}


def test_a_drag_paints_and_a_drag_from_a_painted_cell_erases(painter, patterns):
    mouse(painter, "mouse_down", 35, 35)
    mouse(painter, "mouse_move", 35, 100)
    mouse(painter, "mouse_move", 35, 175)
    assert patterns == []  # told when it has ended
    mouse(painter, "mouse_up", 35, 175)
    assert cells(patterns[-1]) == {(0, 0), (0, 1), (0, 2)}
    mouse(painter, "mouse_move", 400, 400)
    assert len(cells(patterns[-1])) == 3
    mouse(painter, "mouse_down", 35, 100)
    mouse(painter, "mouse_move", 35, 175)
    mouse(painter, "mouse_up", 35, 175)
    assert cells(patterns[-1]) == {(0, 0)}
    mouse(painter, "mouse_down", 35, 35)
    mouse(painter, "mouse_up", 35, 35)
    assert patterns[-1] is None


def test_keys_do_the_same(painter, patterns):
    for name in ["ArrowUp"] * 9 + ["ArrowLeft"] * 9 + [" ", "ArrowRight", "ArrowDown", "Enter", "x"]:
        key(painter, name)
    assert cells(patterns[-1]) == {(0, 0), (1, 1)}
    assert "Row 2, column 2 is painted" in painter.said.value
    assert "row 1: 1; row 2: 2" in painter.said.value
    key(painter, " ")
    assert cells(patterns[-1]) == {(0, 0)}
    painter.invert.click()
    assert len(cells(patterns[-1])) == CELLS**2 - 1
    painter.clear.click()
    assert patterns[-1] is None


@pytest.mark.parametrize("place", [(float("nan"), 3), (10**9, -(10**9)), (float("inf"), 0), ("x", 1), (None, None)])
def test_places_that_are_none_do_no_harm(painter, patterns, place):
    painter._down(*place)
    painter._move(*place)
    painter._up()
    assert patterns == []


def test_a_test_that_plants_nothing_paints_nothing(painter, patterns):
    painter.show(np.zeros((SIDE, SIDE, 3), np.uint8), None, False)
    mouse(painter, "mouse_down", 35, 35)
    mouse(painter, "mouse_up", 35, 35)
    key(painter, " ")
    painter.invert.click()
    assert patterns == []
    assert painter.box.layout.display == "none"


def test_cells_are_where_they_are_painted():
    photo = np.full((CELLS * 20, CELLS * 30, 3), 100, np.uint8)
    on = np.zeros((CELLS, CELLS), bool)
    on[2, 5] = True
    found = painted(photo, on, (0, 0))
    assert (found[50, 165] == np.rint(100 * 0.28 + 255 * 0.72)).all()
    assert (found[10, 15] == 100).all()
    assert (found[1, 15] == (230, 60, 30)).all()
    assert (photo == 100).all()


def test_only_kinds_that_show_a_pattern_have_one():
    pattern = tuple(tuple(int(row == column) for column in range(CELLS)) for row in range(CELLS))
    made = Experiment(metric="gradcam_manipulation", pattern=pattern)
    assert not made.paints
    assert made.sketch is None
    assert made.question == made.replace(pattern=None).question
    planted = made.with_knobs(kind="image")
    assert planted.sketch == pattern
    assert planted.question != planted.replace(pattern=None).question
    assert "data=pattern" in code_for_experiment(planted, "digits_gap", "three")
    assert planted.with_metric("deletion").sketch is None
