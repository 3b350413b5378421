"""The studio of a comparison: all cells of a Grid answered at once, each a step at a time, on one worker."""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from xaiwidgets.core.results import Attribution
from xaiwidgets.engine.comparison import Comparison, Plan, run_order, sharing
from xaiwidgets.engine.run import drive
from xaiwidgets.engine.turns import in_turn
from xaiwidgets.errors import XaiError
from xaiwidgets.model.preprocess import Preprocessing
from xaiwidgets.studio.frame import Status
from xaiwidgets.studio.grid import Grid, Rank
from xaiwidgets.studio.lens import Lens
from xaiwidgets.studio.studio import Studio

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from xaiwidgets.engine.arrange import Place
    from xaiwidgets.engine.comparison import Asked
    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Target

#: Finished maps that are kept, so that going back costs nothing.
KEPT = 72

#: What one map answers: a picture, a method, a target.
Key = tuple[str, Any, "Target"]


@dataclass(frozen=True)
class Panel:
    """One cell of the grid: how far it has come.

    Attributes:
        method, target: names of what it shows. ``title``: all of it in words.
        state: ``waiting``, ``busy``, ``done``, ``stopped`` or ``error``.
        result: the map so far. ``error``: why there is none.
        reused: it was computed before and cost nothing now.
        first: of cells that ask the same, the one that was run.
    """

    method: str
    target: str
    title: str
    state: str = "waiting"
    result: Attribution | None = None
    error: Exception | None = None
    reused: bool = False
    first: bool = True

    @property
    def progress(self) -> float:
        """Share done, in [0, 1]; an error is an end, too."""
        if self.error is not None:
            return 1.0
        return self.result.progress if self.result is not None else 0.0


class GridStudio(Studio):
    """Answers all cells of a grid; cells advance in turn, and what has been answered is kept.

    Beside those of ``Studio`` it publishes ``grid`` (the record), ``plan`` (what stands where, once the model and the
    photo's classes are known) and ``panels`` (the places that have changed).

    Args:
        model: as for ``Studio``, or a function that returns a ``Model``, called by the worker.
        grid: the first question.
        sync: do all work at once on the calling thread; for tests.
    """

    def __init__(
        self, model: Model | str | Callable[[], Model] | None = None, grid: Grid | None = None, *, sync: bool = False
    ) -> None:
        grid = grid or Grid()
        self._source = model if callable(model) and not hasattr(model, "sharing") else None
        known: Any = None if self._source is not None else model
        super().__init__(known, Lens(image=grid.image), sync=sync)
        if self.model is not None:
            self.model = self.model.sharing(whole=True)
        self.grid = grid
        self.plan: Plan | None = None
        self.panels: dict[Place, Panel] = {}
        self._listeners |= {"grid": [], "plan": [], "panels": []}
        self._jobs: dict[Key, Generator[Attribution, None, None]] = {}  # begun; only the worker touches them
        self._ends: OrderedDict[Key, Attribution | Exception] = OrderedDict()
        self._sofar: dict[Key, Attribution] = {}
        self._fresh: set[Key] = set()  # what has ended since the last question
        self._began = 0.0
        self._stopped = False

    # -- asking -----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Answer the first grid."""
        self._publish("photo", self.photo(self.grid.image))
        self._begin()

    def put(self, grid: Grid) -> None:  # type: ignore[override]
        """Make this the current grid; only cells that have no answer yet are computed.

        A grid that cannot be answered leaves the last one and says why in the status.
        """
        try:
            for column in grid.methods:
                column.make()
            view = self.photo(grid.image)
        except XaiError as error:
            self._fail(error)
            return
        with self._lock:
            old, self.grid = self.grid, grid
            self.lens = self.lens.replace(image=grid.image)
            if grid.question != old.question:
                self._turn += 1  # what is under way must not be shown between here and the new question
            if grid.image != old.image:
                self.predictions, self.plan, self.panels = (), None, {}
        self._publish("grid", grid)
        if grid.image != old.image:
            self._publish("photo", view)
        if grid.question != old.question or self.plan is None:
            self._begin()
        elif (grid.across, grid.pair) != (old.across, old.pair):
            self._arrange()
        elif grid != old:
            with self._lock:
                self._publish("panels", tuple(self.panels))

    def _arrange(self) -> bool:
        """Show the current grid where all is known that its plan needs, or say what it asks for in vain."""
        with self._lock:
            try:
                self._lay()
            except XaiError as error:
                self._fail(error)
                return False
        return True

    def resume(self) -> None:
        """Go on with what was stopped."""
        self._begin()

    def refresh(self) -> None:
        """Compute all panels anew."""
        self.runner.urgent("forget", self._forget)
        self._begin()

    def stop(self) -> None:
        """Stop all panels; what they have shown so far stays, and ``resume`` goes on from there."""
        self.runner.stop()
        with self._lock:
            self._turn += 1
            self._stopped = True
            state = self.status
            ended = [place for place, panel in self.panels.items() if panel.state in ("waiting", "busy")]
            for place in ended:
                self.panels[place] = replace(self.panels[place], state="stopped")
            self._publish("panels", tuple(ended))
        if state.kind == "busy":
            self._say(Status(self._words(), "stopped", state.progress, state.seconds, None, state.passes))

    def close(self) -> None:
        """End the worker and let go of what was begun."""
        super().close()
        for steps in self._jobs.values():
            steps.close()
        self._jobs.clear()

    def comparison(self) -> Comparison | None:
        """Return the maps so far with their plan, or ``None`` before there is one."""
        with self._lock:
            if self.plan is None or self.model is None:
                return None
            results: dict[Place, Attribution | Exception] = {}
            for place, panel in self.panels.items():
                found = panel.error if panel.error is not None else panel.result
                if found is not None:
                    results[place] = found
            return Comparison(self.plan, results, self.photo(self.grid.image), self.model.name)

    def _forget(self) -> None:
        for steps in self._jobs.values():
            steps.close()
        self._jobs.clear()
        with self._lock:
            image = self.grid.image
            for key in [key for key in self._ends if key[0] == image]:
                del self._ends[key]
            self._sofar.clear()
        if self.model is not None:
            self.model = self.model.sharing(whole=True)  # else the kept passes would answer again

    def _begin(self) -> None:
        with self._lock:
            self._turn += 1
            turn, lens, self._stopped = self._turn, self.lens, False
            self._fresh.clear()
            if self.model is not None and self.grid.image in self._predicted:
                self._show_predictions(lens)
                if not self._arrange():  # at once: what was known before needs no worker to be seen
                    self.runner.stop()
                    return
        self.runner.put(lambda: self._guarded(turn, self._work(turn, lens)))

    # -- answering, on the worker thread ----------------------------------------------------------------------------

    def _load(self) -> None:
        if self._source is not None:
            self.model = self._source()
            self._publish("model", self.model)
            if self.preprocessing != Preprocessing():  # the photo was shown as the bundled network sees it
                self._publish("photo", self.photo(self.grid.image))
        else:
            super()._load()
        self.model = self._ready().sharing(whole=True)

    def _work(self, turn: int, lens: Lens) -> Iterator[None]:
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
        with self._lock:
            if turn != self._turn:
                return
            self._lay()
            asked = self.plan
        if asked is None:
            return
        yield
        self._began = time.perf_counter()
        yield from self._run(turn, lens.image, sharing(model, image), asked)
        with self._lock:
            if turn == self._turn:
                self._tell(turn, Status(self._words(), "idle", 1.0, self._seconds(), None, self._passes()))
        yield from self._time()

    def _run(self, turn: int, name: str, model: Model, asked: Plan) -> Iterator[None]:
        image = self._input(name)
        wanted = {(name, *one): one for one in run_order(model, asked)}
        for key in [key for key in self._jobs if key not in wanted]:
            self._jobs.pop(key).close()
            self._sofar.pop(key, None)
        for key, one in wanted.items():
            if key not in self._ends and key not in self._jobs:
                self._jobs[key] = drive(one[0], model, image, one[1], name)
        jobs = [(key, self._jobs[key]) for key in wanted if key in self._jobs]
        if jobs:
            self._tell(turn, self._busy())
        for key, found in in_turn(jobs, Exception):
            self._note(key, found)
            self._show_panel(turn, wanted[key], found)
            yield

    def _note(self, key: Key, found: Attribution | Exception) -> None:
        with self._lock:
            if isinstance(found, Attribution) and found.progress < 1:
                self._sofar[key] = found
                return
            self._jobs.pop(key, None)
            self._sofar.pop(key, None)
            self._ends[key] = found
            self._fresh.add(key)
            while len(self._ends) > KEPT:
                self._ends.popitem(last=False)

    def _show_panel(self, turn: int, asked: Asked, found: Attribution | Exception) -> None:
        # published under the lock: between the check and the picture nobody can ask for another grid
        with self._lock:
            if turn != self._turn or self.plan is None:
                return
            places = self.plan.groups.get(asked, [])
            for place in places:
                self.panels[place] = _with(self.panels[place], found)
            self._publish("panels", tuple(places))
            self._tell(turn, self._busy())

    # -- what stands where ------------------------------------------------------------------------------------------

    def _lay(self) -> None:
        """Make the plan of the current grid and fill in what is known; the lock is held.

        Raises:
            InvalidTarget, InvalidLayer: the grid names what this model does not have.
        """
        model, grid = self._ready(), self._within(self.grid)
        targets = tuple(model.target(self._index(one)) for one in grid.targets)
        layers = tuple(model.layer(name, spatial=True).name for name in grid.layers)
        self.plan = plan = Plan(tuple(column.make() for column in grid.methods), targets, layers, grid.across)
        firsts = {places[0] for places in plan.groups.values()}
        self.panels = {}
        for place, asked in plan.asked.items():
            key, cell = (grid.image, *asked), plan.cells[place]
            names = plan.names[cell.method], plan.targets[cell.target].name, plan.title(place)
            panel = Panel(*names, first=place in firsts)
            if key in self._ends:
                self._ends.move_to_end(key)
                panel = replace(_with(panel, self._ends[key]), reused=key not in self._fresh)
            elif key in self._sofar:
                panel = _with(panel, self._sofar[key])
            if self._stopped and panel.state in ("waiting", "busy"):
                panel = replace(panel, state="stopped")
            self.panels[place] = panel
        self._publish("plan", plan)
        self._publish("panels", tuple(self.panels))

    def _within(self, grid: Grid) -> Grid:
        """Return the grid without ranks that a network of few classes does not have; the lock is held."""
        most = len(self._predicted[grid.image])
        kept = tuple(one for one in grid.targets if not isinstance(one, Rank) or one.place <= most)
        if kept != grid.targets:
            self.grid = grid = grid.replace(targets=kept or (Rank(1),))
            self._publish("grid", grid)
        return grid

    def _index(self, wanted: int | Rank) -> int:
        return self._predicted[self.grid.image][wanted.place - 1].index if isinstance(wanted, Rank) else wanted

    # -- in words ---------------------------------------------------------------------------------------------------

    def _busy(self) -> Status:
        spent = time.perf_counter() - self._began
        runs = [panel for panel in self.panels.values() if panel.first and not panel.reused]
        done = sum(panel.progress for panel in runs) / len(runs) if runs else 1.0
        left = spent * (1 - done) / done if done > 0 else None
        return Status(self._words(), "busy", min(done, 0.999), spent, left, self._passes())

    def _words(self) -> str:
        states = [panel.state for panel in self.panels.values()]
        parts = [f"{states.count(name)} {name}" for name in ("done", "busy", "waiting", "stopped") if name in states]
        failed = states.count("error")
        more = [f"{failed} not possible"] if failed else []
        count = len(states)
        return f"{count} {'panel' if count == 1 else 'panels'}: {', '.join([*parts, *more])}"

    def _paid(self) -> list[Attribution]:
        """Return the maps on screen that were not kept from before, each once."""
        panels = self.panels.values()
        return [one.result for one in panels if one.result is not None and one.first and not one.reused]

    def _passes(self) -> tuple[int, int]:
        spent = [result.provenance.passes for result in self._paid()]
        return sum(forward for forward, _ in spent), sum(backward for _, backward in spent)

    def _seconds(self) -> float:
        return round(sum(result.provenance.seconds for result in self._paid()), 2)


def _with(panel: Panel, found: Attribution | Exception) -> Panel:
    if isinstance(found, Attribution):
        return replace(panel, result=found, error=None, state="done" if found.progress >= 1 else "busy")
    return replace(panel, error=found, result=None, state="error")
