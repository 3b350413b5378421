"""How alike two maps are: rank correlation, SSIM and HOG, as in the sanity checks of Adebayo et al. 2018."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from xaiwidgets.core.correlation import pearson, spearman

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

#: Sides under which SSIM's Gaussian window of 11 does not fit, and under which HOG's cells of 16 are too few.
SMALL, FEW = 11, 48
#: Maps are divided by this percentile before SSIM and HOG.
PERCENTILE = 99.0


#: Numbers from which on the rank correlation of random maps is normally distributed to three digits.
MANY = 500


def random_spearman(count: int, rng: np.random.Generator) -> float:
    """Return the rank correlation of two maps of ``count`` random numbers, without drawing and sorting them.

    Its mean is 0 and its variance ``1 / (count - 1)``, exactly.
    """
    if count > MANY:
        return float(np.clip(rng.normal() / math.sqrt(count - 1), -1, 1))
    return pearson(rng.permutation(count), rng.permutation(count))


def spearman_abs(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Return the rank correlation of the absolute values of two maps ``(H, W)``."""
    return spearman(np.abs(one), np.abs(other))


def spearman_signed(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Return the rank correlation of two maps ``(H, W)``, with their signs."""
    return spearman(one, other)


def spearman_nz(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Return the rank correlation of absolute values over pixels where either map is not 0.

    A large background that is 0 in both maps makes any two alike.
    """
    there = (one != 0) | (other != 0)
    return spearman(np.abs(one[there]), np.abs(other[there])) if there.sum() > 1 else math.nan


def normalized(map: NDArray[Any]) -> Floats:
    """Return the absolute map less its least value, divided by its 99th percentile, clipped to [0, 1]."""
    values = np.abs(np.asarray(map, np.float64))
    values = values - values.min()
    top = np.percentile(values, PERCENTILE)
    if top == 0:  # nearly all of the map is at its least value
        top = values.max() or 1.0
    found: Floats = np.clip(values / top, 0, 1)
    return found


def ssim(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Return the structural similarity of two maps ``(H, W)``, in [-1, 1] (Wang et al. 2004, by scikit-image).

    Gaussian windows of sigma 1.5 over ``normalized`` maps; a uniform window of 5 (3 under 5 px) for maps under 11 px.
    """
    from skimage.metrics import structural_similarity

    first, second = normalized(one), normalized(other)
    side = min(first.shape)
    if side < 3:
        return math.nan
    window: dict[str, Any] = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    if side < SMALL:
        window = {"win_size": 5 if side >= 5 else 3}
    return float(structural_similarity(first, second, data_range=1.0, **window))


def hog(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Return the rank correlation of two maps' histograms of oriented gradients (Dalal and Triggs 2005).

    9 bins, cells of 16 px (a quarter of the height under 48 px), blocks of 3 cells, by scikit-image.
    """
    return between(descriptor(one), descriptor(other))


def between(one: Floats | None, other: Floats | None) -> float:
    """Return the rank correlation of two descriptors, NaN where the maps are too small to have any."""
    return math.nan if one is None or other is None else spearman(one, other)


def descriptor(map: NDArray[Any]) -> Floats | None:
    """Return a map's histograms of oriented gradients, or ``None`` if it is too small; see ``hog``."""
    from skimage.feature import hog as histogram

    height, width = map.shape
    side = min(height, width)
    cell = 16 if side >= FEW else max(1, side // 4)
    if side // cell < 3:
        return None
    found: Floats = histogram(
        normalized(map), orientations=9, pixels_per_cell=(cell, cell), cells_per_block=(3, 3), block_norm="L2-Hys"
    )
    return found


#: By name, in the order they are shown.
SIMILARITIES = {
    "spearman_abs": spearman_abs,
    "spearman_signed": spearman_signed,
    "spearman_nz": spearman_nz,
    "ssim": ssim,
    "hog": hog,
}


def small(size: tuple[int, int]) -> bool:
    """Return whether maps of this size are too small for the windows of the original (code ``W_SMALL``)."""
    return min(size) < FEW
