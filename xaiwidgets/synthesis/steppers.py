"""One step up a slope with running moments that a run can save: Adam, and Adam with Nesterov's look ahead."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

#: How much of the two moments is kept at each step, and what keeps the division from zero.
KEPT, KEPT_SQUARE, TINY = 0.9, 0.999, 1e-8
#: How fast Nesterov's momentum grows to its value (Dozat 2016, as in Keras and PyTorch).
WARMING = 4e-3


def moments(mean: Tensor, square: Tensor, slope: Tensor) -> tuple[Tensor, Tensor]:
    """Return the running means of slopes and of their squares with one slope more."""
    return KEPT * mean + (1 - KEPT) * slope, KEPT_SQUARE * square + (1 - KEPT_SQUARE) * slope * slope


def adam(mean: Tensor, square: Tensor, count: int, rate: float) -> Tensor:
    """Return what to add after ``count`` slopes, to go up (Kingma and Ba 2015, algorithm 1)."""
    return rate * (mean / (1 - KEPT**count)) / ((square / (1 - KEPT_SQUARE**count)).sqrt() + TINY)


def nadam(mean: Tensor, square: Tensor, slope: Tensor, count: int, rate: float) -> Tensor:
    """Return what to add after ``count`` slopes, of which ``slope`` is the last, to go up (Dozat 2016)."""
    product = 1.0
    for step in range(1, count + 1):
        product *= _momentum(step)
    now, after = _momentum(count), _momentum(count + 1)
    size = (square / (1 - KEPT_SQUARE**count)).sqrt() + TINY
    return rate * ((1 - now) / (1 - product) * slope + after / (1 - product * after) * mean) / size


def _momentum(step: int) -> float:
    return float(KEPT * (1 - 0.5 * 0.96 ** (step * WARMING)))
