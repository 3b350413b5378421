"""Networks whose Grad-CAM shows what somebody has planted; a person paints what, cell by cell on the photo."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import ipywidgets as w
import numpy as np

from xaiwidgets.studio.experiment import CELLS
from xaiwidgets.widgets.drawing import Stage
from xaiwidgets.widgets.lab.panel import Panel
from xaiwidgets.widgets.lab.sheet import LARGE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from xaiwidgets.studio.experiment import Pattern
    from xaiwidgets.widgets.lab.panel import Shot

#: How much of a painted cell is white; the grid is drawn double, so that it is seen on any photo.
COVER = 0.72
MOVES = {"ArrowUp": (-1, 0), "ArrowDown": (1, 0), "ArrowLeft": (0, -1), "ArrowRight": (0, 1)}


class Painter:
    """Cells on the photo: pressed or dragged over they are painted, or erased; so they are by the arrow keys and space.

    Args:
        painted: called with the pattern when a drag or a key press has ended, and with ``None`` when nothing is left.
    """

    def __init__(self, painted: Callable[[Pattern | None], Any]) -> None:
        self._painted = painted
        self.stage = Stage(LARGE, LARGE, "xai-aim")
        self.cells = np.zeros((CELLS, CELLS), bool)
        self.cursor = (CELLS // 2, CELLS // 2)
        self.on = False
        self._brush: bool | None = None
        self._keyed = False
        self._before: bytes = self.cells.tobytes()
        self._photo: NDArray[np.uint8] | None = None
        self.clear = w.Button(description="Clear", tooltip="Erase all; then what is built in is planted")
        self.invert = w.Button(description="Invert", tooltip="Paint what is not, and erase what is")
        for button in (self.clear, self.invert):
            button.add_class("xai-plain")
        self.clear.on_click(lambda _: self._whole(np.zeros_like(self.cells)))
        self.invert.on_click(lambda _: self._whole(~self.cells))
        self.said = w.HTML()
        title = w.HTML(
            "<div class='xai-muted'>Paint what Grad-CAM is to show: click or drag over cells, or move with the arrow "
            "keys and press space.</div>"
        )
        row = w.HBox([self.clear, self.invert])
        row.add_class("xai-tools")
        self.box = w.VBox([title, self.stage.canvas, row, self.said])
        self.box.add_class("xai-aimbox")
        self.stage.on_pointer(self._down, self._move, self._up)
        self.stage.on_key(self._key)

    def show(self, photo: NDArray[np.uint8], pattern: Pattern | None, on: bool) -> None:
        """Show the photo and the pattern on it, while there is one to paint."""
        self.on = on
        self.box.layout.display = "" if on else "none"
        if not on:
            self._brush = None
            return
        if self._brush is None:
            self.cells = np.zeros((CELLS, CELLS), bool) if pattern is None else np.array(pattern, bool)
            self._before = self.cells.tobytes()
        self._photo = photo
        self._draw()

    def close(self) -> None:
        """Close the canvas."""
        self.stage.close()

    def _cell(self, row: Any, column: Any) -> tuple[int, int] | None:
        """Return the cell under a place, or ``None`` if what the browser has sent is none."""
        try:
            found = [float(v) / side for v, side in zip((row, column), self.stage.size, strict=True)]
        except (TypeError, ValueError):
            return None
        if not all(math.isfinite(share) and 0 <= share <= 1 for share in found):
            return None
        down, across = (min(int(share * CELLS), CELLS - 1) for share in found)
        return down, across

    def _down(self, row: float, column: float) -> None:
        cell = self._cell(row, column)
        if cell is not None and self.on:
            self._brush, self._keyed = not self.cells[cell], False
            self._put(cell)

    def _move(self, row: float, column: float) -> None:
        cell = self._cell(row, column)
        if cell is not None and self._brush is not None and self.cells[cell] != self._brush:
            self._put(cell)

    def _up(self) -> None:
        if self._brush is not None:
            self._brush = None
            self._tell()

    def _put(self, cell: tuple[int, int]) -> None:
        self.cells[cell], self.cursor = bool(self._brush), cell
        self._draw()

    def _key(self, key: str, shift: bool) -> None:
        if key in ("Tab", "Escape"):  # the canvas swallows Tab; hand the focus on
            self.clear.focus()
        elif self.on and key in MOVES:
            down, across = (min(max(at + by, 0), CELLS - 1) for at, by in zip(self.cursor, MOVES[key], strict=True))
            self.cursor, self._keyed = (down, across), True
            self._draw()
        elif self.on and key in (" ", "Enter"):
            self._keyed = True
            self.cells[self.cursor] = not self.cells[self.cursor]
            self._draw()
            self._tell()

    def _whole(self, cells: NDArray[np.bool_]) -> None:
        if self.on:
            self.cells = cells
            self._draw()
            self._tell()

    def _tell(self) -> None:
        if self.cells.tobytes() != self._before:
            self._before = self.cells.tobytes()
            self._painted(tuple(tuple(map(int, row)) for row in self.cells) if self.cells.any() else None)

    def _draw(self) -> None:
        if self._photo is not None:
            self.stage.show(painted(self._photo, self.cells, self.cursor if self._keyed else None))
        state = "painted" if self.cells[self.cursor] else "not painted"
        at = f"Row {self.cursor[0] + 1}, column {self.cursor[1] + 1} is {state}. " if self._keyed else ""
        rows = (
            f"row {number}: {', '.join(str(place + 1) for place in np.flatnonzero(row))}"
            for number, row in enumerate(self.cells, 1)
            if row.any()
        )
        all_of = "; ".join(rows) or "nothing, so that what is built in is planted"
        self.said.value = f"<div class='xai-muted' role='status' aria-live='polite'>{at}Painted: {all_of}.</div>"


def painted(
    photo: NDArray[np.uint8], cells: NDArray[np.bool_], cursor: tuple[int, int] | None = None
) -> NDArray[np.uint8]:
    """Return a photo with cells on it, a grid between them, and a frame around the one under the cursor."""
    height, width = photo.shape[:2]
    rows, columns = (np.minimum(np.arange(n) * CELLS // n, CELLS - 1) for n in (height, width))
    share = np.where(cells[rows[:, None], columns[None]], COVER, 0.0)[..., None]
    found = np.rint(photo * (1 - share) + 255 * share).astype(np.uint8)
    for edges, axis in ((np.flatnonzero(np.diff(rows)), 0), (np.flatnonzero(np.diff(columns)), 1)):
        for edge in edges:
            line = (slice(edge, edge + 1), slice(None)) if axis == 0 else (slice(None), slice(edge, edge + 1))
            next_ = tuple(slice(s.start + 1, s.stop + 1) if s.start is not None else s for s in line)
            found[line], found[next_] = 40, 230
    if cursor is not None:
        inside = (rows == cursor[0])[:, None] & (columns == cursor[1])[None]
        core = np.zeros_like(inside)
        core[3:-3, 3:-3] = inside[:-6, 3:-3] & inside[6:, 3:-3] & inside[3:-3, :-6] & inside[3:-3, 6:]
        found[inside & ~core] = (230, 60, 30)
    return found


class Planted(Panel):
    """Maps before and after somebody has built another network, and what is planted in it.

    Args:
        paint: called with the pattern that a person has painted.
    """

    beside = 520

    def __init__(self, paint: Callable[[Pattern | None], Any]) -> None:
        self.painter = Painter(paint)
        super().__init__()

    def parts(self) -> Sequence[w.Widget]:
        """Return the widgets from top to bottom."""
        self.row = w.Box([self.painter.box, self.sheet.box])
        self.row.add_class("xai-aimed")
        return (self.row, *(part for part in super().parts() if part is not self.sheet.box))

    def draw(self, shot: Shot) -> None:
        """Show the score as any other, and the cells while there is something to paint."""
        super().draw(shot)
        (self.row.add_class if shot.paints else self.row.remove_class)("xai-aiming")
        self.painter.show(self.photo(), shot.pattern, shot.paints)

    def close(self) -> None:
        """Close all widgets."""
        self.painter.close()
        super().close()
