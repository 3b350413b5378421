"""Whatever holds a photo, read into one immutable kind of picture: 8-bit RGB pixels and what was done to get them."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from xaiwidgets.errors import InvalidImage, did_you_mean
from xaiwidgets.model.decoding import MAX_BYTES, MAX_PIXELS, READERS, UPLOADS, check_size, decode, to_pixels
from xaiwidgets.model.samples import GALLERY, find_sample

__all__ = ["MAX_BYTES", "MAX_PIXELS", "Picture", "read_picture"]

FORMATS = tuple(kind for kind, _, _ in READERS)
LONGEST_NAME = 80
SOURCES = "a sample's name, a path, the bytes of a file, a PIL image, or an array (height, width, 3)"


@dataclass(frozen=True, eq=False)
class Picture:
    """A photo as it is explained and shown; equal to another of the same name and pixels.

    Attributes:
        pixels: uint8 ``(H, W, 3)``, read-only.
        name: for people and for provenance.
        notes: one sentence for each thing that reading it changed.
        digest: 16 hexadecimal digits of the SHA-256 of the shape and the pixels.
    """

    pixels: NDArray[np.uint8]
    name: str = "picture"
    notes: tuple[str, ...] = ()
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        pixels = np.array(self.pixels, order="C")
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
            raise InvalidImage(
                f"pixels must be uint8 (height, width, 3); got {pixels.dtype} {pixels.shape}. Use read_picture(…)."
            )
        pixels.setflags(write=False)
        digest = hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()[:16]
        for attribute, value in (("pixels", pixels), ("notes", tuple(self.notes)), ("digest", digest)):
            object.__setattr__(self, attribute, value)

    @property
    def height(self) -> int:
        """In pixels."""
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        """In pixels."""
        return int(self.pixels.shape[1])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Picture) and (self.name, self.digest) == (other.name, other.digest)

    def __hash__(self) -> int:
        return hash((self.name, self.digest))


def read_picture(source: Any, name: str | None = None) -> Picture:
    """Return the picture in a sample's name, a path, the bytes of an upload, a PIL image, an array, or a ``Picture``.

    Arrays are ``(H, W, 3)``, ``(H, W)`` or ``(H, W, 1)``, uint8 or float in [0, 1]. Bytes are JPEG, PNG or WebP; paths
    also BMP, TIFF and GIF. ``name`` replaces the one that the source suggests. Text is looked up among the samples and
    then opened as a path, so never pass on text that a browser sent: give ``find_sample`` that.

    Raises:
        InvalidImage: what came is not a picture, is damaged, or is outside the limits on bytes, pixels and sides.
    """
    if isinstance(source, Picture):
        return source
    if isinstance(source, str) and source in {sample.name for sample in GALLERY}:
        return _read_path(find_sample(source).path, name or source)
    if isinstance(source, (str, os.PathLike)):
        path = Path(os.fsdecode(source))
        return _read_path(path, name or path.name)
    if isinstance(source, (bytes, bytearray, memoryview)):
        title = _clean(name or "upload")
        return _picture(title, *decode(bytes(source), title, UPLOADS))
    if isinstance(source, Image.Image):
        title = _clean(name or Path(os.fsdecode(getattr(source, "filename", None) or "picture")).name)
        return _picture(title, *to_pixels(source, title))
    if hasattr(source, "__array__"):
        title = _clean(name or "array")
        return _picture(title, *to_pixels(_from_array(_as_array(source), title), title))
    raise InvalidImage(f"image must be {SOURCES}; got {type(source).__name__}.")


def _picture(title: str, pixels: NDArray[np.uint8], notes: list[str]) -> Picture:
    return Picture(pixels, title, tuple(notes))


def _clean(name: str) -> str:
    """Return a name fit for a line of text: printable, not long, no folders."""
    last = re.split(r"[/\\]", name.strip())[-1]
    return "".join(c for c in last if c.isprintable())[:LONGEST_NAME] or "picture"


def _read_path(path: Path, name: str) -> Picture:
    title = _clean(name)
    try:
        if not path.is_file():  # also keeps devices and pipes from being read
            known = [sample.name for sample in GALLERY]
            what = "a folder" if path.is_dir() else "no such file"
            raise InvalidImage(
                f"image must be {SOURCES}; {str(path)!r} is {what}. "
                f"Samples are {', '.join(known)}.{did_you_mean(path.name, known)}"
            )
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        if isinstance(error, InvalidImage):
            raise
        raise InvalidImage(f"{title}: expected a file that can be read; got {error}.") from error
    return _picture(title, *decode(data, title, FORMATS))


def _as_array(source: Any) -> NDArray[Any]:
    try:
        return np.asarray(source)
    except (RuntimeError, TypeError, ValueError) as error:  # a tensor on a GPU, or one that needs a gradient
        raise InvalidImage(
            f"image must be {SOURCES}; got a {type(source).__name__} that gives none: {error}"
        ) from error


def _from_array(array: NDArray[Any], name: str) -> Image.Image:
    """Return an 8-bit gray or RGB image of an array whose shape, type and range are right."""
    wanted = f"{name}: expected (height, width, 3), (height, width) or (height, width, 1), uint8 or float in [0, 1]"
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3)) or 0 in array.shape:
        raise InvalidImage(f"{wanted}; got shape {array.shape}.{_shape_advice(array)}")
    check_size(array.shape[1], array.shape[0], name)
    if np.issubdtype(array.dtype, np.floating):
        low, high = float(array.min()), float(array.max())
        if not (low >= 0 and high <= 1):  # also refuses NaN
            advice = "array / 255" if 1 < high <= 255 and low >= 0 else "array.clip(0, 1), without NaN,"
            raise InvalidImage(f"{wanted}; got values from {low:g} to {high:g}. Perhaps {advice} is what is meant.")
        array = np.rint(array.astype(np.float64) * 255).astype(np.uint8)
    elif array.dtype != np.uint8:
        raise InvalidImage(f"{wanted}; got {array.dtype}. If it holds 0 to 255, give array.astype('uint8').")
    return Image.fromarray(np.ascontiguousarray(array[:, :, 0] if array.shape[2:] == (1,) else array))


def _shape_advice(array: NDArray[Any]) -> str:
    if array.ndim == 4:
        return " Give one picture of the batch: array[0]."
    if array.ndim == 3 and array.shape[0] in (1, 3):
        return " Channels go last: np.moveaxis(array, 0, -1)."
    if array.ndim == 3 and array.shape[2] == 4:
        return " Leave the alpha channel out: array[..., :3]."
    return ""
