"""A mask that is learned in the Explorer: its curves, its buttons, and what is moved while it runs."""

from __future__ import annotations

import re

import numpy as np
import pytest

import xaiwidgets as xw
from xaiwidgets.studio import going

STEPS = 12
METHOD = "meaningful_perturbation"


@pytest.fixture(autouse=True)
def every_step(monkeypatch):
    monkeypatch.setattr(going, "FRAMES_A_SECOND", float("inf"))


@pytest.fixture
def paused(make_explorer):
    """Return an explorer that was paused at step 5."""

    def make(**knobs):
        explorer = make_explorer(None, "coffee", "saliency", target=3)
        once = []

        def hold(frame):
            if frame.result.details.get("step") == 5 and not once:
                once.append(frame)
                explorer.course.pause.click()

        explorer.studio.on("frame", hold)
        explorer.put(method=METHOD, iterations=STEPS, **knobs)
        assert explorer.studio.going == "paused"
        return explorer

    return make


def control(explorer, name):
    return explorer._form(METHOD).controls[name].widget


def told(explorer):
    return re.sub(r"<[^>]*>", "", explorer.course.told.value)


def test_pause_resume_and_the_curves(paused):
    explorer = paused()
    assert explorer.course.shown
    assert explorer.course.pause.description == "Resume"
    assert f"probability over 5 of {STEPS} steps" in explorer.course.curves.value
    assert "xai-kind-paused" in explorer.status.line.value
    assert explorer.result.provenance.method == "saliency", "a map under way is no result"
    explorer.course.pause.click()
    assert explorer.course.pause.description == "Pause"
    assert explorer.course.pause.disabled
    assert explorer.result.provenance.method == METHOD
    assert f"objective over {STEPS} of {STEPS} steps" in explorer.course.curves.value


def test_a_slider_moves_the_run_and_all_that_is_on_screen_says_so(paused, send, digits):
    explorer = paused()
    slider = control(explorer, "sparsity")
    index = [value for _, value in slider.options].index(0.04)
    send(slider, index=index)
    assert explorer.studio.going == "paused"
    assert told(explorer) == "From the next step on: Sparsity λ₁ 0.04"
    explorer.resume()
    result = explorer.result
    assert result.provenance.events == ((6, "sparsity", 3e-4, 0.04),)
    assert told(explorer) == "step 6: Sparsity λ₁ 0.0003 → 0.04"
    assert explorer.course.curves.value.count("class='xai-mark'") == 3
    assert "the settings alone do not give this map" in explorer.readout.twin.value
    assert slider.index == index


def test_the_code_on_the_page_makes_the_moved_map_again(paused, send):
    explorer = paused()
    explorer.export.show_code.value = True
    explorer.put(sparsity=0.04)
    explorer.resume()
    assert "events=[(6, &#x27;sparsity&#x27;, 0.0003, 0.04)]" in explorer.export.text.value
    code = explorer._code()
    line = next(line for line in code.splitlines() if line.startswith("a = "))
    made = {"xw": xw, "model": explorer.studio.model, "image": "coffee"}
    exec(line, made)
    np.testing.assert_array_equal(made["a"].values, explorer.result.values)
    explorer.put(target=4)  # another question has other code
    assert "events" not in explorer._code()


def test_restart_gives_the_map_of_the_settings(paused, digits):
    explorer = paused()
    explorer.put(sparsity=0.04)
    explorer.resume()
    moved = explorer.result
    explorer.course.restart.click()
    assert explorer.result.provenance.events == ()
    clean = xw.explain(digits, "coffee", METHOD, target=3, iterations=STEPS, sparsity=0.04)
    np.testing.assert_array_equal(explorer.result.values, clean.values)
    assert not np.array_equal(moved.values, clean.values)
    assert "can be moved while it runs" in told(explorer)
    assert "events" not in explorer._code()


@pytest.mark.parametrize(
    ("name", "state", "value"),
    [
        ("jitter", {"min": -100, "max": 10**6, "value": 10**6}, 32),
        ("step_size", {"min": -5.0, "max": 1e9, "value": -5.0}, 0.005),
        ("step_size", {"max": 1e308, "value": 1e308}, 0.5),
    ],
)
def test_whatever_a_browser_sends_stays_in_the_domain(name, state, value, paused, send):
    explorer = paused()
    send(control(explorer, name), **state)
    explorer.resume()
    assert [event[3] for event in explorer.result.provenance.events] == [value]
    assert explorer.studio.status.kind == "idle"


def test_what_is_not_live_begins_anew_even_from_a_pause(paused, send):
    explorer = paused()
    send(control(explorer, "game"), index=1)
    assert explorer.studio.going == ""
    assert explorer.result.provenance.knobs["game"] == "preservation"
    assert explorer.result.provenance.events == ()


def test_another_method_has_no_curves_and_leaves_no_button(paused):
    explorer = paused()
    assert explorer.run.layout.display == "none"
    assert explorer.strip.box.layout.display == "none"
    assert "xai-charted" in explorer._dom_classes
    explorer.put(method="grad_cam")
    assert not explorer.course.shown
    assert explorer.course.curves.value == ""
    assert explorer.run.layout.display == ""
    assert explorer.strip.box.layout.display == ""
    assert "xai-charted" not in explorer._dom_classes


@pytest.mark.parametrize(
    ("game", "zero", "one"),
    [("deletion", "seen as it is", "hidden by blur"), ("preservation", "hidden by blur", "seen as it is")],
)
def test_the_legend_says_what_is_hidden_and_what_is_kept(game, zero, one, make_explorer):
    explorer = make_explorer(None, "coffee", METHOD, target=3, iterations=3, game=game)
    words = re.sub(r"<[^>]*>", "", explorer.readout.twin.value)
    assert f"0, without color: {zero}" in words
    assert re.search(rf"1: {one}", words)


@pytest.mark.parametrize(
    ("method", "spoken"),
    [
        ("fgvis", "share taken away over"),
        ("feedback_cnn", "share of gates open over 4 of 4 rounds"),
        ("ssr", "probability over share of the photo kept"),
        ("sdr", "probability over share of the photo hidden"),
        ("extremal_perturbation", "share kept over 5 of 5 steps"),
    ],
)
def test_methods_with_curves_draw_them(method, spoken, make_explorer):
    knobs = {"iterations": 5} if method in ("extremal_perturbation", "fgvis") else {}
    explorer = make_explorer(None, "coffee", method, target=3, **knobs)
    assert spoken in explorer.course.curves.value
