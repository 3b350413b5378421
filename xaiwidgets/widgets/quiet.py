"""Telling what a person changes from what the program changes itself, where two threads do."""

from __future__ import annotations

import threading
from typing import Self


class Quiet:
    """True inside ``with quiet:``, and only for the thread that is there.

    Who sets a control hears of it as if a person had. A flag that is the same for all threads would make the page's
    thread deaf to a person while the worker shows something, and the other way round.
    """

    def __init__(self) -> None:
        self._local = threading.local()

    def __bool__(self) -> bool:
        return bool(getattr(self._local, "depth", 0))

    def __enter__(self) -> Self:
        self._local.depth = getattr(self._local, "depth", 0) + 1
        return self

    def __exit__(self, *_: object) -> None:
        self._local.depth -= 1
