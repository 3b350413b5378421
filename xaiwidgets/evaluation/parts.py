"""Square parts of a picture, and the order in which a map ranks them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def squares(size: tuple[int, int], side: int) -> NDArray[np.intp]:
    """Return the number of each pixel's square ``(H, W)``, row by row; the last ones may be cut off by the border."""
    rows, columns = (np.arange(n) // side for n in size)
    found: NDArray[np.intp] = rows[:, None] * (columns[-1] + 1) + columns[None]
    return found


def sums(values: NDArray[Any], parts: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return the sum of a map ``(H, W)`` over each part: what lies outside the picture never counts."""
    found: NDArray[np.float64] = np.bincount(parts.ravel(), np.asarray(values, np.float64).ravel()).astype(np.float64)
    return found


def part_ranks(relevances: NDArray[Any], parts: NDArray[np.intp]) -> NDArray[np.int32]:
    """Return the place ``(H, W)`` of each pixel's part, 0 for the most relevant; equal ones keep their order."""
    return in_order(np.argsort(-np.asarray(relevances, np.float64), kind="stable"), parts)


def in_order(order: NDArray[Any], parts: NDArray[np.intp]) -> NDArray[np.int32]:
    """Return the place ``(H, W)`` of each pixel's part in a list of all parts."""
    place = np.empty(len(order), np.int32)
    place[order] = np.arange(len(order), dtype=np.int32)
    return place[parts]
