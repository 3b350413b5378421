"""All squares of some sides on a picture, and how much each counts."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    #: Side, top and left in pixels, one row a square.
    Squares = NDArray[np.int64]


def sides_of(smallest: float, largest: float, count: int, size: tuple[int, int]) -> tuple[int, ...]:
    """Return sides in pixels, each once, evenly spaced between two shares of the picture's shorter side."""
    found = np.linspace(smallest, largest, count) if count > 1 else np.array([smallest])
    return tuple(dict.fromkeys(max(1, round(share * min(size))) for share in found.tolist()))


@functools.lru_cache(maxsize=8)
def all_squares(sides: tuple[int, ...], step: int, size: tuple[int, int]) -> Squares:
    """Return all squares ``(N, 3)`` whose corners are a multiple of ``step`` or whose far edge is the picture's.

    The order is shuffled, always in the same way: the first of them stand for all, of every side.
    """

    def corners(length: int, side: int) -> list[int]:
        return sorted({*range(0, length - side + 1, step), length - side})

    height, width = size
    found = [(side, top, left) for side in sides for top in corners(height, side) for left in corners(width, side)]
    squares = np.random.default_rng(0).permutation(np.array(found, np.int64))
    squares.setflags(write=False)  # it is kept for the next who asks
    return squares


def weights_of(squares: Squares) -> NDArray[np.float64]:
    """Return the weight of each square, which sum to 1: sides count alike, however many squares have them."""
    _, which, counts = np.unique(squares[:, 0], return_inverse=True, return_counts=True)
    return np.asarray(1.0 / (counts[which] * len(counts)))


def mean_at(squares: Squares, values: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.float32]:
    """Return for each pixel the weighted mean of the values of squares that cover it, ``(H, W)``."""
    total, count = np.zeros(size), np.zeros(size)
    for (side, top, left), value, weight in zip(squares.tolist(), values, weights_of(squares), strict=True):
        inside = np.s_[top : top + side, left : left + side]
        total[inside] += weight * value
        count[inside] += weight
    return np.divide(total, count, out=np.zeros(size), where=count > 0).astype(np.float32)
