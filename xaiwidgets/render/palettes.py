"""Color tables by name: 256 sRGB colors each, shipped as numbers so that the first picture needs no matplotlib."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from xaiwidgets.core.knobs import Choice

if TYPE_CHECKING:
    from numpy.typing import NDArray

SEQUENTIAL = ("viridis", "magma", "inferno", "cividis", "gray")
#: Neutral at 127 and 128; the lower half is evidence against, the upper half evidence for.
DIVERGING = ("blue_red", "purple_green")
#: Not perceptually uniform; offered by name only, for comparison with papers.
RAINBOW = ("jet",)
#: Palettes with a color of their own for 0 in the middle: those made for it, grays (darker against, lighter for), and
#: jet, because papers show signed maps so.
CENTERED = (*DIVERGING, "gray", *RAINBOW)
PALETTES = SEQUENTIAL + DIVERGING + RAINBOW

#: ``(palette, 256, 3)`` in the order of ``PALETTES``, written by ``palette_source.write_tables``.
TABLES = Path(__file__).with_name("palettes.npy")


@lru_cache(maxsize=1)
def _tables() -> NDArray[np.uint8]:
    tables: NDArray[np.uint8] = np.load(TABLES, allow_pickle=False)
    tables.setflags(write=False)
    return tables


@lru_cache(maxsize=len(PALETTES))
def palette(name: str) -> NDArray[np.uint8]:
    """Return the read-only table of a palette, ``(256, 3)``, sRGB from the lowest value to the highest.

    Raises:
        InvalidKnob: no palette has this name.
    """
    table: NDArray[np.uint8] = _tables()[PALETTES.index(Choice(PALETTES).check("palette", name))]
    return table
