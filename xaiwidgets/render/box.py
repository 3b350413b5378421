"""A box that a method has found, as a thin rectangle on its map."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from xaiwidgets.core.results import Attribution

#: (top, left, bottom, right) as shares of the picture's height and width.
Box: TypeAlias = "tuple[float, float, float, float]"

#: A light line between two dark ones is seen on every photo and palette.
LINE, EDGE = (255, 255, 255), (20, 20, 20)
#: One pixel of line for this many of the picture's shorter side.
PIXELS = 240


def found_box(attribution: Attribution) -> Box | None:
    """Return ``details["box"]`` (top, left, bottom, right in pixels, the last two not included) as shares, if any."""
    box = attribution.details.get("box")
    if box is None:
        return None
    height, width = attribution.size
    top, left, bottom, right = map(float, box)
    return top / height, left / width, bottom / height, right / width


def outlined(picture: NDArray[np.uint8], box: Box) -> NDArray[np.uint8]:
    """Return a copy of the picture ``(H, W, 3)`` with the box drawn along the inside of its edge."""
    height, width = picture.shape[:2]
    sides = (height, width, height, width)
    top, left, bottom, right = (round(share * side) for share, side in zip(box, sides, strict=True))
    line = max(1, round(min(height, width) / PIXELS))
    result = picture.copy()
    _ring(result, (top - line, left - line, bottom + line, right + line), 3 * line, EDGE)
    _ring(result, (top, left, bottom, right), line, LINE)
    return result


def _ring(picture: NDArray[np.uint8], box: tuple[int, int, int, int], width: int, color: tuple[int, int, int]) -> None:
    """Fill what lies within ``width`` pixels of the edge of a box in pixels, inside it and inside the picture."""
    top, left, bottom, right = box
    strips = (
        (top, left, min(top + width, bottom), right),
        (max(bottom - width, top), left, bottom, right),
        (top, left, bottom, min(left + width, right)),
        (top, max(right - width, left), bottom, right),
    )
    for first, start, last, end in strips:
        picture[max(first, 0) : max(last, 0), max(start, 0) : max(end, 0)] = color
