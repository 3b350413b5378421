"""Maps of different units made alike, so that they can be averaged and compared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

NORMALIZATIONS = ("mass", "range", "signed mass")


def alike(heat: NDArray[Any], how: str) -> NDArray[np.float64]:
    """Return a map ``(H, W)`` in a common unit; one without evidence stays 0.

    ``mass``: shares of the absolute values; ``range``: absolute values stretched to [0, 1]; ``signed mass``: shares
    with their signs.
    """
    values = np.asarray(heat, dtype=np.float64)
    sizes = np.abs(values)
    if how == "range":
        low, high = sizes.min(), sizes.max()
        return (sizes - low) / (high - low) if high > low else np.zeros_like(sizes)
    total = sizes.sum()
    if not total:
        return np.zeros_like(sizes)
    shares: NDArray[np.float64] = (values if how == "signed mass" else sizes) / total
    return shares
