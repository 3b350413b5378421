"""Maps to the size of the photo, sampled where torch samples, at exact positions."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@lru_cache(maxsize=64)
def _taps(source: int, target: int) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    """Return for each target position its two neighbors and the weight of the second one."""
    # in double precision: torch rounds them to the precision of the map, by an amount that depends on the processor
    position = np.maximum((np.arange(target) + 0.5) * (source / target) - 0.5, 0.0)
    first = np.minimum(position.astype(np.intp), source - 1)
    second = np.minimum(first + 1, source - 1)
    return first, second, (position - first).astype(np.float32)


@lru_cache(maxsize=64)
def _cells(source: int, target: int) -> NDArray[np.intp]:
    """Return the source cell that the center of each target position falls in; whole numbers, so exact."""
    return (2 * np.arange(target) + 1) * source // (2 * target)


def _checked(values: NDArray[Any], size: tuple[int, int]) -> NDArray[np.float32]:
    if values.ndim != 2 or values.size == 0:
        raise ValueError(
            f"map must be (h, w) with at least one value; got shape {values.shape}. Reduce channels first."
        )
    if len(size) != 2 or min(size) < 1:
        raise ValueError(f"size must be (H, W), both at least 1; got {size}.")
    return values.astype(np.float32, copy=False)


def bilinear(map: NDArray[Any], size: tuple[int, int]) -> NDArray[np.float32]:
    """Return the map at ``size``, float32 ``(H, W)``: bilinear, corners not aligned, no anti-aliasing.

    Equal to ``torch.nn.functional.interpolate(mode="bilinear", align_corners=False)`` on float32. Two gathers and
    one blend an axis; the columns go first, while the map is still small.
    """
    values = _checked(map, size)
    if values.shape == tuple(size):
        return values.copy()
    first, second, weight = _taps(values.shape[1], size[1])
    wide = values[:, first]
    wide *= 1 - weight
    wide += values[:, second] * weight
    first, second, weight = _taps(values.shape[0], size[0])
    result = wide[first]
    result *= (1 - weight)[:, None]
    other = wide[second]
    other *= weight[:, None]
    result += other
    return result


def nearest(map: NDArray[Any], size: tuple[int, int]) -> NDArray[np.float32]:
    """Return the map at ``size``, float32 ``(H, W)``, each position with the value of the cell it lies in.

    Equal to ``torch.nn.functional.interpolate(mode="nearest-exact")``.
    """
    values = _checked(map, size)
    return values[_cells(values.shape[0], size[0])][:, _cells(values.shape[1], size[1])]
