"""Named sets of reference pictures: what a picture is compared with by methods that average over references.

A set is named by a knob, so what names it may come from a browser: it is only ever looked up, and only Python code can
register one. ``engine.references.images_of`` makes a network's inputs of a set.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from xaiwidgets.core.knobs import REFERENCE_NAME
from xaiwidgets.errors import InvalidImage, InvalidKnob, did_you_mean
from xaiwidgets.model.pictures import Picture, read_picture
from xaiwidgets.model.samples import samples

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from os import PathLike

    #: A picture's name, what tells it from another, and what ``read_picture`` takes.
    Entry = tuple[str, Any, Any]

#: Endings of the files that are taken from a folder.
ENDINGS = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"})
#: Baselines of ``engine.baselines`` that are sets of one, and those that ``plain`` holds.
COLORS = ("black", "white", "gray", "mean", "blur", "border")
PLAIN = ("black", "white", "gray", "mean", "blur")
#: Canvases in the set of digits.
DIGITS = 64
#: Names that are written out in a note; of more, only the number is told.
TOLD = 8


@dataclass(frozen=True, eq=False)
class ReferenceSet:
    """Pictures under a name.

    Attributes:
        name: what a knob holds. ``title``: for people.
        names: of the pictures, in order.
        baselines: whether the pictures are named baselines, which depend on the network or on the picture explained.
        content: what tells this set from another with the same names.
    """

    name: str
    title: str
    names: tuple[str, ...]
    baselines: bool = False
    content: tuple[Any, ...] = field(default=(), repr=False)
    read: Callable[[int], Picture] | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.names)

    def chosen(self, count: int) -> tuple[int, ...]:
        """Return the indices of at most ``count`` pictures, spread evenly: folders often hold one class after another.

        Raises:
            InvalidKnob: ``count`` is below one.
        """
        if count < 1:
            raise InvalidKnob(f"count must be at least 1 reference picture; got {count!r}.")
        total = len(self.names)
        few = min(count, total)
        return tuple((2 * number + 1) * total // (2 * few) for number in range(few))

    def picture(self, index: int) -> Picture:
        """Return one picture.

        Raises:
            InvalidImage: its file is gone or damaged, or the set is made of baselines.
        """
        if self.read is None:
            raise InvalidImage(f"the reference set {self.name!r} holds baselines, which depend on the network.")
        return self.read(index)

    def sentence(self, count: int) -> str:
        """Return which pictures ``count`` of them are, for a result's notes."""
        names = [self.names[index] for index in self.chosen(count)]
        few = ", ".join(names[:TOLD]) + (", …" if len(names) > TOLD else "")
        return f"{len(names)} reference picture{'s' * (len(names) > 1)} of {self.name!r}: {few}."


_SETS: dict[str, ReferenceSet] = {}


def reference_set(name: str, images: str | PathLike[str] | Iterable[Any]) -> ReferenceSet:
    """Register pictures under a name, which a method's ``references`` knob can then hold, and return the set.

    A name stands for the same pictures as long as Python runs, so that a result tells which ones it was made with.

    Args:
        name: a letter, then letters, digits, ``-``, ``_`` and spaces, at most 60 characters.
        images: a folder, whose JPEG, PNG, WebP, BMP, TIFF and GIF files count at any depth, in the order of their
            paths; or pictures, each anything that ``read_picture`` takes. Files are read when
            they are needed.

    Raises:
        InvalidKnob: the name is not one, is taken by a built-in set, or already stands for other pictures.
        InvalidImage: there is no picture, or one that cannot be read.
    """
    if not isinstance(name, str) or not REFERENCE_NAME.fullmatch(name):
        raise InvalidKnob(
            "name must begin with a letter and hold letters, digits, '-', '_' and spaces, at most 60; "
            f"got {str(name)[:80]!r}."
        )
    if name in _built_in():
        raise InvalidKnob(f"name must not be that of a built-in set ({', '.join(_built_in())}); got {name!r}.")
    made = _from_folder(name, images) if isinstance(images, (str, os.PathLike)) else _from_pictures(name, images)
    known = _SETS.setdefault(name, made)
    if known.content != made.content:
        raise InvalidKnob(
            f"name must be a new one: {name!r} already stands for {len(known)} other pictures, and results name it."
        )
    return known


def unnamed(images: str | PathLike[str] | Iterable[Any]) -> ReferenceSet:
    """Return a folder or pictures as a set that has no name and is not registered; see ``reference_set``."""
    return _from_folder("", images) if isinstance(images, (str, os.PathLike)) else _from_pictures("", images)


def reference_sets() -> tuple[ReferenceSet, ...]:
    """Return all sets: the built-in ones, then those that were registered."""
    return (*_built_in().values(), *_SETS.values())


def find_references(name: str, knob: str = "references") -> ReferenceSet:
    """Return the set of this name.

    Raises:
        InvalidKnob: there is none; the message names the knob, the known sets and how to register one.
    """
    found = {one.name: one for one in reference_sets()}
    if isinstance(name, str) and name in found:
        return found[name]
    raise InvalidKnob(
        f"{knob} must be one of {', '.join(found)}, or a set registered with xaiwidgets.reference_set(name, images); "
        f"got {str(name)[:80]!r}.{did_you_mean(str(name)[:80], found)}"
    )


def _built_in() -> dict[str, ReferenceSet]:
    photos = tuple(sample.name for sample in samples())
    digits = tuple(f"digit canvas {number}" for number in range(DIGITS))
    sets = [
        ReferenceSet(
            "photos", "Bundled photos", photos, content=photos, read=lambda index: read_picture(photos[index])
        ),
        ReferenceSet("digits", "Digit canvases", digits, content=digits, read=_digit),
        ReferenceSet("plain", "Plain: black to blur", PLAIN, baselines=True, content=PLAIN),
        *(ReferenceSet(color, f"One: {color}", (color,), baselines=True, content=(color,)) for color in COLORS),
    ]
    return {one.name: one for one in sets if one.names}


def _digit(index: int) -> Picture:
    from xaiwidgets.data.digits import digits

    canvas = digits("single", "train", DIGITS).images[index]
    return read_picture(canvas, f"digit canvas {index}")


def _from_folder(name: str, folder: str | PathLike[str]) -> ReferenceSet:
    given = Path(os.fsdecode(folder))
    if not given.is_dir():
        what = "a file; give a list of files" if given.is_file() else "no such folder"
        raise InvalidImage(f"images must be a folder or several pictures; {str(given)!r} is {what}.")
    top = given.resolve()
    files = sorted(path for path in top.rglob("*") if path.suffix.lower() in ENDINGS and path.is_file())
    if not files:
        kinds = ", ".join(sorted(ENDINGS))
        raise InvalidImage(f"images must be a folder with pictures ({kinds}); {str(given)!r} has none.")
    return _made(name, [_file(path, path.relative_to(top).as_posix()) for path in files])


def _from_pictures(name: str, images: Iterable[Any]) -> ReferenceSet:
    wrong = "images must be a folder or several pictures"
    one = isinstance(images, (bytes, bytearray)) or (isinstance(images, np.ndarray) and images.ndim < 4)
    if one or not hasattr(images, "__iter__"):
        raise InvalidImage(f"{wrong}; got one {type(images).__name__}. Give a list.")
    found = [_entry(image, number) for number, image in enumerate(images)]
    if not found:
        raise InvalidImage(f"{wrong}; got none.")
    return _made(name, found)


def _made(name: str, entries: Sequence[Entry]) -> ReferenceSet:
    names, content, sources = zip(*entries, strict=True)
    return ReferenceSet(name, name, names, content=content, read=lambda index: read_picture(sources[index]))


def _entry(image: Any, number: int) -> Entry:
    """Return one of several pictures; a file is looked up now and read when it is needed."""
    try:
        if isinstance(image, str) and image in {sample.name for sample in samples()}:
            return image, image, image
        if isinstance(image, (str, os.PathLike)) and (path := Path(os.fsdecode(image))).is_file():
            return _file(path.resolve(), path.name)
        picture = read_picture(image)
    except InvalidImage as error:
        raise InvalidImage(f"images[{number}]: {error}") from error
    return picture.name, picture.digest, picture


def _file(path: Path, name: str) -> Entry:
    told = path.stat()
    return name, (str(path), told.st_size, told.st_mtime_ns), path
