"""The text twin of a map: what the picture says, for those who cannot see it or want to quote it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from xaiwidgets.render.numbers import interval, number
from xaiwidgets.render.scale import finite_map

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xaiwidgets.render.scale import Scale

__all__ = ["describe", "number", "region"]

_ROWS, _COLUMNS = ("upper", "middle", "lower"), ("left", "center", "right")
#: Places along each axis at which the evidence of the neighborhood is weighed.
_PLACES = 48


def region(row: float, column: float) -> str:
    """Return the name of the ninth of the picture at these shares of its height and width, from 0 to 1."""
    name = f"{_ROWS[min(int(row * 3), 2)]} {_COLUMNS[min(int(column * 3), 2)]}"
    return "center" if name == "middle center" else name


def _weights(length: int) -> NDArray[np.float32]:
    """Return ``(places, length)``: around each place a triangle that reaches half a region far."""
    places = min(length, _PLACES)
    centers = (np.arange(places) + 0.5) / places
    distance = np.abs(centers[:, None] - (np.arange(length) + 0.5) / length)
    weights: NDArray[np.float32] = np.maximum(0, 1 - distance * 6).astype(np.float32)
    return weights


def _strongest(evidence: NDArray[Any]) -> str:
    """Return the region with most evidence around its best place; single noisy pixels do not decide."""
    height, width = evidence.shape
    weighed = _weights(height) @ (evidence / evidence.max()).astype(np.float32) @ _weights(width).T
    row, column = np.unravel_index(int(weighed.argmax()), weighed.shape)
    return region((int(row) + 0.5) / weighed.shape[0], (int(column) + 0.5) / weighed.shape[1])


def _place(values: NDArray[Any], scale: Scale) -> str:
    low, high = float(values.min()), float(values.max())
    if low == high:
        return "the same everywhere"
    parts = []
    if high > 0:
        base = max(low, 0.0) if not scale.diverging else 0.0
        parts.append(f"strongest in the {_strongest(np.maximum(values - base, 0))}")
    if low < 0 and (scale.diverging or scale.against):
        parts.append(f"strongest evidence against in the {_strongest(np.maximum(-values, 0))}")
    return ", ".join(parts) or f"largest in the {_strongest(values - low)}"


def describe(map: NDArray[Any], scale: Scale, *, method: str, target: str, layer: str = "", unit: str = "") -> str:
    """Return one sentence: who explains what, where it is strongest, and from which to which value.

    ``Grad-CAM for espresso at blocks.4: strongest in the lower center, 0.00 to 2.31 logit``. ``map`` is ``(h, w)``,
    the part that is shown on ``scale`` (see ``scale.shown_part``).

    Raises:
        ValueError: the map is not ``(h, w)`` or not finite.
    """
    values = finite_map(map)
    what = f"{method} for {target}" + (f" at {layer}" if layer else "")
    low, high = float(values.min()), float(values.max())
    if low == high == 0:
        return f"{what}: no evidence, all values are 0"
    spread = interval(low, high, unit) if low < high else " ".join(filter(None, (number(low), unit)))
    return f"{what}: {_place(values, scale)}, {spread}"
