"""Rectangular windows over a picture: where they lie, the order of visit, and how their values are spread."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

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

    @property
    def number(self) -> int:
        """How many windows there are."""
        rows, columns = self.shape
        return rows * columns

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

    def halved(self) -> Grid:
        """Return the grid with windows of half the size, rounded down, at half the stride; neither below one pixel."""
        halves = [(max(1, one // 2), max(1, other // 2)) for one, other in (self.window, self.stride)]
        return Grid(self.size, *halves)

    def spread(self, values: NDArray[np.float64], among: NDArray[np.bool_] | None = None) -> NDArray[np.float32]:
        """Return ``(H, W)``: each pixel's mean over the windows that cover it; NaN marks windows not done yet.

        A window that is not done takes the value of the nearest one that is. Gaps between windows get 0.

        Args:
            values: of the windows, ``(rows, columns)``.
            among: the windows that count; all if not given.
        """
        total = self.total(_fill_nearest(values) if among is None else np.where(among, _fill_nearest(values), 0))
        return (total / np.maximum(self.count(among), 1)).astype(np.float32)  # type: ignore[no-any-return]

    def total(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Return ``(H, W)``: each pixel's sum over the windows that cover it."""
        rows, columns = (self._cover(axis) for axis in (0, 1))
        total: NDArray[np.float64] = rows.T @ values @ columns
        return total

    def count(self, among: NDArray[np.bool_] | None = None) -> NDArray[np.float64]:
        """Return ``(H, W)``: how many windows (of ``among``, if given) cover a pixel."""
        if among is not None:
            return self.total(among.astype(np.float64))
        rows, columns = (self._cover(axis) for axis in (0, 1))
        count: NDArray[np.float64] = rows.sum(axis=0)[:, None] * columns.sum(axis=0)[None, :]
        return count

    def means(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Return ``(rows, columns)``: the mean of a map ``(H, W)`` inside each window."""
        rows, columns = (self._cover(axis) for axis in (0, 1))
        area = rows.sum(axis=1)[:, None] * columns.sum(axis=1)[None, :]
        means: NDArray[np.float64] = rows @ values.astype(np.float64) @ columns.T / area
        return means

    def _cover(self, axis: int) -> NDArray[np.float64]:
        """Return (windows, pixels): 1 where a window covers a pixel of this axis."""
        starts = np.arange(self.shape[axis])[:, None] * self.stride[axis]
        pixels = np.arange(self.size[axis])[None, :]
        return ((pixels >= starts) & (pixels < starts + self.window[axis])).astype(np.float64)


def mean_of_sizes(grids: Sequence[Grid], values: Sequence[NDArray[np.float64]]) -> NDArray[np.float32]:
    """Return ``(H, W)``: the mean of the maps of several grids, each counted by the share of its windows that is done.

    A size that has only begun cannot spoil what the ones before it have found; the finished map is the plain mean.
    """
    shares = [float((~np.isnan(found)).mean()) for found in values]
    begun = [(grid, found, share) for grid, found, share in zip(grids, values, shares, strict=True) if share]
    if len(begun) < 2:
        return grids[0].spread(values[0])
    total = sum(share * grid.spread(found).astype(np.float64) for grid, found, share in begun)
    return np.asarray(total / sum(shares), dtype=np.float32)


def share_done(grids: Sequence[Grid], values: Sequence[NDArray[np.float64]], chosen: NDArray[Any]) -> NDArray[Any]:
    """Return float32 ``(H, W)``: the share of a pixel's windows, of all grids, that are done; 1 where there are none.

    ``chosen`` are the windows of the last grid that count.
    """
    among = [*(np.ones(grid.shape, dtype=bool) for grid in grids[:-1]), chosen]
    pairs = list(zip(grids, values, among, strict=True))
    count = sum(grid.count(counted) for grid, _, counted in pairs)
    done = sum(grid.count(counted & ~np.isnan(found)) for grid, found, counted in pairs)
    return np.where(count > 0, done / np.maximum(count, 1), 1).astype(np.float32)


def largest(grid: Grid, values: NDArray[Any], count: int) -> NDArray[np.bool_]:
    """Return ``(rows, columns)``: the ``count`` windows in which a map ``(H, W)`` has the largest mean.

    Of equal ones the first, row by row.
    """
    means = grid.means(values)
    chosen = np.zeros(means.size, dtype=bool)
    chosen[np.argsort(-means, axis=None, kind="stable")[:count]] = True
    return chosen.reshape(means.shape)


def refined(
    values: NDArray[np.float32], grid: Grid, finer: NDArray[np.float64], among: NDArray[np.bool_], most: float
) -> NDArray[np.float32]:
    """Return a map ``(H, W)`` with the windows ``among`` a finer grid in place of what it had there; the sum stays.

    A smaller window hides less, so its values are scaled up towards what they replace, by a factor from 1 to ``most``;
    what is then still missing from the sum is shared out evenly.
    """
    inside = grid.count(among) > 0
    old, new = values[inside].astype(np.float64), grid.spread(finer, among)[inside].astype(np.float64)
    factor = min(max(old.sum() / new.sum(), 1.0), most) if new.sum() else 1.0
    found = values.copy()
    found[inside] = factor * new + (old.mean() - factor * new.mean())
    return found


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
