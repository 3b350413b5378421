"""The registry of evaluations: what each asks, which way is better, and what it needs."""

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
from xaiwidgets.core.scores import Limit
from xaiwidgets.errors import UnknownMethod, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from xaiwidgets.core.knobs import Knob

T = TypeVar("T")

#: Groups of the review's Table 2 and what stands beside it, with the headings that the app shows.
CATEGORIES = {
    "weights": "Weights manipulation",
    "data": "Data randomization",
    "architecture": "Architecture manipulation",
    "input": "Input perturbation",
    "faithfulness": "Evaluation metrics",
    "behavior": "Behavioral assessment",
    "localization": "Localization",
    "retraining": "Remove and retrain",
    "agreement": "Agreement",
    "uses": "Uses of explanations",
}
#: What a metric may need beside a network, a picture and a method, in words.
NEEDS = {
    "truth": "a picture with the place of its object: a Scene with boxes or masks",
    "pictures": "several pictures",
    "labels": "pictures with labels",
    "recipe": "a network that can be trained here: xaiwidgets.recipes()",
    "models": "a second network",
    "relu": "ReLU-like activations throughout (ReLU, ReLU6, leaky ReLU)",
    "gap_head": "a head of global average pooling and one linear layer",
}
DIRECTIONS = ("higher", "lower", "")


@dataclass(frozen=True, slots=True)
class MetricCard:
    """The registry entry of one evaluation.

    Attributes:
        id: name used in Python and in the shell. ``title``: shown to people.
        category: key of ``CATEGORIES``.
        question: what it asks of a map, as a question.
        cite, paper, section: authors and year; arXiv id, DOI or title; section of the review, or ``extra``.
        direction: ``higher`` or ``lower`` is better, or empty.
        range: smallest and largest value that there can be.
        needs: keys of ``NEEDS``.
        limit: the threshold it is held against, if anybody has argued for one.
        how, formula, caution: as on a method's card.
    """

    id: str
    title: str
    category: str
    cls: type
    question: str
    cite: str
    paper: str
    section: str
    direction: str
    range: tuple[float, float]
    needs: tuple[str, ...]
    limit: Limit | None
    how: str
    formula: str
    caution: str

    @property
    def knobs(self) -> tuple[Knob, ...]:
        """The hyper-parameters, in the order they are shown."""
        return knobs_of(self.cls)

    def make(self, **values: Any) -> Any:
        """Return the metric with these hyper-parameters, or raise ``InvalidKnob``."""
        self.check_names(values)
        return self.cls(**values)

    def check_names(self, names: Iterable[str]) -> None:
        """Raise ``InvalidKnob`` unless these are hyper-parameters of the metric."""
        check_names(self.id, self.knobs, names)


_CARDS: dict[str, MetricCard] = {}


@dataclass_transform(field_specifiers=(knob, dataclasses.field), frozen_default=True)
def metric(
    *,
    title: str,
    category: str,
    question: str,
    cite: str,
    paper: str,
    section: str,
    direction: str = "",
    range: tuple[float, float] = (float("-inf"), float("inf")),
    needs: tuple[str, ...] = (),
    limit: Limit | None = None,
    how: str = "",
    formula: str = "",
    caution: str = "",
    id: str | None = None,
) -> Callable[[type[T]], type[T]]:
    """Make a class of hyper-parameters with ``score(case)`` a frozen dataclass and register it."""
    info = dict(locals())
    if category not in CATEGORIES:
        raise ValueError(f"category must be one of {', '.join(CATEGORIES)}; got {category!r}")
    if direction not in DIRECTIONS:
        raise ValueError(f"direction must be one of {', '.join(DIRECTIONS)}; got {direction!r}")
    for need in needs:
        if need not in NEEDS:
            raise ValueError(f"needs must be of {', '.join(NEEDS)}; got {need!r}")

    def register(cls: type[T]) -> type[T]:
        values = dict(info)
        if not hasattr(cls, "__post_init__"):
            cls.__post_init__ = check_knobs  # type: ignore[attr-defined]
        made: Any = dataclass(frozen=True)(cls)
        name = values.pop("id") or re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()
        known = _CARDS.get(name)
        # a module that is loaded again may register again
        if known and (known.cls.__module__, known.cls.__qualname__) != (cls.__module__, cls.__qualname__):
            raise ValueError(f"two metrics have the id {name!r}: {known.cls.__module__} and {cls.__module__}")
        made.card = _CARDS[name] = MetricCard(id=name, cls=made, **values)
        return made  # type: ignore[no-any-return]

    return register


@cache
def load_all() -> None:
    """Import every module of the room of metrics, so that their cards are registered."""
    package = importlib.import_module("xaiwidgets.evaluation")
    for module in pkgutil.walk_packages(package.__path__, "xaiwidgets.evaluation."):
        importlib.import_module(module.name)


def metric_cards() -> tuple[MetricCard, ...]:
    """Return all metrics' cards, by category and then by title."""
    load_all()
    order = list(CATEGORIES)
    return tuple(sorted(_CARDS.values(), key=lambda c: (order.index(c.category), c.title)))


def metric_card(metric_id: str) -> MetricCard:
    """Return the card with this id, or raise ``UnknownMethod`` with the closest ids."""
    load_all()
    try:
        return _CARDS[metric_id]
    except (KeyError, TypeError):
        hint = did_you_mean(metric_id, _CARDS) if isinstance(metric_id, str) else ""
        raise UnknownMethod(f"metric must be one of {', '.join(sorted(_CARDS))}; got {metric_id!r}.{hint}") from None


def resolve_metric(wanted: Any, **values: Any) -> Any:
    """Return a metric object from an id with hyper-parameters, or from an object."""
    if isinstance(wanted, str):
        return metric_card(wanted).make(**values)
    if not isinstance(getattr(type(wanted), "card", None), MetricCard):
        raise UnknownMethod(f"metric must be an id or a metric object such as xaiwidgets.Deletion(); got {wanted!r}.")
    type(wanted).card.check_names(values)
    return dataclasses.replace(wanted, **values) if values else wanted


class MetricTable(tuple[MetricCard, ...]):
    """Metrics' cards that print themselves as a table, in a shell and in a notebook."""

    __slots__ = ()

    def __repr__(self) -> str:
        return tables.text([HEAD, *map(_row, self)])

    def _repr_html_(self) -> str:
        return tables.html([HEAD, *map(_row, self)])


HEAD = ("id", "title", "group", "better", "limit", "paper", "hyper-parameters")


def _row(made: MetricCard) -> tuple[str, ...]:
    limit = "" if made.limit is None else str(made.limit)
    names = ", ".join(k.name for k in made.knobs)
    return made.id, made.title, CATEGORIES[made.category], made.direction or "–", limit, made.paper, names


def metrics() -> MetricTable:
    """Return all metrics as a table of cards."""
    return MetricTable(metric_cards())
