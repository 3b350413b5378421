from __future__ import annotations

import re

import numpy as np
import pytest

from xaiwidgets.core.cards import cards
from xaiwidgets.core.results import Attribution
from xaiwidgets.widgets.course import CoursePanel

METHOD = "meaningful_perturbation"


def result(count=3, **details):
    curves = {name: np.linspace(1, 0, count) for name in ("score", "area", "objective")}
    known = {"curves": curves, "step": count, "planned": 10, **details}
    return Attribution(np.zeros((1, 4, 4)), "share", False, (4, 4), details=known)


def told(panel):
    return re.sub(r"<[^>]*>", "", panel.told.value)


@pytest.fixture
def panel():
    asked = []
    made = CoursePanel(lambda: asked.append("pause"), lambda: asked.append("restart"))
    made.asked = asked
    return made


def test_it_takes_room_only_for_methods_with_curves(panel):
    for made in cards("explainer"):
        panel.choose(made.id)
        assert panel.shown == bool(getattr(made.cls, "curves", ()))
        assert panel.shown == (panel.box.layout.display != "none")
    with_curves = {made.id for made in cards("explainer") if getattr(made.cls, "curves", ())}
    assert with_curves >= {METHOD, "extremal_perturbation", "ssr", "sdr", "fgvis", "feedback_cnn"}


def test_buttons_do_what_they_say(panel):
    panel.choose(METHOD)
    assert panel.pause.disabled
    panel.go("running")
    assert not panel.pause.disabled
    assert panel.pause.description == "Pause"
    panel.pause.click()
    panel.go("paused")
    assert panel.pause.description == "Resume"
    panel.pause.click()
    panel.restart.click()
    assert panel.asked == ["pause", "pause", "restart"]
    panel.go("")
    assert panel.pause.disabled
    assert panel.pause.description == "Pause"


def test_it_says_what_can_be_moved_what_is_about_to_be_and_what_was(panel):
    panel.choose(METHOD)
    assert told(panel) == "Sparsity λ₁, Smoothness λ₂, Power β, Step size and Jitter can be moved while it runs."
    panel.go("paused", (("sparsity", 0.01), ("power", 2.0)))
    assert told(panel) == "From the next step on: Sparsity λ₁ 0.01, Power β 2"
    panel.show(result(events=((4, "sparsity", 3e-4, 0.01),)))
    panel.go("")
    assert told(panel) == "step 4: Sparsity λ₁ 0.0003 → 0.01"
    panel.choose("fgvis")
    assert told(panel) == ""


def test_the_curves_are_those_of_the_newest_result_and_go_with_the_method(panel):
    panel.choose(METHOD)
    panel.show(result(3))
    assert "over 3 of 10 steps" in panel.curves.value
    panel.show(result(4))
    assert "over 4 of 10 steps" in panel.curves.value
    panel.choose("extremal_perturbation")
    assert panel.curves.value == ""
    panel.show(None)
    assert panel.curves.value == ""
