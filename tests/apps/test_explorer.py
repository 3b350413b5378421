from __future__ import annotations

import dataclasses
import gc
import io
import itertools
import json
import logging
import math
import random
import re
import subprocess
import sys
import threading
import time
from html import escape
from traceback import walk_tb

import ipywidgets as w
import numpy as np
import pytest
import torch
from ipycanvas import Canvas
from ipywidgets.widgets.widget import _instances
from PIL import Image
from torch import nn

import xaiwidgets as xw
from xaiwidgets.apps.explorer import Explorer
from xaiwidgets.core.cards import card, cards
from xaiwidgets.engine.cost import pace
from xaiwidgets.errors import InvalidImage, InvalidKnob, InvalidTarget, NotApplicable, UnknownMethod
from xaiwidgets.model.model import Model
from xaiwidgets.render.channels import shown
from xaiwidgets.render.compose import palette_name
from xaiwidgets.render.look import CHANNELS, Look
from xaiwidgets.render.palettes import CENTERED, PALETTES
from xaiwidgets.render.words import describe
from xaiwidgets.studio.lens import Lens, Unit

LONG = 120.0
CONTROLS = (w.Button, w.ToggleButton, w.Checkbox, w.Combobox, w.FileUpload, w.Dropdown, w.SelectionSlider)
CONTROLS += (w.IntSlider, w.FloatSlider, w.FloatLogSlider, w.BoundedIntText, w.Text)


def parts(root):
    """Return all widgets on a page, each once."""
    found, waiting = {}, [root]
    while waiting:
        widget = waiting.pop()
        if id(widget) not in found:
            found[id(widget)] = widget
            waiting += getattr(widget, "children", ())
    return list(found.values())


def photo_bytes(seed=0, side=64):
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def upload(send, explorer, content, name="holiday.png"):
    entry = {"name": name, "type": "image/png", "size": 1, "last_modified": 0, "content": content}
    send(explorer.gallery._upload, value=[entry])


def point(explorer, event, row, column):
    """Send a pointer event at a place in pixels of the model's input."""
    height, _ = explorer.stage.size
    scale = height / explorer.studio.preprocessing.size[0]
    explorer.stage.canvas._handle_custom_msg({"event": event, "x": column * scale, "y": row * scale}, [])


def press(explorer, key, shift=False):
    content = {"event": "key_down", "key": key, "shift_key": shift, "ctrl_key": False, "meta_key": False}
    explorer.stage.canvas._handle_custom_msg(content, [])


def alive(explorer):
    """Return whether an ordinary question is still answered on screen."""
    explorer.put(method="saliency", image="coffee", target=4, look=Look())
    assert explorer.wait(LONG)
    frame = explorer.studio.frame
    shown = explorer.status.line.value
    return (
        "role='alert'" not in shown
        and explorer.studio.status.kind == "idle"
        and (frame.lens.method, frame.lens.image, frame.lens.target) == ("saliency", "coffee", (4,))
        and explorer.result is frame.result
        and "Saliency for 4" in explorer.readout.twin.value
    )


# -- construction -----------------------------------------------------------------------------------------------------


def test_with_a_model_everything_is_on_screen(make_explorer, digits):
    explorer = make_explorer()
    assert explorer.result is explorer.studio.frame.result
    assert explorer.result.provenance.method == "grad_cam"
    assert explorer.lens == Lens()
    assert "digits_gap" in explorer.model_name.value
    assert [name for _, name in explorer.strip._slider.options] == [stage.name for stage in digits.stages]
    assert explorer.strip._slider.value == explorer.result.layer == digits.stages[-1].name
    assert sum("%" in button.description for button in explorer.predictions._buttons) == 5
    assert "Grad-CAM for" in explorer.readout.twin.value
    assert "passes" in explorer.status.line.value
    np.testing.assert_array_equal(explorer.stage._pixels, explorer.studio.frame.pixels(Look()))


def test_by_name_and_with_everything_chosen(make_explorer):
    explorer = make_explorer("digits_gap", "rocket", "occlusion", target=3, window_height=12, stride_height=12)
    assert explorer.studio.model.name == "digits_gap"
    assert explorer.lens.question == ("rocket", (3,), "occlusion", (("stride_height", 12), ("window_height", 12)))
    assert explorer.occluder.on
    assert explorer.occluder.window.height == 12
    assert "digits_gap" in explorer.model_name.value
    assert explorer.predictions._search.value == "3"


def test_a_picture_of_any_kind(make_explorer):
    explorer = make_explorer(None, np.zeros((60, 60, 3), np.uint8))
    assert explorer.lens.image.startswith("upload:")
    assert explorer.lens.image in explorer.gallery._buttons


@pytest.mark.parametrize(
    ("kwargs", "error"),
    [
        ({"method": "occlusion", "window_height": 0}, InvalidKnob),
        ({"method": "occlusion", "no_such": 3}, InvalidKnob),
        ({"relu": "yes"}, InvalidKnob),
        ({"method": "smoothgrad", "base": "nothing"}, InvalidKnob),
        ({"method": "gradcam"}, UnknownMethod),
        ({"method": "activation_maximization"}, UnknownMethod),
        ({"image": "no such photo"}, InvalidImage),
        ({"image": b"no photo at all"}, InvalidImage),
        ({"target": 10}, InvalidTarget),
        ({"target": -1}, InvalidTarget),
    ],
)
def test_what_is_wrong_raises_at_construction_and_leaves_nothing(digits, kwargs, error):
    gc.collect()
    before, threads = set(_instances), set(threading.enumerate())
    with pytest.raises(error):
        Explorer(digits, **kwargs)
    gc.collect()
    assert set(_instances) == before
    assert set(threading.enumerate()) <= threads


def test_construction_loads_no_torch():
    code = """
import json, sys
from xaiwidgets.studio.runner import Runner
asked = []
Runner.put = lambda runner, work: asked.append(work)
import xaiwidgets as xw
explorer = xw.Explorer()
heavy = [m for m in ("torch", "torchvision", "timm", "skimage", "sklearn", "matplotlib") if m in sys.modules]
shown = explorer.stage._pixels is not None and len(explorer.gallery._buttons) > 0
print(json.dumps({"heavy": heavy, "asked": len(asked), "shown": shown, "status": explorer.studio.status.text}))
explorer.close()
"""
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["heavy"] == []
    assert told["shown"]
    assert told["asked"] == 1


def test_close_leaves_no_thread_and_no_open_widget(digits):
    gc.collect()
    before, threads = set(_instances), set(threading.enumerate())
    explorer = Explorer(digits)
    assert explorer.wait(LONG)
    for method in ("occlusion", "smoothgrad", "grad_cam"):
        explorer.put(method=method)
    assert set(_instances) > before
    explorer.close()
    for thread in set(threading.enumerate()) - threads:
        thread.join(LONG)
    assert set(threading.enumerate()) <= threads
    assert set(_instances) == before
    explorer.close()


def test_close_leaves_what_belongs_to_others(digits):
    tabs = w.ToggleButtons(options=("a", "b"))
    explorer = Explorer(digits, nav=tabs, sync=True)
    assert tabs in parts(explorer)
    explorer.close()
    assert tabs.comm is not None
    tabs.close()


# -- put --------------------------------------------------------------------------------------------------------------


def test_put_every_kind_of_change(make_explorer):
    explorer = make_explorer()
    seen = []
    explorer.observe(lambda change: seen.append(change["new"]), "result")
    for change in (
        {"method": "saliency"},
        {"image": "rocket"},
        {"target": 7},
        {"target": (1, 2)},
        {"target": None},
        {"method": "occlusion", "window_height": 12, "window_width": 24, "target": 3},
        {"method": "grad_cam", "layer": "features.6"},
        {"relu": False},
    ):
        explorer.put(**change)
        assert explorer.studio.status.kind == "idle", explorer.studio.status.text
        assert explorer.result is seen[-1]
        assert explorer.lens == explorer.studio.lens == explorer.studio.frame.lens
        assert card(explorer.lens.method).title in explorer.readout.twin.value
    assert len(seen) == 8
    assert explorer.lens.image == "rocket"
    assert explorer.result.layer == "features.6"
    explorer.put(look=Look(layout="side"))
    assert len(seen) == 8
    assert explorer.stage.size[1] > 2 * explorer.stage.size[0]


def test_a_label_is_a_target_too(make_explorer):
    explorer = make_explorer()
    explorer.put(target="5")
    assert explorer.lens.target == (5,)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"method": "nothing"}, UnknownMethod),
        ({"method": "activation_maximization"}, UnknownMethod),
        ({"relu": "yes"}, InvalidKnob),
        ({"no_such": 1}, InvalidKnob),
        ({"image": b"nothing"}, InvalidImage),
        ({"target": 99}, InvalidTarget),
        ({"target": "ninety-nine"}, InvalidTarget),
    ],
)
def test_what_cannot_be_put_raises_and_changes_nothing(make_explorer, change, error):
    explorer = make_explorer()
    before, pixels = explorer.lens, explorer.stage._pixels
    with pytest.raises(error):
        explorer.put(**change)
    assert explorer.lens == explorer.studio.lens == before
    assert explorer.stage._pixels is pixels
    assert alive(explorer)


def test_a_window_larger_than_the_picture_is_an_error_in_the_status(make_explorer, send):
    explorer = make_explorer(method="saliency")
    pixels = explorer.stage._pixels
    explorer.put(method="occlusion", window_height=300)
    assert "window_height must be at most the picture&#x27;s 48 px; got 300" in explorer.status.line.value
    assert "do not work here" in explorer.picker._about.value
    assert explorer.stage._pixels is pixels
    send(explorer._forms["occlusion"].controls["window_height"].widget, value=12)
    assert explorer.studio.status.kind == "idle"
    assert explorer.result.provenance.method == "occlusion"


def test_a_lens_from_a_link_that_does_not_fit(make_explorer):
    explorer = make_explorer()
    pixels = explorer.stage._pixels
    for query in (
        "target=99999",
        "image=<script>alert(1)</script>",
        "method=grad_cam&k.layer=%22no.such%22",
        "method=smoothgrad&k.base=%22nothing%22&target=77",
    ):
        explorer.studio.put(Lens.from_query(query))
        assert explorer.studio.status.kind == "error"
        assert "<script" not in explorer.status.line.value
        assert explorer.stage._pixels is pixels
    assert alive(explorer)


def test_methods_that_do_not_apply_are_disabled_and_say_why_when_asked_for(make_explorer):
    flat = Model(nn.Sequential(nn.Flatten(), nn.Linear(48, 3)), size=4, name="<b>flat</b>")
    explorer = make_explorer(flat, method="saliency")
    assert explorer.picker._chips["grad_cam"].disabled
    assert "<b>flat" not in explorer.model_name.value
    pixels = explorer.stage._pixels
    explorer.picker._chips["grad_cam"].click()  # a browser can click what is disabled
    assert "grad_cam needs" in explorer.status.line.value
    assert "saliency" in explorer.status.line.value
    assert explorer.stage._pixels is pixels
    assert "Saliency" in explorer.readout.twin.value


# -- the person -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("made", cards("explainer"), ids=lambda c: c.id)
def test_every_method_can_be_picked(make_explorer, made):
    explorer = make_explorer()
    explorer.picker._chips[made.id].click()
    assert explorer.studio.status.kind == "idle", explorer.studio.status.text
    assert explorer.result.provenance.method == made.id
    assert made.title in explorer.readout.twin.value
    assert explorer.knobs.children == (explorer._forms[made.id].box,)
    assert set(explorer._forms[made.id].controls) == {k.name for k in made.knobs} - {"layer"}
    forward, backward = explorer.lens.make().cost((48, 48))
    assert f"{forward:,} forward" in explorer.picker._about.value
    assert (f"{backward:,} backward" in explorer.picker._about.value) == bool(backward)


def test_a_budget_lowers_the_counts_and_says_what_a_map_takes(make_explorer, send):
    explorer = make_explorer()
    explorer.picker._chips["rise"].click()
    assert explorer.budget.disabled  # before the network was timed
    explorer.studio._pace = pace(explorer.studio.model)
    explorer.studio._publish("pace", None)
    price = explorer.studio.cost(explorer.lens)
    assert f"{price.forward:,} forward passes, " in explorer.picker._about.value
    assert "\u00a0MiB" in explorer.picker._about.value
    assert not explorer.budget.disabled
    explorer.studio.cost = lambda lens: dataclasses.replace(price, seconds=100.0)
    explorer.studio.fitted = lambda lens, seconds: lens.with_knobs(samples=12) if seconds == 3 else lens
    send(explorer.budget, index=2)
    assert explorer.lens.knob("samples") == explorer._forms["rise"].controls["samples"].value == 12
    assert "more than the budget" in explorer.picker._about.value
    explorer.picker._chips["saliency"].click()
    explorer.picker._chips["rise"].click()
    assert explorer.lens.knob("samples") == 12  # the budget holds for the next method, too
    send(explorer.budget, index=0)
    assert "more than the budget" not in explorer.picker._about.value


def test_scrubbing_the_strip_spends_no_pass(make_explorer, send, spent):
    explorer = make_explorer()
    before = list(spent)
    for number, (_, name) in enumerate(explorer.strip._slider.options):
        send(explorer.strip._slider, index=number)
        assert explorer.result.layer == name
        assert name in explorer.readout.twin.value
    press(explorer, "ArrowLeft")
    assert explorer.result.layer == explorer.strip._slider.options[-2][1]
    assert spent == before


def test_clicking_and_searching_a_class(make_explorer, send):
    explorer = make_explorer(method="saliency")
    second = explorer.studio.predictions[1].index
    explorer.predictions._buttons[1].click()
    assert explorer.lens.target == (second,)
    send(explorer.predictions._search, value="7")
    assert explorer.lens.target == (7,)
    send(explorer.predictions._search, value="nonsense")
    assert "target must be" in explorer.status.line.value
    assert explorer.lens.target == (7,)
    send(explorer.predictions._search, value="")
    assert explorer.lens.target == ()


def test_changing_the_look_sends_other_pixels_and_runs_nothing(make_explorer, send, spent):
    explorer = make_explorer()
    before, pixels = list(spent), explorer.stage._pixels
    send(explorer.look.controls["opacity"].widget, value=0.1)
    assert not np.array_equal(explorer.stage._pixels, pixels)
    twin = explorer.readout.twin.value
    names = [value for _, value in explorer.look.controls["sign"].widget.options]
    send(explorer.look.controls["sign"].widget, index=names.index("negative"))
    assert explorer.readout.twin.value != twin
    assert spent == before
    np.testing.assert_array_equal(explorer.stage._pixels, explorer.studio.frame.pixels(explorer.lens.look))


def test_another_photo(make_explorer, send):
    explorer = make_explorer(method="saliency", target=3)
    explorer.gallery._buttons["rocket"].click()
    assert explorer.lens.image == "rocket"
    assert explorer.lens.target == ()
    assert explorer.result.provenance.image == "rocket"
    upload(send, explorer, photo_bytes())
    assert explorer.lens.image.startswith("upload:")
    assert explorer.studio.status.kind == "idle"


@pytest.mark.parametrize("content", [b"words", b"\x89PNG\r\n\x1a\n" + b"0" * 30, photo_bytes(side=1), 10**12, None])
def test_a_bad_upload_reaches_the_status_and_the_app_lives_on(make_explorer, send, content):
    explorer = make_explorer()
    pixels = explorer.stage._pixels
    upload(send, explorer, content, "<img src=x>.png")
    assert "role='alert'" in explorer.status.line.value
    assert "<img" not in explorer.status.line.value
    assert explorer.stage._pixels is pixels
    assert alive(explorer)


def test_hiding_a_region(make_explorer, send, digits):
    explorer = make_explorer(method="saliency", target=4)
    whole = [button.description for button in explorer.predictions._buttons]
    send(explorer.occluder.toggle, value=True)
    assert explorer.stage._box is not None
    point(explorer, "mouse_down", 24, 24)
    point(explorer, "mouse_move", 30, 28)
    top, left, bottom, right = explorer.occluder.window.box
    point(explorer, "mouse_up", 30, 28)
    pixels = digits.preprocessing.pixels("coffee").copy()
    pixels[top:bottom, left:right] = 0.5
    expected = float(digits.probabilities(digits.from_pixels(pixels))[0, 4])
    assert f"<b>{expected:.1%}</b> 4" in explorer.occluder.reading.value
    assert explorer.lens.method == "saliency"  # nothing but the bars has changed
    shown = [button.description for button in explorer.predictions._buttons]
    assert shown != whole
    send(explorer.occluder.toggle, value=False)
    assert [button.description for button in explorer.predictions._buttons] == whole
    assert explorer.stage._box is None


def test_the_class_that_is_explained_stays_marked_when_hiding_changes_the_order(make_explorer, send):
    explorer = make_explorer(method="saliency")
    explained = explorer.studio.predictions[0].label
    send(explorer.occluder.toggle, value=True)
    for top in range(0, 40, 8):
        send(explorer.occluder._sliders["top"], value=top)
        for button in explorer.predictions._buttons:
            assert ("xai-on" in button._dom_classes) == (button.description.split()[-1] == explained)


def test_letting_go_starts_the_map_with_this_window(make_explorer, send):
    explorer = make_explorer(method="occlusion", window_height=12, window_width=12)
    top, left, bottom, right = explorer.occluder.window.box
    point(explorer, "mouse_down", bottom, right)
    point(explorer, "mouse_move", bottom + 6, right + 4)
    assert explorer.lens.knob("window_height") == 12
    point(explorer, "mouse_up", bottom + 6, right + 4)
    assert (explorer.lens.knob("window_height"), explorer.lens.knob("window_width")) == (18, 16)
    assert explorer.occluder.window.box == (top, left, bottom + 6, right + 4)
    assert explorer.result.provenance.knobs["window_height"] == 18

    send(explorer.map_on_release, value=False)
    press(explorer, "ArrowDown", shift=True)
    assert explorer.lens.knob("window_height") == 18
    assert explorer.occluder.window.height == 19
    explorer.put(look=Look(opacity=0.3))
    assert explorer.occluder.window.height == 19  # a rectangle resized by hand stays as it is


def test_the_knob_and_the_rectangle_are_in_step(make_explorer, send):
    explorer = make_explorer(method="occlusion", window_height=12, window_width=12)
    send(explorer._forms["occlusion"].controls["window_height"].widget, value=20)
    assert explorer.occluder.window.height == explorer.occluder._sliders["height"].value == 20
    send(explorer.occluder._sliders["width"], value=16)
    assert explorer.lens.knob("window_width") == explorer._forms["occlusion"].controls["window_width"].value == 16


def test_pressing_the_photo_shows_it_plain(make_explorer):
    explorer = make_explorer()
    mixed = explorer.stage._pixels
    point(explorer, "mouse_down", 20, 20)
    np.testing.assert_array_equal(explorer.stage._pixels, explorer.studio.frame.photo)
    point(explorer, "mouse_up", 20, 20)
    np.testing.assert_array_equal(explorer.stage._pixels, mixed)
    mixed = explorer.stage._pixels
    point(explorer, "mouse_move", 20, 20)
    point(explorer, "mouse_out", 20, 20)
    assert explorer.stage._pixels is mixed  # nothing is drawn when the pointer only passes


@pytest.mark.parametrize("layout", ["overlay", "side", "map"])
def test_the_value_under_the_pointer_is_that_of_the_map(make_explorer, layout):
    explorer = make_explorer(method="saliency")
    explorer.put(look=Look(layout=layout))
    shown = explorer.result.map()
    point(explorer, "mouse_move", 10.5, 20.5)
    text = re.search("<b>(.*?)</b>", explorer.readout.cursor.value)[1].replace("−", "-")
    assert float(text) == pytest.approx(float(shown[10, 20]), rel=0.01)
    explorer.stage.canvas._handle_custom_msg({"event": "mouse_out", "x": 0, "y": 0}, [])
    assert "<b>" not in explorer.readout.cursor.value


def test_run_again_and_stop(make_explorer):
    explorer = make_explorer(method="saliency")
    first = explorer.result
    explorer.run.click()
    assert explorer.result is not first
    np.testing.assert_array_equal(explorer.result.values, first.values)
    explorer.stop.click()
    assert explorer.studio.status.kind == "idle"


@pytest.mark.parametrize("made", cards("explainer"), ids=lambda c: c.id)
def test_the_code_gives_what_is_on_screen(make_explorer, made, tmp_path, monkeypatch, send):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("xaiwidgets.render.figure.DPI", 20)
    explorer = make_explorer(method=made.id, target=4, **({"samples": 50} if made.id == "rise" else {}))
    send(explorer.export.show_code, value=True)
    found = {}
    exec(explorer._code(), found)
    values = explorer.result.values
    np.testing.assert_allclose(found["a"].values, values, rtol=0, atol=1e-6 * np.abs(values).max())
    assert (tmp_path / f"{made.id}.png").exists()


def test_an_uploaded_photo_and_a_network_of_one_s_own_are_named_in_the_code(make_explorer, send):
    explorer = make_explorer()
    upload(send, explorer, photo_bytes(), "my cat.png")
    assert "image = 'my cat.png'  # the file you uploaded" in explorer._code()
    own = make_explorer(Model(nn.Sequential(nn.Flatten(), nn.Linear(48, 3)), size=4, name="mine"), method="saliency")
    assert "xw.Model(network)  # your own network, 'mine'" in own._code()


# -- hidden units -----------------------------------------------------------------------------------------------------


def test_a_hidden_unit_in_place_of_a_class_and_back(make_explorer, send):
    explorer = make_explorer(method="saliency", target=4)
    send(explorer.predictions.kind, index=1)
    unit = explorer.lens.unit
    assert explorer.lens.target == ()
    assert explorer.studio.status.kind == "idle"
    assert f"Saliency for {unit.layer} channel {unit.channel}" in explorer.readout.twin.value
    assert explorer.predictions.unit.chosen == (unit.layer, unit.channel, "mean")
    send(explorer.predictions.unit.position, index=1)
    assert explorer.lens.unit == Unit(unit.layer, unit.channel, "max")
    explorer.gallery._buttons["rocket"].click()
    assert explorer.lens.unit == Unit(unit.layer, unit.channel, "max")  # another photo, the same unit
    assert explorer.result.provenance.image == "rocket"
    explorer.predictions._find.click()
    assert explorer.lens.unit.position == "max"
    explorer.predictions._buttons[2].click()
    assert explorer.lens.unit is None
    assert explorer.lens.target == (explorer.studio.predictions[2].index,)
    assert explorer.predictions.kind.value == "class"


def test_a_hidden_unit_from_a_program(make_explorer, digits):
    target = xw.Target.hidden("features.3", 5, "center")
    explorer = make_explorer(method="saliency", target=target)
    assert explorer.lens.unit == Unit("features.3", 5, "center")
    expected = xw.explain(digits, "coffee", "saliency", target=target)
    np.testing.assert_array_equal(explorer.result.values, expected.values)
    explorer.put(target=2)
    assert (explorer.lens.unit, explorer.lens.target) == (None, (2,))
    explorer.put(target=xw.Target.hidden("features.0", 1))
    assert explorer.lens.unit == Unit("features.0", 1)
    before = explorer.lens
    with pytest.raises(InvalidTarget):
        explorer.put(target=xw.Target.hidden("features.0", 10**6))
    assert explorer.lens == before


def test_hiding_a_region_while_a_unit_is_explained(make_explorer, send):
    explorer = make_explorer(method="saliency", target=xw.Target.hidden("features.3", 5))
    send(explorer.occluder.toggle, value=True)
    assert "features.3 channel 5" in explorer.occluder.reading.value
    assert "%" not in explorer.occluder.reading.value
    assert not any("xai-on" in button._dom_classes for button in explorer.predictions._buttons)
    assert explorer.predictions.kind.value == "unit"


@pytest.fixture(scope="module")
def of_a_unit(digits):
    """One explorer for all methods: what they say about a hidden unit does not depend on what came before."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("xaiwidgets.studio.studio.Studio._time", lambda studio: iter(()))
        explorer = Explorer(digits, method="saliency", target=xw.Target.hidden("features.6", 3), sync=True)
        yield explorer
        explorer.close()


@pytest.mark.parametrize("made", cards("explainer"), ids=lambda c: c.id)
def test_every_method_explains_a_hidden_unit_or_says_why_not(of_a_unit, made):
    of_a_unit.picker._chips[made.id].click()
    assert of_a_unit.lens.unit == Unit("features.6", 3)
    if of_a_unit.studio.status.kind == "error":
        assert f"{made.id} needs" in of_a_unit.studio.status.text
    else:
        assert of_a_unit.result.provenance.method == made.id
        assert of_a_unit.result.provenance.target == "features.6 channel 3"


# -- receipts and channels --------------------------------------------------------------------------------------------


class Color(nn.Module):
    """A small network of color pictures."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.features = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 4, 3, padding=1), nn.ReLU())
        self.classifier = nn.Linear(4, 5)

    def forward(self, x):
        return self.classifier(self.features(x).mean(dim=(2, 3)))


@pytest.fixture(scope="module")
def color():
    return Model(Color(), size=40)


def test_the_receipt_is_told_in_a_line_and_unfolds(make_explorer, send, color):
    explorer = make_explorer(color, method="integrated_gradients", points=2)
    gap, explained = explorer.result.gap, explorer.result.details["explained"]
    assert explained == pytest.approx(explorer.result.score - explorer.result.details["baseline_score"])
    assert "Sum " in explorer.readout.twin.value
    assert ("xai-warn" in explorer.readout.twin.value) == (abs(gap) > 0.01 * abs(explained))
    assert explorer.receipt.panel.value == ""
    send(explorer.receipt.toggle, value=True)
    assert "sum of the map" in explorer.receipt.panel.value
    assert "xai-accounting" in explorer._dom_classes
    explorer.put(method="saliency")
    assert "keeps no account" in explorer.receipt.panel.value
    send(explorer.receipt.toggle, value=False)
    assert "xai-accounting" not in explorer._dom_classes


def test_relevance_has_its_receipt_and_rules_by_layer(make_explorer, send, color):
    explorer = make_explorer(color, method="lrp", composite="epsilon")
    editor = explorer._forms["lrp"].controls["rules"].widget
    send(explorer.receipt.toggle, value=True)
    assert "Where the relevance went" in explorer.receipt.panel.value
    assert "features.2" in explorer.receipt.panel.value
    send(editor._open, value=True)
    assert list(editor._rows) == ["features.0", "features.2", "classifier"]
    before = explorer.result
    send(editor._rows["features.2"], index=[v for _, v in editor._rows["features.2"].options].index("zplus"))
    assert dict(explorer.lens.knobs)["rules"] == "features.2=zplus"
    assert explorer.result is not before
    rows = {row["layer"]: row["rule"] for row in explorer.result.details["coverage"] if row["kind"] == "conv"}
    assert rows["features.2"] == "zplus"
    assert rows["features.0"] != "zplus"
    assert "rules='features.2=zplus'" in explorer._code()
    assert Lens.from_query(explorer.lens.to_query()) == explorer.lens
    editor._reset.click()
    np.testing.assert_array_equal(explorer.result.values, before.values)


def test_channels_are_looked_at_without_running_the_method_again(make_explorer, send, color, spent):
    explorer = make_explorer(color, method="guided_backprop")
    before, combined = list(spent), explorer.stage._pixels
    control = explorer.look.controls["channels"].widget
    assert not control.disabled
    seen = []
    for choice in ("red", "green", "blue", "as image", "sum"):
        send(control, index=[v for _, v in control.options].index(choice))
        assert explorer.lens.look.channels == choice
        assert not any(np.array_equal(explorer.stage._pixels, other) for other in (combined, *seen))
        seen.append(explorer.stage._pixels)
    assert spent == before
    assert f"channels={'sum'!r}" in explorer._code()
    explorer.put(method="grad_cam")
    assert control.disabled
    assert explorer.lens.look.channels == "sum"  # and is back with the next map that has channels


def test_the_first_regions_are_looked_at_without_running_the_method_again(make_explorer, send, color, spent):
    explorer = make_explorer(color, method="xrai", points=2, least=10)
    control = explorer.look.controls["regions"].widget
    assert not control.disabled
    before, whole = list(spent), explorer.stage._pixels
    result = explorer.result
    send(control, value=20.0)
    assert explorer.lens.look.regions == 20
    assert explorer.result is result
    assert spent == before
    few = explorer.stage._pixels
    assert not np.array_equal(few, whole)
    assert "regions=20.0" in explorer._code()
    send(control, value=100.0)
    np.testing.assert_array_equal(explorer.stage._pixels, whole)
    explorer.put(method="saliency")
    assert control.disabled


@pytest.mark.parametrize("made", cards("explainer"), ids=lambda c: c.id)
def test_zero_has_its_own_color_in_the_middle_of_every_signed_map(made, color):
    try:
        result = xw.explain(color, "coffee", made.id)
    except NotApplicable:
        result = xw.explain(xw.load_model("digits_vgg"), "coffee", made.id)
    for channels, name in itertools.product(CHANNELS, ("auto", *PALETTES)):
        part = shown(result, Look(palette=name, channels=channels))
        low, high = part.points.min(), part.points.max()
        assert part.scale.diverging or not low < -1e-6 * high < 0
        if part.scale.diverging:
            assert part.scale.low == -part.scale.high
            assert palette_name(part.scale, part.look) in CENTERED


# -- accessibility ----------------------------------------------------------------------------------------------------


def named(part):
    """Return whether a control, or each button of a group, bears words."""
    if isinstance(part, w.ToggleButtons):
        return all(words.strip() for words, _ in part.options) and len(part.tooltips) == len(part.options)
    return (part.description or "").strip() or (part.tooltip or "").strip()


def test_every_control_has_a_name(make_explorer):
    explorer = make_explorer()
    for made in cards("explainer"):
        explorer.put(method=made.id)
    found = [part for part in parts(explorer) if isinstance(part, CONTROLS)]
    found += [c.widget for form in explorer._forms.values() for c in form.controls.values()]
    assert len(found) > 40
    found += [part for part in parts(explorer) if isinstance(part, w.ToggleButtons)]
    unnamed = [part for part in found if not named(part)]
    assert unnamed == []


def test_no_kind_of_control_is_left_out_above(make_explorer):
    explorer = make_explorer()
    inputs = [part for part in parts(explorer) if "value" in part.keys or isinstance(part, w.Button)]
    assert {type(part) for part in inputs if not isinstance(part, (*CONTROLS, w.HTML, w.ToggleButtons))} == set()


def test_the_text_twin_is_written_anew_with_each_frame(make_explorer):
    explorer = make_explorer(method="saliency")
    told = []
    explorer.studio.on("frame", lambda frame: told.append((frame, explorer.readout.twin.value)))
    explorer.put(method="occlusion", target=4, window_height=12, window_width=12, stride_height=6, stride_width=6)
    assert len(told) > 2
    for frame, words in told:
        said = describe(frame.result.map(), frame.scale(Look()), method="Occlusion", target="4", unit="logit")
        assert escape(said) in words
        assert "role='status'" in words


# -- hostile browsers -------------------------------------------------------------------------------------------------

HOSTILE = (
    *(10**9, -(10**9), 10**400, -1, 0, 1, 3, 1e308, -1e308, math.nan, math.inf, -math.inf, 0.5),
    *("", "<script>alert(1)</script>", "x" * 10_000, "1", "\x00", "grad_cam", "IPY_MODEL_x", "../../etc/passwd"),
    *(None, True, False, [], [1], ["a"] * 50, {}, {"a": 1}, [None], [[1, 2]], {"content": 10**9}),
)


def test_three_hundred_hostile_updates(make_explorer, send, spent, caplog):
    rng = random.Random(0)
    explorer = make_explorer(sync=False)
    assert explorer.wait(LONG)
    allowed = []
    explorer.studio.on("lens", lambda lens: allowed.append(cost(lens)))
    probes = []
    explorer.studio.on("probe", probes.append)
    spent.clear()
    caplog.set_level(logging.WARNING)
    for _ in range(300):
        if rng.random() < 0.3:
            widget = rng.choice(parts(explorer))
            names = rng.sample(sorted(widget.keys), k=min(len(widget.keys), rng.choice([1, 1, 2])))
            send(widget, **{name: rng.choice(HOSTILE) for name in names})
        else:
            meddle(
                rng,
                send,
                rng.choice(
                    [part for part in parts(explorer) if isinstance(part, (*CONTROLS, w.ToggleButtons, Canvas))]
                ),
            )
    assert len(allowed) > 40  # much of it was taken for the wish of a person
    assert alive(explorer)
    ours = [r for r in caplog.records if r.exc_info and raised_in_ours(r.exc_info[2])]
    assert [(r.exc_info[0].__name__, str(r.exc_info[1])) for r in ours] == []
    assert sum(spent) <= sum(allowed) + 2 * len(probes) + 64
    assert all(passes <= 20_002 for passes in allowed)


def meddle(rng, send, widget):
    """Send what a browser could, of the right type, but far outside of what was offered."""
    if isinstance(widget, Canvas):
        event = rng.choice(["mouse_down", "mouse_move", "mouse_up", "mouse_out", "client_ready", "nothing"])
        place = {"x": rng.choice([-1e9, 0, 300, 400, 1e9]), "y": rng.choice([-1e9, 0, 300, 400, 1e9])}
        widget._handle_custom_msg({"event": event, **place}, [])
    elif isinstance(widget, w.Button):
        widget._handle_custom_msg({"event": "click"}, [])
    elif isinstance(widget, (w.Dropdown, w.SelectionSlider)):
        send(widget, index=rng.choice([0, 1, 2, 3, -1, 99]))
    elif isinstance(widget, (w.ToggleButton, w.Checkbox)):
        send(widget, value=rng.random() < 0.5)
    elif isinstance(widget, w.Text) and not isinstance(widget, w.Combobox):
        send(widget, value=rng.choice(["", "grad", "nonsense", "x" * 999, "<b>"]))
        widget._handle_custom_msg({"event": rng.choice(["submit", "nothing"])}, [])
    elif isinstance(widget, w.ToggleButtons):
        send(widget, index=rng.choice([0, 1, -1, 99]))
    elif isinstance(widget, w.Combobox):
        send(widget, value=rng.choice(["", "3", "7", "nonsense", "9" * 999, "<b>"]))
    elif isinstance(widget, w.FileUpload):
        content = rng.choice([photo_bytes(rng.randrange(3)), b"words", 10**9, None])
        send(widget, value=[{"name": "<b>", "type": "", "size": -1, "last_modified": 0, "content": content}])
    else:
        value = rng.choice([-(10**9), -1, 0, 1, 7, 30, 48, 10**9])
        send(widget, min=-(10**9), max=10**9, value=value)


def cost(lens):
    """Return the most passes that a lens may spend, its predictions and measurements of the batch size included."""
    try:
        return sum(lens.make().cost((48, 48))) + 1
    except InvalidKnob:
        return 1


def raised_in_ours(traceback):
    """Return whether an exception passed through this package: the widgets themselves may refuse an update."""
    frames = (frame for frame, _ in walk_tb(traceback))
    return any(frame.f_globals.get("__name__", "").startswith("xaiwidgets.") for frame in frames)


def test_pointer_events_that_make_no_sense(make_explorer, send):
    explorer = make_explorer(method="occlusion", window_height=12, window_width=12)
    before = explorer.occluder.window
    for x in (math.nan, math.inf, "a", None, [1], 1e300, -1e300):
        for event in ("mouse_down", "mouse_move", "mouse_up"):
            explorer.stage.canvas._handle_custom_msg({"event": event, "x": x, "y": x}, [])
        window = explorer.occluder.window
        assert window == window.inside()
    assert (explorer.occluder.window.height, explorer.occluder.window.width) == (before.height, before.width)
    for key in ("", "Tab", "Escape", "x" * 10_000, None, 5):
        press(explorer, key)
    assert alive(explorer)


class Slow(nn.Module):
    """A network whose passes can be held."""

    gate = threading.Event()

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, x):
        assert Slow.gate.wait(LONG)
        return self.conv(x).relu().mean(dim=(2, 3))


def test_the_page_is_not_blocked_while_the_network_works(make_explorer, send):
    Slow.gate.set()
    model = Model(Slow(), size=16)
    Slow.gate.clear()
    explorer = make_explorer(model, method="saliency", sync=False)
    start = time.monotonic()
    try:
        for number in range(20):
            send(explorer.look.controls["opacity"].widget, value=number / 20)
        explorer.picker._chips["gradient_x_input"].click()
        assert explorer.lens.method == "gradient_x_input"
        assert explorer.studio.frame is None
        assert time.monotonic() - start < LONG / 2  # the gate opens by itself after LONG
    finally:
        Slow.gate.set()
    assert explorer.wait(LONG)
    assert explorer.studio.frame.lens.method == "gradient_x_input"
    assert explorer.studio.frame.lens.look.opacity == 0.95


def test_xw_explorer_is_this_one():
    assert xw.Explorer is Explorer
