"""Rectangular windows over a picture: where they lie, the order of visit, and how their values are spread."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Grid:
    """Windows of ``window`` (height, width) every ``stride`` pixels; the last ones are cut off at the border.

    There are ``ceil((size - window) / stride) + 1`` windows along each axis, so every pixel is covered. Only a stride
    larger than the window leaves gaps between windows; then one that would lie outside is left out.
    """

    size: tuple[int, int]
    window: tuple[int, int]
    stride: tuple[int, int]

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns) of windows."""
        rows, columns = (
            min(-(-max(size - window, 0) // stride) + 1, -(-size // stride))
            for size, window, stride in zip(self.size, self.window, self.stride, strict=True)
        )
        return rows, columns

    def box(self, row: int, column: int) -> tuple[int, int, int, int]:
        """Return (top, left, bottom, right) of a window, half-open."""
        top, left = row * self.stride[0], column * self.stride[1]
        return top, left, min(top + self.window[0], self.size[0]), min(left + self.window[1], self.size[1])

    def coarse_to_fine(self) -> list[tuple[int, int]]:
        """Return all (row, column), the corners of ever finer lattices first, so that any prefix covers the picture."""
        rows, columns = self.shape
        step = 1
        while step * 2 < max(rows, columns):
            step *= 2
        seen: dict[tuple[int, int], None] = {}
        while step >= 1:
            for row in range(0, rows, step):
                for column in range(0, columns, step):
                    seen.setdefault((row, column))
            step //= 2
        return list(seen)

    def spread(self, values: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return ``(H, W)``: each pixel's mean over the windows that cover it; NaN marks windows not done yet.

        A window that is not done takes the value of the nearest one that is. Gaps between windows get 0.
        """
        rows, columns = (self._cover(axis) for axis in (0, 1))
        filled = _fill_nearest(values)
        total = rows.T @ filled @ columns
        count = rows.sum(axis=0)[:, None] * columns.sum(axis=0)[None, :]
        return (total / np.maximum(count, 1)).astype(np.float32)  # type: ignore[no-any-return]

    def _cover(self, axis: int) -> NDArray[np.float64]:
        """Return (windows, pixels): 1 where a window covers a pixel of this axis."""
        starts = np.arange(self.shape[axis])[:, None] * self.stride[axis]
        pixels = np.arange(self.size[axis])[None, :]
        return ((pixels >= starts) & (pixels < starts + self.window[axis])).astype(np.float64)


def _fill_nearest(values: NDArray[np.float64]) -> NDArray[np.float64]:
    missing = np.isnan(values)
    if not missing.any():
        return values
    if missing.all():
        return np.zeros_like(values)
    # breadth-first from the known windows; ties go to the one above, then to the one at the left
    filled = values.copy()
    while (missing := np.isnan(filled)).any():
        around = np.pad(filled, 1, constant_values=np.nan)
        before = filled.copy()
        for part in (around[:-2, 1:-1], around[1:-1, :-2], around[2:, 1:-1], around[1:-1, 2:]):
            take = missing & np.isnan(before) & ~np.isnan(part)
            before[take] = part[take]
        filled = before
    return filled
