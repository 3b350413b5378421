"""Agreement of raters beyond chance."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from xaiwidgets.errors import InvalidKnob

if TYPE_CHECKING:
    from numpy.typing import NDArray


def krippendorff_alpha(values: Any, level: Literal["nominal", "ordinal"] = "nominal") -> float:
    """Return Krippendorff's alpha: 1 is full agreement, 0 that of chance; NaN where it is not defined.

    Args:
        values: ``(raters, units)``, NaN where a rater gave no answer.
        level: ``nominal`` (answers are the same or not) or ``ordinal`` (they have an order).

    α = 1 − D_observed / D_expected over the coincidence matrix of all pairs of answers to one unit; ordinal distances
    are (Σ n_g from c to k − (n_c + n_k)/2)² (Krippendorff 2011, "Computing Krippendorff's alpha-reliability").

    Raises:
        InvalidKnob: another level, or values that are not a table.
    """
    if level not in ("nominal", "ordinal"):
        raise InvalidKnob(f"level must be nominal or ordinal; got {level!r}.")
    table = np.asarray(values, np.float64)
    if table.ndim != 2:
        raise InvalidKnob(f"values must be (raters, units); got {table.shape}.")
    known = np.unique(table[np.isfinite(table)])
    counts = (table[:, :, None] == known).sum(axis=0).astype(np.float64)  # (units, categories)
    counts = counts[counts.sum(axis=1) >= 2]  # a unit that one rater has judged is compared with nothing
    if not len(counts):
        return math.nan
    pairs = counts.sum(axis=1) - 1
    together = (counts.T / pairs) @ counts - np.diag((counts / pairs[:, None]).sum(axis=0))
    each = together.sum(axis=0)
    distance = _distances(each, level)
    expected = float((np.outer(each, each) * distance).sum() / (each.sum() - 1))
    return math.nan if expected == 0 else 1 - float((together * distance).sum()) / expected


def _distances(each: NDArray[np.float64], level: str) -> NDArray[np.float64]:
    if level == "nominal":
        return np.asarray(1.0 - np.eye(len(each)))
    middle = np.cumsum(each) - each / 2
    return np.asarray(np.subtract.outer(middle, middle) ** 2)
