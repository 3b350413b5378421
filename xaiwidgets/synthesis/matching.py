"""Goals that compare what a layer gives for a picture with what it gave for a photo, all of it or a part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from xaiwidgets.errors import InvalidImage, InvalidKnob, InvalidLayer
from xaiwidgets.model.short_numbers import at_least_single

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from xaiwidgets.model.layers import Layer
    from xaiwidgets.model.model import Model

#: Which channels of a layer count: all, those that the photo excites most or least, or the first or last ones.
GROUPS = ("all", "strongest", "weakest", "first", "last")


@dataclass(frozen=True)
class Part:
    """A part of what a layer gives: some channels, in a window.

    Attributes:
        group: one of ``GROUPS``. ``channels``: how many.
        rows, columns: share of the map's height and width that the window takes, in (0, 1].
        down, right: where its center is, as a share of height and width.
    """

    group: str = "all"
    channels: int = 1
    rows: float = 1.0
    columns: float = 1.0
    down: float = 0.5
    right: float = 0.5

    @property
    def windowed(self) -> bool:
        """Whether the window leaves anything out."""
        return self.rows < 1 or self.columns < 1

    def window(self, activation: Tensor) -> Tensor:
        """Return what ``(N, C, h, w)`` holds inside the window; at least one row and one column."""
        if not self.windowed:
            return activation
        height, width = activation.shape[2:]
        rows, columns = _span(self.rows, self.down, height), _span(self.columns, self.right, width)
        return activation[:, :, rows, columns]

    def choose(self, activation: Tensor) -> Tensor | None:
        """Return the channels that count by what the photo gives there, ``None`` for all of them."""
        import torch

        count = min(self.channels, activation.shape[1])
        if self.group == "all" or count == activation.shape[1]:
            return None
        if self.group in {"first", "last"}:
            every = torch.arange(activation.shape[1], device=activation.device)
            return every[:count] if self.group == "first" else every[-count:]
        energy = activation[0].flatten(1).double().square().sum(dim=1)
        order = energy.argsort(descending=self.group == "strongest", stable=True)
        return order[:count].sort().values


@dataclass(frozen=True, eq=False)
class Features:
    """A part of what a layer gives for a photo, and a score of how far pictures are from it; made by ``features``.

    Attributes:
        layer: its name. ``part``: what of it counts. ``channels``: which, or ``None`` for all.
        wanted: what the photo gives there. ``energy``: the sum of its squares.
    """

    layer: str
    part: Part
    channels: Tensor | None
    wanted: Tensor
    energy: Tensor

    @property
    def layers(self) -> tuple[str, ...]:
        """The layer that the score is read from."""
        return (self.layer,)

    @property
    def name(self) -> str:
        """What it is, in words."""
        return f"what {self.layer} gives for the photo"

    @property
    def unit(self) -> str:
        """What the score is measured in."""
        return "squared relative error"

    def of(self, activation: Tensor) -> Tensor:
        """Return the part that counts of what the layer gives."""
        found = self.part.window(activation)
        return found if self.channels is None else found[:, self.channels]

    def score(self, outputs: Tensor, records: Mapping[str, Tensor] | None = None) -> Tensor:
        """Return ``||found - wanted|| ** 2 / ||wanted|| ** 2`` for each picture, ``(N,)``."""
        found = self.of((records or {})[self.layer])
        return (found - self.wanted).flatten(1).square().sum(dim=1) / self.energy


@dataclass(frozen=True, eq=False)
class Agreement(Features):
    """The same part, scored by how much there is of it: 1 is as much as in the photo."""

    @property
    def unit(self) -> str:
        """What the score is measured in."""
        return "agreement"

    def score(self, outputs: Tensor, records: Mapping[str, Tensor] | None = None) -> Tensor:
        """Return ``<found, max(0, wanted)> / ||max(0, wanted)|| ** 2`` for each picture, ``(N,)``."""
        found = self.of((records or {})[self.layer])
        return (found * self.wanted).flatten(1).sum(dim=1) / self.energy


def middle(model: Model) -> str:
    """Return the stage in the middle of the network, the default of a layer's knob here.

    Raises:
        InvalidLayer: the network has no layer that gives a map.
    """
    if not model.stages:
        raise InvalidLayer("layer must be named for this network: none of its layers gives a map; see model.layers.")
    return model.stages[len(model.stages) // 2].name


def stride(model: Model, name: str) -> float:
    """Return how many pixels a layer's places are apart; without places, or a name, the largest of the stages."""
    field = model.layer(name).field if name else None
    if field is not None and min(field.stride) > 0:
        return float(max(field.stride))
    known = [max(stage.field.stride) for stage in model.stages if stage.field is not None]
    return float(max([1.0, *known]))


def features(layer: Layer, activation: Tensor, part: Part, kind: type[Features] = Features) -> Features:
    """Return the goal that compares with ``activation``, what the layer gave for the photo.

    Raises:
        InvalidKnob: a window or channels of a layer without them, or of which the photo excites nothing.
        InvalidImage: the photo excites nothing in the layer.
    """
    if part.windowed and len(layer.shape) != 3:
        raise InvalidKnob(
            f"rows and columns must be 1 for layer {layer.name!r}, which gives no map but {layer.shape}; got "
            f"{part.rows:g} and {part.columns:g}."
        )
    inside = part.window(at_least_single(activation))
    channels = part.choose(inside)
    wanted = inside if channels is None else inside[:, channels]
    if kind is Agreement:
        wanted = wanted.clamp_min(0)
    energy = wanted.square().sum()
    if not energy or not energy.isfinite():
        what = "only zeros" if energy.isfinite() else "values that are not finite"
        if part.windowed or channels is not None:
            raise InvalidKnob(
                f"the chosen part of layer {layer.name!r} must hold something of the photo, and it gives {what}: "
                "choose other channels or a larger window."
            )
        raise InvalidImage(f"image must excite layer {layer.name!r}, and it gives {what}: choose another layer.")
    return kind(layer.name, part, channels, wanted, energy)


def _span(share: float, center: float, length: int) -> slice:
    size = max(1, round(share * length))
    start = min(max(round(center * length - size / 2), 0), length - size)
    return slice(start, start + size)
