"""One cursor over all maps: it follows the pointer, stays where it is pressed, and moves by keys and two sliders."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING

import ipywidgets as w

from xaiwidgets.widgets.pace import Paced
from xaiwidgets.widgets.quiet import Quiet

if TYPE_CHECKING:
    from collections.abc import Callable

    #: Shares of a map's height and width.
    Place = tuple[float, float]

#: Values under the pointer are sent at most this often, in seconds.
POINTED = 0.04
#: How far an arrow key moves the cursor, as a share of a map; with shift, five times as far.
STEP = 0.02
MOVES = {"ArrowUp": (-1, 0), "ArrowDown": (1, 0), "ArrowLeft": (0, -1), "ArrowRight": (0, 1)}


class Crosshair:
    """Where the cursor is, and the controls for it; ``box`` holds them, ``told`` says the values to a screen reader.

    Args:
        show: called with the place to show, or with ``None`` for no cursor.
        words: returns the values at a place in words.
        still: called with whether the pointer is to be let through to the page.
        beside: widgets after the sliders.
    """

    def __init__(
        self,
        show: Callable[[Place | None], None],
        words: Callable[[Place], str],
        still: Callable[[bool], None],
        *beside: w.Widget,
    ) -> None:
        self.pinned: Place | None = None
        self._show, self._words, self._still = show, words, still
        self._pointer = Paced(show, POINTED)
        self._quiet = Quiet()
        self.pointing = w.Checkbox(value=True, description="values under the pointer", indent=False)
        self.pointing.tooltip = "Off: the wheel scrolls the page over the maps, too"
        self.pointing.observe(lambda _: self._point_or_not(), "value")
        self.down, self.right = (
            w.FloatSlider(value=50, min=0, max=100, step=0.5, readout_format=".0f", description=name)
            for name in ("Down (%)", "Across (%)")
        )
        for slider in (self.down, self.right):
            slider.tooltip = "Where the cursor is in every map"
            slider.style.description_width = "68px"
            slider.observe(lambda _: self._slid(), "value")
        self.box = w.HBox([self.pointing, self.down, self.right, *beside])
        self.box.add_class("xai-cursor")
        self.told = w.HTML("<div class='xai-sr' role='status' aria-live='polite'></div>")

    def move(self, at: Place | None, stay: bool) -> None:
        """Follow the pointer; where it was pressed, the cursor stays when it has left."""
        if at is None:
            self._pointer.forget()
            self._show(self.pinned)
        elif stay:
            self.pin(at)
        else:
            self._pointer(at)

    def pin(self, at: Place | None) -> None:
        """Leave the cursor at a place, or take it away, and say the values there."""
        self._pointer.forget()
        self.pinned = at
        self._show(at)
        words = "" if at is None else self._words(at)
        self.told.value = f"<div class='xai-sr' role='status' aria-live='polite'>{escape(words)}</div>"
        if at is not None:
            with self._quiet:
                self.down.value, self.right.value = 100 * at[0], 100 * at[1]

    def key(self, key: str, shift: bool) -> None:
        """Move by an arrow key, or take the cursor away by Escape."""
        if key == "Escape":
            self.pin(None)
        elif key in MOVES:
            by = 100 * (5 * STEP if shift else STEP)
            row, column = self.pinned or (0.5, 0.5)
            self.pin((_share(100 * row + by * MOVES[key][0]), _share(100 * column + by * MOVES[key][1])))

    def close(self) -> None:
        """Show nothing any more; the widgets are closed with the page."""
        self._pointer.forget()

    def _slid(self) -> None:
        if not self._quiet:
            self.pin((_share(self.down.value), _share(self.right.value)))

    def _point_or_not(self) -> None:
        self._still(not self.pointing.value)
        if not self.pointing.value:
            self._pointer.forget()
            self._show(self.pinned)


def _share(percent: float) -> float:
    """Return a slider's value as a share; a browser may send anything."""
    return min(max(percent / 100, 0.0), 1.0) if math.isfinite(percent) else 0.5
