"""Quadrature rules on [0, 1], and an order of visit in which every prefix covers the whole interval."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

RULES = ("riemann_middle", "gausslegendre", "riemann_trapezoid", "riemann_left", "riemann_right", "pair")


def nodes(rule: str, count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return (positions, weights) of ``count`` points on [0, 1]; the weights sum to one.

    ``pair`` is the rule of the PAIR saliency library: both ends included, equal weights.
    """
    steps = np.arange(count, dtype=np.float64)
    equal = np.full(count, 1.0 / count)
    if rule == "gausslegendre":
        positions, weights = np.polynomial.legendre.leggauss(count)
        return (positions + 1) / 2, weights / 2
    if rule == "riemann_middle":
        return (steps + 0.5) / count, equal
    if rule == "riemann_left":
        return steps / count, equal
    if rule == "riemann_right":
        return (steps + 1) / count, equal
    if rule == "riemann_trapezoid":
        weights = np.full(count, 1.0 / (count - 1))
        weights[[0, -1]] /= 2
        return steps / (count - 1), weights
    if rule == "pair":
        return steps / (count - 1), equal
    raise ValueError(f"rule must be one of {', '.join(RULES)}; got {rule!r}.")


def early_first(count: int) -> NDArray[Any]:
    """Return 0 … count-1 in bit-reversed (van der Corput) order, so that any prefix is spread over the range."""
    bits = max(1, int(count - 1).bit_length())
    order = [int(f"{number:0{bits}b}"[::-1], 2) for number in range(2**bits)]
    return np.array([number for number in order if number < count])
