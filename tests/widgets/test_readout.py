from __future__ import annotations

import html
import time

import numpy as np
import pytest

from xaiwidgets.core.results import Attribution
from xaiwidgets.render.look import Look
from xaiwidgets.studio.frame import Frame, Status
from xaiwidgets.studio.lens import Lens
from xaiwidgets.widgets import readout as module
from xaiwidgets.widgets.readout import PACE, Readout, StatusLine

EVIL = "<img src=x onerror=\"alert('1')\"> & co"


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """A clock that is moved by hand."""

    class Clock:
        now = 100.0

        def monotonic(self):
            return self.now

    made = Clock()
    monkeypatch.setattr(module, "time", made)
    return made


def frame_of(values=None, target="espresso", **changes):
    values = np.linspace(0, 2, 12, dtype=np.float32).reshape(1, 3, 4) if values is None else values
    fields = {"unit": "logit", "signed": False, "size": (3, 4), "layer": "blocks.4"} | changes
    return Frame(Lens(), np.zeros((30, 40, 3), np.uint8), Attribution(values, **fields), target)


def test_the_twin_says_in_words_what_the_picture_shows():
    readout = Readout()
    readout.show(frame_of(), Look())
    assert "Grad-CAM for espresso at blocks.4: strongest in the lower right" in readout.twin.value
    assert "aria-live='polite'" in readout.twin.value
    assert "2.0" in readout.bar.value
    readout.show(frame_of(target="cup"), Look())
    assert "Grad-CAM for cup" in readout.twin.value
    readout.clear()
    assert "Grad-CAM" not in readout.twin.value
    assert readout.bar.value == ""


def test_notes_gap_and_standard_error_are_told():
    readout = Readout()
    error = np.full((1, 3, 4), 0.25, np.float32)
    readout.show(frame_of(notes=("7 of 7 ReLUs.",), gap=0.5, details={"standard_error": error}), Look())
    assert "7 of 7 ReLUs." in readout.twin.value
    assert "Sum 12.0 · gap 0.500" in readout.twin.value
    assert "standard error at most 0.25" in readout.twin.value
    assert "so far" not in readout.twin.value


def test_an_early_result_tells_how_sure_it_is():
    readout = Readout()
    readout.show(frame_of(gap=0.5, progress=0.5, details={"explained": 12.0}), Look())
    assert "Sum 12.0 of 12.0 · gap 0.500 (4.2 %) · so far" in readout.twin.value
    assert "xai-warn" not in readout.twin.value
    readout.show(frame_of(progress=0.5, details={"standard_error": np.full((1, 3, 4), 0.25)}), Look())
    assert "Standard error at most 0.250 · so far" in readout.twin.value
    readout.show(frame_of(gap=0.5, details={"explained": 12.0}), Look())
    assert "<span class='xai-warn'>The map holds 4.2 % of the difference too much.</span>" in readout.twin.value


def test_dominant_classes_are_told_in_a_legend_and_under_the_pointer():
    readout = Readout()
    dominant = np.array([[3, 3, 3, 5]] * 3)
    details = {"dominant": dominant, "classes": ((3, "cat", 0.75), (5, "d<o>g", 0.25))}
    readout.show(frame_of(details=details, notes=("All classes.",)), Look())
    text = readout.twin.value
    assert text.index("cat: 75 %") < text.index("d&lt;o&gt;g: 25 %") < text.index("All classes.")
    assert text.count("xai-swatch") == 2
    readout.point(0.9, 0.9)
    assert "d&lt;o&gt;g" in readout.cursor.value
    assert "2.00" in readout.cursor.value
    readout.show(frame_of(), Look())
    assert "xai-swatch" not in readout.twin.value


def test_names_are_escaped_everywhere():
    readout = Readout()
    readout.show(frame_of(target=EVIL, layer=EVIL, unit=EVIL, notes=(EVIL,)), Look())
    readout.point(0.5, 0.5)
    for value in (readout.twin.value, readout.bar.value, readout.cursor.value):
        assert "<img" not in value
        assert '"alert' not in value
        assert html.escape(EVIL) in value
    line = StatusLine()
    for kind in ("idle", "busy", "error", "stopped"):
        line.show(Status(EVIL, kind, 0.5, 2.0, 3.0, (1, 1)))
        assert "<img" not in line.line.value
        assert html.escape(EVIL) in line.line.value


@pytest.mark.parametrize(
    ("place", "value"), [((0, 0), "0"), ((1, 1), "2"), ((0.999, 0.999), "2"), ((0.5, 0.3), "0.91")]
)
def test_the_value_under_the_pointer(place, value):
    readout = Readout()
    readout.show(frame_of(), Look())
    readout.point(*place)
    shown = readout.cursor.value.split("<b>")[1].split("</b>")[0]
    assert float(shown) == pytest.approx(float(value), abs=0.005)
    assert "logit" in readout.cursor.value
    readout.leave()
    assert "<b>" not in readout.cursor.value


def comes(readout, words, seconds=30):
    """Wait until the value under the pointer holds these words."""
    end = time.monotonic() + seconds
    while words not in readout.cursor.value and time.monotonic() < end:
        time.sleep(0.005)
    assert words in readout.cursor.value


def test_the_value_follows_the_sign_that_is_shown():
    readout = Readout()
    frame = frame_of(np.full((1, 3, 4), -1.5, np.float32), signed=True)
    readout.show(frame, Look())
    readout.point(0, 0)
    assert "1.5" in readout.cursor.value
    assert "<b>1.5" not in readout.cursor.value
    readout.show(frame, Look(sign="absolute"))
    comes(readout, "<b>1.5")  # also where the pointer rests


def test_single_channels_and_pictures():
    readout = Readout()
    values = np.stack([np.full((3, 4), v, np.float32) for v in (1.0, -2.0, 0.5)])
    frame = frame_of(values, signed=False, reduction="max_abs")
    readout.show(frame, Look(channels="green"))
    assert "Grad-CAM (green channel) for espresso" in readout.twin.value
    readout.point(0.5, 0.5)
    assert "<b>−2.00</b> logit" in readout.cursor.value
    readout.show(frame, Look(channels="as image"))
    assert "Grad-CAM (as an image) for espresso" in readout.twin.value
    assert "each color around gray" in readout.bar.value
    comes(readout, "R <b>1.0</b> G <b>−2.0</b> B <b>0.50</b>")


def test_pointer_values_are_thinned_out_the_last_comes_and_there_are_none_without_a_map():
    readout = Readout()
    before = readout.cursor.value
    readout.point(0.5, 0.5)
    assert readout.cursor.value == before
    readout.show(frame_of(), Look())
    readout.point(0, 0)
    seen = []
    readout.cursor.observe(lambda change: seen.append(change.new), "value")
    for place in np.linspace(0, 1, 50):
        readout.point(place, place)
    comes(readout, "<b>2.0")
    assert len(seen) < 25
    readout.point(0, 0)
    readout.point(0.5, 0.5)
    readout.leave()
    left = readout.cursor.value
    time.sleep(2 * PACE)
    assert readout.cursor.value == left  # what waited is not shown any more


def test_the_status_line_says_what_it_cost():
    line = StatusLine()
    line.show(Status("Occlusion for espresso", "busy", 0.42, 3.0, 4.2, (120, 3)))
    assert "42%" in line.line.value
    assert "120 forward, 3 backward passes" in line.line.value
    assert "about 4 s left" in line.line.value
    assert "aria-valuenow='42'" in line.progress.value
    line.show(Status("Occlusion for espresso", "idle", 1.0, 3.25, None, (120, 3)))
    assert "3.25 s" in line.line.value
    assert "left" not in line.line.value
    assert "opacity:0" in line.progress.value


def test_an_error_is_an_alert():
    line = StatusLine()
    line.show(Status("window_height must be at most 48", "error"))
    assert "role='alert'" in line.line.value


def test_progress_is_thinned_out_but_ends_and_errors_are_not(clock):
    line = StatusLine()
    line.show(Status("a", "busy", 0.1))
    line.show(Status("a", "busy", 0.2))
    assert "10%" in line.line.value
    clock.now += 2 * PACE
    line.show(Status("a", "busy", 0.3))
    assert "30%" in line.line.value
    line.show(Status("a", "error"))
    assert "role='alert'" in line.line.value
    line.show(Status("a", "busy", 0.4))
    assert "40%" in line.line.value
    line.show(Status("a", "idle", 1.0))
    assert "xai-kind-idle" in line.line.value
