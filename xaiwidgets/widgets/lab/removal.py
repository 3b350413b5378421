"""Deletion and insertion as a player: the picture at any place of the curve."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ipywidgets as w
import numpy as np

from xaiwidgets.render.numbers import number
from xaiwidgets.widgets.drawing import UI_LOCK
from xaiwidgets.widgets.lab.panel import Panel
from xaiwidgets.widgets.lab.player import Player
from xaiwidgets.widgets.lab.sheet import Tile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xaiwidgets.core.scores import Score
    from xaiwidgets.widgets.lab.panel import Shot

#: Places of the slider: the curve is measured at some, and the picture can be made at any.
PLACES = 100


class Removal(Panel):
    """The map, the picture that loses or gains its pixels, and the curves; no place of the slider takes a pass."""

    def parts(self) -> Sequence[w.Widget]:
        """Return the widgets from top to bottom."""
        self.player = Player(self._scrub, "Share of pixels", "Remove or show the pixels in the order of the map")
        row = w.HBox([self.player.button, self.words])
        row.add_class("xai-playrow")
        self.plot = self.plots[0]
        self._reel: tuple[Any, Any] = (None, None)
        return (self.sheet.box, row, self.plot.box, self.player.box, self.known)

    def begin(self, shot: Shot) -> None:
        """Another question is asked."""
        self.player.reset()
        self._reel = (None, None)

    def draw(self, shot: Shot) -> None:
        """Show the curves so far, and the picture where the slider stands."""
        score = shot.score
        ready = score is not None and "order" in score.details
        self.player.reach(PLACES if ready else 0)
        if not self.player.touched:
            self.player.set(PLACES // 5 if ready else 0)
        self.plot.show(score.curves if score is not None else (), None, 0.0, 1.0)
        self._scrub(self.player.value)

    def _scrub(self, place: int) -> None:
        with UI_LOCK:
            shot = self.shot
            if shot is None:
                return
            score = shot.score
            ready = score is not None and "order" in score.details
            tiles = [
                self.map(
                    "map", None if score is None else score.maps.get("map"), unit=shot.unit, tell="waits for the map"
                )
            ]
            if score is not None and ready:
                share = place / PLACES
                tiles.append(Tile(self._title(score, share), self._picture(score, share)))
                self.plot.mark(share)
            else:
                tiles.append(Tile("picture", None, "", "waits for the first numbers"))
                self.plot.mark(None)
            self.sheet.show(tiles, self.ratio)
            said = self._say(score, place / PLACES) if score is not None and ready else "The map comes first."
            self.words.value = f"<div class='xai-said2' role='status' aria-live='polite'>{said}</div>"

    def _picture(self, score: Score, share: float) -> Any:
        order = score.details["order"]
        if self._reel[0] is not order:
            assert self.shot is not None
            self._reel = (order, self.shot.reel(score))
        made = self._reel[1]
        return None if made is None else made(round(share * len(order)))

    def _title(self, score: Score, share: float) -> str:
        done = "shown" if score.details["insert"] else "removed"
        return f"{share:.0%} of the pixels {done}"

    def _say(self, score: Score, share: float) -> str:
        """Return the values of all curves at this place, between those that were measured."""
        done = "shown" if score.details["insert"] else "removed"
        found = []
        for curve in score.curves:
            fine = np.isfinite(curve.y)
            if fine.any():
                found.append(f"{curve.name} <b>{number(float(np.interp(share, curve.x[fine], curve.y[fine])))}</b>")
        unit = score.curves[0].y_label if score.curves else ""
        return f"{share:.0%} {done}, {unit}: {', '.join(found)}. The areas under these lines are compared."

    def close(self) -> None:
        """Stop playing and close all widgets."""
        self.player.pause()
        super().close()
