"""A synthesis that is watched: started, paused, stepped, changed while it runs, and started again."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from xaiwidgets.core.knobs import knobs_of
from xaiwidgets.engine.run import check_applicable, drive
from xaiwidgets.errors import XaiError
from xaiwidgets.studio.frame import Status
from xaiwidgets.studio.runner import Runner, SyncRunner

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping

    from numpy.typing import NDArray

    from xaiwidgets.core.results import Synthesis
    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Target

#: Pictures are published at most this often a second; the last one of a run always is.
FRAMES_A_SECOND = 15
#: Frames kept for the animated file; when there are more, every other one is dropped.
MOST_FRAMES = 160
EVENTS = ("model", "frame", "status", "state")


@dataclass(frozen=True)
class Ask:
    """What a run is about: the method, the target's maker, and the photo it may start from."""

    method: Any
    target: Callable[[Model], Target]
    image: Any = None


class LiveRun:
    """Holds one run of a synthesizer on a worker thread; ``state`` is ``ready``, ``running``, ``paused`` or ``done``.

    ``playing`` is whether a person wants it to run: it stays true at the end of a run, and false after ``pause``.

    Args:
        model: a ``Model``, the name of one, or a function that returns one; the worker loads or calls it.
        sync: do all work at once on the calling thread; for tests.
    """

    def __init__(self, model: Model | str | Callable[[], Model], *, sync: bool = False) -> None:
        self._wanted = model
        self.model: Model | None = None if isinstance(model, str) or callable(model) else model
        self.state = "ready"
        self.playing = False
        self.result: Synthesis | None = None
        self.target = ""
        self.pace = 0.0
        self._frames: list[NDArray[np.uint8]] = []
        self._stride = 1
        self._steps: Generator[Any, Any, None] | None = None
        self._method: Any = None
        self._asked: Ask | None = None
        self._turn = self._begun = 0  # runs asked for, and the newest of them that has begun or failed
        self._lock = threading.RLock()
        self._due = 0.0
        self._listeners: dict[str, list[Callable[[Any], None]]] = {event: [] for event in EVENTS}
        make = SyncRunner if sync else Runner
        self.runner = make(self._fail)

    def on(self, event: str, listener: Callable[[Any], None]) -> None:
        """Call ``listener`` with what is published under this event."""
        self._listeners[event].append(listener)

    def load(self) -> None:
        """Load the model on the worker."""
        self.runner.put(self._load)

    def start(self, ask: Ask) -> None:
        """Begin a new run; the one before is dropped, unless the new one cannot begin."""
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
        if asked is not None:
            live = {k.name for k in knobs_of(asked.method) if k.live}
            method = dataclasses.replace(asked.method, **{n: v for n, v in knobs.items() if n in live})
            self._asked = dataclasses.replace(asked, method=method)

    def frames(self) -> list[NDArray[np.uint8]]:
        """Return pictures for an animation: evenly spread over the run, and the newest at the end."""
        frames, result = list(self._frames), self.result
        return frames if result is None or result.step % self._stride == 0 else [*frames, _pixels(result)]

    @property
    def waiting(self) -> bool:
        """Whether a run was asked for that has not begun."""
        return self._begun < self._turn

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the worker rests; return whether it was in time."""
        return self.runner.wait(timeout)

    def close(self) -> None:
        """End the worker."""
        self.playing = False
        self.runner.close()
        self._end()
        for listeners in self._listeners.values():
            listeners.clear()

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
        except Exception:
            self._begun = max(self._begun, turn)
            if turn == self._turn:  # what went wrong with a run that was dropped is of no interest
                raise

    def _begin(self, turn: int) -> Iterator[None]:
        yield from self._load()
        model, ask = self.model, self._asked
        if model is None or ask is None:
            raise XaiError("the model could not be loaded")
        check_applicable(ask.method, model)
        target = ask.target(model)
        image = None if ask.image is None else model.input(ask.image)
        steps = drive(ask.method, model, image, target)
        start = time.perf_counter()
        first = next(steps)  # what cannot begin leaves the run before it as it was
        taken = time.perf_counter() - start
        self._forget()
        with self._lock:
            self.target, self._method, self._steps, self.pace = target.name, ask.method, steps, 0.0
            self._begun, playing = max(self._begun, turn), self.playing
            self._move("running", "ready", "paused", "done")
        if self._accept(first, taken) and playing:
            yield
            yield from self._run()
        else:
            yield from self._rest()

    def _run(self) -> Iterator[None]:
        while self._advance():
            yield
        self._show(force=True)

    def _one(self) -> Iterator[None]:
        self._advance()
        yield from self._rest()

    def _rest(self) -> Iterator[None]:
        self._move("paused", "running")
        yield from self._settle()

    def _settle(self) -> Iterator[None]:
        self._show(force=True)
        yield

    def _drop(self) -> Iterator[None]:
        self._forget()
        self._move("ready", "running", "paused", "done")
        yield

    def _forget(self) -> None:
        self._end()
        self.result, self._frames, self._stride = None, [], 1

    def _end(self) -> None:
        steps, self._steps = self._steps, None
        if steps is not None:
            # a step that hangs on while the app is closed cannot be closed from another thread; it ends with it
            with contextlib.suppress(ValueError):
                steps.close()

    def _advance(self) -> bool:
        """Do one step; return whether there may be another."""
        if self._steps is None:
            return False
        begun = time.perf_counter()
        sent = self._changed()
        try:
            result = next(self._steps) if sent is None else self._steps.send(sent)
        except StopIteration:
            self._finish()
            return False
        except Exception:
            self._finish()
            raise
        self._method = self._method if sent is None else sent
        return self._accept(result, time.perf_counter() - begun)

    def _accept(self, result: Synthesis, taken: float) -> bool:
        """Keep what a step of so many seconds gave; return whether there may be another."""
        self.result = result
        self.pace = taken if not self.pace else 0.9 * self.pace + 0.1 * taken
        self._keep(result)
        if result.progress >= 1:
            self._finish()
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

    def _keep(self, result: Synthesis) -> None:
        if result.step % self._stride:
            return
        self._frames.append(_pixels(result))
        if len(self._frames) > MOST_FRAMES:
            self._frames = self._frames[1::2]
            self._stride *= 2

    def _show(self, *, force: bool = False) -> None:
        now = time.monotonic()
        if self.result is None or (not force and now < self._due):
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
            words = {"running": "Maximizing", "paused": "Paused:", "done": "Done:", "ready": ""}[self.state]
            text, kind = f"{words} {self.target}, step {result.step}", "busy" if self.state == "running" else "idle"
        left = self.pace * result.step * (1 / max(result.progress, 1e-6) - 1)
        return Status(text, kind, result.progress, spent.seconds, left, spent.passes)

    def _move(self, state: str, *sources: str) -> bool:
        """Go from one of these states to another; return whether it was so. Two threads never tell of it crosswise."""
        with self._lock:
            if self.state not in sources:
                return False
            self.state = state
            self._publish("state", state)
            return True

    def _publish(self, event: str, record: Any) -> None:
        for listener in tuple(self._listeners[event]):
            listener(record)

    def _say(self, status: Status) -> None:
        self._publish("status", status)

    def _fail(self, error: Exception) -> None:
        text = str(error) if isinstance(error, XaiError) else f"{type(error).__name__}: {error}"
        self._move("paused", "running")  # what can still go on does so when it is told to
        self._say(Status(text, "error"))


def _load(name: Model | str) -> Model:
    from xaiwidgets.model.zoo import load_model

    return load_model(str(name))


def _pixels(result: Synthesis) -> NDArray[np.uint8]:
    return (result.image * 255 + 0.5).clip(0, 255).astype(np.uint8)
