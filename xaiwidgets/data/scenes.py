"""Pictures with what is on them: class, boxes and masks."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from xaiwidgets.errors import InvalidImage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Scene:
    """A picture and the truth about it.

    Attributes:
        pixels: float32 ``(H, W, C)`` in [0, 1], at the size that the network sees.
        label: index or name of the class that is asked about; ``None`` if it is not known.
        boxes: int64 ``(K, 4)`` around objects of that class: top, left, bottom, right, the last two not included.
        masks: bool ``(K, H, W)``; made from the boxes where only those are known.
        name: for people and for records.
        facts: what else is known, by name, such as color, texture or landmarks.
    """

    pixels: NDArray[np.float32]
    label: int | str | None = None
    boxes: NDArray[np.int64] | None = None
    masks: NDArray[np.bool_] | None = None
    name: str = "scene"
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        pixels = np.asarray(self.pixels)
        if pixels.dtype == np.uint8:
            pixels = pixels / np.float32(255)
        pixels = np.array(pixels, dtype=np.float32)
        if pixels.ndim != 3 or pixels.shape[2] not in (1, 3) or not np.isfinite(pixels).all():
            raise InvalidImage(f"pixels of a Scene must be finite, (H, W, 3) or (H, W, 1); got {pixels.shape}.")
        if pixels.min() < 0 or pixels.max() > 1:
            raise InvalidImage(
                f"pixels of a Scene must be in [0, 1]; got {pixels.min():g} to {pixels.max():g}. Divide by 255?"
            )
        size = pixels.shape[:2]
        boxes = _boxes(self.boxes, size)
        masks = _masks(self.masks, boxes, size)
        if boxes is None and masks is not None:
            boxes = tight_boxes(masks)
        for name, value in (("pixels", pixels), ("boxes", boxes), ("masks", masks)):
            if value is not None:
                value.setflags(write=False)
            object.__setattr__(self, name, value)

    @property
    def size(self) -> tuple[int, int]:
        """``(H, W)``."""
        height, width = self.pixels.shape[:2]
        return height, width

    @property
    def mask(self) -> NDArray[np.bool_] | None:
        """All objects of the class together, ``(H, W)``, or ``None``."""
        return None if self.masks is None else np.asarray(self.masks.any(axis=0))

    @property
    def digest(self) -> str:
        """16 hexadecimal digits of the SHA-256 of the pixels and of the truth."""
        found = hashlib.sha256(repr((self.pixels.shape, self.label)).encode() + self.pixels.tobytes())
        if self.masks is not None:
            found.update(self.masks.tobytes())
        return found.hexdigest()[:16]

    def fitted(self, preprocessing: Any) -> NDArray[np.float32]:
        """Return the pixels as the network takes them.

        Raises:
            InvalidImage: size or colors differ. A scene is not resized, for its truth would have to follow.
        """
        wanted = (*preprocessing.size, preprocessing.channels)
        if self.pixels.shape != wanted:
            raise InvalidImage(
                f"a Scene must have the size that the network sees, {wanted}; {self.name!r} has {self.pixels.shape}."
            )
        return self.pixels


def tight_boxes(masks: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return ``(K, 4)`` half-open boxes around masks ``(K, H, W)``; an empty mask gives an empty box."""
    height, width = masks.shape[1:]
    rows, columns = np.asarray(masks.any(axis=2)), np.asarray(masks.any(axis=1))
    last = (height - rows[:, ::-1].argmax(1), width - columns[:, ::-1].argmax(1))
    found = np.stack([rows.argmax(1), columns.argmax(1), *last], axis=1).astype(np.int64)
    found[~rows.any(axis=1)] = 0
    return found


def _boxes(given: Any, size: tuple[int, int]) -> NDArray[np.int64] | None:
    if given is None:
        return None
    boxes = np.array(given, dtype=np.int64).reshape(-1, 4)
    inside = (boxes[:, :2] >= 0).all() and (boxes[:, 2:] <= size).all()
    if not len(boxes) or not inside or not (boxes[:, :2] < boxes[:, 2:]).all():
        raise InvalidImage(
            f"boxes must be rows of (top, left, bottom, right) inside the picture of {size}; got {boxes.tolist()}."
        )
    return boxes


def _masks(given: Any, boxes: NDArray[np.int64] | None, size: tuple[int, int]) -> NDArray[np.bool_] | None:
    if given is not None:
        masks = np.array(given, dtype=bool)
        masks = masks[None] if masks.ndim == 2 else masks
        if masks.ndim != 3 or masks.shape[1:] != size or not masks.any(axis=(1, 2)).all():
            raise InvalidImage(f"masks must be (K, H, W) with H, W = {size}, none of them empty; got {masks.shape}.")
        return masks
    if boxes is None:
        return None
    masks = np.zeros((len(boxes), *size), dtype=bool)
    for mask, (top, left, bottom, right) in zip(masks, boxes, strict=True):
        mask[top:bottom, left:right] = True
    return masks
