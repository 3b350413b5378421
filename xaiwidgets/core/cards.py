"""The registry: what methods there are, where each stands in the review's taxonomy, and what it needs."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar, dataclass_transform

from xaiwidgets.core import tables
from xaiwidgets.core.knobs import check_knobs, check_names, knob, knobs_of
from xaiwidgets.errors import UnknownMethod, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from xaiwidgets.core.knobs import Knob, MethodName

T = TypeVar("T")

#: Families in the order of the review's sections, with the heading that the picker shows.
FAMILIES = {
    "gradient": "Gradient",
    "backprop": "Modified gradient",
    "relevance": "Relevance and references",
    "cam": "Class activation map",
    "perturbation": "Perturbation",
    "mask": "Mask optimization",
    "aggregate": "Combined",
    "maximization": "Activation maximization",
    "adversarial": "Adversarial and fooling",
    "inversion": "Inversion",
}
#: The rooms that hold methods; importing their modules fills the registry and loads no torch.
ROOMS = ("xaiwidgets.explainers", "xaiwidgets.synthesis", "xaiwidgets.learned.methods")


#: What a synthesizer can ask for: something to excite or to be taken for, and a photo.
ASKS = ("target", "photo")


@dataclass(frozen=True, slots=True)
class Card:
    """The registry entry of one method.

    Attributes:
        id: name used in Python, the CLI and links.
        title: name shown to people.
        family: key of ``FAMILIES``.
        kind: ``explainer`` (yields ``Attribution``) or ``synthesizer`` (yields ``Synthesis``).
        idea: the method in one line.
        cite: authors and year. ``paper``: arXiv id, DOI, or a title in quotes. ``section``: of the review.
        needs: what the model must offer: ``gradient``, ``relu``, ``spatial``, …
        signed: whether negative values mean evidence against.
        caution: when not to trust it, in one or two sentences.
        how: how it works, in about three sentences; ``formula``: its definition in plain text.
        asks: of a synthesizer, which of ``ASKS`` it cannot do without; ``takes``: which others it can use.
    """

    id: str
    title: str
    family: str
    kind: str
    cls: type
    idea: str
    cite: str
    paper: str
    section: str
    needs: tuple[str, ...]
    signed: bool
    how: str
    formula: str
    caution: str
    asks: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()

    @property
    def knobs(self) -> tuple[Knob, ...]:
        """The hyper-parameters, in the order they are shown."""
        return knobs_of(self.cls)

    def make(self, **values: Any) -> Any:
        """Return the method with these hyper-parameters, or raise ``InvalidKnob``."""
        self.check_names(values)
        return self.cls(**values)

    def uses_photo(self, values: Mapping[str, Any]) -> bool:
        """Return whether a synthesizer with these hyper-parameters makes anything of a photo; others are at default."""
        if "photo" in (*self.asks, *self.takes):
            return True
        return bool({**{k.name: k.default for k in self.knobs}, **values}.get("start") == "photo")

    @property
    def starts_from_photo(self) -> bool:
        """Whether a synthesizer can begin with a photo, with ``start="photo"``."""
        return any(k.name == "start" and "photo" in getattr(k.domain, "options", ()) for k in self.knobs)

    def check_names(self, names: Iterable[str]) -> None:
        """Raise ``InvalidKnob`` unless these are hyper-parameters of the method."""
        check_names(self.id, self.knobs, names)


_CARDS: dict[str, Card] = {}


def _register(kind: str, cls: type, info: dict[str, Any]) -> type:
    if not hasattr(cls, "__post_init__"):
        cls.__post_init__ = check_knobs  # type: ignore[attr-defined]
    method: Any = dataclass(frozen=True)(cls)
    name = info.pop("id", None) or re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()
    for part in ("asks", "takes"):
        if not set(info.get(part, ())) <= set(ASKS):
            raise ValueError(f"{part} must be of {', '.join(ASKS)}; {name} says {info[part]!r}")
    if info["family"] not in FAMILIES:
        raise ValueError(f"family must be one of {', '.join(FAMILIES)}; {name} says {info['family']!r}")
    known = _CARDS.get(name)
    # a module that is loaded again may register again
    if known and (known.cls.__module__, known.cls.__qualname__) != (cls.__module__, cls.__qualname__):
        raise ValueError(f"two methods have the id {name!r}: {known.cls.__module__} and {cls.__module__}")
    method.card = _CARDS[name] = Card(id=name, kind=kind, cls=method, **info)
    return method  # type: ignore[no-any-return]


@dataclass_transform(field_specifiers=(knob, dataclasses.field), frozen_default=True)
def explainer(
    *,
    title: str,
    family: str,
    idea: str,
    cite: str,
    paper: str,
    section: str,
    needs: tuple[str, ...] = (),
    signed: bool = True,
    how: str = "",
    formula: str = "",
    caution: str = "",
    id: str | None = None,
) -> Callable[[type[T]], type[T]]:
    """Make a class of hyper-parameters with ``steps(model, image, target)`` a frozen dataclass and register it."""
    info = dict(locals())
    return lambda cls: _register("explainer", cls, dict(info))


@dataclass_transform(field_specifiers=(knob, dataclasses.field), frozen_default=True)
def synthesizer(
    *,
    title: str,
    family: str = "maximization",
    idea: str,
    cite: str,
    paper: str,
    section: str,
    needs: tuple[str, ...] = ("gradient",),
    asks: tuple[str, ...] = ("target",),
    takes: tuple[str, ...] = (),
    how: str = "",
    formula: str = "",
    caution: str = "",
    id: str | None = None,
) -> Callable[[type[T]], type[T]]:
    """Make a class of hyper-parameters with ``steps(model, start, target)`` a registered synthesizer."""
    info = dict(locals(), signed=False)
    return lambda cls: _register("synthesizer", cls, dict(info))


@cache
def load_all() -> None:
    """Import every module that holds methods, so that their cards are registered."""
    for room in ROOMS:
        package = importlib.import_module(room)
        for module in pkgutil.walk_packages(package.__path__, f"{room}."):
            importlib.import_module(module.name)


def cards(kind: str | None = None) -> tuple[Card, ...]:
    """Return all cards (of one kind), by family and then in the order of the review's sections."""
    load_all()
    order = list(FAMILIES)
    found = [c for c in _CARDS.values() if kind is None or c.kind == kind]
    return tuple(sorted(found, key=lambda c: (order.index(c.family), _section(c), c.title)))


def choices(domain: MethodName) -> tuple[Card, ...]:
    """Return the cards of the explainers that a knob of this domain may name."""
    found = (c for c in cards("explainer") if c.id not in domain.exclude)
    return tuple(c for c in found if set(c.needs).isdisjoint(domain.without))


def _section(made: Card) -> tuple[int, ...]:
    """Return the section as numbers, so that 2.3.10 comes after 2.3.9."""
    return tuple(map(int, re.findall(r"\d+", made.section)))


def card(method_id: str) -> Card:
    """Return the card with this id, or raise ``UnknownMethod`` with the closest ids."""
    load_all()
    try:
        return _CARDS[method_id]
    except (KeyError, TypeError):
        hint = did_you_mean(method_id, _CARDS) if isinstance(method_id, str) else ""
        raise UnknownMethod(f"method must be one of {', '.join(sorted(_CARDS))}; got {method_id!r}.{hint}") from None


def resolve(method: Any, **values: Any) -> Any:
    """Return a method object from an id with hyper-parameters, or from an object (then without any)."""
    if isinstance(method, str):
        return card(method).make(**values)
    if not isinstance(getattr(type(method), "card", None), Card):
        raise UnknownMethod(f"method must be an id or a method object such as xaiwidgets.GradCam(); got {method!r}.")
    type(method).card.check_names(values)
    return dataclasses.replace(method, **values) if values else method


class Table(tuple[Card, ...]):
    """Cards that print themselves as a table, in a shell and in a notebook."""

    __slots__ = ()

    def __repr__(self) -> str:
        return tables.text([HEAD, *map(_row, self)])

    def _repr_html_(self) -> str:
        return tables.html([HEAD, *map(_row, self)])


HEAD = ("id", "title", "family", "paper", "hyper-parameters")


def _row(made: Card) -> tuple[str, str, str, str, str]:
    return made.id, made.title, FAMILIES[made.family], made.paper, ", ".join(k.name for k in made.knobs)


def methods(kind: str | None = None) -> Table:
    """Return all methods (or only ``explainer`` or ``synthesizer`` ones) as a table of cards."""
    return Table(cards(kind))
