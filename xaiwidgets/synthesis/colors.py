"""Colors without correlations: the space that parameterizations paint in, and the way from it to pixels."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

#: Square root of the correlations between red, green and blue in photos (Lucid; Olah et al. 2017).
SQUARE_ROOT = ((0.26, 0.09, 0.02), (0.27, 0.00, -0.05), (0.27, -0.09, 0.03))
#: Pixels of a photo are moved this far from black and white before they are written as logits.
MARGIN = 0.02


@cache
def correlation() -> NDArray[np.float64]:
    """Return the matrix ``(3, 3)`` that brings the correlations of photos in; its longest column has length 1."""
    root = np.asarray(SQUARE_ROOT)
    normalized: NDArray[np.float64] = root / np.linalg.norm(root, axis=0).max()
    return normalized


def correlate(values: Tensor) -> Tensor:
    """Return values ``(N, C, H, W)`` with the color correlations of photos; other than three channels stay."""
    return _mix(values, correlation())


def decorrelate(values: Tensor) -> Tensor:
    """Return the inverse of ``correlate``."""
    return _mix(values, np.asarray(np.linalg.inv(correlation()), np.float64))


def to_pixels(values: Tensor, *, correlated: bool) -> Tensor:
    """Return pixels in [0, 1] for values without limits."""
    return (correlate(values) if correlated else values).sigmoid()


def from_pixels(pixels: Tensor, *, correlated: bool) -> Tensor:
    """Return the values of which pixels come, but for those nearer to black or white than ``MARGIN``."""
    values = pixels.clamp(MARGIN, 1 - MARGIN).logit()
    return decorrelate(values) if correlated else values


def _mix(values: Tensor, matrix: NDArray[np.float64]) -> Tensor:
    import torch

    if values.shape[1] != len(matrix):
        return values
    return torch.einsum("oc,nchw->nohw", torch.tensor(matrix, dtype=values.dtype, device=values.device), values)
