"""Max-sensitivity: the map, the one that noise has changed most, that noise, and all draws."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xaiwidgets.render.numbers import number
from xaiwidgets.widgets.lab.panel import Panel

if TYPE_CHECKING:
    from collections.abc import Sequence

    import ipywidgets as w

    from xaiwidgets.widgets.lab.panel import Shot


class Sensitivity(Panel):
    """Each of the three pictures has a scale of its own; the noise is far too faint to be seen on the photo."""

    def parts(self) -> Sequence[w.Widget]:
        """Return the widgets from top to bottom."""
        self.plot = self.plots[0]
        return (self.sheet.box, self.words, self.plot.box, self.known)

    def draw(self, shot: Shot) -> None:
        """Show the largest change so far."""
        score = shot.score
        maps = {} if score is None else score.maps
        tiles = [
            self.map("map", maps.get("map"), unit=shot.unit, tell="waits for the map"),
            self.map("the one that differs most", maps.get("the one that differs most"), unit=shot.unit, tell="waits"),
            self.map("its noise, much enlarged", maps.get("its noise"), over=False, unit="input units", tell="waits"),
        ]
        self.sheet.show(tiles, self.ratio)
        if score is None:
            self.plot.show(())
            said = "The map comes first, then a map for each draw of noise."
        else:
            curves = [score.curves[1], score.curves[0]] if len(score.curves) == 2 else list(score.curves)
            self.plot.show(curves, score.limit, 0.0, float(score.knobs.get("samples", 1)))
            mean, moved = score.details.get("mean", float("nan")), score.details.get("changed", 0)
            said = (
                f"{len(score.items)} draws: the map changes by <b>{number(score.value)}</b> of its size at most, "
                f"{number(float(mean))} in the mean; {moved} change the network's first class."
            )
        self.words.value = f"<div class='xai-said2' role='status' aria-live='polite'>{said}</div>"
