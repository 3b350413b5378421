"""From a photo to what a model sees and back: resize, center crop, normalize; in NumPy and Pillow alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from xaiwidgets.errors import InvalidKnob, did_you_mean
from xaiwidgets.model.pictures import read_picture

if TYPE_CHECKING:
    from numpy.typing import NDArray

FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "box": Image.Resampling.BOX,
    "hamming": Image.Resampling.HAMMING,
}
MAX_VIEW = 4096


@dataclass(frozen=True)
class Preprocessing:
    """What happens to a photo before a model sees it; the arithmetic of timm's and torchvision's evaluation transforms.

    Attributes:
        size: height and width of the model's input in pixels.
        mean: of each channel, subtracted from pixels in [0, 1]. ``std``: then divided by. One channel means gray.
        crop: the part of the resized short side that the center crop keeps, in (0, 1].
        interpolation: Pillow's filter for resizing.
    """

    size: tuple[int, int] = (224, 224)
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    std: tuple[float, ...] = (0.5, 0.5, 0.5)
    crop: float = 0.875
    interpolation: str = "bicubic"

    def __post_init__(self) -> None:
        size = _numbers("size", self.size, "two whole numbers from 1 to 4096, height and width")
        if len(size) != 2 or not all(v == int(v) and 1 <= v <= MAX_VIEW for v in size):
            raise InvalidKnob(f"size must be two whole numbers from 1 to 4096, height and width; got {self.size!r}.")
        object.__setattr__(self, "size", (int(size[0]), int(size[1])))
        for name in ("mean", "std"):
            values = _numbers(name, getattr(self, name), "one or three numbers")
            if len(values) not in (1, 3) or (name == "std" and min(values) <= 0):
                positive = ", above 0" if name == "std" else ""
                raise InvalidKnob(f"{name} must be one or three numbers{positive}; got {getattr(self, name)!r}.")
            object.__setattr__(self, name, values)
        if len(self.mean) != len(self.std):
            raise InvalidKnob(f"std must have as many numbers as mean, {len(self.mean)}; got {len(self.std)}.")
        if not isinstance(self.crop, (int, float, np.number)) or not 0 < self.crop <= 1:
            raise InvalidKnob(f"crop must be a number above 0 and at most 1; got {self.crop!r}.")
        if not isinstance(self.interpolation, str) or self.interpolation not in FILTERS:
            close = did_you_mean(str(self.interpolation), FILTERS)
            raise InvalidKnob(f"interpolation must be one of {', '.join(FILTERS)}; got {self.interpolation!r}.{close}")

    @property
    def channels(self) -> int:
        """3 for color, 1 for gray."""
        return len(self.mean)

    def crop_box(self, height: int, width: int) -> tuple[float, float, float, float]:
        """Return (top, left, height, width) of what the model sees, in pixels of a photo of this size."""
        (rows, columns), (top, left) = self._layout(height, width)
        down, across = height / rows, width / columns
        return top * down, left * across, self.size[0] * down, self.size[1] * across

    def pixels(self, image: Any) -> NDArray[np.float32]:
        """Return float32 ``(H, W, C)`` in [0, 1] at the model's size, of anything that ``read_picture`` takes."""
        photo = self._photo(image)
        (rows, columns), (top, left) = self._layout(photo.height, photo.width)
        if photo.size != (columns, rows):
            photo = photo.resize((columns, rows), FILTERS[self.interpolation])
        seen = photo.crop((left, top, left + self.size[1], top + self.size[0]))
        return np.asarray(seen, dtype=np.float32).reshape(*self.size, self.channels) / np.float32(255)

    def view(self, image: Any, size: int | tuple[int, int]) -> NDArray[np.uint8]:
        """Return uint8 ``(h, w, 3)``: the region that the model sees, straight from the photo at another resolution.

        ``size`` is (height, width), or the long side, with the proportions of the model's input.
        """
        photo = self._photo(image)
        top, left, height, width = self.crop_box(photo.height, photo.width)
        # rounding in the model's resize can put the edge a hair outside
        box = (left, top, min(left + width, photo.width), min(top + height, photo.height))
        rows, columns = self._view_size(size)
        shown = photo.resize((columns, rows), Image.Resampling.LANCZOS, box=box).convert("RGB")
        return np.array(shown, dtype=np.uint8)

    def normalize(self, pixels: NDArray[Any], axis: int = -1) -> NDArray[Any]:
        """Return ``(pixels - mean) / std`` with the channels on ``axis``, in the same floating type (else float32)."""
        values, mean, std = self._by_channel("pixels", pixels, axis)
        result: NDArray[Any] = (values - mean) / std
        return result

    def denormalize(self, values: NDArray[Any], axis: int = -1) -> NDArray[Any]:
        """Return ``values * std + mean``, pixels in [0, 1] again; nothing is clipped."""
        values, mean, std = self._by_channel("values", values, axis)
        result: NDArray[Any] = values * std + mean
        return result

    def bounds(self) -> tuple[tuple[float, float], ...]:
        """Return (low, high) of a normalized pixel for each channel: those of black and white."""
        return tuple((-m / s, (1 - m) / s) for m, s in zip(self.mean, self.std, strict=True))

    def _layout(self, height: int, width: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """Return the (rows, columns) that the photo is resized to and the (top, left) of the crop there."""
        # timm rounds down; the hair keeps a crop of size / short side exact, and changes none of timm's configurations
        target = [math.floor(side / self.crop + 1e-9) for side in self.size]
        if target[0] == target[1]:  # torchvision.transforms.Resize rounds the long side down
            short = min(height, width)
            rows, columns = (int(target[0] * side / short) for side in (height, width))
        else:  # timm.data.transforms.ResizeKeepRatio rounds both
            ratio = min(height / target[0], width / target[1])
            rows, columns = round(height / ratio), round(width / ratio)
        # torchvision.transforms.CenterCrop rounds half to even
        return (rows, columns), (round((rows - self.size[0]) / 2), round((columns - self.size[1]) / 2))

    def _photo(self, image: Any) -> Image.Image:
        photo = Image.fromarray(read_picture(image).pixels)
        return photo.convert("L") if self.channels == 1 else photo

    def _view_size(self, size: int | tuple[int, int]) -> tuple[int, int]:
        if isinstance(size, (int, np.integer)) and not isinstance(size, bool):
            scale = size / max(self.size)
            size = (max(1, round(self.size[0] * scale)), max(1, round(self.size[1] * scale))) if size > 0 else (0, 0)
        numbers = _numbers("size", size, f"a long side or (height, width) from 1 to {MAX_VIEW} px")
        if len(numbers) != 2 or not all(v == int(v) and 1 <= v <= MAX_VIEW for v in numbers):
            raise InvalidKnob(f"size must be a long side or (height, width) from 1 to {MAX_VIEW} px; got {size!r}.")
        return int(numbers[0]), int(numbers[1])

    def _by_channel(self, name: str, values: NDArray[Any], axis: int) -> tuple[NDArray[Any], ...]:
        values = np.asarray(values)
        if not -values.ndim <= axis < values.ndim or values.shape[axis] != self.channels:
            raise InvalidKnob(f"{name} must have {self.channels} channels on axis {axis}; got shape {values.shape}.")
        dtype = values.dtype if np.issubdtype(values.dtype, np.floating) else np.dtype(np.float32)
        shape = [1] * values.ndim
        shape[axis] = self.channels
        mean, std = (np.array(constant, dtype=dtype).reshape(shape) for constant in (self.mean, self.std))
        return values.astype(dtype, copy=False), mean, std


def to_uint8(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Return 8-bit pixels from pixels in [0, 1]; what is outside is clipped."""
    result: NDArray[np.uint8] = np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8)
    return result


def _numbers(name: str, value: Any, expected: str) -> tuple[float, ...]:
    """Return finite numbers as a tuple, or raise ``InvalidKnob`` that names the argument."""
    try:
        numbers = tuple(float(v) for v in value)
    except (TypeError, ValueError) as error:
        raise InvalidKnob(f"{name} must be {expected}; got {value!r}.") from error
    if not all(math.isfinite(v) for v in numbers):
        raise InvalidKnob(f"{name} must be {expected}, all finite; got {value!r}.")
    return numbers
