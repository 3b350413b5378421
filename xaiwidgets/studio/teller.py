"""Telling listeners what has come about; both studios begin here."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from xaiwidgets.errors import XaiError
from xaiwidgets.studio.frame import Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class Teller:
    """Calls listeners with what is published under an event, on whatever thread it came about.

    Args:
        events: the names that can be listened to.
    """

    def __init__(self, events: Iterable[str]) -> None:
        self.status = Status("Starting")
        self._lock = threading.RLock()
        self._listeners: dict[str, list[Callable[[Any], None]]] = {event: [] for event in events}

    def on(self, event: str, listener: Callable[[Any], None]) -> None:
        """Call ``listener`` with every record that is published under this event."""
        self._listeners[event].append(listener)

    def _publish(self, event: str, record: Any) -> None:
        for listener in tuple(self._listeners[event]):
            listener(record)

    def _say(self, status: Status) -> None:
        self.status = status
        self._publish("status", status)

    def _fail(self, error: Exception) -> None:
        text = str(error) if isinstance(error, XaiError) else f"{type(error).__name__}: {error}"
        self._say(Status(text, "error"))

    def _deafen(self) -> None:
        """Forget the listeners."""
        for listeners in self._listeners.values():
            listeners.clear()
