"""Model randomization by hand: a slider forgets layer after layer, and the map and the similarities go with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ipywidgets as w

from xaiwidgets.render.numbers import number
from xaiwidgets.widgets.drawing import UI_LOCK
from xaiwidgets.widgets.lab.panel import Panel
from xaiwidgets.widgets.lab.player import Player

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xaiwidgets.core.scores import Score
    from xaiwidgets.widgets.lab.panel import Shot

#: What the orders do at a stage, in words.
SAID = {
    "cascading": "Drawn anew from the scores down to {}",
    "bottom_up": "Drawn anew from the picture up to {}",
    "independent": "Drawn anew: {} alone",
    "all": "All weights drawn anew",
}
TRAINED = "trained"


class Randomization(Panel):
    """The trained network's map beside that of any stage; no place of the slider takes a pass."""

    def parts(self) -> Sequence[w.Widget]:
        """Return the widgets from top to bottom."""
        self.player = Player(self._scrub, "Drawn anew", "From the trained network through the layers that forget")
        row = w.HBox([self.player.button, self.words])
        row.add_class("xai-playrow")
        self.plot = self.plots[0]
        return (self.sheet.box, row, self.plot.box, self.player.box, self.known)

    def begin(self, shot: Shot) -> None:
        """Another question is asked: the slider follows the newest stage until somebody takes it."""
        self.player.reset()

    def draw(self, shot: Shot) -> None:
        """Show the curves so far, and the map where the slider stands."""
        score = shot.score
        stages = self.stages(score)
        self.player.reach(len(stages))
        if not self.player.touched:
            self.player.set(0 if score is None else self.there(score))
        if score is not None:
            self.plot.show(score.curves, score.limit, -1.0, len(stages) - 1.0)
        else:
            self.plot.show(())
        self._scrub(self.player.value)

    def stages(self, score: Score | None) -> tuple[str, ...]:
        """Return the names of the places after the first one."""
        return () if score is None else tuple(score.details.get("stages", ()))

    def there(self, score: Score) -> int:
        """Return the last place of which there is a map."""
        return sum(name in score.maps for name in self.stages(score))

    def _scrub(self, place: int) -> None:
        with UI_LOCK:
            shot = self.shot
            if shot is None:
                return
            score = shot.score
            maps = {} if score is None else score.maps
            name = (TRAINED, *self.stages(score))[place] if score is not None else TRAINED
            title = TRAINED if place == 0 else f"after {name}"
            tiles = [self.map(f"{TRAINED} network", maps.get(TRAINED), unit=shot.unit, tell="waits for the map")]
            tiles.append(self.map(title, maps.get(name), unit=shot.unit, tell="not there yet"))
            self.sheet.show(tiles, self.ratio)
            self.plot.mark(None if score is None else place - 1.0)
            self.words.value = (
                f"<div class='xai-said2' role='status' aria-live='polite'>{self._say(score, place)}</div>"
            )

    def _say(self, score: Score | None, place: int) -> str:
        if score is None:
            return "The trained network's map comes first."
        if place == 0:
            return "The trained network. Move the slider, or press Play, to make it forget. Each map has its own scale."
        stages, order = self.stages(score), str(score.knobs.get("order", "cascading"))
        said = SAID[order].format(f"<b>{stages[place - 1]}</b>")
        found = [f"{c.name} {number(float(c.y[place - 1]))}" for c in score.curves[:-2] if place <= len(c.y)]
        known = [one for one in found if not one.endswith("not a number")]
        return f"{said}: {', '.join(known)}" if known else f"{said}: {'no similarity' if found else 'not there yet'}"

    def close(self) -> None:
        """Stop playing and close all widgets."""
        self.player.pause()
        super().close()
