"""Pictures that trained inversions learn from: bundled ones that fit a network, or the user's own."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from xaiwidgets.errors import InvalidImage

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from numpy.typing import NDArray
    from torch import nn

    from xaiwidgets.learned.recipes import Labelled, Recipe
    from xaiwidgets.model.model import Model
    from xaiwidgets.model.pictures import Picture
    from xaiwidgets.model.references import ReferenceSet

#: Fewer pictures than this teach nothing that holds for others.
LEAST = 300
#: Share of a user's pictures that is held out.
HELD_OUT = 0.2
#: Fewer photos than this are too alike to be cut into crops: what is held out must come from photos of its own.
LEAST_CUT, MOST_CROPS = 5, 1000
#: A crop's side, as a share of the largest that fits.
SHARES = 0.4, 1.0
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


def which_bundled(model: Model) -> Literal["shapes", "clutter", "plain", ""]:
    """Return which bundled pictures fit a network: shapes, cluttered digits, plain ones, or ''; makes none of them."""
    from xaiwidgets.data.shapes import SHAPES
    from xaiwidgets.learned.labelled import takes_digits

    names = [model.labels.short(number) for number in range(model.classes)]
    channels, height, width = model.input_shape
    if (channels, height, width) == (3, 48, 48) and names == list(SHAPES):
        return "shapes"
    if takes_digits(model):
        return "clutter"
    plain = channels == 1 and height == width and 8 <= height <= 64 and names == list("0123456789")
    return "plain" if plain else ""


def bundled(model: Model) -> Pictures | None:
    """Return the bundled pictures that fit a network; ``None`` if none do."""
    which = which_bundled(model)
    if which == "shapes":
        from xaiwidgets.data.shapes import shapes

        return Pictures(shapes("train").images, shapes("test").images)
    if which == "clutter":
        from xaiwidgets.data.digits import digits

        first, second = (digits("single", split).images[..., None] for split in ("train", "test"))  # type: ignore[arg-type]
        return Pictures(first, second)
    if which == "plain":
        side = model.input_shape[1]
        return Pictures(digit_pictures("train", side)[0], digit_pictures("test", side)[0])
    return None


def find_pictures(model: Model, wanted: Any, seed: int, crops: int = 0) -> Generator[None, None, Pictures]:
    """Return pictures to learn from; yields between files, since reading a folder takes a while.

    Args:
        model: that takes them.
        wanted: see ``train_decoder_steps``.
        seed: of what is held out, and of the crops.
        crops: so many random crops of each picture, half of them mirrored, in place of the whole one.

    Raises:
        InvalidImage: there are too few, they do not fit, or one cannot be read.
    """
    if isinstance(wanted, Pictures):
        return wanted
    if crops:
        return (yield from _cut(model, wanted, seed, crops))
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
    found = set_of(wanted)
    if found.baselines or len(found) < LEAST:
        got = "plain baselines" if found.baselines else str(len(found))
        raise InvalidImage(f"{WANTED}; got {got}. Of fewer photos, crops= cuts many pictures.")
    rows = []
    for number in range(len(found)):
        rows.append(_bytes(model, found.picture(number)))  # thousands of photos must fit in memory
        yield None
    return np.stack(rows)


def _cut(model: Model, wanted: Any, seed: int, crops: int) -> Generator[None, None, Pictures]:
    """Return random crops of photos; those that are held out come from photos of which none is learned from."""
    if wanted is None or isinstance(wanted, np.ndarray):
        raise InvalidImage("pictures must be a folder, a list of pictures or the name of a reference set to cut crops.")
    found = set_of(wanted)
    if found.baselines or len(found) < LEAST_CUT or len(found) * crops < LEAST:
        got = "plain baselines" if found.baselines else f"{len(found)} with {crops} crops of each"
        raise InvalidImage(
            f"pictures must be at least {LEAST_CUT} photos, and all crops together at least {LEAST}; got {got}."
        )
    random = np.random.default_rng([seed, 17])
    order = random.permutation(len(found))
    few = max(1, round(HELD_OUT * len(found)))
    parts: tuple[list[NDArray[np.uint8]], list[NDArray[np.uint8]]] = [], []
    for place, number in enumerate(order):
        photo = found.picture(int(number))
        for _ in range(crops):
            parts[place < few].append(_bytes(model, _crop(photo, model.input_shape[1:], random)))
        yield None
    return Pictures(np.stack(parts[0]), np.stack(parts[1]))


def _crop(photo: Picture, size: tuple[int, int], random: np.random.Generator) -> Picture:
    """Return a part of a photo of the network's proportions, mirrored every other time."""
    from xaiwidgets.model.pictures import Picture

    largest = min(photo.height / size[0], photo.width / size[1])
    share = random.uniform(*SHARES) * largest
    height, width = (max(1, int(share * side)) for side in size)
    top, left = random.integers(photo.height - height + 1), random.integers(photo.width - width + 1)
    part = photo.pixels[top : top + height, left : left + width]
    return Picture(part[:, ::-1] if random.random() < 0.5 else part)


def set_of(wanted: Any) -> ReferenceSet:
    """Return a folder, a list of pictures or the name of a reference set as a set; files are read when needed.

    Raises:
        InvalidImage: it is none, or empty.
    """
    from xaiwidgets.model.references import ReferenceSet, find_references, reference_sets, unnamed

    if isinstance(wanted, str) and wanted in {one.name for one in reference_sets()}:
        return find_references(wanted, "pictures")
    return wanted if isinstance(wanted, ReferenceSet) else unnamed(wanted)


def _bytes(model: Model, picture: Picture) -> NDArray[np.uint8]:
    """Return a picture as the network sees it, ``(H, W, C)``."""
    pixels = model.preprocessing.pixels(picture)
    found: NDArray[np.uint8] = (pixels * 255).round().clip(0, 255).astype(np.uint8)
    return found
