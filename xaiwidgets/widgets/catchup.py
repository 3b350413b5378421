"""What a page that has just connected may have missed, sent again."""

from __future__ import annotations

import threading
from typing import Any

import ipywidgets as w

from xaiwidgets.widgets.closing import tree
from xaiwidgets.widgets.drawing import UI_LOCK

#: Seconds after which all parts of a page that connects are there.
CONNECTED = 1.0


class CatchUp:
    """Sends the state of a whole page again when it has connected.

    A page asks for all states at once and listens from when it has built its parts; what changes between is lost to it.
    A model that answers within that time would leave a page that says it is still at work.

    Args:
        root: the widget of the page.
        canvas: any canvas in it; its part in the browser says when it is there.
    """

    def __init__(self, root: w.Widget, canvas: Any) -> None:
        self._root = root
        self._timer: threading.Timer | None = None
        self._closed = False
        canvas.on_client_ready(self._connected)

    def _connected(self) -> None:
        with UI_LOCK:
            if self._timer is not None:
                self._timer.cancel()
            if not self._closed:
                self._timer = threading.Timer(CONNECTED, self._send)
                self._timer.daemon = True
                self._timer.start()

    def _send(self) -> None:
        with UI_LOCK:
            if self._closed:
                return
            for widget in tree(self._root):
                if not isinstance(widget, w.FileUpload):  # it holds the last file, which may be large, and nothing else
                    widget.send_state()

    def close(self) -> None:
        """Send nothing any more."""
        with UI_LOCK:
            self._closed = True
            if self._timer is not None:
                self._timer.cancel()
