"""Boxes around what a map points at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def energy_box(heat: NDArray[Any], share: float = 0.95) -> tuple[int, int, int, int] | None:
    """Return the tightest box around the fewest pixels that hold this share of a map's energy.

    (top, left, bottom, right) in pixels, the last two not included; ``None`` for a map without evidence. The energy of
    a pixel is its absolute value (Cao et al. 2015, section 5; Zhang et al. 2016).
    """
    sizes = np.abs(np.asarray(heat, dtype=np.float64))
    total = sizes.sum()
    if not total:
        return None
    flat = sizes.ravel()
    order = np.argsort(-flat, kind="stable")
    count = int(np.searchsorted(np.cumsum(flat[order]), share * total)) + 1
    rows, columns = np.unravel_index(order[:count], sizes.shape)
    return int(rows.min()), int(columns.min()), int(rows.max()) + 1, int(columns.max()) + 1
