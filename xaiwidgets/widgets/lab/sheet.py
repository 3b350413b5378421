"""Pictures side by side with their titles and color bars; those that did not change cost nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import ipywidgets as w
import numpy as np
from PIL import Image

from xaiwidgets.render.colorbar import colorbar_html
from xaiwidgets.render.compose import compose, look_scale
from xaiwidgets.widgets.board import Band
from xaiwidgets.widgets.closing import close_tree
from xaiwidgets.widgets.drawing import UI_LOCK

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from xaiwidgets.render.look import Look
    from xaiwidgets.render.scale import Scale

#: Tiles beside each other, and canvas pixels of a tile's longer side: of few, and of many.
MOST_COLUMNS = 4
LARGE, SMALL, FEW = 440, 288, 2


@dataclass(frozen=True, eq=False)
class Tile:
    """What is shown in one place.

    Attributes:
        title: above it. ``pixels``: uint8 ``(H, W, 3)``, or ``None`` while there is nothing.
        foot: HTML below it, such as a color bar. ``tell``: a word on it while it is empty.
    """

    title: str
    pixels: NDArray[np.uint8] | None = None
    foot: str = ""
    tell: str = ""


class Sheet:
    """Rows of tiles; ``show`` says what is in them."""

    def __init__(self) -> None:
        self._bands: list[Band] = []
        self._shown: list[Tile] = []
        self._shape: tuple[Any, ...] = ()
        self._style = w.HTML()
        self._style.layout.display = "none"
        self.box = w.VBox([self._style])
        for name in ("xai-board", "xai-still", "xai-labsheet", f"xai-sheet-{self.box.model_id[:12]}"):
            self.box.add_class(name)
        self._classes: tuple[str, ...] = ()

    def show(self, tiles: Sequence[Tile], ratio: float = 1.0, most: int = MOST_COLUMNS) -> None:
        """Show these tiles, whose height is ``ratio`` of their width, at most so many beside each other."""
        with UI_LOCK:
            count = len(tiles)
            columns = min(max(count, 1), most)
            rows = -(-count // columns)
            longer = LARGE if count <= FEW else SMALL
            size = (round(longer * min(1.0, ratio)), round(longer / max(1.0, ratio)))
            self._arrange(rows, columns, size, count)
            for place, tile in enumerate(tiles):
                old = self._shown[place] if place < len(self._shown) else None
                if old is None or old.pixels is not tile.pixels or old.tell != tile.tell:
                    pixels = np.full((*size, 3), 127, np.uint8) if tile.pixels is None else fitted(tile.pixels, size)
                    self._bands[place // columns].tiles.show(place % columns, pixels)
            self._shown = list(tiles)
            for row, band in enumerate(self._bands[:rows]):
                mine = tiles[row * columns : (row + 1) * columns]
                rest = [""] * (len(band.feet) - len(mine))
                band.title("", [tile.title for tile in mine])
                band.feet = [tile.foot for tile in mine] + rest
                band.states = [
                    f"<span class='xai-tell'>{tile.tell}</span>" if tile.tell else "" for tile in mine
                ] + rest
                band.send()

    @property
    def titles(self) -> list[str]:
        """What stands above the tiles."""
        return [tile.title for tile in self._shown]

    def pixels(self, place: int) -> NDArray[np.uint8] | None:
        """Return what a tile was given."""
        return self._shown[place].pixels

    def _arrange(self, rows: int, columns: int, size: tuple[int, int], count: int) -> None:
        if self._shape == (rows, columns, size, count):
            return
        self._shape, self._shown = (rows, columns, size, count), []
        while len(self._bands) < rows:
            self._bands.append(Band(1, (8, 8), _nothing, _nothing, _nothing, _nothing))
        for row, band in enumerate(self._bands[:rows]):
            band.shape(min(columns, count - row * columns), size)
        wanted = (f"xai-w{columns}", f"xai-r{max(rows, 1)}")
        for old in set(self._classes) - set(wanted):
            self.box.remove_class(old)
        for new in wanted:
            self.box.add_class(new)
        self._classes = wanted
        self._style.value = f"<style>.xai-sheet-{self.box.model_id[:12]}{{--ratio:{size[0] / size[1]:.5f}}}</style>"
        self.box.children = (self._style, *(band.box for band in self._bands[:rows]))

    def close(self) -> None:
        """Close all widgets."""
        for band in self._bands:
            band.close()
        close_tree(self.box)


def _nothing(*_: Any) -> None:
    """The sheet has no cursor."""


def fitted(pixels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return a picture at this size: small ones with their pixels to be seen, others smoothly."""
    if pixels.shape[:2] == size:
        return pixels
    small = 2 * pixels.shape[0] <= size[0]
    how = Image.Resampling.NEAREST if small else Image.Resampling.LANCZOS
    return np.asarray(Image.fromarray(pixels).resize(size[::-1], how))


def map_tile(
    title: str,
    values: NDArray[Any],
    photo: NDArray[np.uint8] | None,
    look: Look,
    *,
    unit: str = "",
    scale: Scale | None = None,
    side: int = LARGE,
) -> Tile:
    """Return a map as a tile: over the photo as the look asks, or alone without one.

    Args:
        title: above it.
        values: ``(H, W)``.
        photo: uint8 ``(H, W, 3)`` of any size.
        look: palette, opacity and so on.
        unit: of the values.
        scale: of the colors; its own by default.
        side: pixels of the longer side, without a photo.
    """
    values = np.asarray(values, np.float32)
    if not np.isfinite(values).all():
        return Tile(title, None, "", "not finite")
    own = scale or look_scale(values, bool(values.min() < 0), look)
    if photo is None:
        height, width = values.shape
        factor = side / max(height, width)
        photo = np.full((max(1, round(height * factor)), max(1, round(width * factor)), 3), 127, np.uint8)
        look = replace(look, layout="map")
    pixels = compose(photo, values, own, look)
    return Tile(title, pixels, colorbar_html(own, look, unit, 3, told=False))
