"""From files and uploads that may be anything to 8-bit RGB pixels, within limits that are checked before decoding."""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING

import numpy as np
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from xaiwidgets.errors import InvalidImage

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from PIL.ImageFile import ImageFile

MAX_BYTES = 8 * 2**20
MAX_PIXELS = 40_000_000
MAX_SIDE = 2048
MIN_SIDE = 16
UPLOADS = ("JPEG", "PNG", "WebP")
#: Format, how its files begin, and its reader. Readers are called directly: ``Image.open`` would warn of large headers,
#: and silencing a warning is not thread-safe.
READERS: tuple[tuple[str, tuple[bytes, ...], Callable[[io.BytesIO], ImageFile]], ...] = (
    ("JPEG", (b"\xff\xd8\xff",), JpegImagePlugin.JpegImageFile),
    ("PNG", (b"\x89PNG\r\n\x1a\n",), PngImagePlugin.PngImageFile),
    ("WebP", (b"RIFF",), WebPImagePlugin.WebPImageFile),
    ("BMP", (b"BM",), BmpImagePlugin.BmpImageFile),
    ("TIFF", (b"II*\0", b"MM\0*"), TiffImagePlugin.TiffImageFile),
    ("GIF", (b"GIF87a", b"GIF89a"), GifImagePlugin.GifImageFile),
)
#: What Pillow's readers were seen to raise on damaged files; a warning is raised where warnings are errors.
BROKEN: tuple[type[Exception], ...] = (OSError, SyntaxError, ValueError, LookupError, TypeError, AttributeError)
BROKEN += (ArithmeticError, RuntimeError, EOFError, MemoryError, struct.error, Warning, Image.DecompressionBombError)
ORIENTATION = 0x0112
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode(data: bytes, name: str, formats: tuple[str, ...]) -> tuple[NDArray[np.uint8], list[str]]:
    """Return the ``(H, W, 3)`` pixels of an encoded picture and notes on what was changed; else ``InvalidImage``."""
    wanted = f"{name}: expected a {', '.join(formats[:-1])} or {formats[-1]} picture of at most {MAX_BYTES >> 20} MB"
    if not data:
        raise InvalidImage(f"{wanted}; got no data. Choose the file again.")
    if len(data) > MAX_BYTES:
        raise InvalidImage(f"{wanted}; got more. Save a smaller copy, 2,048 px wide is plenty.")
    found = [(kind, reader) for kind, starts, reader in READERS if data.startswith(starts) and kind in formats]
    if not found or (found[0][0] == "WebP" and data[8:12] != b"WEBP"):
        raise InvalidImage(f"{wanted}; got something else ({data[:8]!r}…). Save it as JPEG or PNG.")
    kind, reader = found[0]
    try:
        if kind == "WebP":
            check_size(*_webp_size(data), name)  # its reader allocates the whole canvas
        image = reader(io.BytesIO(data))
        check_size(*image.size, name)
        # lets the JPEG reader skip detail of large photos, which bounds the memory
        full = image.size
        image.draft(image.mode, _kept(*full))
        return to_pixels(image, name, full)
    except InvalidImage:
        raise
    except BROKEN as error:
        raise InvalidImage(f"{wanted}; got a damaged {kind} file ({error}). Save or download it again.") from error


def to_pixels(
    image: Image.Image, name: str, full: tuple[int, int] | None = None
) -> tuple[NDArray[np.uint8], list[str]]:
    """Return the ``(H, W, 3)`` pixels of a Pillow image, upright, at most 2,048 px long, and notes on what was changed.

    ``full`` is the (width, height) of the file, if it is not that of the image.

    Raises:
        InvalidImage: too many pixels (checked before they are decoded), too few, or truncated data.
    """
    full = full or image.size
    check_size(*full, name)
    notes = ["Only the first picture of the file is used."] if getattr(image, "is_animated", False) else []
    if ";16" in str(getattr(image, "tile", "")) and not image.mode.startswith("I"):
        notes.append("The picture has 16 bits a channel; the upper 8 are used.")
    try:
        image.load()
    except BROKEN as error:
        raise InvalidImage(f"{name}: expected a whole picture; got damaged data ({error}). Save it again.") from error
    turn = TURNS.get(_orientation(image))
    image = _to_rgb(image, name, notes)
    if _kept(*image.size) != image.size:
        image = image.resize(_kept(*image.size), Image.Resampling.LANCZOS)
    if max(full) > MAX_SIDE:
        notes.append(f"The picture was made smaller: its long side is {MAX_SIDE:,} px now.")
    if turn is not None:
        image = image.transpose(turn)
        notes.append("The picture was turned upright, as its camera says.")
    return np.array(image, dtype=np.uint8), notes


def check_size(width: int, height: int, name: str) -> None:
    """Raise ``InvalidImage`` unless a picture of this size is neither too large nor too small."""
    wanted = (
        f"{name}: expected a picture of at most {MAX_PIXELS // 10**6} million pixels and at least {MIN_SIDE} px a side"
    )
    if width * height > MAX_PIXELS:
        raise InvalidImage(f"{wanted}; got {width} × {height}. Save a smaller copy, 2,048 px wide is plenty.")
    if min(width, height, *_kept(width, height)) < MIN_SIDE:
        raise InvalidImage(
            f"{wanted}, also when the long side is {MAX_SIDE} px; got {width} × {height}. Enlarge or crop it."
        )


def _kept(width: int, height: int) -> tuple[int, int]:
    """Return the size at which a picture is kept: the long side is at most ``MAX_SIDE``."""
    scale = min(1.0, MAX_SIDE / max(width, height, 1))
    return round(width * scale), round(height * scale)


def _to_rgb(image: Image.Image, name: str, notes: list[str]) -> Image.Image:
    """Return the image in mode RGB and add a note where that changes what is seen."""
    if image.mode.startswith(("I", "F")):
        image = _to_8_bits(image, name, notes)
    if image.mode in ("CMYK", "YCCK"):
        notes.append("CMYK colors were converted to RGB without a color profile, so they may look different.")
    elif image.mode in ("1", "L", "LA", "La"):
        notes.append("The picture is gray: its three color channels are the same.")
    elif image.mode in ("P", "PA"):
        notes.append("The palette was replaced by the colors it stands for.")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        if image.getchannel("A").histogram()[255] < image.width * image.height:
            notes.append("Transparent parts are shown on white.")
        backdrop = Image.new("RGB", image.size, "white")
        backdrop.paste(image, mask=image)
        return backdrop
    return image.convert("RGB")


def _to_8_bits(image: Image.Image, name: str, notes: list[str]) -> Image.Image:
    """Return mode L from gray pixels of 16 or 32 bits, or floats in [0, 1]; Pillow's own conversion would clip them."""
    values = np.asarray(image)
    low, high = values.min(), values.max()
    top = 1 if image.mode == "F" else 65535
    if not (low >= 0 and high <= top):  # also refuses NaN
        raise InvalidImage(
            f"{name}: expected gray values from 0 to {top}; got {low} to {high}. Save it with 8 or 16 bits."
        )
    notes.append("The gray values were rounded to 8 bits.")
    return Image.fromarray(np.rint(values.astype(np.float64) * (255 / top)).astype(np.uint8))


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    except BROKEN:  # damaged metadata is no reason to refuse the pixels
        return 1


def _webp_size(data: bytes) -> tuple[int, int]:
    """Return (width, height) from the first chunk of a WebP file: extended, lossless or lossy."""
    kind, start = data[12:16], data[20:30]
    if kind == b"VP8X":
        return 1 + int.from_bytes(start[4:7], "little"), 1 + int.from_bytes(start[7:10], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(start[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = struct.unpack("<HH", start[6:10])
    return width & 0x3FFF, height & 0x3FFF
