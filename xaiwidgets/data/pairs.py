"""Two shapes of different classes in one picture: what a map of one class must tell from the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from xaiwidgets.data.digits import _whole
from xaiwidgets.data.scenes import Scene
from xaiwidgets.data.shapes import COLORS, LEAST, MAX_COUNT, NOISE, SHAPES, SIDE, TEXTURES, _crop, silhouette

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Radius in pixels, both included: two of them stand side by side.
MOST = 9


def shape_pairs(count: int, seed: int = 0) -> list[Scene]:
    """Return scenes of two shapes in the two halves of a texture, the same bits for the same seed.

    ``label`` and ``masks`` are of one of the two, ``facts["other"]`` and ``facts["other_mask"]`` of the other; which
    half is whose is drawn.

    Raises:
        InvalidKnob: a count or seed out of range.
    """
    count = _whole("count", count, 1, MAX_COUNT)
    rng = np.random.default_rng([_whole("seed", seed, 0, 2**32 - 1), 2, SIDE])
    return [_pair(rng, number) for number in range(count)]


def _pair(rng: np.random.Generator, number: int) -> Scene:
    kinds, colors = rng.choice(len(SHAPES), 2, replace=False), rng.choice(len(COLORS), 2, replace=False)
    image = _crop(rng, int(rng.integers(len(TEXTURES))))
    half, side_by_side = SIDE // 2, bool(rng.integers(2))
    masks: list[NDArray[np.bool_]] = []
    for place in rng.permutation(2):
        radius = int(rng.integers(LEAST, MOST + 1))
        along = rng.integers(radius, half - radius) + half * place
        across = rng.integers(radius, SIDE - radius)
        kind = SHAPES[kinds[len(masks)]]
        masks.append(silhouette(kind, radius, np.array([across, along] if side_by_side else [along, across])))
    for mask, color in zip(masks, colors, strict=True):
        image[mask] = list(COLORS.values())[color]
    pixels = np.clip(image + rng.normal(0, NOISE, image.shape), 0, 1)
    label, other = (SHAPES[kind] for kind in kinds)
    facts = {"other": other, "other_mask": masks[1]}
    return Scene(pixels.astype(np.float32), label, masks=masks[0], name=f"{label} and {other} {number}", facts=facts)
