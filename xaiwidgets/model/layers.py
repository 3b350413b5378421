"""Layers in execution order, and the short list of stages that a slider scrubs through."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from xaiwidgets.surgery.fields import Field

#: A slider with more stops than this is hard to use.
MOST_STAGES = 16
#: With fewer than this, the blocks inside the stages are shown in their place.
ENOUGH_STAGES = 8


@dataclass(frozen=True)
class Layer:
    """One call of one module in the forward pass.

    Attributes:
        name: dotted path of the module; from its second call on with ``#2``, ``#3``, …
        kind: class name of the module.
        shape: of one image's output, ``(C, H, W)`` or ``(K,)``.
        field: receptive field of an output position in pixels of the input, ``None`` when it is not known.
        leaf: whether the module has no children.
        order: position in the execution order (by the end of the call).
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    field: Field | None
    leaf: bool
    order: int

    @property
    def spatial(self) -> bool:
        """Whether the output is a map of more than one position."""
        return len(self.shape) == 3 and self.shape[1] * self.shape[2] > 1

    @property
    def words(self) -> str:
        """Name and shape, e.g. ``blocks.4 · 14×14×112``."""
        if len(self.shape) == 3:
            channels, height, width = self.shape
            return f"{self.name} · {height}×{width}×{channels}"
        return f"{self.name} · {'×'.join(map(str, self.shape))}"


def stages(layers: Sequence[Layer]) -> tuple[Layer, ...]:
    """Return about 6 to 16 spatial layers that stand for the depth of the network, in execution order.

    Starts with the top-level modules and opens those with the most parts, with their siblings of the same kind, until
    there are enough; of a convolution, its normalization and its activation, the last stays.
    """
    spatial = [layer for layer in layers if layer.spatial and "#" not in layer.name]
    names = {layer.name for layer in spatial}
    opened: set[str] = {""}
    for layer in spatial:
        # containers that gave no tensor of their own (ModuleList, nested blocks) are open from the start
        parts = layer.name.split(".")
        opened.update(p for i in range(1, len(parts)) if (p := ".".join(parts[:i])) not in names)
    while True:
        shown = [layer for layer in spatial if _parent(layer.name) in opened]
        kept = _merge([layer for layer in shown if layer.name not in opened])
        inside = {
            layer.name: 0 if _simple(layer) else sum(_parent(other.name) == layer.name for other in spatial)
            for layer in kept
        }
        most = max(kept, key=lambda layer: inside[layer.name], default=None)
        if most is None or len(kept) >= ENOUGH_STAGES or inside[most.name] < 2:
            break
        alike = (_parent(most.name), most.kind)
        opened.update(layer.name for layer in kept if (_parent(layer.name), layer.kind) == alike and inside[layer.name])
    if len(kept) > MOST_STAGES:
        kept = _thin(kept)
    return tuple(kept)


def _parent(name: str) -> str:
    return name.rpartition(".")[0]


def _merge(layers: Iterable[Layer]) -> list[Layer]:
    kept: list[Layer] = []
    for layer in layers:
        if kept and _simple(layer) and _simple(kept[-1]) and kept[-1].shape == layer.shape and "Conv" not in layer.kind:
            kept[-1] = layer
        else:
            kept.append(layer)
    return kept


def _simple(layer: Layer) -> bool:
    """Whether this is one operation, or a normalization with its activation inside."""
    return layer.leaf or ("Norm" in layer.kind and "Conv" not in layer.kind)


def _thin(layers: list[Layer]) -> list[Layer]:
    """Drop pooling first, then evenly spread layers but never the last, until few enough remain."""
    kept = [layer for layer in layers if "Pool" not in layer.kind] or layers
    if len(kept) <= MOST_STAGES:
        return kept
    step = len(kept) / MOST_STAGES
    return [kept[round((i + 1) * step) - 1] for i in range(MOST_STAGES)]
