"""An object that is an arrangement of parts: a disk above a square and a triangle, against crosses that lie about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

import numpy as np

from xaiwidgets.data.digits import _choice, _whole
from xaiwidgets.data.scenes import Scene, tight_boxes
from xaiwidgets.data.shapes import COLORS, MAX_COUNT, NOISE, SIDE, TEXTURES, Split, _crop, silhouette

if TYPE_CHECKING:
    from numpy.typing import NDArray

CLASSES = ("scattered", "arranged")
PARTS = ("disk", "square", "triangle")
#: Where the parts lie around the middle of the object, in units of the radius: (row, column).
LAYOUT = ((-1.2, 0.0), (1.2, -1.2), (1.2, 1.2))
LEAST, MOST = 4, 7  # radius of a part in pixels, both included
#: Scattered crosses are this far apart, in units of the radius.
APART = 2.2
COUNTS = {"train": 1500, "test": 300}
TRIES = 200


@dataclass(frozen=True, eq=False)
class PartSet:
    """Pictures with their ground truth; all arrays are read-only.

    Attributes:
        images: float32 ``(N, 48, 48, 3)`` in [0, 1].
        labels: int64 ``(N,)``, indices into ``CLASSES``.
        landmarks: int64 ``(N, 3, 2)``: row and column of the middle of each part, in the order of ``PARTS``; of the
            crosses in pictures of scattered ones.
        boxes: int64 ``(N, 3, 4)``: top, left, bottom, right in pixels, the last two not included.
        masks: bool ``(N, 3, 48, 48)``: the pixels of each part.
    """

    images: NDArray[np.float32]
    labels: NDArray[np.int64]
    landmarks: NDArray[np.int64]
    boxes: NDArray[np.int64]
    masks: NDArray[np.bool_]

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            getattr(self, name).setflags(write=False)

    def __len__(self) -> int:
        return len(self.images)

    def scene(self, number: int) -> Scene:
        """Return one of them with its truth: one mask and one box for each part, and the landmarks as a fact."""
        label = CLASSES[self.labels[number]]
        facts = {"landmarks": tuple(map(tuple, self.landmarks[number].tolist()))}
        return Scene(self.images[number], label, self.boxes[number], self.masks[number], f"{label} {number}", facts)

    def scenes(self, count: int | None = None) -> list[Scene]:
        """Return the first of them with their truth."""
        return [self.scene(number) for number in range(len(self) if count is None else min(count, len(self)))]


def parts(split: Split, count: int | None = None, seed: int = 0) -> PartSet:
    """Return pictures of parts, the same bits for the same seed; both classes are equally frequent by chance.

    ``arranged``: a disk above a square and a triangle, at a random place, of a random size and in three random colors.
    ``scattered``: three crosses that do not touch. Textures and noise are as in ``shapes``.

    Raises:
        InvalidKnob: unknown split, or a count or seed out of range.
    """
    _choice("split", split, get_args(Split))
    count = _whole("count", COUNTS[split] if count is None else count, 1, MAX_COUNT)
    rng = np.random.default_rng([_whole("seed", seed, 0, 2**32 - 1), get_args(Split).index(split), 49])
    labels = rng.integers(2, size=count)
    radii = rng.integers(LEAST, MOST + 1, size=count)
    colors = rng.integers(len(COLORS), size=(count, 3))
    images = np.stack([_crop(rng, kind) for kind in rng.integers(len(TEXTURES), size=count)])
    masks = np.zeros((count, 3, SIDE, SIDE), dtype=bool)
    landmarks = np.zeros((count, 3, 2), dtype=np.int64)
    for number, radius in enumerate(radii):
        arranged = bool(labels[number])
        places = landmarks[number] = (_arranged if arranged else _scattered)(rng, int(radius))
        for part, place in enumerate(places):
            masks[number, part] = silhouette(PARTS[part] if arranged else "cross", int(radius), place)
            images[number][masks[number, part]] = list(COLORS.values())[colors[number, part]]
    images = np.clip(images + rng.normal(0, NOISE, images.shape), 0, 1)
    boxes = np.stack([tight_boxes(one) for one in masks])
    return PartSet(images.astype(np.float32), labels, landmarks, boxes, masks)


def _arranged(rng: np.random.Generator, radius: int) -> NDArray[np.int64]:
    around = np.rint(np.array(LAYOUT) * radius).astype(np.int64)
    low, high = radius - around.min(axis=0), SIDE - radius - around.max(axis=0)
    return np.asarray(rng.integers(low, high, size=2) + around)


def _scattered(rng: np.random.Generator, radius: int) -> NDArray[np.int64]:
    for _ in range(TRIES):
        places = rng.integers(radius, SIDE - radius, size=(3, 2))
        distances = [np.abs(places[i] - places[j]).max() for i, j in ((0, 1), (0, 2), (1, 2))]
        if min(distances) >= APART * radius:
            return places
    raise RuntimeError(f"three crosses of radius {radius} must fit into {SIDE} px")
