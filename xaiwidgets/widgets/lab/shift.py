"""Input invariance by hand: a switch between two networks that answer alike, and their maps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ipywidgets as w
import numpy as np

from xaiwidgets.render.compose import look_scale
from xaiwidgets.render.numbers import number, percent
from xaiwidgets.widgets.drawing import UI_LOCK
from xaiwidgets.widgets.lab.panel import Panel
from xaiwidgets.widgets.lab.sheet import Tile, fitted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from xaiwidgets.widgets.lab.panel import Shot

SIDES = (("First network", "first"), ("Shifted network", "shifted"), ("Difference", "difference"))


class Shift(Panel):
    """The picture that a network gets and its map, of either network, on one scale: what moves is what fails."""

    beside = 384

    def parts(self) -> Sequence[w.Widget]:
        """Return the widgets from top to bottom."""
        self.side = w.ToggleButtons(
            options=SIDES,
            description="Network",
            tooltips=("The network as it is", "Its twin for shifted pictures", "What changed between the maps"),
        )
        self.side.style.button_width = "auto"
        self.side.style.description_width = "60px"
        self.side.add_class("xai-switch")
        self.side.observe(lambda _: self._switch(), "value")
        return (self.side, self.sheet.box, self.words, self.known)

    def draw(self, shot: Shot) -> None:
        """Show the side that is chosen."""
        self._switch()

    def _switch(self) -> None:
        with UI_LOCK:
            shot = self.shot
            if shot is None:
                return
            score, side = shot.score, str(self.side.value)
            maps = {} if score is None else score.maps
            one, two, shift = (maps.get(name) for name in ("map", "of the shifted network", "shift"))
            if one is None or two is None or shift is None:
                tiles = [
                    self.photo_tile("the picture that the first network gets"),
                    self.map("map", None, tell="waits"),
                ]
                said = "Both maps are computed in float64, which takes a few seconds."
            else:
                common = look_scale(np.concatenate([one, two]), bool(min(one.min(), two.min()) < 0), shot.look)
                given, title = (
                    self._given(side, shift),
                    {
                        "first": "map of the first network",
                        "shifted": "map of the shifted network",
                        "difference": "shifted less first, same scale",
                    }[side],
                )
                if side == "difference":
                    gap = two.astype(np.float64) - one
                    top = max(abs(common.low), abs(common.high))
                    scale: Any = type(common)(-top, top, diverging=True)
                    tiles = [given, self.map(title, gap, unit=shot.unit, scale=scale)]
                else:
                    tiles = [given, self.map(title, one if side == "first" else two, unit=shot.unit, scale=common)]
                said = self._say(shot)
            self.sheet.show(tiles, self.ratio)
            self.words.value = f"<div class='xai-said2' role='status' aria-live='polite'>{said}</div>"

    def _given(self, side: str, shift: NDArray[Any]) -> Tile:
        assert self.shot is not None
        photo = self.photo()
        if side == "first":
            return Tile("the picture that the first network gets", photo)
        levels = shift * self.shot.level
        added = fitted(np.clip(np.abs(levels), 0, 255).astype(np.uint8)[..., None].repeat(3, axis=2), photo.shape[:2])
        sign = 1 if float(shift.sum()) >= 0 else -1
        shifted = np.clip(photo.astype(np.int16) + sign * added.astype(np.int16), 0, 255).astype(np.uint8)
        return Tile("the picture that the shifted network gets", shifted)

    def _say(self, shot: Shot) -> str:
        score = shot.score
        assert score is not None
        answers = number(float(score.details.get("answers", float("nan"))))
        alike = number(float(score.details.get("spearman", float("nan"))))
        return (
            f"The two networks' answers differ by {answers}, their maps by <b>{percent(score.value)}</b>; "
            f"rank correlation of the maps {alike}. Both maps have one scale."
        )
