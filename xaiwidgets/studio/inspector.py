"""Tests of the map on screen, in the pauses of a Studio: nobody waits for them, and any other question ends them."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from xaiwidgets.evaluation.trust import BUDGET, TrustReport, reports

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from xaiwidgets.core.scores import Limit
    from xaiwidgets.studio.frame import Frame, Status
    from xaiwidgets.studio.lens import Lens
    from xaiwidgets.studio.studio import Studio

#: Seconds without any other work before the tests begin, so that scrubbing starts none.
PAUSE = 0.8
#: A report is published at most so often, in seconds, unless it has a new number.
OFTEN = 0.3
#: Finished reports that are kept, so that going back costs nothing.
KEPT = 12


class Inspector:
    """Tests finished maps of a Studio within a budget and publishes reports that grow.

    ``report`` is that of the map on screen, or ``None``. Listeners are called with it on whatever thread it came about.

    Args:
        studio: whose maps are tested.
        listener: called with each report, and with ``None`` when there is none for what is asked now.
        budget: seconds for all tests of a map; 0 tests nothing.
        limits: thresholds by the metric's id, in place of those that are written down.
    """

    def __init__(
        self,
        studio: Studio,
        listener: Callable[[TrustReport | None], None],
        budget: float = BUDGET,
        limits: Mapping[str, Limit] | None = None,
    ) -> None:
        self.studio, self.budget, self.limits = studio, budget, dict(limits or {})
        self.report: TrustReport | None = None
        self._listener = listener
        self._asked: Any = None  # the question whose tests run, wait or are done
        self._kept: OrderedDict[Any, TrustReport] = OrderedDict()
        self._lock = threading.RLock()
        studio.on("frame", self._on_frame)
        studio.on("lens", self._on_lens)
        studio.on("status", self._on_status)
        studio.on("model", lambda _: self._kept.clear())

    def again(self) -> None:
        """Test the map on screen anew, also if its tests were stopped."""
        frame = self.studio.frame
        with self._lock:
            self._asked = None
            if frame is not None:
                self._kept.pop(frame.lens.question, None)
        if frame is not None and frame.lens.question == self.studio.lens.question:
            self._on_frame(frame)

    def _on_lens(self, lens: Lens) -> None:
        with self._lock:
            if lens.question == self._asked:
                return
            self._asked = None
            self._publish(self._kept.get(lens.question))

    def _on_status(self, status: Status) -> None:
        """New work ends tests that wait or run: the map that it gives is to be tested again."""
        with self._lock:
            if status.kind == "busy" and self._asked is not None and self._asked not in self._kept:
                self._asked = None

    def _on_frame(self, frame: Frame) -> None:
        question = frame.lens.question
        with self._lock:
            if not self.budget or frame.result.progress < 1 or question == self._asked:
                return
            if frame.lens.question != self.studio.lens.question:
                return
            if frame.result.provenance.events:  # the settings alone do not give this map, so no other map is like it
                self._asked = question
                self._publish(None)
                return
            self._asked = question
            kept = self._kept.get(question)
            if kept is not None:
                self._publish(kept)
                return
            self._publish(TrustReport(budget=self.budget))
        self.studio.runner.later(lambda: self._test(frame), PAUSE)

    def _test(self, frame: Frame) -> Iterator[None]:
        from xaiwidgets.evaluation.case import Case

        studio, lens = self.studio, frame.lens
        if studio.model is None:
            return
        case = Case(
            studio.model,
            studio.model.input(studio.album.get(lens.image)),
            lens.make(),
            studio.target(lens),
            name=lens.image,
            attribution=frame.result,
        )
        shown, seen = 0.0, -1
        report = None
        try:
            for report in reports(case, budget=self.budget, limits=self.limits):
                now, count = time.monotonic(), len(report.scores) + len(report.skipped)
                if now - shown > OFTEN or count != seen:
                    shown, seen = now, count
                    self._show(lens, report)
                yield
        except GeneratorExit:
            self._drop(lens)
            raise
        if report is not None:
            with self._lock:
                self._kept[lens.question] = report
                while len(self._kept) > KEPT:
                    self._kept.popitem(last=False)
            self._show(lens, report)

    def _drop(self, lens: Lens) -> None:
        """Say that the tests of this question do not run any more."""
        with self._lock:
            if lens.question == self._asked:
                self._asked = None
                self._publish(None)

    def _show(self, lens: Lens, report: TrustReport) -> None:
        with self._lock:
            if lens.question == self._asked:
                self._publish(report)

    def _publish(self, report: TrustReport | None) -> None:
        self.report = report
        self._listener(report)
