"""A slider that can be played: it walks to its end by itself, and stops where a person takes hold of it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import ipywidgets as w

from xaiwidgets.widgets.closing import close_tree
from xaiwidgets.widgets.drawing import UI_LOCK
from xaiwidgets.widgets.quiet import Quiet

if TYPE_CHECKING:
    from collections.abc import Callable

#: Seconds between two steps, and steps of the whole way at most, so that it takes no longer than a few seconds.
PACE, MOST = 0.09, 72


class Player:
    """A slider over 0 … ``last`` and a button that plays it.

    Args:
        changed: called with the place, whoever has moved it.
        words: what the slider is called. ``tooltip``: what it does.
    """

    def __init__(self, changed: Callable[[int], None], words: str, tooltip: str) -> None:
        self._changed = changed
        self.last = 0
        self.value = 0
        self.touched = False
        self._quiet = Quiet()
        self._stop: threading.Event | None = None
        self._words, self._tooltip = words, tooltip
        self.slider = self._make(1)
        self.box = w.Box([self.slider])
        self.box.add_class("xai-scrub")
        self.button = w.Button(description="Play", tooltip=f"{tooltip}, by itself", disabled=True)
        self.button.add_class("xai-plain")
        self.button.on_click(lambda _: self.pause() if self.playing else self.play())

    @property
    def playing(self) -> bool:
        """Whether it moves by itself."""
        return self._stop is not None

    def reach(self, last: int) -> None:
        """Have places 0 … ``last``."""
        with UI_LOCK:
            if last == self.last:
                return
            self.last, self.value = last, min(self.value, last)
            if last >= 1 and last != self._most:
                # in the browser, the End key of a slider goes to the end that it was made with
                old, self.slider = self.slider, self._make(last)
                self.box.children = (self.slider,)
                close_tree(old)
            self._quietly(self.value)
            self.slider.disabled = self.button.disabled = last < 1

    def _make(self, most: int) -> w.IntSlider:
        self._most = most
        slider = w.IntSlider(value=0, min=0, max=most, description=self._words, readout=False, disabled=True)
        slider.tooltip = self._tooltip
        slider.observe(self._slid, "value")
        return slider

    def set(self, value: int) -> None:
        """Go to a place without calling back."""
        with UI_LOCK:
            self.value = min(max(value, 0), self.last)
            self._quietly(self.value)

    def reset(self) -> None:
        """Forget that a person has moved it, and stop playing; for another question."""
        self.pause()
        self.touched = False

    def play(self) -> None:
        """Walk from here to the end; from the beginning, if this is the end."""
        with UI_LOCK:
            if self.playing or self.last < 1:
                return
            self.touched = True
            if self.value >= self.last:
                self.set(0)
            self._stop = threading.Event()
            self.button.description = "Pause"
        threading.Thread(target=self._walk, args=(self._stop,), name="xaiwidgets-player", daemon=True).start()

    def pause(self) -> None:
        """Stay here."""
        with UI_LOCK:
            if self._stop is not None:
                self._stop.set()
                self._stop = None
            self.button.description = "Play"

    def _walk(self, stop: threading.Event) -> None:
        while not stop.wait(PACE):
            with UI_LOCK:
                if stop.is_set():
                    return
                self.set(self.value + max(1, -(-self.last // MOST)))
                ended = self.value >= self.last
                self._changed(self.value)
                if ended:
                    self.pause()
                    return

    def _slid(self, change: Any) -> None:
        found = change["new"]
        if self._quiet or isinstance(found, bool) or not isinstance(found, int):
            return
        with UI_LOCK:  # the bounds of a slider belong to the browser; these here count
            self.pause()
            self.touched = True
            self.value = min(max(found, 0), self.last)
            self._quietly(self.value)
            self._changed(self.value)

    def _quietly(self, value: int) -> None:
        with self._quiet:
            self.slider.min, self.slider.max = 0, self._most
            self.slider.value = value
