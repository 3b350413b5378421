"""The slider over a run's steps: who moves it, what it calls back, and a browser that is late."""

from __future__ import annotations

import ipywidgets as w
import pytest

from xaiwidgets.widgets import scrubber as module
from xaiwidgets.widgets.scrubber import Scrubber


@pytest.fixture
def scrubber():
    calls = []
    made = Scrubber(calls.append)
    made.calls = calls
    made.show(40, 60, 128)
    return made


@pytest.fixture
def sent(monkeypatch):
    """Places of the slider that were sent to the browser."""
    found, plain = [], w.Widget.send_state

    def send(one, key=None):
        if key == "value" and isinstance(one, w.IntSlider):
            found.append(one.value)
        return plain(one, key)

    monkeypatch.setattr(w.Widget, "send_state", send)
    return found


def slide(scrubber, value):
    """What the browser sends when a person moves the slider."""
    scrubber.slider.set_state({"value": value})


def test_a_run_that_goes_on_moves_it_and_calls_nobody(scrubber):
    assert (scrubber.slider.value, scrubber.slider.max, scrubber.slider.disabled) == (40, 128, False)
    assert "40 of 128, 20 later" in scrubber.words.value
    scrubber.show(61, 61, 128)
    assert scrubber.slider.value == 61
    assert "61 of 128<" in scrubber.words.value
    assert scrubber.calls == []


def test_a_person_goes_to_a_step_that_was_done(scrubber):
    slide(scrubber, 12)
    scrubber.by(-2)
    slide(scrubber, 100)  # not done yet: it stands at the last
    scrubber.by(3)
    assert scrubber.calls == [12, 10, 60, 60]
    assert scrubber.slider.value == 60


def test_nothing_can_be_sought_before_the_first_step():
    calls = []
    made = Scrubber(calls.append)
    assert made.slider.disabled
    assert "no step yet" in made.words.value
    slide(made, 2)
    made.by(1)
    assert calls == []


def test_a_place_that_is_still_on_its_way_does_not_win_over_the_person(scrubber, sent, monkeypatch):
    clock = [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
    scrubber.show(41, 60, 128)
    clock[0] += 0.1
    slide(scrubber, 39)  # from 40, which the page shows: 41 is on its way, and comes after the press
    assert sent == [41, 39]
    clock[0] += module.ON_ITS_WAY
    slide(scrubber, 38)  # nothing was on its way: a place sent back would take back a press that came meanwhile
    assert sent == [41, 39]
    scrubber.show(38, 60, 128)  # the run stands where the person went
    slide(scrubber, 37)
    assert sent == [41, 39]
    assert scrubber.calls == [39, 38, 37]


def test_another_number_of_steps_makes_another_slider_that_works(scrubber):
    old = scrubber.slider
    scrubber.show(40, 60, 256)
    assert scrubber.slider is not old
    assert (scrubber.slider.value, scrubber.slider.max) == (40, 256)
    slide(scrubber, 7)
    assert scrubber.calls == [7]
