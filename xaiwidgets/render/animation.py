"""Pictures as bytes: PNG, animations, contact sheets."""

from __future__ import annotations

import io
import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from xaiwidgets.errors import InvalidImage
from xaiwidgets.render.compose import NEUTRAL

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

FORMATS = ("webp", "gif")
#: Browsers slow an animation down that asks for more.
MAX_FPS = 50


def _checked(frames: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.uint8]]:
    """Return the frames as a list, or raise ``InvalidImage`` that says which one differs."""
    every = list(frames)
    if not every:
        raise InvalidImage("frames must hold at least one picture; got none.")
    for number, frame in enumerate(every):
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
            raise InvalidImage(f"frames must be uint8 (H, W, 3); frame {number} is {frame.dtype} {frame.shape}.")
        if frame.shape != every[0].shape:
            raise InvalidImage(
                f"frames must have one size; frame {number} is {frame.shape[:2]}, frame 0 is {every[0].shape[:2]}."
            )
    return every


def _durations(count: int, fps: float, grain: int) -> list[int]:
    """Return milliseconds a frame in whole grains, with a sum that stays true to ``fps``."""
    ends = [round(k * 1000 / fps / grain) * grain for k in range(count + 1)]
    return [end - start for start, end in pairwise(ends)]


def animate(frames: Sequence[NDArray[np.uint8]], fps: float, format: str = "webp") -> bytes:
    """Return an endless animation of frames ``(H, W, 3)``; equal neighbors become one longer frame.

    Raises:
        InvalidImage: no frames, or frames that are not uint8 ``(H, W, 3)`` of one size.
        ValueError: ``fps`` outside (0, 50], or an unknown format.
    """
    if format not in FORMATS:
        raise ValueError(f"format must be one of {', '.join(FORMATS)}; got {format!r}.")
    if not (math.isfinite(fps) and 0 < fps <= MAX_FPS):
        raise ValueError(f"fps must be above 0 and at most {MAX_FPS}; got {fps!r}.")
    from PIL import Image

    pictures = [Image.fromarray(frame) for frame in _checked(frames)]
    # GIF counts in hundredths of a second.
    durations = _durations(len(pictures), fps, 10 if format == "gif" else 1)
    options: dict[str, Any] = {"disposal": 1} if format == "gif" else {"quality": 90, "method": 2}
    buffer = io.BytesIO()
    pictures[0].save(buffer, format, save_all=True, append_images=pictures[1:], duration=durations, loop=0, **options)
    return buffer.getvalue()


def png_bytes(array: NDArray[np.uint8], text: Mapping[str, str] | None = None) -> bytes:
    """Return a PNG of uint8 ``(H, W)``, ``(H, W, 3)`` or ``(H, W, 4)`` with ``text`` in its metadata.

    Raises:
        InvalidImage: another type or shape.
    """
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        raise InvalidImage(f"array must be uint8 (H, W), (H, W, 3) or (H, W, 4); got {array.dtype} {array.shape}.")
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    for key, value in (text or {}).items():
        info.add_itxt(key, value)
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG", compress_level=6, pnginfo=info)
    return buffer.getvalue()


def strip(frames: Sequence[NDArray[np.uint8]], columns: int, gap: int = 8) -> NDArray[np.uint8]:
    """Return a contact sheet, uint8 ``(H', W', 3)``, row by row on neutral gray.

    Raises:
        InvalidImage: no frames, or frames that are not uint8 ``(H, W, 3)`` of one size.
        ValueError: ``columns`` below 1 or a negative gap.
    """
    if columns < 1 or gap < 0:
        raise ValueError(f"columns must be at least 1 and gap at least 0; got columns={columns}, gap={gap}.")
    every = _checked(frames)
    height, width = every[0].shape[:2]
    columns = min(columns, len(every))
    rows = math.ceil(len(every) / columns)
    sheet = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), NEUTRAL, np.uint8)
    for number, frame in enumerate(every):
        top, left = number // columns * (height + gap), number % columns * (width + gap)
        sheet[top : top + height, left : left + width] = frame
    return sheet
