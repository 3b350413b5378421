"""Missing pixels as the weighted mean of their neighbors, all at once (Rong et al. 2022)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

#: (rows down, columns across) to a neighbor, and its weight: 1/6 beside, 1/12 across a corner.
NEIGHBORS = tuple(
    ((down, across), 1 / 6 if 0 in (down, across) else 1 / 12)
    for down in (-1, 0, 1)
    for across in (-1, 0, 1)
    if (down, across) != (0, 0)
)


def system(image: Floats, missing: NDArray[np.bool_]) -> tuple[Any, Floats]:
    """Return matrix ``(n, n)`` and right side ``(n, C)`` for the n missing pixels ``(H, W)`` of ``image (C, H, W)``.

    Each missing pixel is the weighted mean of its eight neighbors; those outside the picture drop out. The matrix is
    symmetric and positive definite if any pixel is known.
    """
    from scipy.sparse import csc_matrix

    rows, columns = np.nonzero(missing)
    count = len(rows)
    number = np.full(missing.shape, -1)
    number[rows, columns] = np.arange(count)
    diagonal, right = np.zeros(count), np.zeros((count, len(image)))
    entries = []
    for (down, across), weight in NEIGHBORS:
        row, column = rows + down, columns + across
        inside = (row >= 0) & (row < missing.shape[0]) & (column >= 0) & (column < missing.shape[1])
        here, row, column = np.flatnonzero(inside), row[inside], column[inside]
        diagonal[here] += weight
        there = number[row, column]
        known = there < 0
        right[here[known]] += weight * image[:, row[known], column[known]].T
        entries.append((here[~known], there[~known], np.full((~known).sum(), -weight)))
    entries.append((np.arange(count), np.arange(count), diagonal))
    first, second, values = (np.concatenate(part) for part in zip(*entries, strict=True))
    return csc_matrix((values, (first, second)), shape=(count, count)), right


def imputed(image: NDArray[Any], missing: NDArray[np.bool_]) -> Floats:
    """Return ``image (C, H, W)`` with its missing pixels ``(H, W)`` filled in, float64.

    Solved directly: up to a quarter of a second for most of 224 × 224 pixels. If nothing is known, all stays as it is.
    """
    from scipy.sparse.linalg import splu

    values = np.array(image, np.float64)
    if missing.all() or not missing.any():
        return values
    matrix, right = system(values, missing)
    values[:, missing] = splu(matrix, permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True}).solve(right).T
    return values
