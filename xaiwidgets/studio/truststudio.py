"""The studio of tests: one test of one map at a time, on the worker thread; what has been measured is kept."""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import numpy as np

from xaiwidgets.core.cards import card
from xaiwidgets.core.metric_cards import metric_card
from xaiwidgets.engine.run import drive
from xaiwidgets.errors import InvalidKnob, NotApplicable, XaiError
from xaiwidgets.model.preprocess import Preprocessing
from xaiwidgets.studio.experiment import TAUGHT, Experiment, beyond
from xaiwidgets.studio.frame import Frame, Status
from xaiwidgets.studio.lens import Lens, explainer_card
from xaiwidgets.studio.studio import KEPT, Studio, _check_finite
from xaiwidgets.studio.tables import TABLES, Table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from xaiwidgets.core.results import Attribution
    from xaiwidgets.core.scores import Score
    from xaiwidgets.model.model import Model

#: Finished scores that are kept, so that going back costs nothing.
MOST_SCORES = 200
#: Scores that grow are published at most so often, in seconds.
OFTEN = 0.12


class TrustStudio(Studio):
    """Answers experiments; the newest wins.

    Beside those of ``Studio`` it publishes ``experiment`` (the record), ``score`` (of the current experiment as far as
    it has come, held against its threshold; ``None`` when there is none yet), ``failure`` (why there is none, or an
    empty text) and ``table`` (of the review, as far as it has come).

    Args:
        model: as for ``Studio``, or a function that returns a ``Model``, called by the worker.
        experiment: the first question.
        sync: do all work at once on the calling thread; for tests.
    """

    def __init__(
        self,
        model: Model | str | Callable[[], Model] | None = None,
        experiment: Experiment | None = None,
        *,
        sync: bool = False,
    ) -> None:
        self._source = model if callable(model) and not hasattr(model, "sharing") else None
        known: Any = None if self._source is not None else model
        self.experiment = experiment or Experiment()
        super().__init__(known, self.experiment.lens, sync=sync)
        self.score: Score | None = None
        self._measured: Score | None = None  # as the test gave it, before it was held against a threshold
        self.failure, self.stopped = "", False
        self.tables: dict[str, Table] = {}
        self._listeners |= {"experiment": [], "score": [], "failure": [], "table": []}
        self._scores: OrderedDict[Any, Score] = OrderedDict()
        self._jobs: dict[str, Iterator[Table]] = {}  # begun tables; only the worker touches them
        self._sent = 0.0

    # -- asking -----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Answer the first experiment."""
        self._publish("photo", self.photo(self.lens.image))
        self._begin()

    def put(self, experiment: Experiment) -> None:  # type: ignore[override]
        """Make this the current experiment; it is run unless its score is there already.

        One that cannot be run leaves the last one, and says why in the status.
        """
        try:
            needed = beyond(experiment.card)
            if needed:
                raise NotApplicable(experiment.metric, ", ".join(needed), "one photo does not have that")
            explainer_card(experiment.lens.method)
            experiment.lens.make()
            experiment.make()
            view = self.photo(experiment.lens.image)
        except XaiError as error:
            self._publish("experiment", self.experiment)
            self._fail(error)
            return
        with self._lock:
            old, self.experiment, self.lens = self.experiment, experiment, experiment.lens
            if experiment.question != old.question:
                self._drop()  # what is under way must not be shown between here and the new question
                self.score, self._measured, self.failure = None, None, ""
            if self.lens.image != old.lens.image:
                self.predictions = ()
            if self.lens.question != old.lens.question:
                self.frame = None
        self._publish("experiment", experiment)
        if self.lens.image != old.lens.image:
            self._publish("photo", view)
        if experiment.question != old.question:
            self._begin()
        elif experiment != old:
            with self._lock:
                self._show_score(self._measured)

    def back(self) -> None:
        """Go back to the current test after a table: it is run unless its score is there."""
        self._begin()

    def refresh(self) -> None:
        """Run the current test anew."""
        with self._lock:
            self._scores.pop(self.experiment.question, None)
        self._begin()

    def stop(self) -> None:
        """Stop the test or the table under way; what it has shown so far stays."""
        with self._lock:
            self.stopped = self.score is None or self.score.progress < 1
        super().stop()
        with self._lock:
            self._publish("score", self.score)

    def tabulate(self, name: str) -> None:
        """Compute a table of the review, row by row; one that was stopped goes on where it was.

        Asking for anything else stops it.
        """
        if name not in TABLES:
            self._fail(InvalidKnob(f"table must be one of {', '.join(TABLES)}; got {name!r}."))
            return
        with self._lock:
            turn = self._drop()
            if self.score is not None and self.score.progress < 1:
                self.stopped = True
                self._publish("score", self.score)
            self._publish("table", self.tables.setdefault(name, TABLES[name].empty()))
            if self.tables[name].progress >= 1:
                self.runner.stop()
                return
        self.runner.put(lambda: self._guarded(turn, self._tabulate(turn, name)))

    def known(self, metric: str) -> Score | None:
        """Return the finished score of a test of the map on screen, with the settings it has now, or ``None``."""
        with self._lock:
            asked = self.experiment.with_metric(metric)
            found = self._scores.get(asked.question)
            return None if found is None else asked.judged(found)

    def reel(self, score: Score) -> Callable[[int], NDArray[np.uint8]] | None:
        """Return what makes the picture of a removal score after so many pixels; ``None`` before there is a model."""
        from xaiwidgets.evaluation.removal import reel

        # without the lock: who asks may hold the lock of the drawing, which comes after it
        image = self._inputs.get(self.lens.image)
        return None if self.model is None or image is None else reel(score, self.model, image)

    def close(self) -> None:
        """End the worker and let go of what was begun."""
        super().close()
        for steps in self._jobs.values():
            steps.close()  # type: ignore[attr-defined]
        self._jobs.clear()

    def _begin(self) -> None:
        with self._lock:
            turn, experiment = self._drop(), self.experiment
            kept = self._scores.get(experiment.question)
            if kept is not None and self.model is not None and experiment.lens.image in self._predicted:
                self.runner.stop()
                self._show_predictions(experiment.lens)
                self._done(kept, reused=True)
                return
            self.score, self.failure, self.stopped = None, "", False
            self._show_score(None)
        self.runner.put(lambda: self._guarded(turn, self._work(turn, experiment)))

    # -- answering, on the worker thread ----------------------------------------------------------------------------

    def _load(self) -> None:
        if self._source is None:
            super()._load()
            return
        self.model = self._source().sharing()
        self._publish("model", self.model)
        if self.preprocessing != Preprocessing():  # the photo was shown as the bundled network sees it
            self._publish("photo", self.photo(self.lens.image))

    def _work(self, turn: int, experiment: Experiment) -> Iterator[None]:  # type: ignore[override]
        try:
            yield from self._test(turn, experiment)
        except Exception as error:
            with self._lock:
                if turn == self._turn:
                    self.failure = str(error) if isinstance(error, XaiError) else f"{type(error).__name__}: {error}"
                    self._publish("failure", self.failure)
            raise

    def _test(self, turn: int, experiment: Experiment) -> Iterator[None]:
        from xaiwidgets.evaluation.case import Case
        from xaiwidgets.evaluation.judge import judge, refusal

        lens = experiment.lens
        if self.model is None:
            self._tell(turn, Status("Loading PyTorch and the model", "busy"))
            self._load()
            yield
        model = self._ready()
        image = self._input(lens.image)
        if lens.image not in self._predicted:
            self._predicted[lens.image] = self._top(self._whole(lens.image))
        self._show_predictions(lens)
        if not self._offered:
            self._offered = bool(model.offers)
            self._publish("offers", model.offers)
        target = self.target(lens)
        found = yield from self._map(turn, lens)
        sketch = experiment.sketch
        aim = self._aim(experiment, (image.shape[2], image.shape[3]))
        data = aim if sketch is None else np.array(sketch, np.float32)
        taught = TAUGHT.get(experiment.metric, data)
        case = Case(
            model, image, lens.make(), target, seed=experiment.seed, name=lens.image, attribution=found, data=taught
        )
        metric, title = experiment.make(), experiment.card.title
        words = f"{title} of {card(lens.method).title} for {target.name}"
        self._tell(turn, Status(words, "busy"))
        yield
        begun, score = time.perf_counter(), None
        try:
            for made in judge(metric, case):
                score = made or score
                if made is not None:
                    self._grow(turn, made)
                self._tell(turn, _busy(words, score, time.perf_counter() - begun))
                yield
        except NotApplicable as error:
            score = refusal(metric, error)
        with self._lock:
            if score is None or turn != self._turn:
                return
            self._scores[experiment.question] = score
            while len(self._scores) > MOST_SCORES:
                self._scores.popitem(last=False)
            self._done(score)

    def _map(self, turn: int, lens: Lens) -> Any:
        """Return the map in question, kept or computed in sight."""
        kept = self._kept(lens)
        if kept is None:
            model, target, made = self._ready(), self.target(lens), card(lens.method)
            result: Attribution | None = None
            for result in drive(lens.make(), model, self._input(lens.image), target, lens.image):
                _check_finite(result, made.title)
                self._tell(turn, Status(f"{made.title} for {target.name}", "busy", min(result.progress, 0.999)))
                yield
            if result is None:
                raise RuntimeError(f"{lens.method} gave no result")
            with self._lock:
                kept = self._answers[lens.question] = (result, target.name)
                while len(self._answers) > KEPT:
                    self._answers.popitem(last=False)
        with self._lock:
            if turn == self._turn:
                self.frame = Frame(lens, self.photo(lens.image), *kept)
                self._publish("frame", self.frame)
        return kept[0]

    def _aim(self, experiment: Experiment, size: tuple[int, int]) -> NDArray[np.bool_] | None:
        """Return the region that an attack goes for, bool ``(H, W)``, if it does."""
        if experiment.aim is None:
            return None
        top, left, bottom, right = experiment.aim
        mask = np.zeros(size, bool)
        mask[round(top * size[0]) : round(bottom * size[0]), round(left * size[1]) : round(right * size[1])] = True
        return mask

    # -- publishing -------------------------------------------------------------------------------------------------

    def _grow(self, turn: int, score: Score) -> None:
        now = time.monotonic()
        with self._lock:
            if turn != self._turn or (now - self._sent < OFTEN and score.progress < 1):
                return
            self._sent = now
            self._show_score(score)

    def _show_score(self, score: Score | None) -> None:
        self._measured = score
        self.score = None if score is None else self.experiment.judged(score)
        self._publish("score", self.score)

    def _done(self, score: Score, *, reused: bool = False) -> None:
        """Show a finished score and say so; the lock is held."""
        self.failure = ""
        self._show_score(score)
        spent = score.provenance
        title = metric_card(score.metric).title
        if reused:
            self._say(Status(f"{title} · kept from before", "idle", 1.0))
        else:
            self._say(Status(title, "idle", 1.0, spent.seconds, None, spent.passes))

    def _tabulate(self, turn: int, name: str) -> Iterator[None]:
        made = TABLES[name]
        steps = self._jobs.get(name)
        if steps is None:
            steps = self._jobs[name] = made.steps()
        begun, first = time.perf_counter(), self.tables[name].progress
        for table in self._continued(name, steps):
            spent = time.perf_counter() - begun
            done = table.progress - first
            left = spent * (1 - table.progress) / done if done > 0 else None
            self.tables[name] = table
            with self._lock:
                if turn != self._turn:
                    return
                if time.monotonic() - self._sent > OFTEN or table.progress >= 1:
                    self._sent = time.monotonic()
                    self._publish("table", table)
                kind = "idle" if table.progress >= 1 else "busy"
                self._say(Status(made.title, kind, table.progress, spent, left))
            yield

    def _continued(self, name: str, steps: Iterator[Table]) -> Iterator[Table]:
        """Yield a table's steps; one that has ended or failed begins anew the next time."""
        try:
            yield from _each(steps)
        except GeneratorExit:
            raise
        except Exception:
            self._jobs.pop(name, None)
            raise
        self._jobs.pop(name, None)


def _each(steps: Iterator[Table]) -> Iterator[Table]:
    """Yield what is left of a generator, without closing it when this one is closed."""
    for table in steps:  # noqa: UP028 - yield from would close it
        yield table


def _busy(words: str, score: Score | None, seconds: float) -> Status:
    if score is None:
        return Status(words, "busy", 0.0, seconds)
    done = min(score.progress, 0.999)
    left = seconds * (1 - done) / done if done > 0 else None
    return Status(words, "busy", done, seconds, left, score.provenance.passes)
