"""The verdict beside a map: a button that says how its tests went, and the evidence that it unfolds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ipywidgets as w

from xaiwidgets.render.evidence import evidence_html, short

if TYPE_CHECKING:
    from xaiwidgets.evaluation.trust import TrustReport


class Trust:
    """A button and the panel that it unfolds; the panel stays open from map to map."""

    def __init__(self) -> None:
        self.toggle = w.ToggleButton(
            description=short(None),
            tooltip="Tests of this map, made in the pauses: what was measured, against which threshold",
        )
        self.toggle.add_class("xai-plain")
        self.panel = w.HTML(layout=w.Layout(width="100%", margin="0"))
        self.panel.layout.display = "none"
        self._report: TrustReport | None = None
        self.toggle.observe(self._toggled, "value")

    @property
    def open(self) -> bool:
        """Whether the panel is unfolded."""
        return bool(self.toggle.value)

    def show(self, report: TrustReport | None) -> None:
        """Bring the button up to date, and the panel while it is open."""
        self._report = report
        words = short(report)
        if self.toggle.description != words:
            self.toggle.description = words
        if self.open:
            self.panel.value = evidence_html(report)

    def _toggled(self, _: Any) -> None:
        self.panel.layout.display = "" if self.open else "none"
        self.show(self._report)
