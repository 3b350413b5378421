"""A function that is called at most so often, and always with what came last."""

from __future__ import annotations

import threading
import time
from itertools import pairwise

import pytest

from xaiwidgets.widgets.pace import Paced


@pytest.fixture
def calls():
    return []


def wait_for(calls, count):
    end = time.monotonic() + 30
    while len(calls) < count and time.monotonic() < end:
        time.sleep(0.005)
    assert len(calls) == count


def test_the_first_comes_at_once_and_of_those_that_wait_the_last(calls):
    paced = Paced(lambda *given: calls.append(given), 0.6)
    paced(0, 0.5)
    assert calls == [(0, 0.5)]
    for number in range(1, 20):
        paced(number, 0.5)
    assert len(calls) == 1
    wait_for(calls, 2)
    assert calls[1] == (19, 0.5)
    time.sleep(0.7)
    assert len(calls) == 2  # nothing waits any more
    paced(20, 0.5)
    assert calls[2] == (20, 0.5)


def test_two_calls_are_never_closer_than_asked(calls):
    paced = Paced(lambda: calls.append(time.monotonic()), 0.05)
    end = time.monotonic() + 0.4
    while time.monotonic() < end:
        paced()
        time.sleep(0.002)
    gaps = [later - sooner for sooner, later in pairwise(calls)]
    assert len(gaps) >= 2
    assert min(gaps) >= 0.049


def test_what_waits_can_be_dropped(calls):
    paced = Paced(calls.append, 0.5)
    paced("first")
    paced("second")
    paced.forget()
    time.sleep(0.6)
    assert calls == ["first"]
    paced("third")
    assert calls == ["first", "third"]


def test_an_error_of_the_function_does_not_end_it(calls, monkeypatch):
    monkeypatch.setattr(threading, "excepthook", lambda _: calls.append("told"))

    def act(number):
        if number == 2:
            raise ValueError(number)
        calls.append(number)

    paced = Paced(act, 0.5)
    paced(1)
    paced(2)
    wait_for(calls, 2)
    time.sleep(0.6)
    paced(3)
    assert calls == [1, "told", 3]
