"""What an attack on a map wants: criteria that grow, for NumPy arrays and torch tensors alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from xaiwidgets.errors import InvalidImage

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    #: The strongest pixels, the center ``(row, column)``, and a region.
    Aim = tuple[NDArray[np.bool_], Floats, NDArray[np.bool_]]


def shares(values: NDArray[Any]) -> Floats:
    """Return a map that is nowhere negative divided by its sum; one that is 0 everywhere stays."""
    found = values.astype(np.float64)
    total = float(found.sum())
    return found / total if total > 0 else found


def top_pixels(values: Floats, share: float) -> NDArray[np.bool_]:
    """Return the ``share`` of pixels with the largest values, at least one; of equal ones the first."""
    count = max(1, round(share * values.size))
    chosen = np.zeros(values.size, bool)
    chosen[np.argsort(-values, axis=None, kind="stable")[:count]] = True
    return chosen.reshape(values.shape)


def center(values: Any) -> tuple[Any, Any]:
    """Return the center of mass ``(row, column)`` in pixels of a map that sums to 1."""
    rows, columns = values.sum(1), values.sum(0)
    down, across = np.arange(values.shape[0]), np.arange(values.shape[1])
    if not isinstance(values, np.ndarray):
        down, across = (values.new_tensor(line) for line in (down, across))
    return (rows * down).sum(), (columns * across).sum()


def quiet_corner(values: Floats) -> NDArray[np.bool_]:
    """Return the corner, a third as high and wide as the map, in which the map has the least."""
    height, width = values.shape
    high, wide = max(1, height // 3), max(1, width // 3)
    corners = []
    for rows in (slice(0, high), slice(height - high, height)):
        for columns in (slice(0, wide), slice(width - wide, width)):
            mask = np.zeros(values.shape, bool)
            mask[rows, columns] = True
            corners.append(mask)
    return min(corners, key=lambda mask: float(values[mask].sum()))


def region_of(given: Any, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Return a region that somebody has marked, bool ``(H, W)``.

    Raises:
        InvalidImage: it has another size, is empty, or is no mask.
    """
    found = np.asarray(given)
    if found.shape != size or found.dtype != bool or not found.any():
        raise InvalidImage(
            f"data must be a region of this picture: a bool array of shape {size} with a True somewhere; "
            f"got {type(given).__name__} of {found.shape}, {found.dtype}."
        )
    return found


def fading(values: Any, aim: Any) -> Any:
    """Return minus the share of the map on the pixels that were the strongest."""
    return -values[aim[0]].sum()


def moving(values: Any, aim: Any) -> Any:
    """Return the squared distance of the center from where it was, in px²."""
    row, column = center(values)
    return (row - aim[1][0]) ** 2 + (column - aim[1][1]) ** 2


def lighting(values: Any, aim: Any) -> Any:
    """Return the share of the map in the region."""
    return values[aim[2]].sum()


#: By the name of the attack.
CRITERIA: dict[str, Callable[[Any, Any], Any]] = {"top_k": fading, "mass_center": moving, "target": lighting}
