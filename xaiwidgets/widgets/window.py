"""The rectangle that hides a region: pure arithmetic of dragging, resizing and key presses, in the model's pixels."""

from __future__ import annotations

from dataclasses import dataclass, replace

#: The smallest side in pixels of the model's input.
SMALLEST = 4
#: How near to a corner or border a press must be to take hold of it, as a share of the picture.
GRIP = 0.035


@dataclass(frozen=True)
class Window:
    """A region of a picture of ``size`` (height, width); all whole pixels, always inside."""

    top: int
    left: int
    height: int
    width: int
    size: tuple[int, int]

    @classmethod
    def centered(cls, height: int, width: int, size: tuple[int, int]) -> Window:
        """Return a window of these sides in the middle."""
        return cls((size[0] - height) // 2, (size[1] - width) // 2, height, width, size).inside()

    @property
    def box(self) -> tuple[int, int, int, int]:
        """(top, left, bottom, right), half-open."""
        return self.top, self.left, self.top + self.height, self.left + self.width

    def inside(self) -> Window:
        """Return the nearest window that lies inside the picture and is not too small."""
        height = min(max(int(self.height), min(SMALLEST, self.size[0])), self.size[0])
        width = min(max(int(self.width), min(SMALLEST, self.size[1])), self.size[1])
        top = min(max(int(self.top), 0), self.size[0] - height)
        left = min(max(int(self.left), 0), self.size[1] - width)
        return Window(top, left, height, width, self.size)

    def resized(self, height: int, width: int) -> Window:
        """Return the window with other sides and the same center."""
        # odd sides are half a pixel off the center, even ones are not: going there and back must not drift
        top = self.top + (self.height - height + 1 - height % 2) // 2
        left = self.left + (self.width - width + 1 - width % 2) // 2
        return Window(top, left, height, width, self.size).inside()

    def moved(self, rows: int, columns: int) -> Window:
        """Return the window shifted, stopped at the border."""
        return replace(self, top=self.top + rows, left=self.left + columns).inside()

    def grip(self, row: float, column: float) -> str:
        """Return what a press at this place takes hold of: ``tl``, ``t``, …, ``move``, or an empty string."""
        near_rows, near_columns = GRIP * self.size[0], GRIP * self.size[1]
        top, left, bottom, right = self.box
        if not (top - near_rows <= row <= bottom + near_rows and left - near_columns <= column <= right + near_columns):
            return ""
        across = min(near_columns, self.width / 3)
        down = min(near_rows, self.height / 3)
        name = "t" if row < top + down else "b" if row > bottom - down else ""
        name += "l" if column < left + across else "r" if column > right - across else ""
        return name or "move"

    def dragged(self, grip: str, rows: float, columns: float) -> Window:
        """Return the window after its ``grip`` was dragged by this many pixels."""
        if grip == "move":
            return self.moved(round(rows), round(columns))
        top, left, bottom, right = self.box
        if "t" in grip:
            top = min(max(0, round(top + rows)), bottom - SMALLEST)
        if "b" in grip:
            bottom = max(min(self.size[0], round(bottom + rows)), top + SMALLEST)
        if "l" in grip:
            left = min(max(0, round(left + columns)), right - SMALLEST)
        if "r" in grip:
            right = max(min(self.size[1], round(right + columns)), left + SMALLEST)
        return Window(top, left, bottom - top, right - left, self.size).inside()

    def pressed(self, key: str, shift: bool) -> Window:
        """Return the window after an arrow key: moved by a few pixels, or resized with shift."""
        step = max(1, round(self.size[0] / 56))
        rows = {"ArrowUp": -step, "ArrowDown": step}.get(key, 0)
        columns = {"ArrowLeft": -step, "ArrowRight": step}.get(key, 0)
        if shift:
            return Window(self.top, self.left, self.height + rows, self.width + columns, self.size).inside()
        return self.moved(rows, columns)
