"""Many views of a few pictures: what statistics of single units are taken over."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from xaiwidgets.errors import InvalidKnob

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from xaiwidgets.model.model import Model
    from xaiwidgets.model.pictures import Picture
    from xaiwidgets.model.references import ReferenceSet

#: Smallest share of a picture's area that a view shows, and largest ratio of a view's sides.
LEAST, LONGEST = 0.3, 4 / 3
#: Smaller pictures are not read.
SIDE = 16
#: Sets of at most so many pictures are kept in memory while they are looked at again and again.
KEPT = 32


class Views:
    """``count`` views of a set of pictures: each picture as the model sees it, then windows of all in turn.

    Windows have an area and proportions drawn at random, view by view, so that any part of them can be made alone;
    they are never mirrored, for writing has a direction. Of a set of more pictures, ``count`` are taken.

    Raises:
        InvalidKnob: the set is made of baselines, which are no pictures.
    """

    def __init__(self, pictures: ReferenceSet, count: int, seed: int = 0) -> None:
        if pictures.baselines:
            raise InvalidKnob(
                f"patterns must be a set of pictures, such as photos; {pictures.name!r} holds plain baselines."
            )
        self.pictures, self.count, self.seed = pictures, count, seed
        self._order = pictures.chosen(count)
        self._kept: dict[int, Picture] = {}

    def sentence(self) -> str:
        """Return in words what is looked at."""
        few = len(self._order)
        which = f"picture{'s' * (few != 1)}" + (f" of {self.pictures.name!r}" if self.pictures.name else "")
        return f"{few} {which}" if self.count <= few else f"{self.count} views of {few} {which}"

    def inputs(self, model: Model, numbers: range) -> Tensor:
        """Return the inputs ``(N, C, H, W)`` of the views with these numbers."""
        return torch.cat([self._input(model, number) for number in numbers])

    def _input(self, model: Model, number: int) -> Tensor:
        turn, at = divmod(number, len(self._order))
        picture = self._picture(self._order[at])
        return model.input(picture if turn == 0 else self._window(picture.pixels, number))

    def _picture(self, index: int) -> Picture:
        if index not in self._kept:
            found = self.pictures.picture(index)
            if len(self._order) > KEPT:
                return found
            self._kept[index] = found
        return self._kept[index]

    def _window(self, pixels: NDArray[np.uint8], number: int) -> NDArray[np.uint8]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + number)
        area, ratio, down, across = torch.rand(4, generator=generator, dtype=torch.float64).tolist()
        side = math.sqrt(LEAST + (1 - LEAST) * area)
        stretch = math.sqrt(LONGEST) ** (2 * ratio - 1)
        rows, columns = pixels.shape[:2]
        high = max(min(rows, SIDE), round(rows * min(1.0, side * stretch)))
        wide = max(min(columns, SIDE), round(columns * min(1.0, side / stretch)))
        top, left = round(down * (rows - high)), round(across * (columns - wide))
        return pixels[top : top + high, left : left + wide]
