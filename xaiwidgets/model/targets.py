"""Targets: what is explained, as a function from a network's outputs to one score an image."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING, Any, Protocol

from xaiwidgets.errors import InvalidTarget

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from xaiwidgets.model.labels import Labels

#: What of a class is explained. ``logit`` is the score before the softmax.
OUTPUTS = ("logit", "probability", "log_probability")
#: How a channel's map becomes one score.
POSITIONS = ("mean", "max", "center")


class Scored(Protocol):
    """What a pass can score: a function from outputs, and from hidden layers that it names, to one score an image."""

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the hidden layers that the score is read from."""
        ...

    def score(self, outputs: Tensor, records: Mapping[str, Tensor] | None = None) -> Tensor:
        """Return the scores ``(N,)`` from outputs ``(N, K)`` (logits) and the recorded layers."""
        ...


class Goal(Scored, Protocol):
    """What a picture is made for: a score with a name, and the unit that it is measured in."""

    @property
    def name(self) -> str:
        """What it is, in words."""
        ...

    @property
    def unit(self) -> str:
        """What the score is measured in."""
        ...


@dataclass(frozen=True)
class Target:
    """A class, the sum of several, a difference of two, or a hidden unit.

    Attributes:
        classes: indices whose outputs are added.
        minus: index whose output is subtracted, or ``None``.
        output: one of ``OUTPUTS``.
        layer: name of a hidden layer; then ``classes`` is empty.
        channel: channel of that layer.
        position: ``mean``, ``max``, ``center`` or ``(row, column)``.
        name: in words.
    """

    classes: tuple[int, ...] = ()
    minus: int | None = None
    output: str = "logit"
    layer: str = ""
    channel: int = 0
    position: str | tuple[int, int] = "mean"
    name: str = ""

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the hidden layers that the score is read from."""
        return (self.layer,) if self.layer else ()

    @property
    def unit(self) -> str:
        """What the score is measured in."""
        return "activation" if self.layer else self.output.replace("_", " ")

    def with_output(self, output: str) -> Target:
        """Return this target with another of ``OUTPUTS``; hidden units have none and stay as they are."""
        return self if self.layer else dataclasses.replace(self, output=output)

    def score(self, outputs: Tensor, records: Mapping[str, Tensor] | None = None) -> Tensor:
        """Return the scores ``(N,)`` from outputs ``(N, K)`` (logits) and, for a hidden unit, the recorded layers."""
        if self.layer:
            return self._unit_score((records or {})[self.layer])
        outputs = _as(self.output, outputs)
        total = outputs[:, list(self.classes)].sum(dim=1)
        return total if self.minus is None else total - outputs[:, self.minus]

    def _unit_score(self, activation: Tensor) -> Tensor:
        channel = activation[:, self.channel]
        if channel.ndim == 1:
            return channel
        if self.position == "mean":
            return channel.flatten(1).mean(dim=1)
        if self.position == "max":
            return channel.flatten(1).max(dim=1).values
        if self.position == "center":
            return channel[:, channel.shape[1] // 2, channel.shape[2] // 2]
        place: Any = self.position
        return channel[:, int(place[0]), int(place[1])]

    @classmethod
    def difference(cls, first: Any, second: Any) -> Question:
        """Ask for the first class's output less the second's."""
        return Question(classes=(first,), minus=second)

    @classmethod
    def hidden(cls, layer: str, channel: int, position: str | tuple[int, int] = "mean") -> Question:
        """Ask for one channel of a hidden layer: its mean, its maximum, its center or one position."""
        return Question(layer=layer, channel=channel, position=position)


#: For methods that make a picture for no class and no unit.
NOTHING = Target()


@dataclass(frozen=True)
class EachClass:
    """Several classes side by side, for ``Model.scores``: what one pass says of any target that they make up.

    Attributes:
        classes: indices, one a column. ``output``: one of ``OUTPUTS``.
    """

    classes: tuple[int, ...]
    output: str

    @property
    def layer(self) -> str:
        """No hidden layer is read."""
        return ""

    @property
    def layers(self) -> tuple[str, ...]:
        """No hidden layer is read."""
        return ()

    def score(self, outputs: Tensor, records: Mapping[str, Tensor] | None = None) -> Tensor:
        """Return the scores ``(N, classes)`` from outputs ``(N, K)``."""
        return _as(self.output, outputs)[:, list(self.classes)]

    def covers(self, target: Target) -> bool:
        """Return whether a target follows from these classes."""
        wanted = {*target.classes, *(() if target.minus is None else (target.minus,))}
        return not target.layer and target.output == self.output and wanted <= set(self.classes)

    def read(self, scores: Tensor, target: Target) -> Tensor:
        """Return the scores ``(N,)`` of a target that they cover, from theirs ``(N, classes)``."""
        total = scores[:, [self.classes.index(one) for one in target.classes]].sum(dim=1)
        return total if target.minus is None else total - scores[:, self.classes.index(target.minus)]


def _as(output: str, logits: Tensor) -> Tensor:
    if output == "probability":
        return logits.softmax(dim=1)
    return logits.log_softmax(dim=1) if output == "log_probability" else logits


@dataclass(frozen=True)
class Question:
    """A target in the user's words, not yet looked up in a model."""

    classes: tuple[Any, ...] = ()
    minus: Any = None
    layer: str = ""
    channel: int = 0
    position: str | tuple[int, int] = "mean"


def class_target(labels: Labels, wanted: Any, minus: Any = None) -> Target:
    """Return the target for a class (index, name or WordNet id) or several, less another if given.

    Raises:
        InvalidTarget: no such class; the message names close ones.
    """
    several = wanted if isinstance(wanted, (tuple, list)) else (wanted,)
    if not several:
        raise InvalidTarget("target must name at least one class; got an empty list.")
    indices = tuple(dict.fromkeys(labels.index(one) for one in several))
    name = " + ".join(labels.short(i) for i in indices)
    if minus is None:
        return Target(classes=indices, name=name)
    other = labels.index(minus)
    return Target(classes=indices, minus=other, name=f"{name} − {labels.short(other)}")


def unit_target(question: Question, shape: tuple[int, ...]) -> Target:
    """Return the target for a channel of a hidden layer of this shape.

    Raises:
        InvalidTarget: the channel or the position lies outside the layer, or the layer has no channels.
    """
    channel = question.channel
    if len(shape) not in (1, 3):
        raise InvalidTarget(
            f"layer must give channels, or channels, rows and columns, for a unit; {question.layer!r} gives {shape}."
        )
    if not _is_index(channel, shape[0]):
        raise InvalidTarget(
            f"channel must be a whole number from 0 to {shape[0] - 1} for layer {question.layer!r}; got {channel!r}."
        )
    channel = int(channel)
    position = _position(question, shape[1:])
    where = "" if position == "mean" else f" at {position}"
    return Target(
        layer=question.layer, channel=channel, position=position, name=f"{question.layer} channel {channel}{where}"
    )


def check_target(target: Target, labels: Labels, shape: tuple[int, ...]) -> Target:
    """Return a finished target if it fits a network with these labels and, for a hidden unit, a layer of this shape.

    Raises:
        InvalidTarget: a class, channel or position that the network does not have.
    """
    if target.layer:
        unit_target(Question(layer=target.layer, channel=target.channel, position=target.position), shape)
        return target
    if target.output not in OUTPUTS:
        raise InvalidTarget(f"output must be one of {', '.join(OUTPUTS)}; got {target.output!r}.")
    for index in (*target.classes, *(() if target.minus is None else (target.minus,))):
        if not _is_index(index, len(labels)):
            raise InvalidTarget(f"classes must be indices from 0 to {len(labels) - 1}; got {index!r}.")
    if not target.classes:
        raise InvalidTarget("classes must name at least one class, or layer a hidden layer; got neither.")
    return target


def _is_index(value: Any, count: int) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and 0 <= int(value) < count


def _position(question: Question, size: tuple[int, ...]) -> str | tuple[int, int]:
    """Return the position in a map of ``size`` (rows, columns) in its canonical form."""
    position: Any = question.position
    if isinstance(position, str):
        if position not in POSITIONS:
            raise InvalidTarget(f"position must be one of {', '.join(POSITIONS)} or (row, column); got {position!r}.")
        return position if size else "mean"
    if not size:
        return "mean"
    if not isinstance(position, (tuple, list)) or len(position) != 2 or not all(map(_is_index, position, size)):
        raise InvalidTarget(
            f"position must be one of {', '.join(POSITIONS)} or (row, column) in {size[0]} rows × {size[1]} columns of "
            f"{question.layer!r}; got {position!r}."
        )
    return int(position[0]), int(position[1])
