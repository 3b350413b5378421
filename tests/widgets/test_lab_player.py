"""A slider that can be played, and what a browser may do to it."""

from __future__ import annotations

import threading

import pytest

from xaiwidgets.widgets.lab import player as module
from xaiwidgets.widgets.lab.player import MOST, Player

LONG = 120.0


@pytest.fixture
def places(monkeypatch):
    monkeypatch.setattr(module, "PACE", 0.001)
    return []


@pytest.fixture
def player(places):
    made = Player(places.append, "Drawn anew", "Scrub")
    yield made
    made.pause()


def send(widget, **state):
    widget._handle_msg({"content": {"data": {"method": "update", "state": state, "buffer_paths": []}}, "buffers": []})


def test_it_does_nothing_before_there_is_anywhere_to_go(player, places):
    assert player.slider.disabled
    assert player.button.disabled
    player.play()
    assert not player.playing
    player.reach(5)
    assert not player.slider.disabled
    assert (player.slider.max, player.value, places) == (5, 0, [])


def test_playing_walks_to_the_end_and_stops(player, places):
    ended = threading.Event()
    player._changed = lambda place: (places.append(place), ended.set() if place == 5 else None)
    player.reach(5)
    player.set(2)
    player.play()
    assert ended.wait(LONG)
    assert places == [3, 4, 5]
    player.pause()
    assert not player.playing
    assert player.button.description == "Play"
    assert player.touched


def test_a_long_way_is_walked_in_larger_steps(player, places):
    ended = threading.Event()
    player._changed = lambda place: (places.append(place), ended.set() if place == 1000 else None)
    player.reach(1000)
    player.play()
    assert ended.wait(LONG)
    assert len(places) <= MOST
    assert places == sorted(places)


def test_at_the_end_it_begins_anew_and_taking_hold_of_it_stops_it(player, places, monkeypatch):
    monkeypatch.setattr(module, "PACE", LONG)
    player.reach(9)
    player.set(9)
    player.play()
    assert player.value == 0
    assert player.button.description == "Pause"
    send(player.slider, value=4)
    assert not player.playing
    assert places == [4]


def test_what_a_browser_sends_stays_inside(player, places):
    player.reach(9)
    send(player.slider, max=10**6, value=10**6)
    assert (player.value, player.slider.value, player.slider.max, places) == (9, 9, 9, [9])
    send(player.slider, min=-5, value=-5)
    assert (player.value, places) == (0, [9, 0])


def test_setting_and_shrinking_do_not_call_back(player, places):
    player.reach(9)
    player.set(100)
    assert player.value == 9
    old = player.slider
    player.reach(0)
    assert player.slider is old
    assert player.slider.disabled
    player.set(9)
    player.reach(9)
    player.set(9)
    player.reach(3)
    assert (player.value, player.slider.value, player.slider.max) == (3, 3, 3)
    assert player.box.children == (player.slider,)
    assert old.comm is None  # closed
    player.reset()
    assert not player.touched
    assert places == []
