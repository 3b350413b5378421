"""Numbers beside a color bar."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from xaiwidgets.render.numbers import MINUS, fixed

if TYPE_CHECKING:
    from xaiwidgets.render.scale import Scale


class Tick(NamedTuple):
    """One number on a scale, its text, and where it stands from 0 (low) to 1 (high)."""

    value: float
    label: str
    position: float


def _multiples(scale: Scale, step: float) -> range:
    """Return the k for which ``k * step`` lies on the scale."""
    return range(math.ceil(scale.low / step - 1e-9), math.floor(scale.high / step + 1e-9) + 1)


def _step(scale: Scale, n: int) -> float:
    """Return the smallest of 1, 2, 2.5, 5 times a power of ten that gives at most ``n`` ticks."""
    decade = 10.0 ** math.floor(math.log10((scale.high - scale.low) / n))
    steps = (factor * decade for factor in (1, 2, 2.5, 5, 10, 20, 25, 50))
    return next(step for step in steps if len(_multiples(scale, step)) <= n)


def _label(value: float, step: float, top: float) -> str:
    """Return the text with the decimals that the step deserves; one exponent for the whole scale."""
    exponent = math.floor(math.log10(top)) if not 1e-3 <= top < 1e5 else 0
    if value == 0:
        return "0"
    step /= 10.0**exponent
    decimals = next(d for d in range(20) if math.isclose(step * 10**d, round(step * 10**d), rel_tol=1e-6))
    text = fixed(value / 10.0**exponent, decimals)
    return f"{text}e{exponent}".replace("-", MINUS) if exponent else text


def ticks(scale: Scale, n: int = 5) -> tuple[Tick, ...]:
    """Return at most ``n`` round numbers on the scale, 0 among them if it is there; of an empty scale none."""
    if n < 2:
        raise ValueError(f"n must be at least 2; got {n}.")
    if scale.empty:
        return ()
    step = _step(scale, n)
    span, top = scale.high - scale.low, max(abs(scale.low), abs(scale.high))
    values = [k * step for k in _multiples(scale, step)]
    return tuple(Tick(v, _label(v, step, top), min(max((v - scale.low) / span, 0.0), 1.0)) for v in values)
