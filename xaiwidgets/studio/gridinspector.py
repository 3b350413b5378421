"""Tests of the maps in a grid, one after the other, in the pauses of a GridStudio."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from xaiwidgets.evaluation.trust import TrustReport, reports
from xaiwidgets.studio.inspector import PAUSE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from xaiwidgets.engine.arrange import Place
    from xaiwidgets.studio.frame import Status
    from xaiwidgets.studio.gridstudio import GridStudio

#: Seconds for all tests of one map: there are many.
BUDGET = 6.0
#: Finished reports that are kept.
KEPT = 72


class GridInspector:
    """Tests each finished map of a grid once; whatever is asked meanwhile ends that, and it begins again in a pause.

    ``reports`` are those so far, by place. The listener is called with them whenever one has come to its end.

    Args:
        studio: whose maps are tested.
        listener: called with reports by place, on the worker's thread.
        budget: seconds for all tests of one map; 0 tests nothing.
    """

    def __init__(
        self, studio: GridStudio, listener: Callable[[Mapping[Place, TrustReport]], None], budget: float = BUDGET
    ) -> None:
        self.studio, self.budget = studio, budget
        self._listener = listener
        self._kept: OrderedDict[Any, TrustReport] = OrderedDict()
        self._lock = threading.RLock()
        studio.on("status", self._on_status)
        studio.on("model", lambda _: self._kept.clear())
        studio.on("plan", lambda _: self._listener(self.reports))

    @property
    def reports(self) -> dict[Place, TrustReport]:
        """The finished reports of the maps on screen, by place."""
        plan, image = self.studio.plan, self.studio.grid.image
        if plan is None:
            return {}
        with self._lock:
            keys = {place: (image, *asked) for place, asked in plan.asked.items()}
            return {place: self._kept[key] for place, key in keys.items() if key in self._kept}

    def _on_status(self, status: Status) -> None:
        if self.budget and status.kind == "idle":
            self.studio.runner.later(self._test, PAUSE)

    def _test(self) -> Iterator[None]:
        from xaiwidgets.evaluation.case import Case

        studio = self.studio
        plan, model, image = studio.plan, studio.model, studio.grid.image
        if plan is None or model is None:
            return
        pixels = model.input(studio.album.get(image))
        for asked, places in plan.groups.items():
            result = studio.panels[places[0]].result if places[0] in studio.panels else None
            key = (image, *asked)
            if result is None or result.progress < 1 or key in self._kept:
                continue
            method, target = asked
            case = Case(model, pixels, method, target, name=image, attribution=result)
            report = None
            for report in reports(case, budget=self.budget):  # noqa: B007 - the last
                yield
            if report is not None:
                with self._lock:
                    self._kept[key] = report
                    while len(self._kept) > KEPT:
                        self._kept.popitem(last=False)
                self._listener(self.reports)
