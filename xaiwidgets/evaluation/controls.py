"""Maps that know nothing of the network: what every test must be shown to tell from an explanation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Map = NDArray[np.float32]


def random_map(pixels: NDArray[np.float32], seed: int) -> Map:
    """Return independent numbers from [0, 1), ``(H, W)``."""
    return np.random.default_rng([seed, 1]).random(pixels.shape[:2], dtype=np.float32)


def constant_map(pixels: NDArray[np.float32], seed: int) -> Map:
    """Return ones, ``(H, W)``."""
    return np.ones(pixels.shape[:2], np.float32)


def center_map(pixels: NDArray[np.float32], seed: int) -> Map:
    """Return a Gaussian around the center, ``(H, W)``, whose width is a quarter of each side."""
    rows, columns = (np.exp(-0.5 * ((np.arange(n) - (n - 1) / 2) / (n / 4)) ** 2) for n in pixels.shape[:2])
    return np.outer(rows, columns).astype(np.float32)


def sobel_map(pixels: NDArray[np.float32], seed: int) -> Map:
    """Return how strong the edges of the photo are, ``(H, W)``: Sobel's magnitude of the mean over colors."""
    from skimage.filters import sobel

    found: Map = sobel(pixels.mean(axis=2)).astype(np.float32)
    return found


#: By the name they are shown with: from pixels ``(H, W, C)`` in [0, 1] and a seed to a map ``(H, W)``.
CONTROLS: dict[str, Callable[[NDArray[np.float32], int], Map]] = {
    "random": random_map,
    "constant": constant_map,
    "center": center_map,
    "edges": sobel_map,
}
