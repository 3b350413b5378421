"""Choosing what is maximized: a class, or one channel of any layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ipywidgets as w

from xaiwidgets.widgets.theme import label
from xaiwidgets.widgets.unit import UnitChooser

if TYPE_CHECKING:
    from collections.abc import Callable

    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Target


class Goal:
    """Controls for a class by search, or for layer, channel and position.

    Args:
        changed: called when a person chose something else.
        first: the class that is offered first.
    """

    def __init__(self, changed: Callable[[], None], first: str) -> None:
        self._changed = changed
        self._quiet = False
        self.kind = w.ToggleButtons(
            options=[("Class", "class"), ("Channel of a layer", "unit")], tooltips=("One class score", "A hidden unit")
        )
        self.kind.style.button_width = "auto"
        self.category = w.Combobox(
            value=first, description="Class", continuous_update=False, placeholder="search all classes"
        )
        self.category.style.description_width = "64px"
        self.category.layout.width = "100%"
        self.category.tooltip = self.category.description
        self.category.observe(self._observed, "value")
        unit = UnitChooser(changed)
        self.layer, self.channel, self.position = unit.layer, unit.channel, unit.position
        self._chooser, self._unit = unit, w.VBox(list(unit.controls.values()))
        self._unit.layout.display = "none"
        self.kind.observe(self._switched, "value")
        self.box = w.VBox([label("Maximize"), self.kind, self.category, self._unit])

    def set_model(self, model: Model) -> None:
        """Offer the classes and layers of this model."""
        self._quiet = True
        try:
            self.category.options = tuple(model.labels.short(i) for i in range(len(model.labels)))
            if self.category.value not in self.category.options:
                self.category.value = model.labels.short(0)
        finally:
            self._quiet = False
        self._chooser.set_model(model)

    @property
    def words(self) -> str:
        """What is chosen, in words."""
        if self.kind.value == "class":
            return str(self.category.value)
        return f"{self.layer.value} channel {self.channel.value}"

    def target(self, model: Model) -> Target:
        """Return the target on a model.

        Raises:
            InvalidTarget: no such class, channel or position.
        """
        if self.kind.value != "unit":
            text = str(self.category.value).strip()[:200]
            return model.target(int(text) if text.isdecimal() and text not in self.category.options else text)
        return model.unit(str(self.layer.value), int(self.channel.value), str(self.position.value))

    def _observed(self, _: Any) -> None:
        if not self._quiet:
            self._changed()

    def _switched(self, change: Any) -> None:
        unit = change["new"] == "unit"
        self._unit.layout.display = "" if unit else "none"
        self.category.layout.display = "none" if unit else ""
        self._changed()
