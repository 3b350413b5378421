"""From a map to a box: thresholds, components, and how far a box is from the true one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from xaiwidgets.engine.ranks import tight_box

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

#: How a map is cut into foreground and background.
RULES = ("energy", "value", "mean")
#: Levels that are tried when thresholds are tuned (Fong and Vedaldi 2017, section 5.3).
LEVELS = {
    "energy": tuple(round(0.05 * n, 2) for n in range(20)),
    "value": tuple(round(0.05 * n, 2) for n in range(20)),
    "mean": tuple(0.5 * n for n in range(21)),
}

Box = tuple[int, int, int, int]


def foreground(map: NDArray[Any], rule: str, level: float) -> NDArray[np.bool_]:
    """Return the foreground ``(H, W)`` of a map that is nowhere negative.

    ``energy``: the smallest set of largest values whose sum reaches this share of the total, with all that are equal to
    the least of them; ``value``: values of at least this share of the range above the least one; ``mean``: values of
    at least so many times the mean. A map of zeros is foreground everywhere.
    """
    values = np.asarray(map, np.float64)
    return np.asarray(values >= cuts(values, rule, (level,))[0])


def cuts(values: NDArray[np.float64], rule: str, levels: Sequence[float]) -> list[float]:
    """Return the least value of the foreground for each of several levels of a rule; see ``foreground``."""
    if rule == "energy":
        falling = np.sort(values, axis=None)[::-1]
        sums = np.cumsum(falling)
        # a sum over many pixels may miss the total by rounding
        reached = np.searchsorted(sums, np.array(levels) * sums[-1] * (1 - 1e-12), side="left")
        return [float(falling[min(int(n), len(falling) - 1)]) for n in reached]
    if rule == "value":
        low, high = float(values.min()), float(values.max())
        return [level * (high - low) + low for level in levels]
    if rule == "mean":
        return [level * float(values.mean()) for level in levels]
    raise ValueError(f"rule must be one of {', '.join(RULES)}; got {rule!r}")


def box_of(found: NDArray[np.bool_], *, largest: bool = False) -> Box | None:
    """Return the tightest half-open box around a mask or around its largest component (8-connected), or ``None``."""
    if largest:
        from scipy.ndimage import label

        parts, count = label(found, np.ones((3, 3)))
        if count > 1:
            found = parts == 1 + int(np.argmax(np.bincount(parts.ravel())[1:]))
    return tight_box(found)


def iou(one: Any, other: Any) -> float:
    """Return the intersection over the union of two half-open boxes (top, left, bottom, right)."""
    height = min(one[2], other[2]) - max(one[0], other[0])
    width = min(one[3], other[3]) - max(one[1], other[1])
    both = max(0, height) * max(0, width)
    union = (one[2] - one[0]) * (one[3] - one[1]) + (other[2] - other[0]) * (other[3] - other[1]) - both
    return float(both / union) if union else 0.0


def best_iou(box: Box | None, truth: NDArray[np.int64]) -> float:
    """Return the largest intersection over union with any of several true boxes ``(K, 4)``; 0 for no box."""
    return 0.0 if box is None else max(iou(box, one) for one in truth.tolist())


def center_box(size: tuple[int, int]) -> Box:
    """Return the box in the middle that covers half of a picture."""
    height, width = (round(n / 2**0.5) for n in size)
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    return top, left, top + height, left + width


def whole_box(size: tuple[int, int]) -> Box:
    """Return the box that is the whole picture."""
    return 0, 0, *size


def outline(box: Box | None, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Return the pixels ``(H, W)`` of a box's edge."""
    found = np.zeros(size, dtype=bool)
    if box is not None:
        top, left, bottom, right = box
        found[top:bottom, left:right] = True
        found[top + 1 : bottom - 1, left + 1 : right - 1] = False
    return found
