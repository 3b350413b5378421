"""Segments of a picture that are shown or hidden as one."""

from __future__ import annotations

from functools import lru_cache
from math import ceil, log
from typing import TYPE_CHECKING, Any

import numpy as np

from xaiwidgets.core.knobs import Choice

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from torch import Tensor

    from xaiwidgets.model.model import Model

#: Ways to cut a picture. How many segments the first two give is known beforehand, see ``number_of``.
SEGMENTERS = Choice(("slic", "grid", "quickshift", "felzenszwalb"))
COUNTED = Choice(SEGMENTERS.options[:2])
#: SLIC finds fewer clusters than it is told to look for; it looks for so many times the number that is wanted.
MORE = 1.25
#: What a hidden segment shows: its own mean color, or a baseline.
FILLS = Choice(("segment_mean", "gray", "mean", "black", "white", "blur", "border"))
#: How many pictures' segments are kept: another target or knob asks for the same ones.
KEPT = 16


def grid_shape(size: tuple[int, int], count: int) -> tuple[int, int]:
    """Return (rows, columns) of a grid of nearly as many cells as asked for, never more, and nearly square ones."""
    height, width = size

    def flaws(rows: int) -> float:
        columns = min(count // rows, width)
        return 1 - rows * columns / count + 0.3 * abs(log(height / rows * columns / width))

    rows = min(range(1, min(count, height) + 1), key=flaws)
    return rows, min(count // rows, width)


def number_of(how: str, count: int, size: tuple[int, int]) -> int:
    """Return how many segments a cut of ``COUNTED`` gives: of a grid as many as fit, of SLIC those that are wanted."""
    rows, columns = grid_shape(size, count)
    return rows * columns if how == "grid" else min(count, size[0] * size[1])


def segments(pixels: NDArray[Any], how: str, count: int) -> NDArray[np.intp]:
    """Return the segment of each pixel ``(H, W)``, numbered from 0 without gaps; read-only, kept for the last pictures.

    Args:
        pixels: ``(H, W, C)`` in [0, 1].
        how: one of ``SEGMENTERS``. Quickshift and Felzenszwalb's method find their number themselves.
        count: how many segments are wanted.
    """
    values = np.ascontiguousarray(pixels, dtype=np.float32)
    return _segments(values.tobytes(), values.shape, SEGMENTERS.check("segmenter", how), count)


@lru_cache(maxsize=KEPT)
def _segments(raw: bytes, shape: tuple[int, int, int], how: str, count: int) -> NDArray[np.intp]:
    pixels = np.frombuffer(raw, dtype=np.float32).reshape(shape)
    height, width = shape[:2]
    if how == "grid":
        rows, columns = grid_shape((height, width), count)
        down, across = np.arange(height) * rows // height, np.arange(width) * columns // width
        found = down[:, None] * columns + across
    else:
        found = _skimage(np.repeat(pixels, 3, axis=2) if shape[2] == 1 else pixels, how, count)
    labels: NDArray[np.intp] = np.unique(found, return_inverse=True)[1].reshape(height, width)
    if how == "slic":
        labels = parted(merged(labels, count), min(count, labels.size))
    labels.flags.writeable = False
    return labels


def _skimage(pixels: NDArray[np.float32], how: str, count: int) -> NDArray[Any]:
    from skimage.segmentation import felzenszwalb, quickshift, slic

    values = pixels.astype(np.float64).clip(0, 1)
    if how == "slic":
        # with one compactness for all, a texture falls into one segment
        wanted = ceil(MORE * count)
        return slic(values, n_segments=wanted, start_label=0, slic_zero=True)  # type: ignore[no-any-return]
    if how == "quickshift":  # the settings of LIME's authors
        return quickshift(values, kernel_size=4, max_dist=200, ratio=0.2, rng=0)  # type: ignore[no-any-return]
    least = max(1, values.shape[0] * values.shape[1] // (4 * count))
    return felzenszwalb(values, scale=100, sigma=0.8, min_size=least)  # type: ignore[no-any-return]


def merged(labels: NDArray[np.intp], most: int) -> NDArray[np.intp]:
    """Return at most so many segments: the smallest one joins the neighbor that it shares the longest border with."""
    labels = labels.copy()
    while labels.max() + 1 > most:
        smallest = int(np.bincount(labels.ravel()).argmin())
        inside = labels == smallest
        sides = [(inside[1:], labels[:-1]), (inside[:-1], labels[1:])]
        sides += [(inside[:, 1:], labels[:, :-1]), (inside[:, :-1], labels[:, 1:])]
        around = np.concatenate([other[mine & (other != smallest)] for mine, other in sides])
        labels[inside] = np.bincount(around).argmax()
        labels[labels > smallest] -= 1
    return labels


def parted(labels: NDArray[np.intp], least: int) -> NDArray[np.intp]:
    """Return at least so many segments: the largest one is cut in half across its longer side, again and again."""
    labels = labels.copy()
    while labels.max() + 1 < least:
        inside = np.argwhere(labels == np.bincount(labels.ravel()).argmax())
        longer = int(np.ptp(inside, axis=0).argmax())
        inside = inside[np.argsort(inside[:, longer], kind="stable")][len(inside) // 2 :]
        labels[tuple(inside.T)] = labels.max() + 1
    return labels


def hide(model: Model, image: Tensor, labels: NDArray[np.intp], fill: str) -> Callable[[Tensor, Tensor], None]:
    """Return what writes copies of a picture with some segments hidden.

    The function takes a buffer ``(n, C, H, W)`` and which segments are shown, ``(n, M)`` of zeros and ones in the
    number type of the picture.
    """
    import torch

    from xaiwidgets.engine.baselines import baseline

    size = image.shape[2:]
    places = torch.tensor(labels.ravel(), device=image.device)
    if FILLS.check("fill", fill) == "segment_mean":
        flat = image[0].flatten(1)
        sums = flat.new_zeros(len(flat), int(places.max()) + 1).index_add_(1, places, flat)
        cover = (sums / torch.bincount(places))[:, places].reshape(image.shape)
    else:
        cover = baseline(model, image, fill)
    difference = image - cover

    def write(copies: Tensor, shown: Tensor) -> None:
        masks = shown.index_select(1, places).reshape(len(shown), 1, *size)
        torch.addcmul(cover, difference, masks, out=copies)

    return write


def spread(values: NDArray[Any], labels: NDArray[np.intp]) -> NDArray[np.float32]:
    """Return ``(1, H, W)``: at each pixel its segment's value."""
    return np.asarray(values, dtype=np.float32)[labels][None]
