"""A page that connects gets all states again, in every app: what changed while it was built is lost to it otherwise."""

from __future__ import annotations

import threading

import ipywidgets as w
import pytest
from ipycanvas import Canvas

import xaiwidgets as xw
from xaiwidgets.widgets import catchup
from xaiwidgets.widgets.closing import tree


@pytest.mark.parametrize("name", ["Explorer", "Compare", "TrustLab", "SynthesisLab"])
def test_a_page_that_connects_gets_all_states(name, monkeypatch):
    monkeypatch.setattr(catchup, "CONNECTED", 0.05)
    app = getattr(xw, name)(xw.load_model("digits_gap"))
    try:
        assert app.wait(60)
        sent, plain = set(), w.Widget.send_state
        monkeypatch.setattr(
            w.Widget, "send_state", lambda one, key=None: sent.add(one) if key is None else plain(one, key)
        )
        for canvas in (part for part in tree(app) if isinstance(part, Canvas)):
            canvas._handle_custom_msg({"event": "client_ready"}, [])
        for timer in [one for one in threading.enumerate() if isinstance(one, threading.Timer)]:
            timer.join(30)
        assert {part for part in tree(app) if not isinstance(part, w.FileUpload)} <= sent
    finally:
        app.close()
