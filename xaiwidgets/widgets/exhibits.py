"""The pictures that stand beside a synthesized one: captioned tiles, any of which can be shown large."""

from __future__ import annotations

import base64
import io
from html import escape
from typing import TYPE_CHECKING, Any

import ipywidgets as w
from PIL import Image

from xaiwidgets.widgets.closing import close_tree
from xaiwidgets.widgets.drawing import UI_LOCK
from xaiwidgets.widgets.quiet import Quiet

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

#: Tiles side by side; of more, those around the chosen one are shown. Pixels of a tile's longer side.
MOST, SIDE = 7, 160


class Exhibits:
    """A row of tiles and a slider that says which picture is large; takes no room where there are none.

    Args:
        chosen: called with 0 for the picture itself, or the number of an exhibit from 1.
    """

    def __init__(self, chosen: Callable[[int], None]) -> None:
        self._chosen = chosen
        self._quiet = Quiet()
        self.large = self.count = self._first = 0
        self.captions: tuple[str, ...] = ()
        self.tiles = w.HTML()
        self.slider = self._make(1)
        self.told = w.HTML()
        self._place = w.Box([self.slider])
        self._place.add_class("xai-scrubplace")
        row = w.HBox([self._place, self.told])
        row.add_class("xai-scrubber")
        self.box = w.VBox([self.tiles, row])
        self.box.add_class("xai-exhibits")
        self.box.layout.display = "none"

    def show(self, pictures: Sequence[tuple[NDArray[np.uint8], str]]) -> None:
        """Show these pictures, uint8 ``(H, W, 3)``, with their captions."""
        with UI_LOCK:
            if len(pictures) != self.count:
                self.count, old = len(pictures), self.slider
                if self.large > self.count:  # a run that begins anew has few at first: it comes back with them
                    self.large, self._first = 0, self.large
                self.slider = self._make(max(self.count, 1))
                self._place.children = (self.slider,)
                close_tree(old)
                self.box.layout.display = "" if self.count else "none"
            if 0 < self._first <= self.count:
                self._move(self._first)
                self._first = 0
            self.captions = tuple(caption for _, caption in pictures)
            first = min(max(self.large - 1 - MOST // 2, 0), max(self.count - MOST, 0))
            cells = (
                _tile(pixels, caption, number == self.large)
                for number, (pixels, caption) in enumerate(pictures[first : first + MOST], first + 1)
            )
            self.tiles.value = f"<div class='xai-exhibitrow'>{''.join(cells)}</div>" if pictures else ""
            self._tell()

    def begin(self, first: int) -> None:
        """Show the picture itself large, or this exhibit as soon as there is one and nobody has chosen another."""
        with UI_LOCK:
            self._first = first
            self._move(0)

    def _move(self, large: int) -> None:
        """Let the slider stand at this picture, without calling back."""
        self.large = large
        with self._quiet:
            self.slider.min, self.slider.max, self.slider.value = 0, max(self.count, 1), large

    def _make(self, last: int) -> w.IntSlider:
        slider = w.IntSlider(value=min(self.large, last), min=0, max=last, description="Large", readout=False)
        slider.style.description_width = "40px"
        slider.tooltip = "Which picture is shown large: the first place is the picture itself"
        slider.observe(self._slid, "value")
        return slider

    def _slid(self, change: Any) -> None:
        found = change["new"]
        if self._quiet or isinstance(found, bool) or not isinstance(found, int):
            return
        with UI_LOCK:  # the bounds of a slider belong to the browser
            self._first = 0
            self._move(min(max(found, 0), self.count))
            self._tell()
        self._chosen(self.large)

    def _tell(self) -> None:
        words = "the picture" if not self.large else self.captions[self.large - 1]
        self.told.value = f"<span class='xai-scrubbed2' title='{escape(words)}'>{escape(words)}</span>"


def _tile(pixels: NDArray[np.uint8], caption: str, on: bool) -> str:
    picture = Image.fromarray(pixels)
    picture.thumbnail((SIDE, SIDE), Image.Resampling.BILINEAR)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=88)
    data = base64.b64encode(buffer.getvalue()).decode()
    told = escape(caption)
    return (
        f"<figure class='xai-exhibit{' xai-on' if on else ''}' title='{told}'>"
        f"<img alt='{told}' src='data:image/jpeg;base64,{data}'/><figcaption>{told}</figcaption></figure>"
    )
