"""A strip of pictures from different runs, side by side, each with what made it."""

from __future__ import annotations

import base64
from html import escape
from typing import TYPE_CHECKING

import ipywidgets as w

from xaiwidgets.render.animation import png_bytes

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: The oldest makes room.
MOST = 8
SIDE = 88


class Snapshots:
    """The last few snapshots with captions."""

    def __init__(self) -> None:
        self._shots: list[tuple[str, str, str]] = []
        self.box = w.HTML(layout=w.Layout(width="100%"))
        self._draw()

    def add(self, pixels: NDArray[np.uint8], caption: str, details: str) -> None:
        """Add a picture, uint8 ``(H, W, 3)``."""
        data = base64.b64encode(png_bytes(pixels, {"Description": f"{caption}; {details}"})).decode()
        self._shots = [*self._shots, (data, caption, details)][-MOST:]
        self._draw()

    def __len__(self) -> int:
        return len(self._shots)

    def _draw(self) -> None:
        if not self._shots:
            self.box.value = (
                f"<div class='xai-muted' style='min-height:{SIDE + 34}px'>Snapshots of your runs appear here, "
                "to compare them.</div>"
            )
            return
        cells = "".join(
            f"<figure style='margin:0;width:{SIDE}px' title='{escape(details)}'>"
            f"<a download='snapshot-{number}.png' href='data:image/png;base64,{data}'>"
            f"<img alt='{escape(caption)}' width='{SIDE}' height='{SIDE}' style='border-radius:4px;object-fit:cover' "
            f"src='data:image/png;base64,{data}'/></a>"
            f"<figcaption style='font-size:11px;line-height:1.25'>{escape(caption)}</figcaption></figure>"
            for number, (data, caption, details) in enumerate(self._shots, 1)
        )
        self.box.value = f"<div style='display:flex;flex-wrap:wrap;gap:8px;min-height:{SIDE + 34}px'>{cells}</div>"
