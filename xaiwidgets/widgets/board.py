"""The board: rows of panels with their titles, color bars and progress, and one cursor over all of them."""

from __future__ import annotations

import time
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import ipywidgets as w

from xaiwidgets.engine.arrange import MOST_CELLS
from xaiwidgets.widgets.closing import close_tree
from xaiwidgets.widgets.drawing import UI_LOCK
from xaiwidgets.widgets.tiles import Tiles

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import numpy as np
    from numpy.typing import NDArray

#: Texts of panels that are being computed are sent at most this often, in seconds.
PACE = 0.1
CSS = files("xaiwidgets.widgets").joinpath("board.css").read_text("utf-8") + "".join(
    f".xai-n{n}.xai-n{n}{{--n:{n}}}.xai-w{n}.xai-w{n}{{--wide:{n}}}.xai-r{n}.xai-r{n}{{--rows:{n}}}"
    for n in range(1, MOST_CELLS + 4)
)


class Band:
    """One row of panels: a title, the pictures with what is written on them, and what is below each.

    Args:
        count: how many panels. ``size``: (height, width) of each in canvas pixels.
        point: called with shares of a panel's height and width under the pointer.
        pin: the same, when it is pressed. ``leave``: called when the pointer leaves. ``press``: called with a key.
    """

    def __init__(
        self,
        count: int,
        size: tuple[int, int],
        point: Callable[[float, float], None],
        pin: Callable[[float, float], None],
        leave: Callable[[], None],
        press: Callable[[str, bool], None],
    ) -> None:
        self.tiles = Tiles(count, size)
        self.tiles.on_point(lambda _, row, column: point(row, column), lambda _, row, column: pin(row, column), leave)
        self.tiles.on_key(press)
        self.names, self._states, self._values, self._feet = (w.HTML() for _ in range(4))
        sheet = w.Box([self.tiles.canvas, self._states, self._values])
        sheet.add_class("xai-sheet")
        self.box = w.Box([self.names, sheet, self._feet])
        self.box.add_class("xai-band")
        self._count = 0
        self.shape(count, size)

    def shape(self, count: int, size: tuple[int, int]) -> None:
        """Have so many panels of (height, width) canvas pixels."""
        self.tiles.shape(count, size)
        if count != self._count:
            self.box.remove_class(f"xai-n{self._count}")
            self.box.add_class(f"xai-n{count}")
            self._count = count
            self.states, self.feet, self.values = ([""] * count for _ in range(3))

    def title(self, row: str, columns: Sequence[str] = (), more: str = "") -> None:
        """Say what the row is, and above it what the columns are."""
        heads = "".join(f"<div class='xai-colname' title='{escape(c)}'>{escape(c)}</div>" for c in columns)
        above = f"<div class='xai-cells'>{heads}</div>" if columns else ""
        said = f"<b>{escape(row)}</b> <span class='xai-muted'>{escape(more)}</span>"
        below = f"<div class='xai-rowname'>{said}</div>" if row else ""
        self.names.value = above + below

    def send(self) -> None:
        """Bring the texts up to date."""
        self._states.value = _cells(self.states)
        self._feet.value = f"<div class='xai-feet'>{_cells(self.feet)}</div>"

    def cursor(self, place: tuple[float, float] | None) -> None:
        """Show the cursor at these shares of each panel, with the values, or nothing."""
        if place is None:
            self._values.value = ""
            return
        row, column = place
        low = " xai-low" if row < 0.5 else ""
        told = (f"<span class='xai-value{low}'>{value}</span>" if value else "" for value in self.values)
        style = f"--cx:{100 * column:.2f}%;--cy:{100 * row:.2f}%"
        cells = _cells(f"<i class='xai-cross'></i>{value}" for value in told)
        self._values.value = f"<div style='{style}' aria-hidden='true'>{cells}</div>"

    def close(self) -> None:
        """Close all widgets."""
        self.tiles.close()
        close_tree(self.box)


def _cells(parts: Iterable[str]) -> str:
    return "<div class='xai-cells'>" + "".join(f"<div>{part}</div>" for part in parts) + "</div>"


class Board:
    """All rows of panels, and below them a row of what they make together; ``box`` holds both.

    Args:
        moved: called with (shares of a panel's height and width, whether it is to stay) when the cursor moves, and with
            ``None`` when the pointer has left.
        press: called with (key, whether shift is held).
        beside: widgets to the right of the last row.
    """

    EXTRAS = 3

    def __init__(
        self,
        moved: Callable[[tuple[float, float] | None, bool], None],
        press: Callable[[str, bool], None],
        beside: Sequence[w.Widget] = (),
    ) -> None:
        self._moved, self._press = moved, press
        self._style = w.HTML()
        self._style.layout.display = "none"
        self._bands: list[Band] = []
        self._shape = (0, 0)
        self._classes: tuple[str, ...] = ()
        self._sent: dict[int, float] = {}
        self.extras = self._band(self.EXTRAS, (320, 320))
        pairs = w.VBox(list(beside))
        pairs.add_class("xai-pairs")
        self._below = w.Box([self.extras.box, pairs])
        self._below.add_class("xai-more-row")
        self.box = w.VBox([self._style, self._below])
        self.box.add_class("xai-board")
        self._name = f"xai-board-{self.box.model_id[:12]}"
        self.box.add_class(self._name)

    def _band(self, count: int, size: tuple[int, int]) -> Band:
        return Band(
            count,
            size,
            lambda row, column: self._moved((row, column), False),
            lambda row, column: self._moved((row, column), True),
            lambda: self._moved(None, False),
            self._press,
        )

    @property
    def bands(self) -> list[Band]:
        """The rows in use."""
        return self._bands[: self._shape[0]]

    def shape(self, rows: int, columns: int, size: tuple[int, int]) -> None:
        """Have so many rows and columns of panels of (height, width) canvas pixels; one panel has no row below it."""
        with UI_LOCK:
            while len(self._bands) < rows:
                self._bands.append(self._band(columns, size))
            for band in self._bands[:rows]:
                band.shape(columns, size)
            self.extras.shape(self.EXTRAS, size)
            self._shape = (rows, columns)
            several = rows * columns > 1
            wanted = (f"xai-w{max(columns, self.EXTRAS)}", f"xai-r{rows + 1}") if several else ("xai-w1", "xai-r1")
            self._below.layout.display = None if several else "none"
            for old in set(self._classes) - set(wanted):
                self.box.remove_class(old)
            for new in wanted:
                self.box.add_class(new)
            self._classes = wanted
            self._style.value = f"<style>.{self._name}{{--ratio:{size[0] / size[1]:.5f}}}</style>"
            children = (self._style, *(band.box for band in self.bands), self._below)
            if self.box.children != children:
                self.box.children = children

    def tile(self, row: int, column: int, pixels: NDArray[np.uint8]) -> None:
        """Show a panel's picture."""
        if row < self._shape[0]:
            self._bands[row].tiles.show(column, pixels)

    def send(self, row: int, *, now: bool) -> None:
        """Bring a row's texts up to date, now or if that was not just done."""
        at = time.monotonic()
        if now or at - self._sent.get(row, 0.0) > PACE:
            self._sent[row] = at
            self._bands[row].send()

    def cursor(self, place: tuple[float, float] | None) -> None:
        """Show the cursor in all panels, with the values that the bands hold."""
        for band in (*self.bands, self.extras):
            band.cursor(place)

    def close(self) -> None:
        """Close all widgets."""
        for band in (*self._bands, self.extras):
            band.close()
        close_tree(self.box)


def still(box: Any, on: bool) -> None:
    """Let the pointer through to the page, or not."""
    (box.add_class if on else box.remove_class)("xai-still")
