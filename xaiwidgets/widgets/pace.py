"""A pointer moves faster than a page can follow: what it does is thinned out, and where it stops is never lost."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from xaiwidgets.widgets.drawing import UI_LOCK

if TYPE_CHECKING:
    from collections.abc import Callable


class Paced:
    """Calls a function at once or, if it was called a moment ago, as soon as that is over, with the newest arguments.

    Args:
        act: what is called, with the lock of all widgets held; late calls come from a thread of their own.
        seconds: the least time between two calls.
    """

    def __init__(self, act: Callable[..., None], seconds: float) -> None:
        self._act = act
        self._seconds = seconds
        self._last = float("-inf")
        self._waiting: tuple[Any, ...] | None = None
        self._timer: threading.Timer | None = None

    def __call__(self, *arguments: Any) -> None:
        """Call the function with these, now or in a moment; of several that wait, the newest is taken."""
        with UI_LOCK:
            left = self._last + self._seconds - time.monotonic()
            if left <= 0:
                self.forget()
                self._go(arguments)
                return
            self._waiting = arguments
            if self._timer is None:
                self._timer = threading.Timer(left, self._late)
                self._timer.daemon = True
                self._timer.start()

    def forget(self) -> None:
        """Drop what waits."""
        with UI_LOCK:
            self._waiting = None
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

    def _late(self) -> None:
        with UI_LOCK:
            if self._timer is threading.current_thread() and self._waiting is not None:
                waiting = self._waiting
                self._waiting = self._timer = None
                self._go(waiting)

    def _go(self, arguments: tuple[Any, ...]) -> None:
        self._last = time.monotonic()
        self._act(*arguments)
