"""Whether a map can be trusted: a few tests of it within a time budget, each with its threshold written down."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from xaiwidgets.core.metric_cards import metric_card, resolve_metric
from xaiwidgets.core.scores import Limit, Score
from xaiwidgets.errors import InvalidKnob, NotApplicable, did_you_mean
from xaiwidgets.evaluation.judge import case_of, judge, refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from xaiwidgets.evaluation.case import Case
    from xaiwidgets.model.model import Model

#: Seconds that a report may take by default, on two cores, for methods of one pass.
BUDGET = 10.0
#: A test may take up to so many equal parts of the time that is left for it and for those after it.
MOST = 2
#: Of the budget, what is planned; the rest is for what was estimated wrongly.
PLANNED = 0.7


@dataclass(frozen=True)
class Trial:
    """One test of a report.

    Attributes:
        metric: its id. ``question``: what the map does if it passes, in plain words.
        knobs: its hyper-parameters, from the number of further maps that there is time for.
        maps: how many further maps it needs at least.
        share: of the time for further maps, its part.
        limit: the threshold, from a finished score: some are what a random order gets. ``rule``: the same in words.
    """

    metric: str
    question: str
    knobs: Callable[[int], dict[str, Any]]
    maps: int
    share: float
    limit: Callable[[Score], Limit | None]
    rule: str


def _below_random(score: Score) -> Limit | None:
    return Limit("<", score.controls["random"], RANDOM) if "random" in score.controls else None


def _above_random(score: Score) -> Limit | None:
    return Limit(">", score.controls["random"], RANDOM) if "random" in score.controls else None


def _own(score: Score) -> Limit | None:
    return metric_card(score.metric).limit


RANDOM = "The mean of random orders on the same picture."
#: In the order in which they are run: cheap and telling ones first.
TRIALS = (
    Trial(
        "input_dominance",
        "is more than the photo times chance",
        lambda maps: {},
        0,
        0.0,
        _own,
        "rank correlation with the input times random numbers",
    ),
    Trial(
        "model_parameter_randomization",
        "depends on what was learned",
        lambda maps: {"stages": min(max(maps, 2), 8), "similarities": "rank"},
        2,
        0.6,
        _own,
        "mean rank correlation while weights are drawn anew from the top down",
    ),
    Trial(
        "max_sensitivity",
        "holds under invisible noise",
        lambda maps: {"samples": min(max(maps, 2), 8)},
        2,
        0.4,
        _own,
        "largest relative change under noise of 2 levels of 255",
    ),
    Trial(
        "insertion",
        "puts first what makes the class",
        lambda maps: {},
        0,
        0.0,
        _above_random,
        "area under the curve, against random orders",
    ),
    Trial(
        "deletion",
        "puts first what the class needs",
        lambda maps: {"substrate": "blur"},
        0,
        0.0,
        _below_random,
        "area under the curve, against random orders",
    ),
    Trial(
        "input_invariance",
        "ignores a shift that is made up for",
        lambda maps: {},
        2,
        0.0,
        _own,
        "relative change, between two networks that answer alike",
    ),
)


@dataclass(frozen=True)
class TrustReport:
    """Tests of one map, as far as they have come.

    Attributes:
        scores: of the tests that have one, by the metric's id, in the order they are run.
        waiting: ids of the tests that have none yet. ``skipped``: why those were left out, by id.
        progress: share of the tests that are done, in [0, 1].
        seconds: spent. ``budget``: allowed.
        method, target, model, image: what was tested.
    """

    scores: Mapping[str, Score] = field(default_factory=dict)
    waiting: tuple[str, ...] = ()
    skipped: Mapping[str, str] = field(default_factory=dict)
    progress: float = 0.0
    seconds: float = 0.0
    budget: float = BUDGET
    method: str = ""
    target: str = ""
    model: str = ""
    image: str = ""

    def count(self, verdict: str) -> int:
        """Return how many finished tests have this verdict."""
        return sum(s.verdict == verdict for s in self.scores.values() if s.progress >= 1)

    @property
    def verdict(self) -> str:
        """All of it in a few words; never a single yes or no, for the tests ask different questions."""
        done = {name: score for name, score in self.scores.items() if score.progress >= 1}
        judged = [score for score in done.values() if score.verdict in ("pass", "fail", "borderline")]
        if not judged:
            return "not tested yet" if self.progress < 1 else "no test applies"
        words = f"{self.count('pass')} of {len(judged)} tests passed"
        failed = [metric_card(name).title.lower() for name, score in done.items() if score.verdict == "fail"]
        return f"{words}, failed: {', '.join(failed)}" if failed else words

    def __repr__(self) -> str:
        lines = [f"{self.method} for {self.target}: {self.verdict} ({self.seconds:.1f} s)"]
        for name, score in self.scores.items():
            lines.append(f"  {metric_card(name).title}: {score.sentence()}")
        lines += [f"  {metric_card(name).title}: left out, {why}" for name, why in self.skipped.items()]
        return "\n".join(lines)


def trust(model: Model, image: Any, method: Any = "grad_cam", **options: Any) -> TrustReport:
    """Test a map of a picture within a budget and return the report; see ``trust_steps``."""
    report = None
    for report in trust_steps(model, image, method, **options):  # noqa: B007 - the last
        pass
    if report is None:
        raise RuntimeError("a report must be given")
    return report


def trust_steps(
    model: Model,
    image: Any,
    method: Any = "grad_cam",
    *,
    target: Any = None,
    seed: int = 0,
    budget: float = BUDGET,
    limits: Mapping[str, Limit] | None = None,
) -> Generator[TrustReport, None, None]:
    """Yield a report that grows with each piece of work; see ``reports``.

    Args:
        model: from ``load_model`` or ``Model(module)``.
        image: as for ``evaluate``.
        method: as for ``evaluate``; a finished ``Attribution`` is not computed again.
        target: as for ``evaluate``.
        seed: of all that the tests draw.
        budget: seconds for all tests; the map itself is not counted.
        limits: thresholds in place of those that are written down in ``thresholds()``, by the metric's id.

    Raises:
        InvalidKnob: a budget that is not positive, or a limit for no test.
    """
    case = case_of(model, image, method, target=target, seed=seed)
    yield from reports(case, budget=budget, limits=limits)


def reports(
    case: Case, *, budget: float = BUDGET, limits: Mapping[str, Limit] | None = None
) -> Generator[TrustReport, None, None]:
    """Yield the report of a case after each piece of work, until all tests are done or the time is up.

    What there is no time for is left out with its reason; a test that is cut short keeps its last number, says so, and
    has no verdict.
    """
    if isinstance(budget, bool) or not isinstance(budget, (int, float)) or not 0 < budget < math.inf:
        raise InvalidKnob(f"budget must be a positive number of seconds; got {budget!r}.")
    own = _checked(limits or {})
    ids = [trial.metric for trial in TRIALS]
    report = TrustReport(
        waiting=tuple(ids),
        budget=float(budget),
        method=type(case.method).card.title,
        target=case.target.name,
        model=case.model.name,
        image=case.name,
    )
    begun, steps = time.perf_counter(), case.attribution()
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found = end.value
            break
        yield report
    # of a map that was there already, what it took then; else what it took now
    a_map = max(found.provenance.seconds or time.perf_counter() - begun, 1e-3)
    spent = 0.0
    for number, trial in enumerate(TRIALS):
        left = (budget - spent) * min(1.0, MOST / (len(TRIALS) - number))
        maps = int(PLANNED * trial.share * budget / a_map)
        why = _why_not(trial, maps, a_map, left)
        if why:
            report = replace(report, skipped={**report.skipped, trial.metric: why})
        else:
            for score, seconds in _run(trial, case, maps, left, own.get(trial.metric)):
                scores = report.scores if score is None else {**report.scores, trial.metric: score}
                done = (number + (0.0 if score is None else score.progress)) / len(TRIALS)
                report = replace(
                    report, scores=scores, waiting=tuple(ids[number:]), progress=done, seconds=spent + seconds
                )
                yield report
            spent = report.seconds
            if trial.metric not in report.scores:
                report = replace(report, skipped={**report.skipped, trial.metric: f"no result within {left:.1f} s"})
        report = replace(report, waiting=tuple(ids[number + 1 :]), progress=(number + 1) / len(TRIALS), seconds=spent)
        yield report


def _run(
    trial: Trial, case: Case, maps: int, left: float, own: Limit | None
) -> Generator[tuple[Score | None, float], None, None]:
    """Yield (score so far, seconds) of one test; one that is cut short yields its last score as a finished one."""
    metric = resolve_metric(trial.metric, **trial.knobs(maps))
    steps, spent = judge(metric, case), 0.0
    score: Score | None = None
    try:
        while True:
            begun = time.perf_counter()
            try:
                found = next(steps)
            except StopIteration:
                return
            except NotApplicable as error:
                yield refusal(metric, error), spent
                return
            spent += time.perf_counter() - begun
            if found is not None:
                score = found.replace(limit=own or (trial.limit(found) if found.progress >= 1 else found.limit))
            if spent > left and score is not None and score.progress < 1:
                told = f"Cut short after {score.progress:.0%} of the work: the time is up."
                # half a cascade, or the largest of a few draws, is evidence and no verdict
                yield score.replace(progress=1.0, limit=None, notes=(*score.notes, told)), spent
                return
            yield score, spent
            if spent > left:
                return
    finally:
        steps.close()


def _why_not(trial: Trial, maps: int, a_map: float, left: float) -> str:
    if left <= 0:
        return "the time is up"
    needed = trial.maps * a_map
    if trial.maps and (needed > left or (trial.share and maps < trial.maps)):
        return f"{trial.maps} further maps would take {needed:.1f} s, and {max(left, 0):.1f} s are left for it"
    return ""


def _checked(limits: Mapping[str, Limit]) -> Mapping[str, Limit]:
    known = [trial.metric for trial in TRIALS]
    for name, limit in limits.items():
        if name not in known:
            hint = did_you_mean(name, known)
            raise InvalidKnob(f"limits must be for {', '.join(known)}; got {name!r}.{hint}")
        if not isinstance(limit, Limit):
            raise InvalidKnob(f"limits must hold Limits, such as xaiwidgets.Limit('<', 0.5); {name} is {limit!r}.")
    return limits


def thresholds() -> tuple[tuple[str, str, str], ...]:
    """Return for each test of a report its title, its rule and its threshold, in words."""
    rows = []
    for trial in TRIALS:
        card = metric_card(trial.metric)
        limit = card.limit
        if trial.limit is _own:
            words = "none" if limit is None else f"{limit}: {limit.source}"
        else:
            words = f"{'>' if trial.limit is _above_random else '<'} random orders: {RANDOM}"
        rows.append((card.title, trial.rule, words))
    return tuple(rows)
