"""A row of pictures of one size on one canvas, each drawn by itself: a panel that changes costs no other panel."""

from __future__ import annotations

import math
import threading
import time
from typing import TYPE_CHECKING, Any

from xaiwidgets.widgets.drawing import REST, UI_LOCK, hold, make_canvas, png, put

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

#: The gap between two tiles, as a share of a tile's width; the style sheet knows it, too.
GAP = 1 / 16


class Tiles:
    """A canvas of ``count`` pictures side by side, with nothing between them.

    Keeps what it shows, so that a page that connects later, or again, gets it redrawn. A tile is sent as JPEG while it
    changes, and exactly once it has rested.
    """

    def __init__(self, count: int, size: tuple[int, int], css_class: str = "xai-tiles") -> None:
        self.size, self.count = size, count
        self.canvas = make_canvas(self._width, size[0], css_class)
        self._pixels: dict[int, NDArray[np.uint8]] = {}
        self._changed: dict[int, float] = {}
        self._timer: threading.Timer | None = None
        self._closed = False
        self.canvas.on_client_ready(self._redraw)

    @property
    def gap(self) -> int:
        """Canvas pixels between two tiles."""
        return round(self.size[1] * GAP)

    @property
    def _width(self) -> int:
        return self.count * self.size[1] + (self.count - 1) * self.gap

    def shape(self, count: int, size: tuple[int, int]) -> None:
        """Have so many tiles of (height, width) canvas pixels; if that is new, all are empty."""
        with UI_LOCK:
            if (count, tuple(size)) == (self.count, tuple(self.size)):
                return
            self.count, self.size = count, size
            self._pixels.clear()
            self._changed.clear()
            self.canvas.width, self.canvas.height = self._width, size[0]  # which clears it

    def show(self, number: int, pixels: NDArray[np.uint8]) -> None:
        """Show a picture, uint8 ``(H, W, 3)`` of the size of a tile, in this place."""
        with UI_LOCK:
            if self._closed or number >= self.count or self._pixels.get(number) is pixels:
                return
            self._pixels[number] = pixels
            self._changed[number] = time.monotonic()
            with hold():
                put(self.canvas, pixels, 0, self._left(number))
            self._rest_later()

    def close(self) -> None:
        """Cancel what is pending and close the widget."""
        with UI_LOCK:
            self._closed = True
            if self._timer is not None:
                self._timer.cancel()
            self._pixels.clear()
        self.canvas.close()

    def _left(self, number: int) -> int:
        return number * (self.size[1] + self.gap)

    def _rest_later(self) -> None:
        if self._timer is None and self._changed and not self._closed:
            self._timer = threading.Timer(REST, self._rest)
            self._timer.daemon = True
            self._timer.start()

    def _rest(self) -> None:
        with UI_LOCK:
            now = time.monotonic()
            rested = {n: self._pixels[n] for n, at in self._changed.items() if n in self._pixels and now - at >= REST}
        made = {n: png(pixels) for n, pixels in rested.items()}  # takes milliseconds, in which a tile may change
        with UI_LOCK:
            self._timer = None
            same = {n: content for n, content in made.items() if self._pixels.get(n) is rested[n]}
            if same and not self._closed:
                with hold():
                    for number, content in same.items():
                        put(self.canvas, content, 0, self._left(number))
                for number in same:
                    self._changed.pop(number, None)
            self._rest_later()

    def _redraw(self) -> None:
        with UI_LOCK, hold():
            for number, pixels in self._pixels.items():
                put(self.canvas, png(pixels), 0, self._left(number))

    # -- events -----------------------------------------------------------------------------------------------------

    def on_point(
        self,
        point: Callable[[int, float, float], None],
        press: Callable[[int, float, float], None],
        leave: Callable[[], None],
    ) -> None:
        """Call with (tile, shares of its height and width) under the pointer, where it is pressed, and on leaving."""

        def told(listener: Callable[[int, float, float], None]) -> Callable[[Any, Any], None]:
            return lambda x, y: listener(*tile) if (tile := self.at(float(y), float(x))) is not None else None

        self.canvas.on_mouse_move(told(point))
        self.canvas.on_mouse_down(told(press))
        self.canvas.on_mouse_out(lambda x, y: leave())

    def on_key(self, press: Callable[[str, bool], Any]) -> None:
        """Call with (key, whether shift is held)."""
        self.canvas.on_key_down(lambda key, shift, _control, _meta: press(str(key), bool(shift)))

    def at(self, row: float, column: float) -> tuple[int, float, float] | None:
        """Return (tile, shares of its height and width) at canvas pixels, or ``None`` between two tiles."""
        if not (math.isfinite(row) and math.isfinite(column)):  # a browser may send anything
            return None
        height, width = self.size
        number = int(column // (width + self.gap))
        across = (column - self._left(number)) / width
        if not (0 <= number < self.count and 0 <= across <= 1 and 0 <= row <= height):
            return None
        return number, row / height, across
