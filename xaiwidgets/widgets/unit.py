"""Choosing a hidden unit: a layer, one of its channels, and where in its map."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ipywidgets as w

from xaiwidgets.model.targets import POSITIONS
from xaiwidgets.widgets.quiet import Quiet

if TYPE_CHECKING:
    from collections.abc import Callable

    from xaiwidgets.model.model import Model

LARGEST_CHANNEL = 1_000_000
#: What the controls are for.
TIPS = {
    "layer": "The layer, in execution order",
    "channel": "One of the layer's channels, counted from 0",
    "position": "The mean of the channel's map, its maximum, or its center",
}


class UnitChooser:
    """Controls for layer, channel and position; the channel stays inside its layer.

    Args:
        changed: called when a person chose something else.
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._quiet = Quiet()
        self._shapes: dict[str, tuple[int, ...]] = {}
        self.layer = w.Dropdown(options=[("…", "")], description="Layer")
        self.channel = w.BoundedIntText(value=0, min=0, max=0, description="Channel")
        self.position = w.Dropdown(options=POSITIONS, value="mean", description="Position")
        for name, control in self.controls.items():
            control.style.description_width = "64px"
            control.layout.width = "100%"
            control.tooltip = TIPS[name]
            control.observe(self._observed, "value")

    @property
    def controls(self) -> dict[str, Any]:
        """The three controls by name."""
        return {"layer": self.layer, "channel": self.channel, "position": self.position}

    def set_model(self, model: Model) -> None:
        """Offer the layers of this model; what was chosen stays if the model has it."""
        before = self.layer.value
        layers = [layer for layer in model.layers if len(layer.shape) in (1, 3) and "#" not in layer.name]
        with self._quiet:
            self._shapes = {layer.name: layer.shape for layer in layers}
            self.layer.options = [(layer.words, layer.name) for layer in layers] or [("none", "")]
            if before in self._shapes:
                self.layer.value = before
            elif model.stages:
                self.layer.value = model.stages[len(model.stages) // 2].name
        self._bound()

    def show(self, layer: str, channel: int, position: str) -> None:
        """Show a unit without calling back; a layer or position that is not offered is left as it was."""
        with self._quiet:
            if layer in self._shapes:
                self.layer.value = layer
            if position in POSITIONS:
                self.position.value = position
            self._bound()
            self.channel.value = channel

    @property
    def chosen(self) -> tuple[str, int, str] | None:
        """The unit (layer, channel, position), the channel moved into its layer; ``None`` before a model is known."""
        name = self.layer.value
        shape = self._shapes.get(name) if isinstance(name, str) else None
        if shape is None:
            return None
        position = self.position.value if self.position.value in POSITIONS else "mean"
        return name, min(max(int(self.channel.value), 0), shape[0] - 1), position

    def _bound(self) -> None:
        shape = self._shapes.get(self.layer.value)
        if shape is None:
            return
        with self._quiet:  # a channel that moves into the layer is no choice of its own
            self.channel.max = min(shape[0] - 1, LARGEST_CHANNEL)
        self.position.disabled = len(shape) == 1

    def _observed(self, change: Any) -> None:
        if self._quiet:
            return
        if change["owner"] is self.layer:
            self._bound()
        self._changed()
