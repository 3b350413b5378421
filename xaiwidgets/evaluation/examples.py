"""Labelled pictures that are given to an evaluation, as inputs; and pictures for eyes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from xaiwidgets.data.scenes import Scene
from xaiwidgets.errors import InvalidImage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from xaiwidgets.model.model import Model


def labelled(model: Model, data: Any) -> tuple[Callable[[Sequence[int]], Tensor], list[int]]:
    """Return a function from numbers to inputs ``(N, C, H, W)``, and the index of each picture's class.

    Args:
        model: whose inputs and classes they are.
        data: scenes with labels, or what ``with_pooling_head`` takes as pictures; those without labels get the
            network's own.

    Raises:
        InvalidImage: it is something else, or there are too few.
        InvalidTarget: a label is no class of the network.
    """
    import torch

    from xaiwidgets.learned.labelled import examples

    items = list(data) if isinstance(data, (list, tuple)) else data
    if isinstance(items, list) and items and all(isinstance(one, Scene) for one in items):
        known = [one for one in items if one.label is not None]
        if not known:
            raise InvalidImage("data must be labelled pictures; got scenes without labels.")

        def inputs(numbers: Sequence[int]) -> Tensor:
            return torch.cat([model.from_pixels(known[number].fitted(model.preprocessing)) for number in numbers])

        return inputs, [model.labels.index(one.label) for one in known]
    found = examples(model, items)
    if found.labels is not None:
        return found.inputs, list(found.labels)
    return found.inputs, [int(model.logits(found.read(number)).argmax()) for number in range(found.count)]


def seen(model: Model, image: Tensor) -> NDArray[np.uint8]:
    """Return what an eye sees of an input, uint8 ``(H, W, 3)``."""
    pixels = np.round(np.clip(model.to_pixels(image), 0, 1) * 255).astype(np.uint8)
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels
