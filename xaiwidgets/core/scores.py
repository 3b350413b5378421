"""What evaluations yield: immutable scores with their curves, controls and limits. NumPy only."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from xaiwidgets.core.results import Provenance
from xaiwidgets.errors import InvalidKnob

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

#: ``unjudged``: the number has no threshold that anybody has argued for.
Verdict = Literal["pass", "fail", "borderline", "not applicable", "unjudged"]
RELATIONS = ("<", "<=", ">", ">=")


@dataclass(frozen=True)
class Limit:
    """A written-down threshold: what a score must be to pass.

    Attributes:
        relation: ``<``, ``<=``, ``>`` or ``>=``.
        value: the threshold, in the score's unit.
        source: where it comes from, one sentence.
    """

    relation: str
    value: float
    source: str = ""

    def __post_init__(self) -> None:
        if self.relation not in RELATIONS:
            raise InvalidKnob(f"relation must be one of {', '.join(RELATIONS)}; got {self.relation!r}.")
        if isinstance(self.value, bool) or not isinstance(self.value, (int, float)) or not math.isfinite(self.value):
            raise InvalidKnob(f"value of a limit must be a finite number; got {self.value!r}.")
        object.__setattr__(self, "value", float(self.value))

    def __str__(self) -> str:
        return f"{self.relation} {self.value:g}"

    def met(self, value: float) -> bool:
        """Return whether a number is on the right side; NaN never is."""
        tests = {"<": value < self.value, "<=": value <= self.value, ">": value > self.value, ">=": value >= self.value}
        return tests[self.relation]

    def judge(self, value: float, interval: tuple[float, float] | None = None) -> Verdict:
        """Return ``pass``, ``fail``, ``borderline`` if the interval straddles the threshold, ``unjudged`` for NaN."""
        if math.isnan(value):
            return "unjudged"
        if interval is not None and self.met(interval[0]) != self.met(interval[1]):
            return "borderline"
        return "pass" if self.met(value) else "fail"


@dataclass(frozen=True, eq=False)
class Curve:
    """One line of a plot.

    Attributes:
        name: what the line is, for the legend.
        x, y: float64 ``(n,)``. ``x_label``, ``y_label``: with their units.
        low, high: bounds around ``y``, if there are any.
        ticks: names of the places on the x axis, where they are not numbers (such as layers).
    """

    name: str
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    x_label: str = ""
    y_label: str = ""
    low: NDArray[np.float64] | None = None
    high: NDArray[np.float64] | None = None
    ticks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("x", "y", "low", "high"):
            given = getattr(self, name)
            if given is not None:
                values = np.array(given, dtype=np.float64)
                values.setflags(write=False)
                object.__setattr__(self, name, values)
        if self.x.shape != self.y.shape or self.x.ndim != 1:
            raise ValueError(f"x and y of a curve must be one row of equal length; got {self.x.shape}, {self.y.shape}")


@dataclass(frozen=True, eq=False)
class Score:
    """One number that says how far an explanation can be trusted, with what it takes to see why.

    Attributes:
        value: the number; NaN where it is not defined, and then ``notes`` say why.
        unit: of the value.
        direction: ``higher`` or ``lower`` is better; empty where neither is.
        progress: share of the work done, in (0, 1]; the last result has 1.
        standard_error: of the value, over samples or pictures. ``interval``: of 95 %.
        limit: the threshold that it is held against, if there is one.
        controls: the same number for what knows nothing of the network or the picture (a random map, edges, …).
        curves: what the number sums up.
        header, rows: a table: names of its columns, and what is in them.
        maps: arrays ``(H, W)`` that the test has made, by name; ``pictures``: uint8 ``(H, W, 3)``.
        items: the value of each picture or sample. ``details``: further numbers, by name.
        notes: what a reader should know, one sentence each.
        warnings: codes of the dangers that were met, such as ``W_OOD``.
        seed: of all that was drawn.
        metric, knobs: id and hyper-parameters of the test.
        provenance: of the explanation that was tested, and passes and seconds of the test.
    """

    value: float
    unit: str
    direction: str = ""
    progress: float = 1.0
    standard_error: float | None = None
    interval: tuple[float, float] | None = None
    limit: Limit | None = None
    controls: Mapping[str, float] = field(default_factory=dict)
    curves: tuple[Curve, ...] = ()
    header: tuple[str, ...] = ()
    rows: tuple[tuple[Any, ...], ...] = ()
    maps: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    pictures: Mapping[str, NDArray[np.uint8]] = field(default_factory=dict)
    items: tuple[float, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    seed: int = 0
    metric: str = ""
    knobs: Mapping[str, Any] = field(default_factory=dict)
    provenance: Provenance = field(default_factory=Provenance)

    @property
    def verdict(self) -> Verdict:
        """What the limit says about the value."""
        if self.details.get("refused"):
            return "not applicable"
        return "unjudged" if self.limit is None else self.limit.judge(self.value, self.interval)

    def replace(self, **changes: Any) -> Score:
        """Return a copy with these fields changed."""
        return dataclasses.replace(self, **changes)

    def sentence(self) -> str:
        """Return the score in words: its value, its limit, and what knows nothing would get."""
        words = f"{self.metric or 'score'} {self.value:.3g}"
        if self.interval is not None:
            words += f" ({self.interval[0]:.3g} to {self.interval[1]:.3g})"
        if self.limit is not None:
            words += f", {self.verdict} (must be {self.limit})"
        elif self.direction:
            words += f" ({self.direction} is better)"
        if self.controls:
            words += "; " + ", ".join(f"{name} {value:.3g}" for name, value in self.controls.items())
        return words

    def __repr__(self) -> str:
        return f"<Score {self.sentence()}>"

    def plot(self) -> Any:
        """Return a matplotlib figure of the curves, maps and pictures (see ``render.score``)."""
        from xaiwidgets.render.score import score_figure

        return score_figure(self)


def mean_known(values: Any) -> float:
    """Return the mean of the values that are not NaN, or NaN if all are."""
    found = np.asarray(values, dtype=np.float64)
    found = found[~np.isnan(found)]
    return float(found.mean()) if len(found) else math.nan


def mean_and_interval(values: Any, *, seed: int = 0, draws: int = 1000) -> tuple[float, tuple[float, float] | None]:
    """Return the mean of finite values and its 95 % bootstrap interval; ``None`` for fewer than two.

    Percentiles of the means of ``draws`` resamples with replacement, drawn from ``seed``.
    """
    found = np.asarray(values, dtype=np.float64)
    found = found[np.isfinite(found)]
    if not len(found):
        return math.nan, None
    if len(found) < 2:
        return float(found[0]), None
    rng = np.random.default_rng(seed)
    means = found[rng.integers(len(found), size=(draws, len(found)))].mean(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(found.mean()), (float(low), float(high))
