"""Words and numbers in the text of objectives: written so that they are read back as they were."""

from __future__ import annotations

import re
from numbers import Real
from typing import Any

from xaiwidgets.errors import InvalidTarget

#: Words that need no quotes: names of classes and layers without blanks or signs of arithmetic.
BARE = re.compile(r"[A-Za-z0-9_.#]*[A-Za-z_][A-Za-z0-9_.#]*")
#: Layers are often called by numbers, and before a colon they need no quotes either.
NUMBERED = re.compile(r"[A-Za-z0-9_.#]+")
NUMBER = re.compile(r"[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?")


def finite(what: str, value: Any, low: float = -1e30, high: float = 1e30) -> float:
    """Return a number as float, or raise ``InvalidTarget``."""
    if isinstance(value, bool) or not isinstance(value, Real) or not low <= float(value) <= high:
        raise InvalidTarget(f"{what} must be a number from {low:g} to {high:g}; got {str(value)[:40]!r}.")
    return float(value) + 0.0  # no -0.0, whose text would not give it back


def number(value: float) -> str:
    """Return a number in as few digits as give it back."""
    return repr(float(value)).removesuffix(".0")


def word(name: str, *, numbered: bool = False) -> str:
    """Return a name, in quotes where it holds more than letters, digits, points, _ and #, or could be a number.

    With ``numbered``, a number is no reason: in the place of a layer it is a name.
    """
    if (NUMBERED if numbered else BARE).fullmatch(name) and (numbered or not NUMBER.fullmatch(name)):
        return name
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def where(position: str | tuple[int, int]) -> str:
    """Return ``@center`` or ``@row,column``; nothing for the mean."""
    if isinstance(position, str):
        return "" if position == "mean" else f"@{position}"
    return f"@{position[0]},{position[1]}"
