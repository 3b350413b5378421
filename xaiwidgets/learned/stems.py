"""Recipes for a pair of architectures that differ in their first convolution alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from xaiwidgets.learned.recipes import Recipe

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

    from xaiwidgets.learned.recipes import Labelled

#: Pictures to learn from: at 96 px each takes four times as long.
COUNTS = {"train": 1600, "test": 400}
SIDE = 96


def stem_recipes() -> tuple[Recipe, Recipe]:
    """Return recipes for 11 × 11 filters at stride 4 and for 7 × 7 at stride 2, on shapes of 96 px (a minute both)."""
    from xaiwidgets.data.shapes import SHAPES

    colors = (0.5,) * 3, (0.25,) * 3
    first, second = (
        Recipe(name, title, _net(name), _shapes, SHAPES, *colors)
        for name, title in (("stem11s4", "11 × 11 at stride 4"), ("stem7s2", "7 × 7 at stride 2"))
    )
    return first, second


def _net(name: str) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        from xaiwidgets.data.stem_nets import NETS

        return NETS[name]()

    return make


def _shapes(split: str) -> Labelled:
    from xaiwidgets.data.digits import resize
    from xaiwidgets.data.shapes import shapes

    found = shapes(split, COUNTS[split])  # type: ignore[arg-type]
    images = np.empty((len(found), SIDE, SIDE, 3), np.float32)
    for color in range(3):
        for start in range(0, len(found), 200):
            part = found.images[start : start + 200, :, :, color].astype(np.float64)
            images[start : start + 200, :, :, color] = resize(part, SIDE)
    return images, found.labels
