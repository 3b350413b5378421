"""One run on screen: its picture, its curves and what stands beside it; and the style sheet of several side by side."""

from __future__ import annotations

from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING

import ipywidgets as w
import numpy as np

from xaiwidgets.render.curve import curve_svg
from xaiwidgets.widgets.closing import close_tree
from xaiwidgets.widgets.drawing import Stage
from xaiwidgets.widgets.exhibits import Exhibits
from xaiwidgets.widgets.theme import mark

if TYPE_CHECKING:
    from collections.abc import Callable

CSS = files("xaiwidgets.widgets").joinpath("synthesis.css").read_text("utf-8")


class LaneView:
    """The widgets of one run.

    Args:
        side: pixels of the canvas.
        taken: called when a person wants its knobs to be shown.
        closed: called when a person has no more use for it.
        enlarged: called with the number of the picture that is to be large.
    """

    def __init__(
        self, side: int, taken: Callable[[], None], closed: Callable[[], None], enlarged: Callable[[int], None]
    ) -> None:
        self.stage = Stage(side, side)
        self.stage.show(np.full((side, side, 3), 127, np.uint8))
        self.stage.canvas.on_mouse_down(lambda _x, _y: taken())
        self.name = w.Button(tooltip="Show the knobs and the target of this run")
        self.name.add_class("xai-lanename")
        self.name.on_click(lambda _: taken())
        self.away = w.Button(description="Close", tooltip="Drop this run")
        self.away.add_class("xai-plain")
        self.away.on_click(lambda _: closed())
        self.head = w.HBox([self.name, self.away])
        self.head.add_class("xai-lanehead")
        self.head.layout.display = "none"
        self.twin = w.HTML("<div class='xai-twin'>&nbsp;</div>")
        self.curve = w.HTML(curve_svg(np.array([]), 128, label="score"))
        self.terms = w.HTML()
        self.exhibits = Exhibits(enlarged)
        self._canvas = w.VBox([self.stage.canvas])
        self._canvas.add_class("xai-stagebox")
        self.words = w.HTML()
        self.words.layout.display = "none"
        charts = w.Box([self.curve, self.terms])
        charts.add_class("xai-charts")
        self.box = w.VBox([self.head, self._canvas, self.words, self.exhibits.box, self.twin, charts])
        self.box.add_class("xai-lane")

    def title(self, name: str, origin: str, on: bool, several: bool) -> None:
        """Say which run this is, and whether its knobs are shown; with one run there is nothing to tell."""
        self.head.layout.display = "" if several else "none"
        parts = (name, origin, "knobs shown" if on else "show its knobs")
        self.name.description = " · ".join(filter(None, parts))
        mark(self.name, on)
        mark(self.box, on and several)

    def say(self, target: str, words: str, notes: str, *, resting: bool) -> None:
        """Say what the picture shows; a screen reader is told when it rests, not fifteen times a second."""
        role = " role='status'" if resting else ""
        self.twin.value = (
            f"<div class='xai-twin'{role}>{escape(target)}: {escape(words)} "
            f"<span class='xai-muted'>{escape(notes)}</span></div>"
        )

    def empty(self, words: str, *, plain: bool) -> None:
        """Show no result but what is to be done: below the canvas or, if ``plain``, on a sheet instead of it."""
        kind = "xai-emptysheet" if plain else "xai-emptyline"
        self.words.value = f"<div class='{kind}' role='status'>{escape(words)}</div>"
        self.words.layout.display = ""
        self._canvas.layout.display = "none" if plain else ""
        self.exhibits.show(())
        self.twin.value, self.terms.value = "<div class='xai-twin'>&nbsp;</div>", ""
        self.curve.value = ""

    def fill(self) -> None:
        """Take the words away: there is a result."""
        if self.words.value:
            self.words.value, self.words.layout.display, self._canvas.layout.display = "", "none", ""

    def close(self) -> None:
        """Close all widgets."""
        self.stage.close()
        close_tree(self.box)


def sheet() -> w.HTML:
    """Return the style sheet as a widget without a size of its own."""
    made = w.HTML(f"<style>{CSS}</style>")
    made.layout.display = "none"
    return made
