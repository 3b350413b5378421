"""The curves of a test, with a mark where a slider stands."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ipywidgets as w

from xaiwidgets.render.lines import Frame, lines_html, marker_html
from xaiwidgets.widgets.drawing import UI_LOCK

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xaiwidgets.core.scores import Curve, Limit


class Plot:
    """Curves of one pair of axes; the mark is a widget of its own, so that moving it sends no curve."""

    def __init__(self) -> None:
        self.lines, self._mark = w.HTML(), w.HTML()
        self._mark.add_class("xai-mark")
        self.box = w.Box([self.lines, self._mark])
        self.box.add_class("xai-plot")
        self.box.layout.display = "none"
        self._frame: Frame | None = None
        self.at: float | None = None

    def show(
        self,
        curves: Sequence[Curve],
        limit: Limit | None = None,
        start: float | None = None,
        planned: float | None = None,
    ) -> None:
        """Show these curves, on an x axis from ``start`` to ``planned`` at least; none hide the plot."""
        with UI_LOCK:
            self.box.layout.display = "" if curves else "none"
            if curves:
                self._frame = Frame(curves, limit, start, planned)
                self.lines.value = lines_html(curves, limit, start, planned)
                self.mark(self.at)

    def mark(self, x: float | None) -> None:
        """Put the mark at this place of the x axis, or take it away."""
        with UI_LOCK:
            self.at = x
            gone = x is None or self._frame is None
            self._mark.value = "" if gone else marker_html(float(self._frame.across(x)))  # type: ignore[union-attr]
