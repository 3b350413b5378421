"""A synthesis that is watched: started, paused, stepped, changed while it runs, scrubbed, and forked."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from xaiwidgets.core.knobs import knobs_of
from xaiwidgets.engine.replay import planned
from xaiwidgets.engine.run import check_applicable, check_photo, drive
from xaiwidgets.errors import NotTrained, XaiError
from xaiwidgets.model.pictures import read_picture
from xaiwidgets.studio.frame import Status
from xaiwidgets.studio.runner import Runner, SyncRunner
from xaiwidgets.studio.teller import Teller
from xaiwidgets.studio.timeline import MOST_FRAMES, Timeline

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from xaiwidgets.core.results import Synthesis
    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Goal
    from xaiwidgets.synthesis.run import Event

__all__ = ["EVENTS", "FRAMES_A_SECOND", "MOST_FRAMES", "Ask", "LiveRun"]

#: Pictures are published at most this often a second; the last one of a run always is.
FRAMES_A_SECOND = 15
#: ``glance`` is (step, pixels) of a picture that was kept, shown while the exact result of a step is on its way.
#: ``refused`` is the error of a run that could not begin, after its status.
EVENTS = ("model", "frame", "glance", "status", "state", "refused")
#: What a run does, by the family of its method.
DOES = {"maximization": "Maximizing", "adversarial": "Attacking", "inversion": "Inverting"}


@dataclass(frozen=True)
class Ask:
    """What a run is about.

    Attributes:
        method: with the hyper-parameters of the beginning. ``target``: its maker.
        image: the photo that it starts from or is about.
        events: what is moved at which steps, to do an earlier run again. ``steps``: after so many it pauses.
    """

    method: Any
    target: Callable[[Model], Goal]
    image: Any = None
    events: tuple[Event, ...] = ()
    steps: int | None = None


@dataclass(frozen=True)
class Course:
    """What all steps of one run have in common."""

    ask: Ask
    goal: Goal
    photo: Tensor | None
    name: str


class LiveRun(Teller):
    """Holds one run of a synthesizer on a worker thread; ``state`` is ``ready``, ``running``, ``paused`` or ``done``.

    ``playing`` is whether a person wants it to run: it stays true at the end of a run, and false after ``pause``.

    Args:
        model: a ``Model``, the name of one, or a function that returns one; the worker loads or calls it.
        sync: do all work at once on the calling thread; for tests.
        runner: makes what runs the work, from what is called with an error; a thread of its own by default.
    """

    def __init__(
        self,
        model: Model | str | Callable[[], Model],
        *,
        sync: bool = False,
        runner: Callable[[Callable[[Exception], None]], Any] | None = None,
    ) -> None:
        super().__init__(EVENTS)
        self._wanted = model
        self.model: Model | None = None if isinstance(model, str) or callable(model) else model
        self.state = "ready"
        self.playing = False
        self.result: Synthesis | None = None
        self.target = ""
        self.pace = 0.0
        self.timeline = Timeline()
        self._course: Course | None = None
        self._script: list[tuple[int, Any]] = []
        self._sought: int | None = None  # a step that is to be shown, and gone on from
        self._origin: Synthesis | None = None  # where the next step begins, if no generator stands there
        self._spent = (0, 0, 0.0)  # passes and seconds of the steps before the generator that goes on
        self._steps: Generator[Any, Any, None] | None = None
        self._method: Any = None
        self._asked: Ask | None = None
        self._refused: Exception | None = None  # why the newest run could not begin
        self._turn = self._begun = 0  # runs asked for, and the newest of them that has begun or failed
        self._due = 0.0
        make = runner or (SyncRunner if sync else Runner)
        self.runner: Any = make(self._fail)

    @property
    def lock(self) -> Any:
        """What is held while the state changes and is told of; no other lock is taken meanwhile."""
        return self._lock

    def load(self) -> None:
        """Load the model on the worker."""
        self.runner.put(self._load)

    def start(self, ask: Ask) -> None:
        """Begin a new run; the one before is dropped, unless the new one is of the same method and cannot begin."""
        self._put(ask, playing=True)

    def prepare(self, ask: Ask) -> None:
        """Begin a new run and stop before its second step."""
        self._put(ask, playing=False)

    def pause(self) -> None:
        """Stop after the step under way, or after the first of a run that is about to begin; it can go on later."""
        with self._lock:
            self.playing = False
            if not self.waiting and self._move("paused", "running"):
                self.runner.put(self._settle)

    def go_on(self) -> None:
        """Go on with a paused run."""
        with self._lock:
            self.playing = True
            if not self.waiting and self._move("running", "paused"):
                self.runner.put(self._run)

    def step(self) -> None:
        """Do one step of a paused run."""
        if self.state == "paused" and not self.waiting:
            self.runner.put(self._one)

    def seek(self, step: int) -> None:
        """Show any step that was done; the run pauses there.

        A picture that was kept is shown at once, the exact result as soon as it was made again. Hyper-parameters are
        what they were. What is later stays until the run goes on from here.
        """
        with self._lock:
            course = self._course
            if course is None or self.result is None or self.waiting:
                return
            self.playing = False
            step = self._sought = min(max(step, 1), max(self.timeline.last, 1))
            self._script = []
            method = in_force(course.ask.method, self.timeline.events, step)
            self._asked = dataclasses.replace(course.ask, method=method, events=(), steps=None)
            self._move("paused", "running", "done")
            self.runner.put(self._rest)
        kept = self.timeline.frame(step)
        if kept is not None and self._sought is not None:
            self._publish("glance", kept)

    @property
    def at(self) -> int:
        """The step that is shown, or about to be."""
        sought, result = self._sought, self.result
        return sought if sought is not None else 0 if result is None else result.step

    @property
    def photo(self) -> Any:
        """The photo of the run under way, or ``None``."""
        return None if self._course is None else self._course.ask.image

    @property
    def knobs(self) -> dict[str, Any]:
        """All hyper-parameters that act from the next step on, by name; those asked for last."""
        asked = self._asked
        return {} if asked is None else {k.name: getattr(asked.method, k.name) for k in knobs_of(asked.method)}

    def fork(
        self, runner: Callable[[Callable[[Exception], None]], Any] | None = None, *, sync: bool = False
    ) -> LiveRun:
        """Return a second run with the same history up to here, and its own way from here on; this one keeps its own.

        Raises:
            XaiError: there is no run yet.
        """
        with self._lock:
            course, asked, result, sought = self._course, self._asked, self.result, self._sought
            if course is None or result is None or self.model is None or self.waiting:
                raise XaiError("there is no run to fork yet: press Start first.")
            twin = LiveRun(self.model, sync=sync, runner=runner)
            at = result.step if sought is None else sought
            twin.timeline = self.timeline.copy(at)
            twin.target, twin.pace, twin.result = self.target, self.pace, result
            twin._course = course
            twin._asked = dataclasses.replace(course.ask, method=asked.method if asked else course.ask.method)
            method = in_force(course.ask.method, twin.timeline.events, at)
            twin._method, twin.state = method, "paused"
            if sought is None and result.state is not None:
                twin._origin = result
                twin._move("done" if result.progress >= 1 else "paused", "paused")
            else:
                twin._sought = at
        return twin

    def refresh(self) -> None:
        """Publish what a paused run, such as a fork, shows."""
        self.runner.put(self._rest)

    def reset(self) -> None:
        """Drop the run; the picture stays until another begins."""
        with self._lock:
            self.playing, self._begun = False, self._turn
            self.runner.put(self._drop)

    def change(self, knobs: Mapping[str, Any]) -> None:
        """Let these live hyper-parameters act from the next step on; others wait for the next run.

        Raises:
            InvalidKnob: a value outside its domain.
        """
        asked = self._asked
        self._script = []  # a person who moves something does not follow the record any more
        if asked is not None:
            live = {k.name for k in knobs_of(asked.method) if k.live}
            method = dataclasses.replace(asked.method, **{n: v for n, v in knobs.items() if n in live})
            self._asked = dataclasses.replace(asked, method=method)

    def frames(self) -> list[NDArray[np.uint8]]:
        """Return pictures for an animation: evenly spread over the run, and the newest at the end."""
        return self.timeline.frames()

    @property
    def waiting(self) -> bool:
        """Whether a run was asked for that has not begun."""
        return self._begun < self._turn

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the worker rests; return whether it was in time."""
        return bool(self.runner.wait(timeout))

    def close(self) -> None:
        """End the worker."""
        self.playing = False
        self.runner.close()
        self._end()
        self._deafen()

    def _put(self, ask: Ask, *, playing: bool) -> None:
        with self._lock:
            self._asked, self.playing = ask, playing
            self._turn += 1
            turn = self._turn
            self.runner.put(lambda: self._guarded(turn))

    # -- on the worker thread -----------------------------------------------------------------------------------

    def _load(self) -> Iterator[None]:
        if self.model is None:
            self._say(Status("Loading PyTorch and the model", "busy"))
            self.model = self._wanted() if callable(self._wanted) else _load(self._wanted)
            self._publish("model", self.model)
            self._say(Status("Ready: choose what to maximize and press Start"))
        yield

    def _guarded(self, turn: int) -> Iterator[None]:
        try:
            yield from self._begin(turn)
        except Exception as error:
            self._begun = max(self._begun, turn)
            if turn == self._turn:  # what went wrong with a run that was dropped is of no interest
                self._refused = error
                self._leave()
                raise

    def _leave(self) -> None:
        """Drop the run before one that could not begin, if it was of another method: the page is about that one now."""
        course, asked = self._course, self._asked
        if course is not None and asked is not None and type(course.ask.method) is not type(asked.method):
            self._forget()
            self._move("ready", "running", "paused", "done")

    def _begin(self, turn: int) -> Iterator[None]:
        yield from self._load()
        model, ask = self.model, self._asked
        if model is None or ask is None:
            raise XaiError("the model could not be loaded")
        check_applicable(ask.method, model)
        check_photo(ask.method, ask.image)
        target = ask.target(model)
        photo = None if ask.image is None else read_picture(ask.image)
        image = None if photo is None else model.input(photo)
        course = Course(ask, target, image, "" if photo is None else photo.name)
        steps = self._drive(ask.method, course)
        script = planned(ask.method, ask.events)
        start = time.perf_counter()
        first = next(steps)  # what cannot begin leaves the run before it as it was
        taken = time.perf_counter() - start
        self._forget()
        with self._lock:
            self.target, self._method, self._steps, self.pace = _subject(target.name, course), ask.method, steps, 0.0
            self._course, self._script, self._sought, self._origin = course, script, None, None
            self._spent = (0, 0, 0.0)
            self._begun, playing = max(self._begun, turn), self.playing
            if playing:
                self._move("running", "ready", "paused", "done")
            else:  # what was asked to rest never looks as if it ran: a button would say the wrong thing
                self._move("paused", "ready", "running", "done")
        if self._accept(first, taken) and playing:
            yield
            yield from self._run()
        else:
            yield from self._rest()

    def _drive(self, method: Any, course: Course) -> Generator[Any, Any, None]:
        assert self.model is not None
        return drive(method, self.model, course.photo, course.goal, course.name)

    def _run(self) -> Iterator[None]:
        yield from self._arrive()
        while self._advance():
            yield
        self._show(force=True)

    def _one(self) -> Iterator[None]:
        yield from self._arrive()
        self._advance()
        yield from self._rest()

    def _rest(self) -> Iterator[None]:
        """Show what a run that was told to rest has come to: by now it may have been told to go on, which stays."""
        yield from self._arrive()
        yield from self._settle()

    def _arrive(self) -> Iterator[None]:
        """Go to the step that was asked for: it was kept, or the steps up to it are done again."""
        step = self._sought
        course = self._course
        if step is None or course is None:
            return
        try:
            kept = self.timeline.result(step)
            if kept is not None and kept.step == step:
                steps, method, result = None, in_force(course.ask.method, kept.events, step), kept
            else:
                steps, method, result = yield from self._again(course, kept, step)
        except BaseException as error:
            if isinstance(error, Exception):
                self._sought = None
            raise
        self._end()
        self._steps, self._method = steps, method
        self._origin = result if steps is None else None
        with self._lock:
            self.result, self._sought = result, None
            if result.progress >= 1:
                self._end()
                self._move("done", "running", "paused")

    def _again(
        self, course: Course, kept: Synthesis | None, step: int
    ) -> Generator[None, None, tuple[Generator[Any, Any, None], Any, Synthesis]]:
        """Do the steps after ``kept`` again, with what was moved; return the generator that stands at ``step``."""
        done = 0 if kept is None else kept.step
        events = [event for event in self.timeline.events if done < event[0] <= step]
        method = in_force(course.ask.method, self.timeline.events, done)
        waiting = planned(method, events)
        while waiting and waiting[0][0] == done + 1:
            method = waiting.pop(0)[1]
        run = self._drive(method if kept is None else method.resume(kept.state), course)
        try:
            self._spend(kept)
            result = self._counted(next(run))
            while result.step < step:
                yield
                sent = None
                while waiting and waiting[0][0] == result.step + 1:
                    sent = method = waiting.pop(0)[1]
                result = self._counted(next(run) if sent is None else run.send(sent))
        except BaseException:
            run.close()
            raise
        return run, method, result

    def _settle(self) -> Iterator[None]:
        self._show(force=True)
        yield

    def _drop(self) -> Iterator[None]:
        self._forget()
        self._move("ready", "running", "paused", "done")
        yield

    def _forget(self) -> None:
        self._end()
        self.result, self.timeline, self._course, self._origin = None, Timeline(), None, None
        self._sought, self._script = None, []

    def _end(self) -> None:
        steps, self._steps = self._steps, None
        if steps is not None:
            # a step that hangs on while the app is closed cannot be closed from another thread; it ends with it
            with contextlib.suppress(ValueError):
                steps.close()

    def _advance(self) -> bool:
        """Do one step; return whether there may be another."""
        begun = time.perf_counter()
        with self._lock:  # else a step that is asked for meanwhile would be made with the knobs of another
            if self._sought is not None or (self._steps is None and self._origin is None):
                return False
            self._follow()
            sent = self._changed()
            if self._steps is None and self._origin is not None and self._course is not None:
                self._method, sent = sent or self._method, None
                self._spend(self._origin)
                self._steps = self._drive(self._method.resume(self._origin.state), self._course)
            if self.result is not None and self._steps is not None:
                self.timeline.cut(self.result.step)
            self._origin, steps = None, self._steps
        if steps is None:
            return False
        try:
            result = self._counted(next(steps) if sent is None else steps.send(sent))
        except StopIteration:
            self._finish()
            return False
        except Exception:
            self._finish()
            self._show(force=True)  # the last good picture
            raise
        self._method = self._method if sent is None else sent
        return self._accept(result, time.perf_counter() - begun)

    def _accept(self, result: Synthesis, taken: float) -> bool:
        """Keep what a step of so many seconds gave; return whether there may be another."""
        self.result = result
        self.pace = taken if not self.pace else 0.9 * self.pace + 0.1 * taken
        self.timeline.add(result)
        if result.progress >= 1:
            self._finish()
            return False
        course = self._course
        if course is not None and course.ask.steps == result.step:
            self.playing = False
            self._move("paused", "running")
            return False
        self._show()
        return True

    def _finish(self) -> None:
        self._end()
        self._move("done", "running", "paused")

    def _changed(self) -> Any:
        """Return the method with the live hyper-parameters that are wanted by now, or ``None`` if it has them."""
        method, asked = self._method, self._asked
        if asked is None or type(asked.method) is not type(method):
            return None
        live = {k.name: getattr(asked.method, k.name) for k in knobs_of(method) if k.live}
        wanted = dataclasses.replace(method, **live)
        return None if wanted == method else wanted

    def _spend(self, result: Synthesis | None) -> None:
        """Count what comes from now on as spent on top of what this result has cost."""
        made = None if result is None else result.provenance
        self._spent = (0, 0, 0.0) if made is None else (*made.passes, made.seconds)

    def _counted(self, result: Synthesis) -> Synthesis:
        """Return the result with all that it has cost, also before it was resumed."""
        forward, backward, seconds = self._spent
        made = result.provenance
        if not forward and not backward:
            return result
        passes = (made.passes[0] + forward, made.passes[1] + backward)
        return result.replace(provenance=dataclasses.replace(made, passes=passes, seconds=made.seconds + seconds))

    def _follow(self) -> None:
        """Move what the record that is followed has moved before the next step."""
        done = 0 if self.result is None else self.result.step
        while self._script and self._script[0][0] <= done + 1 and self._asked is not None:
            self._asked = dataclasses.replace(self._asked, method=self._script.pop(0)[1])

    def _show(self, *, force: bool = False) -> None:
        now = time.monotonic()
        if self.result is None or self._sought is not None or (not force and now < self._due):
            return
        period = 1 / FRAMES_A_SECOND
        self._due = max(self._due, now - period) + period  # steps a little too fast do not lose every other picture
        self._publish("frame", self.result)
        self._say(self._status(self.result))

    def _status(self, result: Synthesis) -> Status:
        spent = result.provenance
        if self.state == "done" and getattr(result.state, "stopped", False):
            text, kind = " ".join((f"{self.target}:", *result.notes)), "error"
        else:
            words = {"running": self._does, "paused": "Paused:", "done": "Done:", "ready": ""}[self.state]
            text, kind = f"{words} {self.target}, step {result.step}", "busy" if self.state == "running" else "idle"
        left = self.pace * result.step * (1 / max(result.progress, 1e-6) - 1)
        return Status(text, kind, result.progress, spent.seconds, left, spent.passes)

    @property
    def _does(self) -> str:
        return DOES.get(type(self._method).card.family, "Making")

    def _move(self, state: str, *sources: str) -> bool:
        """Go from one of these states to another; return whether it was so. Two threads never tell of it crosswise."""
        with self._lock:
            if self.state not in sources:
                return False
            self.state = state
            self._publish("state", state)
            return True

    def _fail(self, error: Exception) -> None:
        self._move("paused", "running")  # what can still go on does so when it is told to
        if isinstance(error, NotTrained):  # that something is to be trained first is no failure
            self._say(Status(str(error), "idle"))
        else:
            super()._fail(error)
        if error is self._refused:
            self._refused = None
            self._publish("refused", error)


def _load(name: Model | str) -> Model:
    from xaiwidgets.model.zoo import load_model

    return load_model(str(name))


def in_force(method: Any, events: tuple[Event, ...], step: int) -> Any:
    """Return the method as it was at a step of a run that began with ``method``, without where it was resumed from."""
    moved = {name: new for at, name, _, new in events if at <= step}
    free = {"resume_from": None} if hasattr(method, "resume_from") else {}
    return dataclasses.replace(method, **moved, **free)


def _subject(target: str, course: Course) -> str:
    """Return in words what a run is about."""
    return " → ".join(filter(None, (course.name if "photo" in type(course.ask.method).card.asks else "", target))) or (
        course.name or type(course.ask.method).card.title
    )
