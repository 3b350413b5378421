"""The inputs that a set of reference pictures gives for a network."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from xaiwidgets.engine.baselines import baseline
from xaiwidgets.errors import InvalidKnob
from xaiwidgets.model.references import find_references

if TYPE_CHECKING:
    from torch import Tensor

    from xaiwidgets.model.model import Model
    from xaiwidgets.model.references import ReferenceSet

#: Baselines that are made of the picture explained.
OF_THE_PICTURE = frozenset({"blur", "border"})


def images_of(model: Model, name: str, count: int, image: Tensor | None = None) -> Tensor:
    """Return at most ``count`` reference inputs ``(N, C, H, W)`` of the set of this name, spread evenly over it.

    There are ``min(count, len(find_references(name)))`` of them. Pictures are read and preprocessed once a model and
    shared by all callers: do not write to the result.

    Args:
        model: whose preprocessing is applied.
        name: of a built-in or registered set, see ``model.references``.
        count: how many at most.
        image: the input ``(1, C, H, W)`` that is explained; the sets with its blur or its border are made of it.

    Raises:
        InvalidKnob: there is no such set, or it is made of the picture and none was given.
        InvalidImage: a picture of the set cannot be read.
    """
    found = find_references(name)
    chosen = found.chosen(count)
    if not found.baselines:
        return model.remember(("references", found.content, chosen), lambda: _read(model, found, chosen))  # type: ignore[no-any-return]
    colors = [found.names[index] for index in chosen]
    if image is None:
        lost = OF_THE_PICTURE.intersection(colors)
        if lost:
            raise InvalidKnob(
                f"references must be pictures of their own here; {' and '.join(sorted(lost))} of {name!r} is made of "
                "the picture explained, and there is none."
            )
        image = torch.zeros((1, *model.input_shape), dtype=model.like.dtype, device=model.like.device)
    return torch.cat([baseline(model, image, color) for color in colors])


def _read(model: Model, found: ReferenceSet, chosen: tuple[int, ...]) -> Tensor:
    with torch.inference_mode(False):
        return torch.cat([model.input(found.picture(index)) for index in chosen])
