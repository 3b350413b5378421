"""Regions cut out of a map by rank, and how small one can be."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

#: In ``saliency_metric``, a region smaller than this share of the photo is no better for it, and a class less probable
#: than this is no worse.
LEAST_AREA, LEAST_PROBABILITY = 0.05, 1e-12


def ranks(values: NDArray[Any], ties: np.random.Generator | None = None) -> NDArray[np.int32]:
    """Return the place of each pixel of a map ``(H, W)``, 0 for its largest value.

    Equal values keep their order in the picture, or get one by chance with ``ties``.
    """
    flat = -np.asarray(values, np.float64).ravel()
    order = np.argsort(flat, kind="stable") if ties is None else np.lexsort((ties.random(flat.size), flat))
    found = np.empty(flat.size, np.int32)
    found[order] = np.arange(flat.size, dtype=np.int32)
    return found.reshape(values.shape)


def coarse_to_fine(count: int) -> list[int]:
    """Return the numbers from 1 to ``count`` − 1, halves first, then quarters, and so on."""
    step, order = 1 << max(count - 1, 1).bit_length(), list[int]()
    while step > 1:
        step //= 2
        order += range(step, count, 2 * step)
    return order


def first_lasting(reached: Mapping[int, bool]) -> int | None:
    """Return the first level that is reached and the next known one too (the last needs no next), or ``None``."""
    levels = sorted(reached)
    for place, level in enumerate(levels):
        if reached[level] and all(reached[other] for other in levels[place + 1 : place + 2]):
            return level
    return None


def tight_box(region: NDArray[np.bool_]) -> tuple[int, int, int, int] | None:
    """Return (top, left, bottom, right), half-open, of the smallest rectangle around a region, or ``None`` if empty."""
    if not region.any():
        return None
    rows, columns = np.flatnonzero(region.any(axis=1)), np.flatnonzero(region.any(axis=0))
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1


def saliency_metric(area: float, probability: float) -> float:
    """Return ``log max(area, 0.05) − log probability``; lower is better (Dabkowski and Gal 2017, section 3.1).

    Args:
        area: of the tightest rectangle around the salient region, as a share of the photo.
        probability: of the class when that rectangle, enlarged to the network's input, is all it sees.
    """
    return math.log(max(area, LEAST_AREA)) - math.log(max(probability, LEAST_PROBABILITY))
