"""What the methods share that make one map of one layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from xaiwidgets.core.knobs import Flag, LayerName, knob
from xaiwidgets.explainers.cam.weighting import layer_pair
from xaiwidgets.explainers.onepass import OnePass, Raw

if TYPE_CHECKING:
    from torch import Tensor

    from xaiwidgets.core.cards import Card
    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Target


def which_layer(help: str = "Empty: the last spatial stage.") -> Any:
    """Return the knob for the layer; the app's layer strip is its control."""
    return knob("", LayerName(), label="Layer", help=help)


def positive(help: str = "Off shows evidence against, too.") -> Any:
    """Return the knob for the ReLU at the end."""
    return knob(True, Flag(), label="Positive part only", help=help)


class LayerMap(OnePass):
    """Mixin: one pass, or a kept one, and a formula for the layer's activation and gradient."""

    effort: ClassVar[float] = 0.5  # the gradient stops at the layer
    card: ClassVar[Card]
    layer: str
    relu: bool

    def combine(self, activation: Tensor, gradient: Tensor) -> Tensor:
        """Return the maps ``(N, 1, h, w)``."""
        raise NotImplementedError

    def remarks(self, model: Model, activation: Tensor) -> tuple[str, ...]:
        """Return what a reader should know about the map of this network and layer, one sentence each."""
        return ()

    def raw(self, model: Model, images: Tensor, target: Target) -> Raw:
        """Return the maps of a batch."""
        activation, gradient, scores, layer = layer_pair(self.card.id, model, images, target, self.layer)
        return Raw(self.combine(activation, gradient), scores, self.remarks(model, activation), layer)

    def unit(self, target: Target) -> str:
        """Score per activation, times activation."""
        return target.unit

    @property
    def view(self) -> dict[str, Any]:
        """One map; signed without the ReLU."""
        return {"reduction": "sum", "signed": not self.relu}
