"""Choosing what is maximized: a class, or one channel of any layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ipywidgets as w

from xaiwidgets.model.targets import POSITIONS
from xaiwidgets.widgets.theme import label

if TYPE_CHECKING:
    from collections.abc import Callable

    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Target

LARGEST_CHANNEL = 1_000_000


class Goal:
    """Controls for a class by search, or for layer, channel and position.

    Args:
        changed: called when a person chose something else.
        first: the class that is offered first.
    """

    def __init__(self, changed: Callable[[], None], first: str) -> None:
        self._changed = changed
        self._quiet = False
        self._shapes: dict[str, tuple[int, ...]] = {}
        self.kind = w.ToggleButtons(
            options=[("Class", "class"), ("Channel of a layer", "unit")], tooltips=("One class score", "A hidden unit")
        )
        self.kind.style.button_width = "auto"
        self.category = w.Combobox(
            value=first, description="Class", continuous_update=False, placeholder="search all classes"
        )
        self.layer = w.Dropdown(options=[("…", "")], description="Layer")
        self.channel = w.BoundedIntText(value=0, min=0, max=0, description="Channel")
        self.position = w.Dropdown(options=POSITIONS, value="mean", description="Position")
        for control in (self.category, self.layer, self.channel, self.position):
            control.style.description_width = "64px"
            control.layout.width = "100%"
            control.tooltip = control.description
            control.observe(self._observed, "value")
        self._unit = w.VBox([self.layer, self.channel, self.position])
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
            layers = [layer for layer in model.layers if len(layer.shape) in (1, 3) and "#" not in layer.name]
            self._shapes = {layer.name: layer.shape for layer in layers}
            self.layer.options = [(layer.words, layer.name) for layer in layers]
            if model.stages:
                self.layer.value = model.stages[len(model.stages) // 2].name
        finally:
            self._quiet = False
        self._bound()

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

    def _bound(self) -> None:
        shape = self._shapes.get(self.layer.value)
        if shape is None:
            return
        quiet, self._quiet = self._quiet, True  # a channel that moves into the layer is no choice of its own
        try:
            self.channel.max = min(shape[0] - 1, LARGEST_CHANNEL)
        finally:
            self._quiet = quiet
        self.position.disabled = len(shape) == 1

    def _observed(self, change: Any) -> None:
        if self._quiet:
            return
        if change["owner"] is self.layer:
            self._bound()
        self._changed()

    def _switched(self, change: Any) -> None:
        unit = change["new"] == "unit"
        self._unit.layout.display = "" if unit else "none"
        self.category.layout.display = "none" if unit else ""
        self._changed()
