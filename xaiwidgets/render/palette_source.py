"""Where the shipped color tables come from; run by a developer, never when a picture is drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from xaiwidgets.render.palettes import DIVERGING, PALETTES, TABLES

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Lightness in CIELAB of the palest and of the strongest color of a diverging palette.
CENTER_LIGHTNESS, END_LIGHTNESS = 96.0, 40.0
#: (hue angle in degrees, chroma at the end) in CIELAB of the evidence against and of the evidence for.
ARMS = {"blue_red": ((282.0, 49.0), (34.0, 58.0)), "purple_green": ((316.0, 54.0), (145.0, 50.0))}

_D65 = np.array([0.95047, 1.0, 1.08883])
_XYZ_TO_RGB = np.array(
    [[3.2404542, -1.5371385, -0.4985314], [-0.969266, 1.8760108, 0.041556], [0.0556434, -0.2040259, 1.0572252]]
)


def srgb(lab: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return sRGB in [0, 1] of CIELAB colors ``(n, 3)`` under D65 (IEC 61966-2-1); what is out of gamut is clipped."""
    lightness, green_red, blue_yellow = lab.T
    middle = (lightness + 16) / 116
    root = np.stack([middle + green_red / 500, middle, middle - blue_yellow / 200], axis=1)
    knee = 6 / 29
    xyz = np.where(root > knee, root**3, 3 * knee**2 * (root - 4 / 29)) * _D65
    linear = (xyz @ _XYZ_TO_RGB.T).clip(0, 1)
    encoded: NDArray[np.float64] = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return encoded


def diverging(low: tuple[float, float], high: tuple[float, float]) -> NDArray[np.uint8]:
    """Return a diverging table ``(256, 3)`` whose two arms are straight lines in CIELAB, of equal lightness.

    Equal steps of the value are equal steps of the color, and the sign that looks darker is the stronger one.
    """
    share = np.linspace(0, 1, 128)
    lightness = CENTER_LIGHTNESS + (END_LIGHTNESS - CENTER_LIGHTNESS) * share
    arms = []
    for degrees, chroma in (low, high):
        hue = np.deg2rad(degrees)
        arms.append(srgb(np.stack([lightness, share * chroma * np.cos(hue), share * chroma * np.sin(hue)], axis=1)))
    table = (np.concatenate([arms[0][::-1], arms[1]]) * 255).round().astype(np.uint8)
    # Rounding of the conversion matrix must not tint the neutral center.
    table[127:129] = table[127:129].max()
    return table


def build_tables() -> NDArray[np.uint8]:
    """Return all tables ``(palette, 256, 3)``: the diverging ones from CIELAB, the others as matplotlib has them."""
    import matplotlib as mpl

    tables = []
    for name in PALETTES:
        if name in DIVERGING:
            tables.append(diverging(*ARMS[name]))
        else:
            tables.append(mpl.colormaps[name](np.arange(256), bytes=True)[:, :3])
    return np.stack(tables)


def write_tables() -> None:
    """Write the file that ``palettes`` reads."""
    np.save(TABLES, build_tables(), allow_pickle=False)
