"""Limited-memory quasi-Newton steps inside a box, as pure functions, so that a run can be saved between two passes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

#: Pairs whose inner product is smaller than this, against the product of their norms, tell nothing of a curvature.
FLAT = 1e-8


def free(point: Tensor, slope: Tensor, low: float, high: float) -> Tensor:
    """Return which values can go down the slope: those at an end of the box whose slope leads out of it cannot."""
    return ~(((point <= low) & (slope > 0)) | ((point >= high) & (slope < 0)))


def curved(change: Tensor, bend: Tensor) -> bool:
    """Return whether a change of the point and the change of the slope that came with it show a positive curvature."""
    return float((change * bend).sum()) > FLAT * float(change.norm() * bend.norm())


def descent(slope: Tensor, among: Tensor, pairs: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """Return a direction down the slope among the free values, of length 0 for the others.

    The two-loop recursion of Nocedal 1980 on the free values alone, as in two-metric projection (Bertsekas 1982).

    Args:
        slope: derivative of what is made smaller.
        among: which values are free.
        pairs: (change of the point, change of the slope), the latest last.
    """
    rest, scale = slope * among, 1.0
    used: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
    for change, bend in reversed(pairs):
        one, other = change * among, bend * among
        if not curved(one, other):
            continue
        weight = 1 / (one * other).sum()
        share = weight * (one * rest).sum()
        rest = rest - share * other
        if not used:
            scale = float(1 / (weight * other.square().sum()))
        used.append((one, other, weight, share))
    rest = scale * rest
    for one, other, weight, share in reversed(used):
        rest = rest + one * (share - weight * (other * rest).sum())
    return -rest * among


def shorter(length: float, slope: float, before: float, after: float) -> float:
    """Return the next length to try on a line: where a parabola through what is known has its bottom.

    Args:
        length: that was too long.
        slope: along the line at its start, per length.
        before: value at the start.
        after: value at ``length``; may be infinite.
    """
    above = after - before - slope * length
    bottom = -slope * length**2 / (2 * above) if 0 < above < float("inf") else 0.0
    return min(max(bottom, 0.1 * length), 0.5 * length)
