"""A photo on grass: a scene whose object is a whole photo, at a known place."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from xaiwidgets.data.scenes import Scene

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Side of the photo in a picture whose smaller side is 224 px, both included.
LEAST, MOST, WHOLE = 96, 150, 224


def composite(photo: NDArray[np.uint8], size: tuple[int, int], rng: np.random.Generator, **truth: Any) -> Scene:
    """Return the middle square of a photo ``(h, w, 3)``, made small, at a random place on grass of ``(H, W)`` pixels.

    Args:
        photo: uint8 pixels.
        size: of the scene, at least 32 px.
        rng: draws side, place and crop of the grass.
        **truth: further fields of the scene: label, name, facts.
    """
    side = round(int(rng.integers(LEAST, MOST + 1)) * min(size) / WHOLE)
    top, left = (int(rng.integers(0, whole - side + 1)) for whole in size)
    pixels = np.repeat(_ground(size, rng)[..., None], 3, axis=2)
    pixels[top : top + side, left : left + side] = square(photo, (side, side))
    box = np.array([[top, left, top + side, left + side]], np.int64)
    return Scene(pixels, boxes=box, **truth)


def square(photo: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.float32]:
    """Return the middle square of a photo ``(h, w, 3)`` at another size, float32 in [0, 1]."""
    from PIL import Image

    height, width = photo.shape[:2]
    edge = min(height, width)
    top, left = (height - edge) // 2, (width - edge) // 2
    middle = Image.fromarray(photo[top : top + edge, left : left + edge])
    return np.asarray(middle.resize(size[::-1], Image.Resampling.BICUBIC), np.float32) / np.float32(255)


def _ground(size: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float32]:
    """Return a random crop of the grass ``(H, W)`` in [0, 1], repeated in mirrors where the texture is too small."""
    grass = _grass()
    short = [max(0, wanted - there) for wanted, there in zip(size, grass.shape, strict=True)]
    if any(short):
        grass = np.pad(grass, [(0, n) for n in short], mode="symmetric")
    top, left = (int(rng.integers(0, there - wanted + 1)) for wanted, there in zip(size, grass.shape, strict=True))
    return grass[top : top + size[0], left : left + size[1]].copy()


@cache
def _grass() -> NDArray[np.float32]:
    from skimage import data

    return np.asarray(data.grass(), dtype=np.float32) / np.float32(255)
