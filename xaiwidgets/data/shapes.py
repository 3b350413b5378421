"""Colored shapes on photographed textures, whose explanation is known: four classes, with boxes, masks and facts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from xaiwidgets.data.digits import _choice, _whole
from xaiwidgets.data.scenes import Scene, tight_boxes

if TYPE_CHECKING:
    from numpy.typing import NDArray

Tags = Literal["none", "correlated", "random"]
Split = Literal["train", "test"]

SIDE = 48
SHAPES = ("disk", "square", "triangle", "cross")
COLORS = {"red": (0.9, 0.2, 0.2), "green": (0.2, 0.8, 0.25), "blue": (0.25, 0.35, 0.95), "yellow": (0.95, 0.85, 0.2)}
TEXTURES = ("brick", "grass", "gravel")
LEAST, MOST = 6, 11  # radius in pixels, both included
NOISE = 0.02
COUNTS = {"train": 2400, "test": 400}
MAX_COUNT = 50_000
#: Of the tag: rows, columns, and how often the class that it goes with has it.
TAG, AGREES = (5, 8), 0.95
#: The class that a correlated tag goes with.
TAGGED = 0


@dataclass(frozen=True, eq=False)
class ShapeSet:
    """Pictures with their ground truth; all arrays are read-only.

    Attributes:
        images: float32 ``(N, 48, 48, 3)`` in [0, 1].
        labels: int64 ``(N,)``, indices into ``SHAPES``. ``colors``, ``textures``: into ``COLORS`` and ``TEXTURES``.
        boxes: int64 ``(N, 1, 4)``: top, left, bottom, right in pixels, the last two not included.
        masks: bool ``(N, 1, 48, 48)``: the pixels of the shape.
        tagged: bool ``(N,)``: whether there is a tag at the bottom left.
    """

    images: NDArray[np.float32]
    labels: NDArray[np.int64]
    colors: NDArray[np.int64]
    textures: NDArray[np.int64]
    boxes: NDArray[np.int64]
    masks: NDArray[np.bool_]
    tagged: NDArray[np.bool_]

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            getattr(self, name).setflags(write=False)

    def __len__(self) -> int:
        return len(self.images)

    def scene(self, number: int) -> Scene:
        """Return one of them with its truth."""
        facts = {
            "color": tuple(COLORS)[self.colors[number]],
            "texture": TEXTURES[self.textures[number]],
            "tagged": bool(self.tagged[number]),
        }
        label = SHAPES[self.labels[number]]
        return Scene(self.images[number], label, self.boxes[number], self.masks[number], f"{label} {number}", facts)

    def scenes(self, count: int | None = None) -> list[Scene]:
        """Return the first of them with their truth."""
        return [self.scene(number) for number in range(len(self) if count is None else min(count, len(self)))]


def shapes(split: Split, count: int | None = None, seed: int = 0, *, tags: Tags = "none") -> ShapeSet:
    """Return pictures of one shape each, the same bits for the same seed; classes are equally frequent by chance.

    A disk, square, triangle or cross of radius 6 to 11 px at a random place and in one of four colors, on a random
    crop of brick, grass or gravel, with a little noise. ``tags``: ``correlated`` puts a white and black tag at the
    bottom left of 95 % of the disks and of 5 % of the others, ``random`` of half of all pictures, as publishers' tags
    did in the photo collection of Lapuschkin et al. 2016.

    Raises:
        InvalidKnob: unknown split or tags, or a count or seed out of range.
    """
    _choice("split", split, get_args(Split))
    _choice("tags", tags, get_args(Tags))
    count = _whole("count", COUNTS[split] if count is None else count, 1, MAX_COUNT)
    rng = np.random.default_rng([_whole("seed", seed, 0, 2**32 - 1), get_args(Split).index(split), 48])
    labels, colors = rng.integers(len(SHAPES), size=count), rng.integers(len(COLORS), size=count)
    textures = rng.integers(len(TEXTURES), size=count)
    radii = rng.integers(LEAST, MOST + 1, size=count)
    images = np.stack([_crop(rng, kind) for kind in textures])
    masks = np.zeros((count, SIDE, SIDE), dtype=bool)
    for number, radius in enumerate(radii):
        center = rng.integers(radius, SIDE - radius, size=2)
        masks[number] = silhouette(SHAPES[labels[number]], radius, center)
        images[number][masks[number]] = list(COLORS.values())[colors[number]]
    agrees = rng.random(count)
    tagged = np.zeros(count, dtype=bool)
    if tags != "none":
        share = np.where(labels == TAGGED, AGREES, 1 - AGREES) if tags == "correlated" else np.full(count, 0.5)
        tagged = agrees < share
        images[tagged] = tag(images[tagged])
    images = np.clip(images + rng.normal(0, NOISE, images.shape), 0, 1)
    return ShapeSet(
        images.astype(np.float32), labels, colors, textures, tight_boxes(masks)[:, None], masks[:, None], tagged
    )


def silhouette(shape: str, radius: int, center: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return the pixels ``(48, 48)`` of a shape that fits into a circle's square of this radius around a center."""
    rows, columns = np.ogrid[:SIDE, :SIDE]
    down, across = rows - center[0], columns - center[1]
    inside = (abs(down) <= radius) & (abs(across) <= radius)
    if shape == "disk":
        return np.asarray(down**2 + across**2 <= radius**2)
    if shape == "square":
        return np.asarray((abs(down) <= 0.8 * radius) & (abs(across) <= 0.8 * radius))
    if shape == "triangle":
        return np.asarray(inside & (abs(across) <= (down + radius) / 2))
    arm = radius / 3
    return np.asarray(inside & ((abs(down) <= arm) | (abs(across) <= arm)))


def tag(images: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return pictures ``(N, 48, 48, 3)`` with a white tag of black stripes at the bottom left."""
    found = images.copy()
    height, width = TAG
    found[:, SIDE - height - 1 : SIDE - 1, 1 : width + 1] = 1
    found[:, SIDE - height : SIDE - 2, 2:width:2] = 0
    return found


@cache
def _texture(kind: int) -> NDArray[np.float64]:
    from skimage import data

    return np.asarray(getattr(data, TEXTURES[kind])(), dtype=np.float64) / 255


def _crop(rng: np.random.Generator, kind: int) -> NDArray[np.float64]:
    """Return a random crop of a texture, ``(48, 48, 3)``, gray and at half its contrast."""
    texture = _texture(int(kind))
    top, left = rng.integers(np.array(texture.shape) - 2 * SIDE, size=2)
    crop = texture[top : top + 2 * SIDE : 2, left : left + 2 * SIDE : 2]
    return np.repeat((0.25 + 0.5 * crop)[..., None], 3, axis=2)
