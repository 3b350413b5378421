"""Pictures that trained inversions learn from: bundled ones that fit a network, or the user's own."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from xaiwidgets.errors import InvalidImage

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from numpy.typing import NDArray
    from torch import nn

    from xaiwidgets.learned.recipes import Labelled, Recipe
    from xaiwidgets.model.model import Model

#: Fewer pictures than this teach nothing that holds for others.
LEAST = 300
#: Share of a user's pictures that is held out.
HELD_OUT = 0.2
WANTED = (
    f"pictures must be at least {LEAST}: a folder, a list of pictures, the name of a reference set, or an array "
    "(N, H, W, C) in [0, 1] of the network's size"
)


@dataclass(frozen=True, eq=False)
class Pictures:
    """Pictures ``(N, H, W, C)`` at a network's size, to learn from and to test with: in [0, 1], or of uint8."""

    train: NDArray[Any]
    test: NDArray[Any]

    @cached_property
    def digest(self) -> str:
        """What tells these pictures from others."""
        digest = hashlib.sha256(f"{self.train.shape} {self.test.shape}".encode())
        for part in (self.train, self.test):
            digest.update(np.ascontiguousarray(part).tobytes())
        return digest.hexdigest()


def floats(images: NDArray[Any]) -> NDArray[np.float32]:
    """Return pictures in [0, 1]."""
    found: NDArray[np.float32] = images.astype(np.float32)
    return found / np.float32(255) if images.dtype == np.uint8 else found


def digit_pictures(split: str, side: int) -> Labelled:
    """Return scikit-learn's digits at another size, ``(N, side, side, 1)`` in [0, 1], and their labels.

    Three quarters are for training, chosen within each class; they were 8 × 8 px and are enlarged bilinearly.
    """
    from xaiwidgets.data.digits import resize
    from xaiwidgets.learned.recipes import recipe

    images, labels = recipe("digits8").load(split)
    enlarged = resize(images[..., 0].astype(np.float64), side).astype(np.float32)
    return enlarged[..., None], labels


def digits16() -> Recipe:
    """Return the recipe of a net for digits of 16 × 16 px, whose last but one layer gives a code of 64 numbers."""
    from xaiwidgets.learned.recipes import Recipe

    return Recipe(
        "digits16",
        "Digits of 16 × 16 px",
        _net16(),
        lambda split: digit_pictures(split, 16),
        tuple("0123456789"),
        (0.0,),
        (1.0,),
        epochs=12,
        rate=3e-3,
    )


def _net16() -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        from xaiwidgets.data.shape_nets import digits16 as net

        return net()

    return make


def bundled(model: Model) -> Pictures | None:
    """Return the bundled pictures that fit a network: shapes, cluttered digits or plain ones; ``None`` if none do."""
    from xaiwidgets.data.shapes import SHAPES, shapes
    from xaiwidgets.learned.labelled import takes_digits

    names = [model.labels.short(number) for number in range(model.classes)]
    channels, height, width = model.input_shape
    if (channels, height, width) == (3, 48, 48) and names == list(SHAPES):
        return Pictures(shapes("train").images, shapes("test").images)
    if takes_digits(model):
        from xaiwidgets.data.digits import digits

        first, second = (digits("single", split).images[..., None] for split in ("train", "test"))  # type: ignore[arg-type]
        return Pictures(first, second)
    if channels == 1 and height == width and 8 <= height <= 64 and names == list("0123456789"):
        return Pictures(digit_pictures("train", height)[0], digit_pictures("test", height)[0])
    return None


def find_pictures(model: Model, wanted: Any, seed: int) -> Generator[None, None, Pictures]:
    """Return pictures to learn from; yields between files, since reading a folder takes a while.

    Raises:
        InvalidImage: there are too few, they do not fit, or one cannot be read.
    """
    if isinstance(wanted, Pictures):
        return wanted
    if wanted is None:
        found = bundled(model)
        if found is None:
            raise InvalidImage(f"{WANTED}; got none, and no bundled pictures fit {model.name}.")
        return found
    if isinstance(wanted, np.ndarray):
        images = _array(model, wanted)
    else:
        images = yield from _read(model, wanted)
    if len(images) < LEAST:
        raise InvalidImage(f"{WANTED}; got {len(images)}.")
    order = np.random.default_rng([seed, 11]).permutation(len(images))
    few = round(HELD_OUT * len(images))
    return Pictures(images[order[few:]], images[order[:few]])


def _array(model: Model, images: NDArray[Any]) -> NDArray[Any]:
    channels, height, width = model.input_shape
    if images.ndim != 4 or images.shape[1:] != (height, width, channels):
        raise InvalidImage(f"{WANTED}, here (N, {height}, {width}, {channels}); got an array of shape {images.shape}.")
    found = images if images.dtype == np.uint8 else images.astype(np.float32)
    if found.dtype != np.uint8 and not (np.isfinite(found).all() and found.min() >= 0 and found.max() <= 1):
        raise InvalidImage(f"{WANTED}; got values from {found.min():g} to {found.max():g}.")
    return found


def _read(model: Model, wanted: Any) -> Generator[None, None, NDArray[np.uint8]]:
    from xaiwidgets.model.references import ReferenceSet, find_references, reference_sets, unnamed

    if isinstance(wanted, str) and wanted in {one.name for one in reference_sets()}:
        wanted = find_references(wanted, "pictures")
    if not isinstance(wanted, ReferenceSet):
        wanted = unnamed(wanted)
    if wanted.baselines or len(wanted) < LEAST:
        found = "plain baselines" if wanted.baselines else str(len(wanted))
        raise InvalidImage(f"{WANTED}; got {found}.")
    rows = []
    for number in range(len(wanted)):
        pixels = model.preprocessing.pixels(wanted.picture(number))
        rows.append((pixels * 255).round().clip(0, 255).astype(np.uint8))  # thousands of photos must fit in memory
        yield None
    return np.stack(rows)
