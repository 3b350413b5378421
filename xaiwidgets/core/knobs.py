"""Hyper-parameters as data: one line declares the default, the domain, the control, the CLI flag and the test grid."""

from __future__ import annotations

import dataclasses
import math
import re
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

from xaiwidgets.errors import InvalidKnob, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


#: What a set of reference pictures may be called: by its form, never a path.
REFERENCE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9 _-]{0,59}")


class Domain:
    """The values a knob may take."""

    def check(self, name: str, value: Any) -> Any:
        """Return ``value`` in its canonical type, or raise ``InvalidKnob`` that names the knob."""
        raise NotImplementedError

    def clamp(self, value: Any, default: Any) -> Any:
        """Return the nearest allowed value; used for values that a browser sends."""
        try:
            return self.check("value", value)
        except InvalidKnob:
            return default

    def samples(self, default: Any) -> Iterator[Any]:
        """Yield a few values that cover the domain, for the test grid."""
        yield default


@dataclass(frozen=True, slots=True)
class Range(Domain):
    """Numbers from ``low`` to ``high``, both included; integers when both bounds are ``int``."""

    low: float
    high: float
    step: float | None = None
    log: bool = False

    @property
    def integer(self) -> bool:
        """Whether only whole numbers are allowed."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def check(self, name: str, value: Any) -> float | int:
        """Return the number, or raise ``InvalidKnob`` with the bounds."""
        kind = "a whole number" if self.integer else "a number"
        expected = f"{name} must be {kind} from {self.low:,} to {self.high:,}"
        if isinstance(value, bool) or not isinstance(value, Real):
            raise InvalidKnob(f"{expected}; got {_brief(value)} ({type(value).__name__}).")
        number: Any = value
        if not self.low <= number <= self.high or (self.integer and number != int(number)):  # NaN is not in between
            raise InvalidKnob(f"{expected}; got {_brief(value)}.")
        return int(number) if self.integer else float(number)

    def clamp(self, value: Any, default: Any) -> float | int:
        """Return the value moved into the bounds, or ``default`` when it is no finite number."""
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            return default  # type: ignore[no-any-return]
        if not math.isfinite(number) or isinstance(value, (bool, np.bool_)):
            return default  # type: ignore[no-any-return]
        number = min(max(number, self.low), self.high)
        return round(number) if self.integer else float(number)

    def samples(self, default: Any) -> Iterator[Any]:
        """Yield the low end, the default and the high end."""
        yield from dict.fromkeys((self.low, default, self.high))


@dataclass(frozen=True, slots=True)
class Choice(Domain):
    """One of a few named options."""

    options: tuple[str, ...]

    def check(self, name: str, value: Any) -> str:
        """Return the option, or raise ``InvalidKnob`` that lists them."""
        if isinstance(value, str) and value in self.options:
            return str(value)
        hint = did_you_mean(value, self.options) if isinstance(value, str) else ""
        raise InvalidKnob(f"{name} must be one of {', '.join(self.options)}; got {_brief(value)}.{hint}")

    def samples(self, default: Any) -> Iterator[Any]:
        """Yield every option."""
        yield from self.options


@dataclass(frozen=True, slots=True)
class Flag(Domain):
    """On or off."""

    def check(self, name: str, value: Any) -> bool:
        """Return the flag, or raise ``InvalidKnob``."""
        if isinstance(value, (bool, np.bool_)):
            return bool(value)
        raise InvalidKnob(f"{name} must be True or False; got {_brief(value)}.")

    def samples(self, default: Any) -> Iterator[Any]:
        """Yield both."""
        yield from (False, True)


@dataclass(frozen=True, slots=True)
class LayerName(Domain):
    """The name of a layer of the model; the empty string is the method's own choice, which ``empty`` says in words."""

    empty: str = "last stage"

    def check(self, name: str, value: Any) -> str:
        """Return the name; that the layer exists is checked where the model is known."""
        if isinstance(value, str) and len(value) <= 300:
            return value
        raise InvalidKnob(
            f"{name} must be the name of a layer (see model.layers), or '' for the default; got {_brief(value)}."
        )


@dataclass(frozen=True, slots=True)
class KnobName(Domain):
    """The name of a hyper-parameter of the method in question; the empty string is the metric's own choice."""

    def check(self, name: str, value: Any) -> str:
        """Return the name; that the method has it is checked where the method is known."""
        if isinstance(value, str) and len(value) <= 300 and (not value or value.isidentifier()):
            return value
        raise InvalidKnob(
            f"{name} must be the name of a hyper-parameter of the method, or '' for the default; got {_brief(value)}."
        )


@dataclass(frozen=True, slots=True)
class MethodName(Domain):
    """The id of another explainer, for methods that wrap one.

    Left out are those in ``exclude``, and those that need of a model what is in ``without`` (see ``cards.choices``).
    """

    exclude: tuple[str, ...] = ()
    without: tuple[str, ...] = ()

    def check(self, name: str, value: Any) -> str:
        """Return the id; that it is registered is checked where the registry is known."""
        if isinstance(value, str) and len(value) <= 300 and value.isidentifier() and value not in self.exclude:
            return value
        raise InvalidKnob(f"{name} must be the id of another method (see xaiwidgets.methods()); got {_brief(value)}.")


@dataclass(frozen=True, slots=True)
class MethodNames(Domain):
    """Ids of several other explainers, separated by commas, for methods that bring some together.

    At least ``least`` different ones and at most ``most``; left out are those in ``exclude``.
    """

    least: int = 2
    most: int = 12
    exclude: tuple[str, ...] = ()

    def check(self, name: str, value: Any) -> str:
        """Return the ids in the order given, each once; that they are registered is checked where the registry is."""
        expected = f"{name} must be {self.least} to {self.most} ids of other methods, such as 'saliency,grad_cam'"
        if not isinstance(value, str) or len(value) > 2000:
            raise InvalidKnob(f"{expected}; got {_brief(value)}.")
        ids = tuple(dict.fromkeys(part.strip() for part in value.split(",") if part.strip()))
        wrong = [one for one in ids if not one.isidentifier() or one in self.exclude]
        if wrong:
            raise InvalidKnob(f"{expected} (see xaiwidgets.methods()); {_brief(wrong[0])} cannot be one of them.")
        if not self.least <= len(ids) <= self.most:
            raise InvalidKnob(f"{expected}; got {len(ids)}.")
        return ",".join(ids)


@dataclass(frozen=True, slots=True)
class ReferenceName(Domain):
    """The name of a set of reference pictures, built in or registered from Python."""

    def check(self, name: str, value: Any) -> str:
        """Return the name; that there is such a set is checked where the sets are known."""
        if isinstance(value, str) and REFERENCE_NAME.fullmatch(value):
            return str(value)
        raise InvalidKnob(
            f"{name} must be the name of a set of pictures (see xaiwidgets.reference_sets()); got {_brief(value)}."
        )


@dataclass(frozen=True, slots=True)
class NetworkName(Domain):
    """The name of a network that was trained and kept in this process; the empty string is the method's own choice.

    ``kind`` is ``decoder``, ``generator``, ``checkpoints`` or ``model``; ``empty`` says what the empty string means.
    """

    kind: str
    empty: str = "the newest that fits"

    def check(self, name: str, value: Any) -> str:
        """Return the name; that there is such a network is checked where they are kept."""
        if isinstance(value, str) and len(value) <= 300:
            return value
        raise InvalidKnob(f"{name} must be the name of a trained network, or ''; got {_brief(value)}.")


@dataclass(frozen=True, slots=True)
class LayerRules(Domain):
    """A table of rules by layer, written ``layer=rule, layer=rule``; the empty string is no exception to the default.

    ``rules`` are the names that may stand at the right, each with a number in parentheses if it takes one.
    """

    rules: tuple[str, ...]

    def check(self, name: str, value: Any) -> str:
        """Return the table; that its layers exist is checked where the model is known."""
        expected = f"{name} must be a table such as 'layer=rule, layer=rule' with rules from {', '.join(self.rules)}"
        if not isinstance(value, str) or len(value) > 20_000:
            raise InvalidKnob(f"{expected}; got {_brief(value)}.")
        for entry in filter(str.strip, value.split(",")):
            layer, equals, rule = entry.partition("=")
            if not equals or not layer.strip() or rule.partition("(")[0].strip() not in self.rules:
                hint = did_you_mean(rule.strip(), self.rules) if equals else ""
                raise InvalidKnob(f"{expected}; got {_brief(entry.strip())}.{hint}")
        return value


@dataclass(frozen=True, slots=True)
class Knob:
    """One hyper-parameter: where its value lives, what it may be, and how it is shown.

    ``live`` knobs act on a running synthesis at its next step. ``advanced`` ones are folded away in the app.
    """

    name: str
    default: Any
    domain: Domain
    label: str
    help: str
    unit: str = ""
    live: bool = False
    advanced: bool = False


def knob(
    default: Any, domain: Domain, *, label: str, help: str, unit: str = "", live: bool = False, advanced: bool = False
) -> Any:
    """Declare a dataclass field as a knob."""
    spec = Knob("", default, domain, label, help, unit, live, advanced)
    return dataclasses.field(default=default, metadata={"knob": spec})


def knobs_of(owner: Any) -> tuple[Knob, ...]:
    """Return the knobs of a method class or object, in the order they were declared."""
    found = ((f.name, f.metadata.get("knob")) for f in dataclasses.fields(owner))
    return tuple(dataclasses.replace(spec, name=name) for name, spec in found if spec is not None)


def check_names(owner: str, knobs: Iterable[Knob], names: Iterable[str]) -> None:
    """Raise ``InvalidKnob`` unless these are hyper-parameters of the method or metric with the id ``owner``."""
    known = [spec.name for spec in knobs]
    for name in names:
        if name not in known:
            has = f"It has {', '.join(known)}." if known else "It has none."
            raise InvalidKnob(f"{owner} has no hyper-parameter {name!r}. {has}{did_you_mean(name, known)}")


def check_knobs(owner: Any) -> None:
    """Replace each knob's value on a frozen dataclass by its canonical form, or raise ``InvalidKnob``."""
    for spec in knobs_of(owner):
        object.__setattr__(owner, spec.name, spec.domain.check(spec.name, getattr(owner, spec.name)))


def clamp_knobs(cls: type, values: dict[str, Any]) -> dict[str, Any]:
    """Keep the known knobs of ``values``, each moved into its domain; for values that a browser sends."""
    return {k.name: k.domain.clamp(values[k.name], k.default) for k in knobs_of(cls) if k.name in values}


def _brief(value: Any) -> str:
    try:
        text = repr(value)
    except ValueError:  # Python refuses to write out integers of thousands of digits
        return "a number of thousands of digits"
    return text if len(text) <= 80 else f"{text[:77]}..."
