"""The threshold of a test as a person sets it: a relation, a number, and the way back to what is written down."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import ipywidgets as w

from xaiwidgets.core.scores import RELATIONS, Limit
from xaiwidgets.widgets.quiet import Quiet

if TYPE_CHECKING:
    from collections.abc import Callable

#: Numbers beyond this are no thresholds of anything here.
LARGEST = 1e6
SOURCE = "Set on the page."
#: What a direction asks for where no threshold is written down.
TOWARD = {"lower": "<", "higher": ">"}


class Threshold:
    """A field for the threshold.

    Args:
        changed: called with a ``Limit``, or ``None`` for the one that is written down.
        failed: called with a message when a number is none.
    """

    def __init__(self, changed: Callable[[Limit | None], Any], failed: Callable[[str], Any]) -> None:
        self._changed, self._failed = changed, failed
        self._quiet = Quiet()
        self._direction = ""
        self.relation = w.Dropdown(options=[("none", ""), *((r, r) for r in RELATIONS)])
        self.relation.description = "Threshold"
        self.relation.tooltip = "On which side of the number a map passes"
        self.relation.style.description_width = "66px"
        self.number = w.Text(placeholder="a number", continuous_update=False, description="Number of the threshold")
        self.number.tooltip = "Enter a number, such as 0.3; changing it needs no new run"
        self.number.add_class("xai-unlabeled")
        self.back = w.Button(description="Reset", tooltip="Back to the threshold that is written down")
        self.back.add_class("xai-plain")
        self.relation.observe(lambda _: self._edited(), "value")
        self.number.observe(lambda _: self._edited(), "value")
        self.back.on_click(lambda _: self._changed(None))
        self.box = w.HBox([self.relation, self.number, self.back])
        self.box.add_class("xai-limitrow")

    def show(self, limit: Limit | None, direction: str, own: bool) -> None:
        """Show a threshold; ``own`` is whether a person has set it."""
        self._direction = direction
        with self._quiet:
            self.relation.value = "" if limit is None else limit.relation
            self.number.value = "" if limit is None else f"{limit.value:.4g}"
            self.back.disabled = not own

    def _edited(self) -> None:
        if self._quiet:
            return
        text = str(self.number.value).strip()[:40].replace(",", ".").replace("\N{MINUS SIGN}", "-")
        relation = self.relation.value if self.relation.value in RELATIONS else ""
        if not text:
            return  # the number is still to come
        try:
            value = float(text)
        except ValueError:
            self._failed(f"threshold must be a number such as 0.3; got {text!r}.")
            return
        if not math.isfinite(value) or abs(value) > LARGEST:
            self._failed(f"threshold must be a finite number of at most {LARGEST:g}; got {text!r}.")
            return
        self._changed(Limit(relation or TOWARD.get(self._direction, "<"), value, SOURCE))
