"""What objectives are made of: classes, channels, layers, and directions of channels."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from xaiwidgets.errors import InvalidTarget
from xaiwidgets.model.objective_algebra import Objective
from xaiwidgets.model.objective_words import finite, number, where, word
from xaiwidgets.model.short_numbers import at_least_single
from xaiwidgets.model.targets import OUTPUTS, Question, Target, unit_target

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from xaiwidgets.model.layers import Layer as LayerCall
    from xaiwidgets.model.model import Model

#: What cosines count as at least, so that a direction that is not met yet has a slope (Lucid).
LEAST_COSINE = 0.1


@dataclass(frozen=True)
class Label(Objective):
    """A class: its logit, probability or log probability.

    Attributes:
        wanted: index, name or WordNet id; the usual name once bound. ``output``: one of ``targets.OUTPUTS``.
        index: of the class, once bound.
    """

    wanted: Any
    output: str = "logit"
    index: int | None = None

    def __post_init__(self) -> None:
        if self.output not in OUTPUTS:
            raise InvalidTarget(f"output must be one of {', '.join(OUTPUTS)}; got {self.output!r}.")

    @property
    def text(self) -> str:
        """The name, with what of the class is meant where that is not the logit, or for an index."""
        if not isinstance(self.wanted, str):
            return f"{self.output}({self.wanted})"
        name = word(self.wanted)
        return name if self.output == "logit" else f"{self.output}({name})"

    @property
    def unit(self) -> str:
        """What of the class is meant."""
        return self.output.replace("_", " ")

    @property
    def whole(self) -> bool:
        """Class scores are read."""
        return True

    @property
    def classes(self) -> tuple[int, ...]:
        """The class."""
        return () if self.index is None else (self.index,)

    def score(self, outputs: Tensor, records: Mapping[str, Tensor] | None = None) -> Tensor:
        """Return the class's output of every picture."""
        if self.index is None:
            raise InvalidTarget(f"{self.text} must be looked up in a model first: model.objective(it).")
        return Target(classes=(self.index,), output=self.output).score(outputs)

    def bind(self, model: Model) -> Label:
        """Look the class up."""
        if self.index is not None and (
            len(model.labels) <= self.index or self.wanted != model.labels.short(self.index)
        ):
            return dataclasses.replace(self, index=None).bind(model)
        index = model.labels.index(self.wanted) if self.index is None else self.index
        return Label(model.labels.short(index), self.output, index)


@dataclass(frozen=True)
class Channel(Objective):
    """A channel of a layer: the mean or maximum of its map, or one place of it.

    Attributes:
        layer, channel: which. ``position``: ``mean``, ``max``, ``center`` (of an even size the lower right of the two
            in the middle) or ``(row, column)``.
    """

    layer: str
    channel: Any
    position: str | tuple[int, int] = "mean"

    @property
    def text(self) -> str:
        """``layer:channel`` with ``@center``, ``@max`` or ``@row,column`` where it is not the mean."""
        channel = word(self.channel) if isinstance(self.channel, str) else str(self.channel)
        return f"{word(self.layer, numbered=True)}:{channel}{where(self.position)}"

    @property
    def unit(self) -> str:
        """Activations have no other unit."""
        return "activation"

    @property
    def layers(self) -> tuple[str, ...]:
        """The layer."""
        return (self.layer,)

    @property
    def _target(self) -> Target:
        return Target(layer=self.layer, channel=self.channel, position=self.position)

    def score(self, outputs: Tensor, records: Mapping[str, Tensor] | None = None) -> Tensor:
        """Return the channel's activation of every picture."""
        return self._target.score(outputs, records)

    def bind(self, model: Model) -> Channel:
        """Check layer, channel and place; where a layer gives one score a class, a label will do."""
        layer, channel = model.layer(self.layer), self.channel
        if layer.shape == (model.classes,) and isinstance(channel, str):
            channel = model.labels.index(channel)
        found = unit_target(Question(layer=layer.name, channel=channel, position=self.position), layer.shape)
        return Channel(layer.name, found.channel, found.position)


@dataclass(frozen=True)
class Layer(Objective):
    """A whole layer: ``dream`` is the mean of its squared activations, ``norm`` their Euclidean norm."""

    layer: str
    how: str = "dream"

    @property
    def text(self) -> str:
        """``dream(layer)`` or ``norm(layer)``."""
        return f"{self.how}({word(self.layer, numbered=True)})"

    @property
    def unit(self) -> str:
        """Squared for ``dream``."""
        return "squared activation" if self.how == "dream" else "activation"

    @property
    def layers(self) -> tuple[str, ...]:
        """The layer."""
        return (self.layer,)

    def score(self, outputs: Tensor, records: Mapping[str, Tensor] | None = None) -> Tensor:
        """Return how active the layer is for every picture."""
        flat = at_least_single((records or {})[self.layer]).flatten(1)
        return flat.square().mean(dim=1) if self.how == "dream" else flat.norm(dim=1)

    def bind(self, model: Model) -> Layer:
        """Check the layer."""
        return dataclasses.replace(self, layer=model.layer(self.layer).name)


@dataclass(frozen=True)
class Direction(Objective):
    """A direction in a layer's channels: ``<Phi, v> * max(0.1, cos(Phi, v)) ** power``, its mean or at one place.

    Attributes:
        layer: its name. ``weights``: (channel, weight) of the channels that are not 0, by channel.
        power: 0 is the plain dot product; larger values ask more for the direction, less for size.
        position: ``mean``, ``center`` or ``(row, column)``.
        length: how many channels the layer must have, where all weights were given.
    """

    layer: str
    weights: tuple[tuple[int, float], ...]
    power: float = 1.0
    position: str | tuple[int, int] = "mean"
    length: int | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        pairs = [(int(c), finite("a weight of a direction", w)) for c, w in self.weights]
        kept = tuple(sorted((c, w) for c, w in pairs if w))
        if not kept or len({c for c, _ in kept}) < len(kept):
            raise InvalidTarget(
                f"weights must give each channel once, one of them not 0; got {str(self.weights)[:80]}."
            )
        object.__setattr__(self, "weights", kept)
        object.__setattr__(self, "power", finite("power of a direction", self.power, 0.0, 10.0))

    @property
    def text(self) -> str:
        """``direction(layer; channel=weight, …; power=1)`` with a place like that of a channel."""
        pairs = ", ".join(f"{c}={number(w)}" for c, w in self.weights)
        power = "" if self.power == 1.0 else f"; power={number(self.power)}"
        return f"direction({word(self.layer, numbered=True)}; {pairs}{power}){where(self.position)}"

    @property
    def unit(self) -> str:
        """Activations have no other unit."""
        return "activation"

    @property
    def layers(self) -> tuple[str, ...]:
        """The layer."""
        return (self.layer,)

    def score(self, outputs: Tensor, records: Mapping[str, Tensor] | None = None) -> Tensor:
        """Return how far every picture goes in the direction."""
        maps = spatial((records or {})[self.layer])
        vector = maps.new_zeros(maps.shape[1])
        vector[[c for c, _ in self.weights]] = maps.new_tensor([w for _, w in self.weights])
        return at(dot_cosine(maps, vector[None, :, None, None], self.power), self.position)

    def bind(self, model: Model) -> Direction:
        """Check layer, channels and place."""
        layer = with_channels(model, self.layer)
        if self.length is not None and self.length != layer.shape[0]:
            raise InvalidTarget(
                f"weights must be one number for each of the {layer.shape[0]} channels of {layer.name!r}; got "
                f"{self.length}."
            )
        if self.position == "max":
            raise InvalidTarget("position of a direction must be mean, center or (row, column); got 'max'.")
        for channel in (self.weights[0][0], self.weights[-1][0]):
            found = unit_target(Question(layer=layer.name, channel=channel, position=self.position), layer.shape)
        return dataclasses.replace(self, layer=layer.name, position=found.position)


def spatial(activation: Tensor) -> Tensor:
    """Return ``(N, C, h, w)``, in float32 or float64: a vector is a map of one place."""
    activation = at_least_single(activation)
    return activation[:, :, None, None] if activation.ndim == 2 else activation


def dot_cosine(maps: Tensor, wanted: Tensor, power: float) -> Tensor:
    """Return ``<Phi, v> * max(0.1, cos) ** power`` at every place, ``(N, h, w)``, for ``v`` as one vector or a map."""
    dot: Tensor = (maps * wanted).sum(dim=1)
    if not power:
        return dot
    cosine: Tensor = dot / ((maps.norm(dim=1) + 1e-6) * (wanted.norm(dim=1) + 1e-6))
    weighted: Tensor = dot * cosine.clamp_min(LEAST_COSINE) ** power
    return weighted


def at(maps: Tensor, position: str | tuple[int, int]) -> Tensor:
    """Return the mean or one place ``(N,)`` of maps ``(N, h, w)``."""
    return Target(layer="maps", position=position).score(maps, {"maps": maps[:, None]})


def with_channels(model: Model, name: str) -> LayerCall:
    """Return a layer of channels, with or without places."""
    layer = model.layer(name)
    if len(layer.shape) not in (1, 3):
        raise InvalidTarget(
            f"layer must give channels, or channels, rows and columns; {layer.name!r} gives {layer.shape}."
        )
    return layer
