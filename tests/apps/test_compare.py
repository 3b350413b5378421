"""Compare without a browser: what a person does with the controls, and what a browser may not do."""

from __future__ import annotations

import base64
import io
import math
import re
import threading
import time
from collections import Counter

import numpy as np
import pytest
import torch
from ipywidgets.widgets import widget as registry
from PIL import Image
from torch import nn

import xaiwidgets as xw
from xaiwidgets.apps.compare import Compare
from xaiwidgets.engine.arrange import Cell
from xaiwidgets.errors import InvalidKnob, InvalidTarget, UnknownMethod
from xaiwidgets.model.model import Model
from xaiwidgets.render.panels import NORMALIZED, SAID
from xaiwidgets.studio import gridstudio
from xaiwidgets.studio.album import Album
from xaiwidgets.studio.grid import Column, Grid, Rank
from xaiwidgets.studio.gridstudio import GridStudio
from xaiwidgets.widgets.controls import Form

LONG = 120.0
TWO = ("saliency", "grad_cam")
NONE = {"ctrl_key": False, "meta_key": False}


@pytest.fixture
def make(digits, monkeypatch):
    """Return a maker of Compare pages on the small network; each is closed when the test ends."""
    monkeypatch.setattr(GridStudio, "_time", lambda studio: iter(()))
    made = []

    def build(methods=TWO, model=None, *, sync=True, **options):
        made.append(Compare(digits if model is None else model, methods=methods, sync=sync, **options))
        return made[-1]

    yield build
    for page in made:
        page.close()


@pytest.fixture
def page(make):
    return make()


def states(page):
    return Counter(panel.state for panel in page.studio.panels.values())


def plain(html):
    return " ".join(re.sub("<[^>]*>", " ", html.value).split())


def columns(page):
    return [column.method for column in page.grid.methods]


def bad(widget, send, **state):
    """Do what a message from a browser does; what cannot be is dropped by ipywidgets."""
    send(widget, **state)


# -- the first screen -----------------------------------------------------------------------------------------------


def test_the_first_screen_is_filled(make, digits):
    page = make(None)
    assert states(page) == {"done": 8}
    assert columns(page) == ["saliency", "integrated_gradients", "grad_cam", "occlusion"]
    assert page.grid.methods[3].knob("window_height") == round(32 * 48 / 224)  # lengths suit the small picture
    assert page.grid.targets == (Rank(1), Rank(2))
    names = [digits.labels.short(one.index) for one in page.studio.predictions[:2]]
    assert [plain(band.names) for band in page.board.bands] == [
        f"Saliency Integrated gradients Grad-CAM Occlusion {names[0]} {page.studio.predictions[0].probability:.1%}",
        f"{names[1]} {page.studio.predictions[1].probability:.1%}",
    ]
    assert "8 panels: 8 done" in page.status.line.value
    assert "8 of at most 36 panels" in page.count.value
    assert SAID["panel"] in page.said.value.replace("&#x27;", "'")
    assert NORMALIZED in page.note.value
    assert page.twin.value.count("<li>") == 8


def test_a_program_asks_for_what_it_likes(make, digits):
    page = make(["saliency", ("grad_cam", {"layer": "features.3"}), xw.Occlusion(window_height=9)], targets=[3, "7"])
    assert columns(page) == ["saliency", "grad_cam", "occlusion"]
    assert page.grid.targets == (3, 7)
    assert page.comparison().results.keys() == page.studio.panels.keys()
    page.put(methods=["saliency"], targets=[1], image="rocket", scale="rank")
    assert (page.grid.image, page.grid.targets, page.grid.scale) == ("rocket", (1,), "rank")
    assert page.wait(LONG)
    with pytest.raises(InvalidKnob, match=r"^put takes image, methods.*; got nonsense"):
        page.put(nonsense=1)
    with pytest.raises(InvalidTarget):
        page.put(targets=[99])
    with pytest.raises(InvalidKnob, match="at most 36 panels"):
        page.put(targets=list(range(10)), layers=list("abcd"))
    with pytest.raises(UnknownMethod):
        Compare(digits, methods=["nothing"])
    with pytest.raises(InvalidKnob):
        Compare(digits, methods=[("rise", {"samples": -1})])
    with pytest.raises(InvalidTarget, match="targets must be class indices until the model is loaded; got 'espresso'"):
        Compare(targets=["espresso"])


def test_changes_can_be_observed(page):
    heard = []
    page.observe(lambda change: heard.append(change["new"]), "grid")
    page.put(across="classes")
    assert [one.across for one in heard] == ["classes"]


# -- methods --------------------------------------------------------------------------------------------------------


def test_a_method_is_added_chosen_changed_doubled_and_taken_away(page):
    page.methods.adder.widget.value = "occlusion"
    assert columns(page) == ["saliency", "grad_cam", "occlusion"]
    assert page._current == 2
    form = page._forms["occlusion"]
    assert page.knobs.children == (form.box,)
    assert form.controls["window_height"].value == round(32 * 48 / 224)
    form.controls["window_height"].widget.value = 10
    assert page.grid.methods[2].knob("window_height") == 10
    assert page.studio.panels[0, 2].result.provenance.knobs["window_height"] == 10

    page.methods.double.click()
    form.controls["window_height"].widget.value = 20
    assert [column.knob("window_height") for column in page.grid.methods[2:]] == [10, 20]
    assert page.studio.plan.names[2:] == ("Occlusion (window height 10)", "Occlusion (window height 20)")
    assert [row.children[0].description for row in page.methods._rows.children][3] == "Occlusion (window height 20)"
    page.methods._rows.children[2].children[0].click()
    assert form.controls["window_height"].value == 10
    assert page.grid.methods[3].knob("window_height") == 20  # showing is not changing

    page.methods._rows.children[0].children[1].click()
    assert columns(page) == ["grad_cam", "occlusion", "occlusion"]
    assert page._current == 1  # still the one with 10 rows
    assert form.controls["window_height"].value == 10
    assert states(page) == {"done": 6}


def test_the_last_method_and_class_stay(page):
    for _ in range(2):
        page.methods._rows.children[0].children[1].click()
    assert columns(page) == ["grad_cam"]
    assert "at least one method" in page.status.line.value
    for number in (0, 1):
        page.classes._buttons[number].click()
    assert len(page.grid.targets) == 1
    assert "at least one class" in page.status.line.value
    assert states(page) == {"done": 1}


def test_too_many_panels_are_refused_in_words(page):
    page.put(targets=list(range(10)))
    before = page.grid
    page.methods.adder.widget.value = "gradient_x_input"
    page.methods.adder.widget.value = "fullgrad"
    assert len(page.grid.cells) == 30
    assert "at most 36 panels; 4 methods for 10 classes make 40" in page.status.line.value
    assert columns(page) == ["saliency", "grad_cam", "gradient_x_input"]
    assert page.grid != before


def test_an_error_is_told_in_its_panel(make):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.SiLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    page = make(["guided_backprop", "saliency"], Model(net, size=24))
    assert states(page) == {"error": 2, "done": 2}
    assert page.board.bands[0]._states.value.count("xai-why") == 1
    assert "guided_backprop needs" in page.board.bands[0]._states.value
    assert "not here" in page.methods.adder.widget.options[-1][0]
    assert "waits for both maps" in page.board.extras._states.value
    assert any("guided_backprop needs" in line for line in page.view.words())


# -- classes and layers ---------------------------------------------------------------------------------------------


def test_classes_are_toggled_and_searched(page):
    predictions = page.studio.predictions
    page.classes._buttons[3].click()
    assert page.grid.targets == (Rank(1), Rank(2), Rank(4))
    page.classes._buttons[0].click()
    assert page.grid.targets == (Rank(2), Rank(4))
    rest = next(n for n in range(10) if n not in [one.index for one in predictions])
    page.classes.search.value = str(rest)
    page.classes.search.value = str(rest)
    assert page.grid.targets == (Rank(2), Rank(4), rest)
    assert states(page) == {"done": 6}
    page.classes.search.value = str(predictions[1].index)  # which is there by its rank
    assert page.grid.targets == (Rank(2), Rank(4), rest)
    page.classes._chips.children[0].click()
    assert page.grid.targets == (Rank(2), Rank(4))
    page.classes.search.value = "no such class"
    assert "no such class" in page.status.line.value
    page._choose_image("rocket")
    assert [t.classes[0] for t in page.studio.plan.targets] == [page.studio.predictions[n].index for n in (1, 3)]


def test_layers_are_rows_or_columns(page, digits):
    first, second = (stage.name for stage in digits.stages[:2])
    page.methods._rows.children[1].children[0].click()  # Grad-CAM
    layer = page._forms["grad_cam"].controls["layer"].widget
    assert not layer.disabled
    page.layers.adder.widget.value = first
    page.layers.adder.widget.value = second
    assert layer.disabled  # the layers on the left come before it
    assert len(page.studio.panels) == 8
    assert len(page.board.bands) == 4
    assert page.board.bands[1]._states.value.count("no layer: the same map") == 1
    page.across.value = "layers"
    assert (page.studio.plan.columns, len(page.board.bands)) == ([first, second], 4)
    assert states(page) == {"done": 8}
    page.layers._chips.children[0].click()
    page.layers._chips.children[0].click()
    assert page.studio.plan.columns == ["layer of the method's choice"]
    assert not layer.disabled


# -- arrangement, look, scale ---------------------------------------------------------------------------------------


def test_arrangement_scale_and_look_run_nothing(page, monkeypatch):
    monkeypatch.setattr(gridstudio, "drive", lambda *_: pytest.fail("something was computed"))
    before = page.board.bands[0].tiles._pixels[0]
    page.scale.value = "rank"
    assert "% of pixels are weaker" in page.board.bands[0]._feet.value
    assert SAID["rank"] in page.said.value.replace("&#x27;", "'")
    assert (page.board.bands[0].tiles._pixels[0] != before).any()
    page.scale.value = "shared"
    assert "share a scale" in page.said.value
    page.look.controls["opacity"].widget.value = 0.1
    assert page.grid.look.opacity == 0.1
    page.look.controls["sign"].widget.value = "absolute"
    page.look.controls["layout"].widget.value = "map"
    assert "side" not in [value for _, value in page.look.controls["layout"].widget.options]
    page.across.value = "classes"
    assert [plain(band.names).split()[-1] for band in page.board.bands] == ["Saliency", "Grad-CAM"]
    assert states(page) == {"done": 4}


def test_the_difference_is_that_of_the_chosen_maps(page):
    names = [title for title, _ in page.first.options]
    assert names == [page.studio.plan.title(place) for place in page.studio.panels]
    page.first.value, page.second.value = 3, 0
    assert page.grid.pair == (Cell(1, 1, 0), Cell(0, 0, 0))
    found = page.comparison()
    wanted = found.difference((1, 1), (0, 0)).astype(np.float32)
    title, panel = page.view._made["difference"]
    np.testing.assert_array_equal(panel.raw.points, wanted)
    assert title == f"Difference: {names[3]} less {names[0]}"
    assert f"{found.correlation((1, 1), (0, 0)):.2f}" in page.note.value
    page.second.value = 3
    assert "choose two different maps" in page.board.extras._states.value
    page.across.value = "classes"
    assert page.grid.pair == (Cell(1, 1, 0), Cell(1, 1, 0))
    panel = page.view._made["disagreement"][1]
    np.testing.assert_array_equal(panel.raw.points, page.comparison().disagreement().astype(np.float32))


# -- the cursor -----------------------------------------------------------------------------------------------------


def mouse(band, event, **state):
    band.tiles.canvas._handle_custom_msg({"event": event, **state}, [])


def until(condition, seconds=30):
    """Poll until the condition holds; return whether it did."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.005)
    return False


def test_one_cursor_over_all_panels(page, monkeypatch):
    band, other = page.board.bands
    height, width = band.tiles.size
    mouse(band, "mouse_move", x=width + band.tiles.gap + width / 4, y=height / 2)
    for shown in (band, other, page.board.extras):
        assert "--cx:25.00%;--cy:50.00%" in shown._values.value
    assert band._values.value.count("xai-value") == 2
    assert other._values.value.count("xai-value") == 2
    for x in (width / 5, width / 2, 3 * width / 4):  # faster than values are sent
        mouse(other, "mouse_move", x=x, y=height / 4)
    assert until(lambda: "--cx:75.00%;--cy:25.00%" in band._values.value)
    mouse(band, "mouse_out", x=0, y=0)
    assert band._values.value == ""
    mouse(other, "mouse_down", x=width / 2, y=height / 4)
    mouse(other, "mouse_out", x=0, y=0)
    assert "--cx:50.00%;--cy:25.00%" in band._values.value  # where it was pressed it stays
    assert (page.cursor.down.value, page.cursor.right.value) == (25, 50)
    assert page.cursor.told.value.count("logit") == 4
    page.cursor.down.value = 75
    assert "--cx:50.00%;--cy:75.00%" in band._values.value
    for key in ("ArrowRight", "ArrowUp"):
        band.tiles.canvas._handle_custom_msg({"event": "key_down", "key": key, "shift_key": True, **NONE}, [])
    assert "--cx:60.00%;--cy:65.00%" in band._values.value
    band.tiles.canvas._handle_custom_msg({"event": "key_down", "key": "Escape", "shift_key": False, **NONE}, [])
    assert band._values.value == ""
    page.cursor.pointing.value = False
    assert "xai-still" in page.board.box._dom_classes
    page.cursor.pointing.value = True
    assert "xai-still" not in page.board.box._dom_classes


def test_values_follow_maps_that_change(page):
    page.cursor.down.value = 30
    before = page.board.bands[0]._values.value
    page.put(image="rocket")
    assert page.board.bands[0]._values.value not in ("", before)


def test_a_tab_key_leaves_the_canvas(page, monkeypatch):
    went = []
    for name, control in (("pointing", page.cursor.pointing), ("scale", page.scale)):
        monkeypatch.setattr(control, "focus", lambda name=name: went.append(name))
    page._key("Tab", False)
    page._key("Tab", True)
    assert went == ["pointing", "scale"]


def test_in_words(page):
    assert "xai-sr" in page.twin.value  # always there for a screen reader
    page.in_words.value = True
    assert "xai-sr" not in page.twin.value
    assert page.twin.value.count("<li>") == 4


# -- work -----------------------------------------------------------------------------------------------------------


def test_stop_and_go_on(make, monkeypatch):
    waiting, gate = threading.Event(), threading.Event()
    plain_drive = gridstudio.drive

    def drive(*args):
        for result in plain_drive(*args):
            if type(args[0]).card.id == "rise":
                waiting.set()
                assert gate.wait(LONG)
            yield result

    monkeypatch.setattr(gridstudio, "drive", drive)
    page = make(["saliency", ("rise", {"samples": 64})], targets=[1], sync=False)
    assert waiting.wait(LONG)
    page.stop.click()
    assert page.go.description == "Go on"
    assert states(page) == {"done": 1, "stopped": 1}
    assert "2 panels: 1 done, 1 stopped" in page.status.line.value
    gate.set()
    assert page.wait(LONG)
    page.go.click()
    assert page.wait(LONG)
    assert states(page) == {"done": 2}
    assert page.go.description == "Run again"
    first = page.studio.panels[0, 0].result
    page.go.click()
    assert page.wait(LONG)
    assert page.studio.panels[0, 0].result is not first


def test_a_model_by_name_is_loaded_by_the_worker(make):
    page = make(None, "digits_gap", sync=False)
    assert page._code() or page.wait(LONG)
    assert page.wait(LONG)
    assert states(page) == {"done": 8}
    assert "digits_gap" in page.model_name.value
    assert not page.classes.search.disabled
    assert len(page.layers.adder.widget.options) > 3


def test_pictures_of_another_app(make):
    album = Album()
    key = album.add(np.zeros((50, 60, 3), np.uint8), "mine")
    page = make(album=album, image=key)
    assert page.grid.image == key
    assert "image = 'mine'  # your upload" in page._code()


# -- taking it along ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_figures(page, kind):
    page.scale.value = "rank"
    page.export.buttons[kind].click()
    found = re.search(r"download='(comparison\.\w+)' href='data:([^;]+);base64,([^']+)'", page.export.place.value)
    assert found[1] == f"comparison.{kind}"
    content = base64.b64decode(found[3])
    if kind == "png":
        picture = Image.open(io.BytesIO(content))
        assert picture.width > 900
        assert picture.text["Description"].count('"method"') == 4
    else:
        assert content[:5] == (b"<?xml" if kind == "svg" else b"%PDF-")


def test_the_code_makes_the_same_maps(page, digits, monkeypatch, tmp_path):
    page.methods.adder.widget.value = "gradient_x_input"
    page.export.show_code.value = True
    code = page._code()
    assert "xw.compare(model, image, methods, targets=[" in page.export.text.value
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(compile(code, "code", "exec"), names)
    assert (tmp_path / "comparison.png").stat().st_size > 10_000
    for place, panel in page.studio.panels.items():
        ours, theirs = panel.result.values, names["c"][place].values
        np.testing.assert_allclose(ours, theirs, atol=1e-5 * np.abs(ours).max())


def test_nothing_to_save_yet(make, monkeypatch):
    gate = threading.Event()
    monkeypatch.setattr(GridStudio, "_work", lambda *_: iter([gate.wait(LONG)]))
    page = make(sync=False)
    try:
        assert page.comparison() is None
        assert page._figure("png") is None
        assert page._code() == "# the model is being loaded"
    finally:
        gate.set()


# -- what a browser may send ----------------------------------------------------------------------------------------


def test_nothing_that_a_browser_sends_leaves_the_limits(page, send):
    form = page._forms["saliency"] if page._current == 0 else page._forms["grad_cam"]
    assert form is not None
    for widget in (page.across, page.scale, page.first, page.second, page.methods.adder.widget):
        bad(widget, send, index=10**6)
        bad(widget, send, _options_labels=["a", "b"], index=1)
    bad(page.cursor.down, send, max=10**9, value=10**9)
    assert page.cursor.pinned[0] == 1.0
    bad(page.cursor.right, send, min=-(10**9), value=-(10**9))
    assert page.cursor.pinned[1] == 0.0
    for value in (math.nan, math.inf):
        bad(page.cursor.down, send, value=value)
        assert all(0 <= share <= 1 for share in page.cursor.pinned)
    opacity = page.look.controls["opacity"].widget
    bad(opacity, send, max=10**6, value=10**6)
    assert page.grid.look.opacity == 1.0
    page._choose_image("../../etc/passwd")
    page._choose_image("upload:nothing")
    assert page.grid.image == "coffee"
    bad(page.classes.search, send, value="<script>alert(1)</script>" * 1000)
    assert "<script>" not in page.status.line.value
    for x, y in ((1e308, 1), ("nan", 2), (5, -3)):
        mouse(page.board.bands[0], "mouse_move", x=x, y=y)
        mouse(page.board.bands[0], "mouse_down", x=x, y=y)
    assert len(page.grid.cells) <= 36
    assert states(page)["done"] == len(page.grid.cells)


def test_a_window_larger_than_the_picture_is_told_where_it_matters(page):
    page.put(methods=["saliency", Column.of("occlusion", window_height=200)])
    assert states(page) == {"done": 2, "error": 2}
    page.methods._rows.children[1].children[0].click()
    assert "cannot be made with these settings" in page.about.value


def test_settings_that_exclude_each_other_leave_what_holds(page, monkeypatch):
    page.put(methods=["agg_mean"], targets=[1])
    before = page.grid
    page._choose_knob("members", "saliency,nothing")
    assert page.grid is before
    assert "members must be explainers" in page.status.line.value


# -- the end --------------------------------------------------------------------------------------------------------


def test_controls_that_two_threads_want_are_made_once(make, monkeypatch):
    """The page's thread and the worker's both show the method that was chosen."""
    page = make(methods=["saliency", "rise"])
    real, made = Form.__init__, []

    def slow(form, knobs, *given):
        made.append(knobs)
        time.sleep(0.1)
        real(form, knobs, *given)

    monkeypatch.setattr(Form, "__init__", slow)
    threads = [threading.Thread(target=page._choose, args=(1,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
    assert len(made) == 1
    assert page.knobs.children == (page._forms["rise"].box,)


def test_close_ends_everything(digits):
    widgets, threads = set(registry._instances), set(threading.enumerate())
    page = Compare(digits, methods=["saliency", "occlusion", "rise"])
    page.methods._rows.children[1].children[0].click()
    page.methods._rows.children[2].children[0].click()
    page.put(methods=list(TWO))
    page.close()
    for thread in set(threading.enumerate()) - threads:
        thread.join(30)
    assert set(threading.enumerate()) <= threads
    assert [registry._instances[key] for key in set(registry._instances) - widgets] == []


def test_a_grid_of_a_link_can_be_opened(make):
    grid = Grid.from_query("m0=saliency&m1=rise&m1.samples=10&targets=3&across=classes")
    page = make([*grid.methods], targets=list(grid.targets), across=grid.across)
    assert (page.grid.methods, page.grid.targets, page.grid.across) == (grid.methods, grid.targets, grid.across)
