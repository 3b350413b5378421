"""Receptive fields: which pixels an output position may depend on, exactly, axis by axis. No torch.

Position ``i`` depends on the input positions from ``low + jump·i`` to ``high + jump·i``, padding included; clip to the
picture to see pixels (Araujo, Norris, Sim 2019, "Computing receptive fields", without their symmetry assumption).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor, inf, isinf


@dataclass(frozen=True, slots=True)
class Axis:
    """Dependence along one axis; numbers in input pixels."""

    jump: float
    low: float
    high: float

    @property
    def whole(self) -> bool:
        """Whether every position may see everything."""
        return isinf(self.low) and isinf(self.high)

    def reading(self, start: float, stop: float, step: float) -> Axis:
        """Return the dependence of an operation whose output ``i`` reads positions ``step·i + start … step·i + stop``.

        Convolution: start −padding, stop −padding + dilation·(kernel − 1), step stride.
        """
        if self.whole:
            return self
        return Axis(self.jump * step, self.low + self.jump * start, self.high + self.jump * stop)

    def span(self, index: int, length: int) -> tuple[int, int]:
        """Return the half-open range of pixels of a picture of this length that position ``index`` may see."""
        if self.whole:
            return 0, length
        first, last = ceil(self.low + self.jump * index - 1e-6), floor(self.high + self.jump * index + 1e-6)
        first = min(max(first, 0), length)
        return first, max(first, min(last + 1, length))


WHOLE_AXIS = Axis(0.0, -inf, inf)
PIXEL_AXIS = Axis(1.0, 0.0, 0.0)


def union(one: Axis, other: Axis) -> Axis | None:
    """Return the dependence of something computed from both, None if they run at different steps."""
    if one.whole or other.whole:
        return WHOLE_AXIS
    if abs(one.jump - other.jump) > 1e-9:
        return None
    return Axis(one.jump, min(one.low, other.low), max(one.high, other.high))


@dataclass(frozen=True, slots=True)
class Field:
    """The receptive field of the positions of a map, in pixels of the input."""

    rows: Axis
    columns: Axis

    @property
    def whole(self) -> bool:
        """Whether every position sees the whole picture."""
        return self.rows.whole and self.columns.whole

    @property
    def size(self) -> tuple[float, float]:
        """Height and width of what one position sees, padding included; infinite if it is the whole picture."""
        return self.rows.high - self.rows.low + 1, self.columns.high - self.columns.low + 1

    @property
    def stride(self) -> tuple[float, float]:
        """How far the field moves, down and right, from one position to the next; zero for the whole picture."""
        return self.rows.jump, self.columns.jump

    @property
    def offset(self) -> tuple[float, float] | None:
        """The center (row, column) of what position (0, 0) sees, None if it is not limited."""
        if self.rows.whole or self.columns.whole:
            return None
        return (self.rows.low + self.rows.high) / 2, (self.columns.low + self.columns.high) / 2

    def box(self, row: int, column: int, height: int, width: int) -> tuple[int, int, int, int]:
        """Return ``(top, left, bottom, right)``, half open, that a position sees of a picture of this size."""
        top, bottom = self.rows.span(row, height)
        left, right = self.columns.span(column, width)
        return top, left, bottom, right


WHOLE = Field(WHOLE_AXIS, WHOLE_AXIS)
PIXEL = Field(PIXEL_AXIS, PIXEL_AXIS)


def merge(fields: list[Field | None]) -> Field | None:
    """Return the field of something computed position by position from all of them; None if one is unknown."""
    known = [field for field in fields if field is not None]
    if any(field.whole for field in known):
        return WHOLE
    if not known or len(known) < len(fields):
        return None
    rows: Axis | None = known[0].rows
    columns: Axis | None = known[0].columns
    for field in known[1:]:
        rows = rows and union(rows, field.rows)
        columns = columns and union(columns, field.columns)
    return Field(rows, columns) if rows and columns else None
