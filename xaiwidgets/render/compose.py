"""Photo and map to one picture. Pure functions of arrays; exact 8-bit arithmetic."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from xaiwidgets.errors import InvalidImage
from xaiwidgets.render.box import outlined
from xaiwidgets.render.palettes import CENTERED, DIVERGING, palette
from xaiwidgets.render.resize import bilinear, nearest
from xaiwidgets.render.scale import scale_for, shown_part, shown_signed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xaiwidgets.render.box import Box
    from xaiwidgets.render.dominance import Dominance
    from xaiwidgets.render.look import Look
    from xaiwidgets.render.scale import Scale

#: Pixels between the panels, and the gray of the gap and of a map that is not there yet.
GAP, NEUTRAL = 8, 127

#: Rows that are blended at a time, so that what is between stays in the processor's cache.
ROWS = 32

#: One opacity for all pixels, or one a pixel ``(H, W)``; 0 to 255.
Alpha: TypeAlias = "int | NDArray[np.uint8]"


def look_scale(map: NDArray[Any], signed: bool, look: Look) -> Scale:
    """Return the scale on which ``look`` shows a raw map."""
    return scale_for(shown_part(map, look.sign), shown_signed(signed, look.sign), look.clip)


def picture_scale(picture: NDArray[Any], look: Look) -> Scale:
    """Return the scale on which ``(h, w, 3)`` is drawn as a picture: one for all colors, 0 is gray."""
    return scale_for(_flat_part(picture, look.sign), signed=True, clip=look.clip)


def palette_name(scale: Scale, look: Look) -> str:
    """Return the palette in use; ``auto`` follows the scale, and a signed map never gets a palette without a center."""
    if look.channels == "as image":
        return "gray"
    if look.palette == "auto" or (scale.diverging and look.palette not in CENTERED):
        return "blue_red" if scale.diverging else "viridis"
    return look.palette


@lru_cache(maxsize=32)
def _table(name: str, diverging: bool, against: bool) -> NDArray[np.uint8]:
    table = palette(name)
    if name in DIVERGING and not diverging:
        # A one-sided map uses the half that carries its sign, so that 0 is the neutral color here too.
        half = table[127::-1] if against else table[128:]
        table = half[np.arange(256) // 2]
        table.setflags(write=False)
    return table


def color_table(scale: Scale, look: Look) -> NDArray[np.uint8]:
    """Return the colors of the indexes that ``scale.to_index`` gives, ``(256, 3)``, read-only."""
    return _table(palette_name(scale, look), scale.diverging, scale.against)


def _alpha_table(scale: Scale, opacity: int) -> NDArray[np.uint8]:
    """Return the opacity of each index: none at 0, then rising with the distance from 0, steeper at first."""
    index = np.arange(256)
    # 0 is at 127 or 128 of a diverging palette, and must be wholly transparent.
    share = (np.abs(2 * index - 255) - 1) / 254 if scale.diverging else index / 255
    # In proportion, the middle of the scale would fade twice: by its color and by its opacity.
    return (share * (2 - share) * opacity).round().astype(np.uint8)


def heat_rgb(
    heat: NDArray[Any], scale: Scale, look: Look, size: tuple[int, int], classes: Dominance | None = None
) -> tuple[NDArray[np.uint8], Alpha]:
    """Return the colored map ``(H, W, 3)`` at ``size`` and its opacity, for ``blend``.

    ``heat`` is ``(h, w)`` at its own resolution, or ``(h, w, 3)`` for a picture around gray; ``look.sign`` is applied
    before it is interpolated. With ``classes``, the hue is that of the class at each place, and the brightness stands
    for the value; over a photo that is covered by value, the opacity does.

    Raises:
        ValueError: the map is not finite or has another shape.
    """
    enlarged = bilinear if look.smooth else nearest
    opacity = round(look.opacity * 255)
    if np.ndim(heat) == 3:
        part = _flat_part(heat, look.sign).reshape(heat.shape)
        rgb = np.stack([scale.to_index(enlarged(plane, size)) for plane in np.moveaxis(part, 2, 0)], axis=2)
        # the color that is farthest from gray decides how much of the photo is covered
        return rgb, opacity if look.blend == "even" else np.take(_alpha_table(scale, opacity), rgb).max(axis=2)
    index = scale.to_index(enlarged(shown_part(heat, look.sign), size))
    if classes is not None:
        if look.layout == "overlay" and look.blend == "by value":
            return classes.colors(size), np.take(_alpha_table(scale, opacity), index)
        return classes.picture(index), opacity
    rgb = np.take(color_table(scale, look), index, axis=0)
    return rgb, opacity if look.blend == "even" else np.take(_alpha_table(scale, opacity), index)


def _flat_part(picture: NDArray[Any], sign: str) -> NDArray[Any]:
    """Return the shown part of ``(h, w, 3)`` as ``(h, 3w)``."""
    return shown_part(np.asarray(picture).reshape(len(picture), -1), sign)


def blend(photo: NDArray[np.uint8], rgb: NDArray[np.uint8], alpha: Alpha) -> NDArray[np.uint8]:
    """Return ``(photo * (255 - alpha) + rgb * alpha) / 255``, rounded, ``(H, W, 3)``."""
    height = photo.shape[0]
    under, over = photo.reshape(height, -1), rgb.reshape(height, -1)
    result = np.empty_like(under)
    for top in range(0, height, ROWS):
        rows = slice(top, top + ROWS)
        share = np.uint16(alpha) if isinstance(alpha, int) else np.repeat(alpha[rows].astype(np.uint16), 3, axis=1)
        mixed = under[rows] * (np.uint16(255) - share)
        mixed += over[rows] * share
        # x / 255 rounded, for x up to 255 * 255, without leaving 16 bits.
        mixed += 128
        mixed += mixed >> 8
        mixed >>= 8
        result[rows] = mixed
    return result.reshape(photo.shape)


def composed_size(look: Look, size: tuple[int, int]) -> tuple[int, int]:
    """Return ``(H, W')`` of the picture that ``compose`` makes of a photo of ``size``."""
    height, width = size
    return (height, 2 * width + GAP) if look.layout == "side" else (height, width)


def beside(left: NDArray[np.uint8], right: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return two panels of one height with a neutral gap between them."""
    gap = np.full((left.shape[0], GAP, 3), NEUTRAL, np.uint8)
    return np.concatenate([left, gap, right], axis=1)


def compose(
    photo: NDArray[np.uint8],
    heat: NDArray[Any] | None,
    scale: Scale,
    look: Look,
    box: Box | None = None,
    classes: Dominance | None = None,
) -> NDArray[np.uint8]:
    """Return what is on screen, uint8 ``(H, W', 3)``, as ``look.layout`` asks; nothing that came in is changed.

    Without a map the place of its panel is neutral gray and the overlay is the plain photo. A ``box`` is drawn on the
    map, wherever that is, never on the plain photo. ``classes`` give the map their colors (see ``heat_rgb``).

    Raises:
        InvalidImage: the photo is not uint8 ``(H, W, 3)``.
        ValueError: the map is not ``(h, w)`` or not finite.
    """
    if photo.dtype != np.uint8 or photo.ndim != 3 or photo.shape[2] != 3:
        raise InvalidImage(f"photo must be uint8 (H, W, 3); got {photo.dtype} {photo.shape}. Convert it first.")
    if look.layout == "photo" or (heat is None and look.layout == "overlay"):
        return photo.copy()
    if heat is None:
        panel: NDArray[np.uint8] = np.full_like(photo, NEUTRAL)
        alpha: Alpha = 0
    else:
        panel, alpha = heat_rgb(heat, scale, look, photo.shape[:2], classes)
    shown = blend(photo, panel, alpha) if look.layout == "overlay" else panel
    if box is not None and heat is not None:
        shown = outlined(shown, box)
    return beside(photo, shown) if look.layout == "side" else shown
