"""The Experiment: which map is tested, by which test, and what it is held against, as one immutable record."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from xaiwidgets.core.knobs import KnobName, clamp_knobs
from xaiwidgets.core.metric_cards import MetricCard, metric_card
from xaiwidgets.evaluation.trust import TRIALS
from xaiwidgets.studio.lens import Lens

if TYPE_CHECKING:
    from xaiwidgets.core.scores import Limit, Score

#: What a test may need that one photo does not have; tests that need it are shown, and cannot be chosen.
BEYOND = ("truth", "pictures", "labels", "recipe", "models")
#: Recipes whose networks a test can train in a minute, whatever the photo: it brings along what the photo lacks.
TAUGHT = {"data_randomization": "digits8"}
#: Of the tests whose attacks go for a region, the hyper-parameter that says so, and its value.
AIMED = ("attack", "target")

#: Where an attack goes before a person has said so.
FIRST_REGION = (0.05, 0.05, 0.3, 0.3)

#: The test that plants a pattern which a person may paint, its hyper-parameter that says what is planted, and the
#: values of it that take a pattern.
PAINTED = ("gradcam_manipulation", "kind", ("image", "malicious"))
#: Rows and columns of such a pattern.
CELLS = 7

Settings = tuple[tuple[str, Any], ...]
#: (top, left, bottom, right) in shares of the picture.
Region = tuple[float, float, float, float]
#: Rows of cells, 1 where they are painted.
Pattern = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Experiment:
    """One test of one map.

    Attributes:
        lens: the map: photo, class, method with its hyper-parameters, and how it is looked at.
        metric: id of the test.
        settings: hyper-parameters of tests that differ from their defaults, by the test's id; they are kept when
            another test is chosen.
        limits: thresholds by the test's id, in place of those that are written down; they never start a computation.
        region: where a person wants an attack to go, in shares of the picture; ``aim`` has what holds.
        pattern: what a person has painted for a network to show, cell by cell; ``sketch`` has what holds.
        seed: of all that the test draws.
    """

    lens: Lens = field(default_factory=Lens)
    metric: str = "model_parameter_randomization"
    settings: tuple[tuple[str, Settings], ...] = ()
    limits: tuple[tuple[str, Limit], ...] = ()
    region: Region | None = None
    pattern: Pattern | None = None
    seed: int = 0

    @property
    def card(self) -> MetricCard:
        """Of the test."""
        return metric_card(self.metric)

    @property
    def knobs(self) -> Settings:
        """Hyper-parameters of the chosen test that differ from their defaults, sorted by name."""
        return dict(self.settings).get(self.metric, ())

    @property
    def question(self) -> tuple[Any, ...]:
        """What a computation depends on; the key of the cache of scores."""
        return self.lens.question, self.metric, self.knobs, self.aim, self.sketch, self.seed

    @property
    def aims(self) -> bool:
        """Whether the chosen test's attack goes for a region."""
        name, value = AIMED
        return aimable(self.card) and self.knob(name) == value

    @property
    def aim(self) -> Region | None:
        """The region that the attack goes for; ``None`` for tests and attacks that have none."""
        return (self.region or FIRST_REGION) if self.aims else None

    @property
    def paints(self) -> bool:
        """Whether the chosen test plants a pattern that a person may paint."""
        metric, name, values = PAINTED
        return self.metric == metric and self.knob(name) in values

    @property
    def sketch(self) -> Pattern | None:
        """The painted pattern; ``None`` for tests that plant none, and where what is built in is planted."""
        return self.pattern if self.paints else None

    def knob(self, name: str) -> Any:
        """Return a hyper-parameter of the chosen test, its default when it was not changed."""
        found = dict(self.knobs)
        return found[name] if name in found else next(k.default for k in self.card.knobs if k.name == name)

    def replace(self, **changes: Any) -> Experiment:
        """Return a copy with these fields changed."""
        return dataclasses.replace(self, **changes)

    def with_lens(self, lens: Lens) -> Experiment:
        """Return this experiment of another map; another method has other hyper-parameters that a test may name."""
        if lens.method == self.lens.method:
            return self.replace(lens=lens)
        kept = []
        for name, values in self.settings:
            named = {k.name for k in metric_card(name).knobs if isinstance(k.domain, KnobName)}
            rest = tuple(pair for pair in values if pair[0] not in named)
            kept += [(name, rest)] if rest else []
        return self.replace(lens=lens, settings=tuple(kept))

    def with_metric(self, metric: str) -> Experiment:
        """Return this experiment with another test, with the settings that it had.

        Raises:
            UnknownMethod: there is none.
        """
        return self.replace(metric=metric_card(metric).id)

    def with_knobs(self, **values: Any) -> Experiment:
        """Return this experiment with other settings, each moved into its domain; unknown names are dropped."""
        made = self.card
        defaults = {k.name: k.default for k in made.knobs}
        merged = clamp_knobs(made.cls, {**dict(self.knobs), **values})
        own = tuple(sorted((name, value) for name, value in merged.items() if value != defaults[name]))
        rest = {name: values for name, values in self.settings if name != self.metric}
        return self.replace(settings=tuple(sorted({**rest, **({self.metric: own} if own else {})}.items())))

    def with_limit(self, limit: Limit | None) -> Experiment:
        """Return this experiment with another threshold for its test; ``None`` is the one that is written down."""
        rest = {name: one for name, one in self.limits if name != self.metric}
        return self.replace(limits=tuple({**rest, **({self.metric: limit} if limit is not None else {})}.items()))

    def make(self) -> Any:
        """Return the test.

        Raises:
            InvalidKnob: each setting is in its domain, but together they make no sense.
        """
        return self.card.make(**dict(self.knobs))

    def judged(self, score: Score) -> Score:
        """Return a score held against the threshold that a person has set, or else the one that is written down."""
        own = dict(self.limits).get(score.metric)
        return score.replace(limit=own or default_limit(score))


def aimable(card: MetricCard) -> bool:
    """Return whether an attack of this test can go for a region that a person draws."""
    name, value = AIMED
    return any(k.name == name and value in getattr(k.domain, "options", ()) for k in card.knobs)


def default_limit(score: Score) -> Limit | None:
    """Return the threshold that is written down for a score; for some it is what random orders get, once that is there.

    The same as in a ``TrustReport``.
    """
    if score.limit is not None:
        return score.limit
    trial = next((trial for trial in TRIALS if trial.metric == score.metric), None)
    return trial.limit(score) if trial is not None and score.progress >= 1 else None


def beyond(card: MetricCard) -> tuple[str, ...]:
    """Return what the test needs that one photo does not have, and that it does not bring along."""
    return () if card.id in TAUGHT else tuple(need for need in card.needs if need in BEYOND)
