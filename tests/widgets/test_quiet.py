"""What a person changes while another thread shows something is heard."""

from __future__ import annotations

import threading

import pytest

from xaiwidgets.core.knobs import Knob, Range
from xaiwidgets.widgets.controls import Control
from xaiwidgets.widgets.quiet import Quiet


def test_it_holds_inside_and_nests():
    quiet = Quiet()
    assert not quiet
    with quiet:
        with quiet:
            assert quiet
        assert quiet
    assert not quiet


def test_it_ends_with_an_error():
    quiet = Quiet()
    with pytest.raises(ValueError, match="why"), quiet:
        raise ValueError("why")
    assert not quiet


def test_another_thread_is_not_quiet():
    quiet, seen = Quiet(), []
    with quiet:
        other = threading.Thread(target=lambda: seen.append(bool(quiet)))
        other.start()
        other.join()
        assert quiet
    assert seen == [False]


def test_a_person_is_heard_while_the_worker_shows_a_value():
    heard, inside, done = [], threading.Event(), threading.Event()
    control = Control(Knob("number", 3, Range(0, 10), "Number", "A number."), heard.append)

    def show():
        with control._quiet:
            inside.set()
            done.wait(30)

    worker = threading.Thread(target=show)
    worker.start()
    inside.wait(30)
    control.widget.value = 7  # as a browser sets it
    done.set()
    worker.join()
    assert heard == [7]
