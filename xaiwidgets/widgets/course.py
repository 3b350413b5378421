"""The curves of a method that works in steps, with the buttons that hold it and begin it anew."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import ipywidgets as w

from xaiwidgets.core.cards import card
from xaiwidgets.render.curves import course, curves_html, told_marks
from xaiwidgets.render.record import brief_value

if TYPE_CHECKING:
    from collections.abc import Callable

    from xaiwidgets.core.results import Attribution


class CoursePanel:
    """Curves beside *Pause* and *Restart*; takes its room as soon as such a method is chosen, so that nothing jumps.

    Args:
        pause: called to pause a run, or to go on with a paused one.
        restart: called to begin anew.
    """

    def __init__(self, pause: Callable[[], None], restart: Callable[[], None]) -> None:
        self._method = ""
        self._state = ""
        self._waiting: tuple[tuple[str, Any], ...] = ()
        self._result: Attribution | None = None
        self.curves = w.HTML(layout=w.Layout(flex="1 1 0", min_width="0"))
        self.told = w.HTML()
        self.pause = w.Button(description="Pause", tooltip="Hold it after this step; Resume goes on", disabled=True)
        self.restart = w.Button(description="Restart", tooltip="Begin anew with these settings, nothing moved")
        for button in (self.pause, self.restart):
            button.add_class("xai-plain")
        self.pause.on_click(lambda _: pause())
        self.restart.on_click(lambda _: restart())
        buttons = w.VBox([self.pause, self.restart])
        buttons.add_class("xai-coursebuttons")
        row = w.HBox([self.curves, buttons])
        row.add_class("xai-course")
        self.box = w.VBox([row, self.told], layout=w.Layout(width="100%"))
        self.box.layout.display = "none"

    @property
    def shown(self) -> bool:
        """Whether the method on screen has curves."""
        return bool(self.box.layout.display != "none")

    def choose(self, method: str) -> None:
        """Make room for a method's curves, or none."""
        if method != self._method:
            self._method, self._result = method, None
            curves = tuple(getattr(card(method).cls, "curves", ()))
            self.box.layout.display = "" if curves else "none"
            self.curves.value = ""
            self._tell()

    def go(self, state: str, waiting: tuple[tuple[str, Any], ...] = ()) -> None:
        """Show whether a run is ``running``, ``paused`` or over, and what acts from its next step on."""
        self._state, self._waiting = state, waiting
        words = "Resume" if state == "paused" else "Pause"
        if self.pause.description != words:
            self.pause.description = words
        if self.pause.disabled != (not state):
            self.pause.disabled = not state
        self._tell()

    def show(self, result: Attribution | None, waiting: tuple[tuple[str, Any], ...] = ()) -> None:
        """Draw the curves of a result."""
        self._result, self._waiting = result, waiting
        found = None if result is None else course(result, self._labels)
        self.curves.value = "" if found is None else curves_html(found)
        self._tell()

    @property
    def _labels(self) -> dict[str, str]:
        return {k.name: k.label for k in card(self._method).knobs}

    def _tell(self) -> None:
        """Say what was moved, what is about to be, or what could be."""
        if not self._method or not self.shown:
            return
        words = self._words()
        self.told.value = (
            f"<div class='xai-coursetold xai-muted' role='status' title='{escape(words)}'>{escape(words)}</div>"
        )

    def _words(self) -> str:
        labels = self._labels
        if self._state and self._waiting:
            moved = ", ".join(f"{labels[name]} {brief_value(value)}" for name, value in self._waiting)
            return f"From the next step on: {moved}"
        found = None if self._result is None else course(self._result, labels)
        if found is not None and found.marks:
            return told_marks(found)
        live = [k.label for k in card(self._method).knobs if k.live]
        if not live:
            return ""
        names = f"{', '.join(live[:-1])} and {live[-1]}" if len(live) > 1 else live[0]
        return f"{names} can be moved while it runs."
