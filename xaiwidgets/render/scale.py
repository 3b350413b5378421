"""From values to positions on a palette: where the scale starts, where it ends, and what it leaves out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray


@dataclass(frozen=True)
class Scale:
    """The values that the two ends of the palette stand for.

    Attributes:
        low: the smallest value with a color of its own. ``high``: the largest one.
        diverging: whether 0 is in the middle and the sign shows.
        empty: the map has no value other than 0, so the bar says "no evidence".
        clipped: some values lie beyond the ends and share the end colors.
    """

    low: float
    high: float
    diverging: bool = False
    empty: bool = False
    clipped: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"Scale needs finite ends with low < high; got low={self.low!r}, high={self.high!r}.")
        if self.diverging and self.low != -self.high:
            raise ValueError(f"A diverging Scale is centered at 0; got low={self.low!r}, high={self.high!r}.")

    @property
    def against(self) -> bool:
        """Whether the scale is one-sided and runs down from 0: evidence against."""
        return not self.diverging and self.high == 0

    def to_index(self, map: NDArray[Any]) -> NDArray[np.uint8]:
        """Return each value's place on the palette, 0 to 255; a scale of evidence against counts away from 0."""
        start, end = (self.high, self.low) if self.against else (self.low, self.high)
        share = (map - start) / (end - start)
        share *= 255
        share += 0.5
        np.clip(share, 0, 255, out=share)
        index: NDArray[np.uint8] = share.astype(np.uint8)
        return index


def finite_map(map: NDArray[Any]) -> NDArray[Any]:
    """Return the map in a floating type.

    Raises:
        ValueError: it is not ``(h, w)``, it is empty, or a value is NaN or infinite.
    """
    values = np.asarray(map)
    if values.ndim != 2 or values.size == 0:
        raise ValueError(
            f"map must be (h, w) with at least one value; got shape {values.shape}. Reduce channels first."
        )
    if values.dtype not in (np.float32, np.float64):
        values = values.astype(np.float32)
    bad = values.size - int(np.count_nonzero(np.isfinite(values)))
    if bad:
        raise ValueError(
            f"map must be finite; {bad} of {values.size} values are NaN or infinite. Check the method's result."
        )
    return values


def shown_part(map: NDArray[Any], sign: str) -> NDArray[Any]:
    """Return the part of a map that ``Look.sign`` asks for; doing it twice changes nothing.

    ``negative`` keeps its sign, so the color bar of evidence against has the true numbers.
    """
    values = finite_map(map)
    if sign == "absolute":
        values = np.abs(values)
    elif sign == "positive":
        values = np.maximum(values, 0)
    elif sign == "negative":
        values = np.minimum(values, 0)
    return values


def shown_signed(signed: bool, sign: str) -> bool:
    """Return whether the shown part has two sides, for a map whose negative values mean something or not."""
    return sign == "signed" or (sign == "auto" and signed)


def _top(sizes: NDArray[Any], clip: float) -> float:
    """Return the percentile as a value that occurs; of a sparse map, whose percentile is 0, the largest value."""
    # "higher": of the 49 values of a 7 x 7 map, 99.5 % leaves none beyond.
    top = float(np.percentile(sizes, clip, method="higher"))
    return top if top > 0 else float(sizes.max())


def scale_for(map: NDArray[Any], signed: bool, clip: float = 99.5) -> Scale:
    """Return the scale of a map: ±top around 0 if signed, else from exactly 0 to the ``clip`` percentile.

    An unsigned map that has both signs runs from its low percentile to its high one; one without positive values
    runs from its lowest to exactly 0. A map of zeros gives an ``empty`` scale.

    Raises:
        ValueError: the map is not ``(h, w)`` or not finite.
    """
    values = finite_map(map)
    smallest, largest = float(values.min()), float(values.max())
    if smallest == largest == 0:
        return Scale(-1.0, 1.0, diverging=True, empty=True) if signed else Scale(0.0, 1.0, empty=True)
    if signed:
        top = _top(np.abs(values), clip)
        return Scale(-top, top, diverging=True, clipped=max(-smallest, largest) > top)
    # Rounding leaves tiny negative values in maps that cannot have any; they must not move the 0.
    if smallest >= -1e-6 * largest:
        top = _top(values, clip)
        return Scale(0.0, top, clipped=largest > top)
    if largest <= -1e-6 * smallest:
        top = _top(-values, clip)
        return Scale(-top, 0.0, clipped=-smallest > top)
    low, high = -_top(-values, clip), _top(values, clip)
    return Scale(low, high, clipped=smallest < low or largest > high)


def shared_scale(scales: Iterable[Scale]) -> Scale:
    """Return one scale that covers several panels, diverging if any of them is.

    Raises:
        ValueError: there is none.
    """
    every = list(scales)
    if not every:
        raise ValueError("shared_scale needs at least one Scale; got none.")
    speaking = [s for s in every if not s.empty] or every
    low, high = min(s.low for s in speaking), max(s.high for s in speaking)
    diverging = any(s.diverging for s in every)
    if diverging:
        high = max(-low, high)
        low = -high
    return Scale(low, high, diverging, all(s.empty for s in every), any(s.clipped for s in speaking))
