"""Board and view: what is drawn, what is written beside it, and what a screen reader is told."""

from __future__ import annotations

import re

import nets
import numpy as np
import pytest
from ipywidgets.widgets import widget as registry

import xaiwidgets as xw
from xaiwidgets.core.results import Attribution
from xaiwidgets.core.scores import Limit, Score
from xaiwidgets.errors import NotApplicable
from xaiwidgets.evaluation.trust import TrustReport
from xaiwidgets.render.look import Look
from xaiwidgets.render.panels import panels
from xaiwidgets.studio.gridstudio import Panel
from xaiwidgets.widgets.board import Board
from xaiwidgets.widgets.gridview import ALONE, LARGE, SMALL, GridView

LOOK = Look()


@pytest.fixture(scope="module")
def found():
    photo = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    model = xw.Model(nets.f3(), size=nets.SIZE)
    return xw.compare(model, photo, ["saliency", "grad_cam"], targets=[1, 3])


@pytest.fixture
def board(drawn):
    made = Board(lambda *_: None, lambda *_: None)
    yield made
    made.close()


@pytest.fixture
def view(board, found):
    made = GridView(board)
    made.shape(2, 2, found.photo)
    return made


@pytest.fixture
def states(found):
    cells = {}
    for place, result in found.results.items():
        cell = found.plan.cells[place]
        names = found.plan.names[cell.method], found.plan.targets[cell.target].name, found.plan.title(place)
        cells[place] = Panel(*names, "done", result)
    return cells


def shown(board, place):
    return board.bands[place[0]].tiles._pixels[place[1]]


def written(board, row):
    band = board.bands[row]
    return band._states.value, band._feet.value


def test_the_photo_is_in_every_panel_before_there_are_maps(view, board):
    assert [band.tiles.size for band in board.bands] == [(LARGE, LARGE)] * 2
    dim = shown(board, (0, 0))
    assert (dim[..., 0] == dim[..., 1]).all()
    assert all(shown(board, (row, column)) is dim for row in range(2) for column in range(2))
    assert (board.extras.tiles._pixels[0] != dim).any()


@pytest.mark.parametrize("scale", ["panel", "shared", "rank"])
def test_panels_have_the_pixels_of_the_figure(view, board, states, found, scale):
    view.show(states, states, LOOK, scale)
    wanted = panels(found.results, LOOK, scale)
    for place, panel in wanted.items():
        np.testing.assert_array_equal(shown(board, place), panel.compose(view._tile, found[place]))
    for row in range(2):
        assert written(board, row)[1].count("xw-colorbar") == 2
        assert "clipped at" not in re.sub('aria-label="[^"]*"', "", written(board, row)[1])  # said once, below all
        for column in range(2):
            assert wanted[row, column].drawn_unit in written(board, row)[1]


def test_only_what_has_changed_is_drawn_again(view, board, states, drawn):
    view.show(states, states, LOOK, "panel")
    count = len(drawn.messages)
    view.show(states, states, LOOK, "panel")
    view.shape(2, 2, view._photo)
    assert len(drawn.messages) == count
    other = states[0, 0].result.replace(values=states[0, 0].result.values * 3)
    view.show({**states, (0, 0): Panel("a", "b", "c", "done", other)}, [(0, 0)], LOOK, "panel")
    assert len(drawn.messages) == count + 1
    before = shown(board, (1, 0))
    view.show({**states, (0, 0): Panel("a", "b", "c", "done", other)}, [(0, 0)], LOOK, "shared")
    assert shown(board, (1, 0)) is not before  # its scale now follows from the other one's
    view.show(states, states, Look(opacity=0.1), "panel")
    assert len(drawn.messages) >= count + 1 + 4


def test_states_are_written_on_the_panels(view, board, states):
    half = states[0, 0].result.replace(progress=0.25)
    error = NotApplicable("guided_backprop", "a <b>ReLU</b>", "none")
    mixed = {
        (0, 0): Panel("a", "b", "c", "busy", half),
        (0, 1): Panel("a", "b", "c", "waiting"),
        (1, 0): Panel("a", "b", "c", "error", error=error),
        (1, 1): Panel("a", "b", "c", "done", states[1, 1].result, first=False),
    }
    view.show(mixed, mixed, LOOK, "panel")
    first, second = written(board, 0)[0], written(board, 1)[0]
    assert "25 %" in first
    assert "aria-valuenow='25'" in first
    assert "waiting" in first
    assert "guided_backprop needs a &lt;b&gt;ReLU&lt;/b&gt;" in second
    assert "no layer: the same map" in second
    stopped = {**mixed, (0, 0): Panel("a", "b", "c", "stopped", half)}
    view.show(stopped, [(0, 0)], LOOK, "panel")
    assert "stopped at 25 %" in written(board, 0)[0]
    again = {**states, (0, 0): Panel("a", "b", "c", "waiting")}
    view.show(again, [(0, 0)], LOOK, "panel")
    assert shown(board, (0, 0)) is view._dim
    assert written(board, 0)[1].count("xw-colorbar") == 1


def test_verdicts_are_written_on_finished_panels(view, board, states):
    view.show(states, states, LOOK, "panel")
    passed = Score(0.2, "correlation", limit=Limit("<", 0.46))
    report = TrustReport(scores={"input_dominance": passed, "deletion": passed.replace(value=0.9)}, progress=1.0)
    view.judged({(0, 1): report})
    assert "Trust: 1 of 2 passed" in written(board, 0)[0]
    assert "deletion fail" in written(board, 0)[0]
    assert "Trust" not in written(board, 1)[0]
    view.judged({})
    assert "Trust" not in written(board, 0)[0]
    same = Panel("a", "b", "c", "done", states[1, 1].result, first=False)
    view.show({**states, (1, 1): same}, [(1, 1)], LOOK, "panel")
    view.judged({(1, 1): report})
    assert "no layer: the same map" in written(board, 1)[0]  # a verdict does not take its place
    assert "Trust: 1 of 2 passed" in written(board, 1)[0]


def test_the_cursor_has_the_raw_value_of_every_panel(view, board, states, found):
    view.show(states, states, LOOK, "rank")
    view.made("difference", "Difference", found.difference((0, 0), (0, 1)), LOOK)
    view.cursor((0.3, 0.8))
    for row, column in states:
        values = found[row, column].map()
        height, width = values.shape
        wanted = values[int(0.3 * height), int(0.8 * width)]
        told = re.findall(r"<b>([^<]*)</b> ([^<]*)</span>", board.bands[row]._values.value)[column]
        assert float(told[0].replace("\N{MINUS SIGN}", "-")) == pytest.approx(wanted, rel=0.01)
        assert told[1] == found[row, column].unit
    assert board.bands[0]._values.value.count("xai-cross") == 2
    assert "--cx:80.00%;--cy:30.00%" in board.bands[1]._values.value
    assert "share of the evidence" in board.extras._values.value
    said = view.told_at((0.3, 0.8))
    assert said.startswith("At 30 % down, 80 % across: ")
    assert all(state.title in said for state in states.values())
    assert "Difference" in said
    view.cursor(None)
    assert {band._values.value for band in (*board.bands, board.extras)} == {""}


def test_all_in_words(view, states, found):
    assert view.words() == []
    mixed = {**states, (1, 1): Panel("A", "b", "A for b", "error", error=ValueError("no <such>\n thing"))}
    mixed[1, 0] = Panel("A", "b", "A for b", "waiting")
    view.show(mixed, mixed, LOOK, "panel")
    said = view.words()
    assert said[0].startswith(f"Saliency for {found.plan.targets[0].name}: strongest in the ")
    assert said[0].endswith("logit per unit of input")
    assert said[1].startswith(f"Grad-CAM for {found.plan.targets[0].name} at ")
    assert said[2:] == ["A for b: waiting", "A for b: no <such> thing"]


def test_the_last_row_says_why_there_is_nothing(view, board, found):
    view.made("disagreement", "Disagreement", None, LOOK, "needs two maps")
    assert "needs two maps" in board.extras._states.value
    assert board.extras.tiles._pixels[2] is view._dim
    view.made("disagreement", "Disagreement", found.disagreement(), LOOK)
    assert "needs two maps" not in board.extras._states.value
    assert board.extras._feet.value.count("xw-colorbar") == 1
    assert board.extras.names.value.count("xai-colname") == 3


def test_titles(view, board):
    view.titles(["one", "<two>"], ["r1", "r2"], ["95%", ""])
    assert "&lt;two&gt;" in board.bands[0].names.value
    assert "95%" in board.bands[0].names.value
    assert "xai-colname" not in board.bands[1].names.value
    assert "r2" in board.bands[1].names.value


def test_many_panels_are_smaller_and_rows_are_used_again(view, board, found):
    view.shape(6, 6, found.photo)
    assert len(board.bands) == 6
    assert {band.tiles.size for band in board.bands} == {(SMALL, SMALL)}
    assert {"xai-w6", "xai-r7"} <= set(board.box._dom_classes)
    assert "xai-n6" in board.bands[0].box._dom_classes
    first = board.bands[0]
    view.shape(1, 2, found.photo)
    assert board.bands == [first]
    assert {"xai-w3", "xai-r2"} <= set(board.box._dom_classes)
    assert "xai-w6" not in board.box._dom_classes
    assert len(board.box.children) == 3


def test_pictures_of_other_proportions(board):
    view = GridView(board)
    view.shape(1, 1, np.zeros((360, 720, 3), np.uint8))
    assert board.bands[0].tiles.size == (ALONE // 2, ALONE)
    assert "--ratio:0.50000" in board._style.value
    result = Attribution(np.ones((1, 2, 4), np.float32), "u", False, (180, 360))
    view.show({(0, 0): Panel("a", "b", "c", "done", result)}, [(0, 0)], LOOK, "panel")
    assert shown(board, (0, 0)).shape == (ALONE // 2, ALONE, 3)


def test_one_panel_has_the_board_for_itself(view, board, found):
    below = board.box.children[-1]
    assert below.layout.display is None
    view.shape(1, 1, found.photo)
    assert below.layout.display == "none"
    assert {"xai-w1", "xai-r1"} <= set(board.box._dom_classes)
    view.shape(1, 2, found.photo)
    assert below.layout.display is None


def test_columns_have_their_titles_again_in_a_long_grid(view, board, found):
    view.shape(7, 2, found.photo)
    view.titles(["one", "two"], [f"row {n}" for n in range(7)], [""] * 7)
    assert [n for n, band in enumerate(board.bands) if "xai-colname" in band.names.value] == [0, 3, 6]


def test_close_leaves_no_widget(drawn):
    before = set(registry._instances)
    board = Board(lambda *_: None, lambda *_: None)
    board.shape(3, 2, (32, 32))
    board.shape(1, 2, (32, 32))
    board.close()
    assert set(registry._instances) == before
