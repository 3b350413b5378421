"""Regions that attribution concentrates in: segments at several scales, chosen greedily (Kapishnikov et al. 2019)."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    #: Flat indices of the pixels of a segment, rising.
    Segment = NDArray[np.intp]

#: Felzenszwalb and Huttenlocher's parameters, on a picture of ``SIDE`` pixels with values in [-1, 1].
SCALES, SIGMA, SMALLEST, SIDE = (50, 100, 150, 250, 500, 1200), 0.8, 150, 224
#: How many pictures' segmentations are kept: another target or knob asks for the same ones.
KEPT = 4


def labels_at(pixels: NDArray[Any], scale: float) -> NDArray[np.intp]:
    """Return the segmentation ``(H, W)`` of a picture ``(H, W, C)`` at a scale: each pixel's segment, from 0.

    Read-only, and kept for the last few pictures. A picture of one color is one segment.
    """
    values = np.ascontiguousarray(pixels, dtype=np.float32)
    return _labels(values.tobytes(), values.shape, scale)


@lru_cache(maxsize=KEPT)
def _normal(raw: bytes, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return the picture stretched to [-1, 1] at the size that the scales are meant for."""
    from skimage.transform import resize

    values = np.frombuffer(raw, dtype=np.float32).reshape(shape).astype(np.float64)
    low, high = values.min(), values.max()
    values = 2 * (values - low) / (high - low) - 1 if high > low else np.zeros_like(values)
    # the authors let the border fade to gray when they change the size, which makes segments of its own
    found: NDArray[np.float64] = resize(
        values, (SIDE, SIDE), order=3, mode="edge", preserve_range=True, anti_aliasing=True
    )
    return found


@lru_cache(maxsize=KEPT * len(SCALES))
def _labels(raw: bytes, shape: tuple[int, ...], scale: float) -> NDArray[np.intp]:
    from skimage.segmentation import felzenszwalb
    from skimage.transform import resize

    found = felzenszwalb(_normal(raw, shape), scale=scale, sigma=SIGMA, min_size=SMALLEST)
    found = resize(found, shape[:2], order=0, mode="edge", preserve_range=True, anti_aliasing=False)
    labels: NDArray[np.intp] = found.astype(np.intp)
    labels.flags.writeable = False
    return labels


def segments_of(labels: NDArray[np.intp], radius: int = 5) -> list[Segment]:
    """Return the segments of a segmentation ``(H, W)``, each dilated with a disc of ``radius`` pixels."""
    from scipy.ndimage import distance_transform_edt, find_objects

    height, width = labels.shape
    numbers = np.arange(labels.size).reshape(labels.shape)
    found = []
    for number, place in enumerate(find_objects(labels + 1)):
        if place is None:
            continue
        rows, columns = (
            slice(max(0, side.start - radius), min(limit, side.stop + radius))
            for side, limit in zip(place, (height, width), strict=True)
        )
        near = distance_transform_edt(labels[rows, columns] != number) <= radius
        found.append(numbers[rows, columns][near])
    return found


def segment_means(attribution: NDArray[Any], labels: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return ``(H, W)``: each pixel with the mean attribution of its segment."""
    flat = labels.ravel()
    totals = np.bincount(flat, weights=attribution.ravel().astype(np.float64))
    means: NDArray[np.float64] = totals / np.maximum(np.bincount(flat), 1)
    return means[labels]


class Regions:
    """The regions chosen so far, in the order they were chosen.

    Attributes:
        order: int32 ``(H, W)``: 1 for the first region, 2 for the second, …; 0 for pixels of none.
        gains: mean attribution of each region, over the pixels that no earlier one has.
    """

    def __init__(self, attribution: NDArray[Any]) -> None:
        self.attribution = np.asarray(attribution, dtype=np.float64)
        self.order = np.zeros(attribution.shape, dtype=np.int32)
        self.gains: list[float] = []

    @property
    def share(self) -> float:
        """Share of the picture that the regions cover."""
        return float((self.order > 0).mean())

    def add(self, pixels: Segment) -> None:
        """Add the pixels of a segment that no earlier region has, as the next region."""
        self.gains.append(float(self.attribution.ravel()[pixels].mean()))
        self.order.ravel()[pixels] = len(self.gains)

    def values(self) -> NDArray[np.float64]:
        """Return ``(H, W)``: each region's gain; pixels of none get their mean, so the sum is the attribution's."""
        rest = self.order == 0
        mean = self.attribution[rest].mean() if rest.any() else 0.0
        return np.array([mean, *self.gains])[self.order]

    def grow(
        self, segments: Sequence[Segment], *, least: int = 50, area: float = 1.0, fast: bool = False
    ) -> Iterator[int]:
        """Add regions until a share ``area`` is covered or no segment adds ``least`` pixels; yield their number so far.

        Each is the segment whose pixels outside the earlier regions have the largest mean attribution; with ``fast``,
        the segments are ranked once, by their mean over all their pixels. The first of equal ones is taken.
        """
        for pixels in self._ranked(segments, least) if fast else self._best(segments, least):
            self.add(pixels)
            yield len(self.gains)
            if self.share >= area:
                return

    def _ranked(self, segments: Sequence[Segment], least: int) -> Iterator[Segment]:
        values = self.attribution.ravel()
        segments = [segment for segment in segments if len(segment) >= least]
        means = np.array([values[segment].mean() for segment in segments])
        for number in np.argsort(-means, kind="stable"):
            new = self._new(segments[number])
            if len(new) >= least:
                yield new

    def _best(self, segments: Sequence[Segment], least: int) -> Iterator[Segment]:
        from scipy.sparse import csc_array

        values = self.attribution.ravel()
        ends = np.cumsum([0, *map(len, segments)])
        inside = csc_array(
            (np.ones(ends[-1]), np.concatenate([*segments, np.empty(0, np.intp)]), ends),
            shape=(values.size, len(segments)),
        ).T.tocsc()
        counts = np.diff(ends).astype(np.float64)
        totals = np.array([values[segment].sum() for segment in segments])
        left = np.ones(len(segments), dtype=bool)
        while (left := left & (counts >= least)).any():
            gains = np.where(left, totals / np.maximum(counts, 1), -np.inf)
            best = int(gains.argmax())
            new = self._new(segments[best])
            left[best] = False
            gone = inside[:, new]
            counts -= gone.sum(axis=1)
            totals -= gone @ values[new]
            yield new

    def _new(self, segment: Segment) -> Segment:
        new: Segment = segment[self.order.ravel()[segment] == 0]
        return new


def top(order: NDArray[Any], share: float) -> NDArray[np.bool_]:
    """Return the mask ``(H, W)`` of the first regions of ``order`` that together cover ``share`` or more, or all."""
    covered = np.cumsum(np.bincount(order.ravel(), minlength=1)[1:]) / order.size
    last = int(np.searchsorted(covered, share - 1e-12)) + 1
    return (order > 0) & (order <= last) if share > 0 else np.zeros(order.shape, dtype=bool)
