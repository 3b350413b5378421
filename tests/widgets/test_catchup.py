"""A page that has just connected gets what it may have missed."""

from __future__ import annotations

import threading

import ipywidgets as w
import pytest
from ipycanvas import Canvas

from xaiwidgets.widgets import catchup
from xaiwidgets.widgets.catchup import CatchUp
from xaiwidgets.widgets.closing import close_tree

LONG = 120.0


@pytest.fixture
def page(monkeypatch):
    """A page, what it sends of itself, and an event that is set when the last part is sent."""
    monkeypatch.setattr(catchup, "CONNECTED", 0.05)
    canvas = Canvas(width=8, height=8)
    root = w.VBox([w.HTML("first"), w.HBox([w.IntSlider(value=3), w.FileUpload()]), canvas])
    sent, plain = [], w.Widget.send_state
    monkeypatch.setattr(w.Widget, "send_state", lambda one, key=None: sent.append((one, key)) or plain(one, key))
    made = CatchUp(root, canvas)
    yield root, canvas, sent, made
    made.close()
    close_tree(root)


def connect(canvas):
    canvas._handle_custom_msg({"event": "client_ready"}, [])


def timers():
    return [one for one in threading.enumerate() if isinstance(one, threading.Timer)]


def ended():
    for timer in timers():
        timer.join(LONG)


def test_all_parts_are_sent_again_but_no_file(page):
    root, canvas, sent, _ = page
    sent.clear()
    connect(canvas)
    ended()
    whole = [one for one, key in sent if key is None]
    assert len(whole) == len(set(whole))
    inner = root.children[1]
    assert {root, *root.children, *inner.children, inner.children[0].style} - {inner.children[1]} <= set(whole)
    assert inner.children[1] not in whole


def test_parts_that_come_one_after_the_other_are_answered_once(page):
    root, canvas, sent, _ = page
    sent.clear()
    for _ in range(5):
        connect(canvas)
    ended()
    assert sum(one is root and key is None for one, key in sent) == 1


def test_a_closed_page_sends_nothing(page):
    _, canvas, sent, made = page
    connect(canvas)
    made.close()
    connect(canvas)
    ended()
    assert [one for one, key in sent if key is None] == []
