"""What all kinds of items are made with: how far it has come, and what the networks say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from xaiwidgets.errors import InvalidImage, NotApplicable

if TYPE_CHECKING:
    from collections.abc import Generator, Sized

    from numpy.typing import NDArray

    from xaiwidgets.data.scenes import Scene
    from xaiwidgets.evaluation.study.plan import Study
    from xaiwidgets.model.model import Model

BATCH = 16


@dataclass(frozen=True)
class Preparation:
    """How far the making of a study has come; the last one holds the ``study``.

    Attributes:
        text: what is being done. ``progress``: share of it, in [0, 1]; ``None`` where nobody knows.
    """

    text: str
    progress: float | None = None
    study: Study | None = None


def scores_of(network: Model, scenes: list[Scene], words: str) -> Generator[Preparation, None, NDArray[np.float32]]:
    """Return the scores of scenes, ``(N, classes)``, batch by batch.

    Raises:
        InvalidImage: they are no scenes of the network's size.
    """
    import torch

    if not scenes or not all(hasattr(one, "fitted") for one in scenes):
        raise InvalidImage("scenes must be a list of at least one Scene (see xaiwidgets.scenes).")
    found = []
    for start in range(0, len(scenes), BATCH):
        yield Preparation(words, start / len(scenes))
        part = [network.from_pixels(one.fitted(network.preprocessing)) for one in scenes[start : start + BATCH]]
        found.append(network.logits(torch.cat(part)).numpy())
    return np.concatenate(found)


def colored(pixels: NDArray[Any]) -> NDArray[Any]:
    """Return pixels ``(H, W, 3)``; gray ones are repeated."""
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels


def mask_of(found: Any) -> tuple[NDArray[np.bool_], ...]:
    """Return a mask as a tuple of one, or of none."""
    return () if found is None else (np.asarray(found, bool),)


def index_of(network: Model, label: Any) -> int:
    """Return the index of a class."""
    return int(network.labels.index(label))


def names_of(network: Model, *labels: Any) -> tuple[str, ...]:
    """Return the names of classes, as the network has them."""
    return tuple(network.labels.short(index_of(network, one)) for one in labels)


def check_enough(found: Sized, wanted: int, what: str) -> None:
    """Raise ``NotApplicable`` if there are too few of what a study needs."""
    if len(found) < wanted:
        raise NotApplicable(
            "a study", f"{wanted} {what}", f"there are {len(found)}; give more scenes, or lower count or checks"
        )
