"""The layer strip: scrub through the stages of the network; all layers are one click away."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import ipywidgets as w

from xaiwidgets.widgets.quiet import Quiet

if TYPE_CHECKING:
    from collections.abc import Callable

    from xaiwidgets.model.layers import Layer
    from xaiwidgets.model.model import Model


class Strip:
    """A slider over the stages, a list of all spatial layers on request, and the layer's facts.

    Args:
        chosen: called with a layer's name when a person moves to it.
    """

    def __init__(self, chosen: Callable[[str], None]) -> None:
        self._chosen = chosen
        self._quiet = Quiet()
        self._layers: dict[str, Layer] = {}
        self._size = (0, 0)
        self._slider = w.SelectionSlider(options=[("…", "")], description="Layer", readout=False, disabled=True)
        self._slider.style.description_width = "44px"
        self._slider.tooltip = "Scrub through the stages of the network"
        self._list = w.Dropdown(options=[("…", "")], layout=w.Layout(width="180px"))
        self._list.tooltip = "All layers with a spatial map, in execution order"
        self._all = w.ToggleButton(value=False, description="All layers", tooltip="Choose among all layers")
        self._all.add_class("xai-plain")
        self._facts = w.HTML(layout=w.Layout(width="292px"))
        self._slider.observe(self._moved, "value")
        self._list.observe(self._moved, "value")
        self._all.observe(self._toggled, "value")
        self._list.layout.display = "none"
        self.box = w.HBox([self._slider, self._list, self._facts, self._all])
        self.box.add_class("xai-strip")

    def set_model(self, model: Model) -> None:
        """Offer the layers of this model."""
        self._size = model.preprocessing.size
        spatial = [layer for layer in model.layers if layer.spatial]
        self._layers = {layer.name: layer for layer in spatial}
        stages = [layer.name for layer in model.stages]
        with self._quiet:
            self._slider.options = [(name, name) for name in stages] or [("none", "")]
            self._slider.disabled = not stages
            self._list.options = [(layer.words, layer.name) for layer in spatial] or [("none", "")]
        self.show(stages[-1] if stages else "")

    def show(self, name: str) -> None:
        """Show the layer that is explained, without calling back."""
        layer = self._layers.get(name)
        if layer is None:
            return
        with self._quiet:
            if name in [value for _, value in self._slider.options]:
                self._slider.value = name
            self._list.value = name
        self._facts.value = f"<span class='xai-muted'>{escape(layer.words)}{_field(layer, self._size)}</span>"

    def enable(self, on: bool) -> None:
        """Grey the strip out for methods without a layer."""
        self._slider.disabled = not on or not self._layers
        self._list.disabled = self._slider.disabled

    def step(self, by: int) -> None:
        """Move to a neighboring stage, as an arrow key would."""
        names = [value for _, value in self._slider.options]
        if self._slider.disabled or self._slider.value not in names:
            return
        self._slider.value = names[min(max(names.index(self._slider.value) + by, 0), len(names) - 1)]

    def _moved(self, change: Any) -> None:
        if not self._quiet and change["new"] in self._layers:
            self._chosen(change["new"])

    def _toggled(self, change: Any) -> None:
        self._slider.layout.display = "none" if change["new"] else ""
        self._list.layout.display = "" if change["new"] else "none"


def _field(layer: Layer, picture: tuple[int, int]) -> str:
    field = layer.field
    if field is None:
        return ""
    height, width = field.size
    if field.whole or (height >= 2 * picture[0] - 1 and width >= 2 * picture[1] - 1):
        return " · sees the whole photo"
    return f" · sees {height:.0f}×{width:.0f} px"
