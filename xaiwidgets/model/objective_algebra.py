"""The arithmetic of objectives: what one is, sums, products and numbers, each in one canonical form."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any

from xaiwidgets.errors import InvalidTarget
from xaiwidgets.model.objective_words import finite, number, word

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

    from xaiwidgets.model.model import Model


class Objective(ABC):
    """A score of pictures: larger is better. Arithmetic gives other objectives; ``str`` gives its text."""

    @property
    @abstractmethod
    def text(self) -> str:
        """What ``parse_objective`` reads back as an equal objective."""

    @property
    @abstractmethod
    def unit(self) -> str:
        """What the score is measured in."""

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the hidden layers that the score is read from."""
        return ()

    @property
    def whole(self) -> bool:
        """Whether class scores are read, so that a pass cannot end at the last of the layers."""
        return False

    @property
    def classes(self) -> tuple[int, ...]:
        """Indices of the classes that are wanted, once bound; a class that is subtracted is not one of them."""
        return ()

    @property
    def name(self) -> str:
        """What it is, in words."""
        return self.text

    @abstractmethod
    def score(self, outputs: Tensor, records: Mapping[str, Tensor] | None = None) -> Tensor:
        """Return the scores ``(N,)`` from class scores ``(N, K)`` and the recorded layers."""

    @abstractmethod
    def bind(self, model: Model) -> Objective:
        """Return this objective looked up in a model.

        Raises:
            InvalidTarget, InvalidLayer: a class, layer, channel or place that it does not have.
        """

    def __str__(self) -> str:
        return self.text

    def __add__(self, other: Any) -> Any:
        return _arithmetic(other, lambda one: add(self, one))

    def __radd__(self, other: Any) -> Any:
        return _arithmetic(other, lambda one: add(one, self))

    def __sub__(self, other: Any) -> Any:
        return _arithmetic(other, lambda one: add(self, multiply(Constant(-1.0), one)))

    def __rsub__(self, other: Any) -> Any:
        return _arithmetic(other, lambda one: add(one, multiply(Constant(-1.0), self)))

    def __mul__(self, other: Any) -> Any:
        return _arithmetic(other, lambda one: multiply(self, one))

    def __rmul__(self, other: Any) -> Any:
        return _arithmetic(other, lambda one: multiply(one, self))

    def __neg__(self) -> Objective:
        return multiply(Constant(-1.0), self)


@dataclass(frozen=True)
class Constant(Objective):
    """A number."""

    value: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", finite("a number in an objective", self.value))

    @property
    def text(self) -> str:
        """The number, in as few digits as give it back."""
        return number(self.value)

    @property
    def unit(self) -> str:
        """None."""
        return ""

    def score(self, outputs: Tensor, records: Mapping[str, Tensor] | None = None) -> Tensor:
        """Return the number for every picture."""
        like = next(iter((records or {}).values()), outputs)
        return like.new_full((len(like),), self.value)

    def bind(self, model: Model) -> Objective:
        """Refuse: nothing in a picture changes a number."""
        raise InvalidTarget(
            f"target must be an objective that depends on the network; got the number {self.text}. Add a label or a "
            f"channel, such as {word(model.labels.short(0))}."
        )


@dataclass(frozen=True)
class Sum(Objective):
    """Several objectives added; a number among them comes last."""

    parts: tuple[Objective, ...]

    @property
    def text(self) -> str:
        """The parts with + and - between them."""
        text = self.parts[0].text
        for part in self.parts[1:]:
            less = factor(part) < 0
            text += f" - {_grouped(multiply(Constant(-1.0), part))}" if less else f" + {part.text}"
        return text

    @property
    def unit(self) -> str:
        """That of the parts, if they agree."""
        units = {part.unit for part in self.parts} - {""}
        return units.pop() if len(units) == 1 else "objective"

    @property
    def layers(self) -> tuple[str, ...]:
        """Those of the parts, each once."""
        return tuple(dict.fromkeys(name for part in self.parts for name in part.layers))

    @property
    def whole(self) -> bool:
        """Whether any part reads class scores."""
        return any(part.whole for part in self.parts)

    @property
    def classes(self) -> tuple[int, ...]:
        """Those of the parts, each once."""
        return tuple(dict.fromkeys(index for part in self.parts for index in part.classes))

    def score(self, outputs: Tensor, records: Mapping[str, Tensor] | None = None) -> Tensor:
        """Return the sum for every picture."""
        scores = [part.score(outputs, records) for part in self.parts]
        return sum(scores[1:], scores[0])

    def bind(self, model: Model) -> Objective:
        """Bind all parts."""
        bound = [part if isinstance(part, Constant) else part.bind(model) for part in self.parts]
        return add(*bound)


@dataclass(frozen=True)
class Product(Objective):
    """Several objectives multiplied; a number among them comes first."""

    parts: tuple[Objective, ...]

    @property
    def text(self) -> str:
        """The parts with * between them."""
        parts = self.parts
        sign = "-" if factor(self) < 0 else ""
        if sign:
            number_ = -factor(self)
            parts = parts[1:] if number_ == 1.0 else (Constant(number_), *parts[1:])
        return sign + " * ".join(map(_grouped, parts))

    @property
    def unit(self) -> str:
        """That of the only part that is no number."""
        units = [part.unit for part in self.parts if part.unit]
        return units[0] if len(units) == 1 else "objective"

    @property
    def layers(self) -> tuple[str, ...]:
        """Those of the parts, each once."""
        return Sum(self.parts).layers

    @property
    def whole(self) -> bool:
        """Whether any part reads class scores."""
        return Sum(self.parts).whole

    @property
    def classes(self) -> tuple[int, ...]:
        """Those of the parts, unless their sign is turned."""
        return Sum(self.parts).classes if factor(self) > 0 else ()

    def score(self, outputs: Tensor, records: Mapping[str, Tensor] | None = None) -> Tensor:
        """Return the product for every picture."""
        return math.prod(
            (p.score(outputs, records) for p in self.parts[1:]), start=self.parts[0].score(outputs, records)
        )

    def bind(self, model: Model) -> Objective:
        """Bind all parts."""
        return multiply(*(part if isinstance(part, Constant) else part.bind(model) for part in self.parts))


def add(*parts: Objective) -> Objective:
    """Return the sum in its canonical form: no sum in a sum, one number at most, at the end, and not 0."""
    flat = [one for part in parts for one in (part.parts if isinstance(part, Sum) else (part,))]
    rest = tuple(part for part in flat if not isinstance(part, Constant))
    value = sum((part.value for part in flat if isinstance(part, Constant)), 0.0)
    if value or not rest:
        rest += (Constant(value),)
    return rest[0] if len(rest) == 1 else Sum(rest)


def multiply(*parts: Objective) -> Objective:
    """Return the product in its canonical form: no product in a product, one number at most, first, and not 1."""
    flat = [one for part in parts for one in (part.parts if isinstance(part, Product) else (part,))]
    rest = tuple(part for part in flat if not isinstance(part, Constant))
    value = math.prod(part.value for part in flat if isinstance(part, Constant))
    if value != 1.0 or not rest:
        rest = (Constant(value), *rest)
    return rest[0] if len(rest) == 1 else Product(rest)


def factor(part: Objective) -> float:
    """Return the number that a term is multiplied with."""
    first = part.parts[0] if isinstance(part, Product) else part
    return first.value if isinstance(first, Constant) else 1.0


def _grouped(part: Objective) -> str:
    return f"({part.text})" if isinstance(part, Sum) else part.text


def _arithmetic(other: Any, make: Callable[[Objective], Objective]) -> Any:
    """Return what ``make`` gives for a number or an objective, and let Python refuse anything else."""
    if isinstance(other, Objective):
        return make(other)
    if isinstance(other, Real) and not isinstance(other, bool):
        return make(Constant(float(other)))
    return NotImplemented
