"""One worker thread; the newest question wins, urgent jobs slip in between steps, and the rest waits for a pause."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

Work = Callable[[], Iterator[Any]]
Job = Callable[[], None]

log = logging.getLogger("xaiwidgets.studio")


class Runner:
    """Runs generators on one daemon thread.

    ``put`` replaces the work under way, which stops at its next step. ``urgent`` jobs of one name replace each other
    and run between two steps. ``later`` work runs when nothing else has for a while, and is dropped when anything is
    put; nobody waits for it. Errors go to ``on_error``; ``on_idle`` is called when a piece of work has ended.
    """

    def __init__(self, on_error: Callable[[Exception], None], on_idle: Callable[[], None] | None = None) -> None:
        self._on_error = on_error
        self._on_idle = on_idle or (lambda: None)
        self._changed = threading.Condition()
        self._ticket = 0
        self._pending: tuple[int, Work] | None = None
        self._urgent: dict[str, Job] = {}
        self._later: tuple[int, float, Work] | None = None
        self._busy = False
        self._closed = False
        self._thread = threading.Thread(target=self._loop, name="xaiwidgets-worker", daemon=True)
        self._thread.start()

    def put(self, work: Work) -> int:
        """Start this work as soon as the step under way has ended; return its ticket."""
        with self._changed:
            self._ticket += 1
            self._pending, self._later = (self._ticket, work), None
            self._changed.notify_all()
            return self._ticket

    def urgent(self, name: str, job: Job) -> None:
        """Run a job of at most one step's length before anything else; a newer one of this name replaces it."""
        with self._changed:
            self._urgent[name] = job
            self._changed.notify_all()

    def later(self, work: Work, pause: float) -> None:
        """Run this work once nothing else has run for ``pause`` seconds; whatever is put or stopped ends it."""
        with self._changed:
            self._later = (self._ticket, time.monotonic() + pause, work)
            self._changed.notify_all()

    def stop(self) -> None:
        """Drop the work under way at its next step, and what was for later."""
        with self._changed:
            self._ticket += 1
            self._pending = self._later = None
            self._changed.notify_all()

    def current(self, ticket: int) -> bool:
        """Whether no newer work has been put since."""
        return ticket == self._ticket

    @property
    def busy(self) -> bool:
        """Whether anything runs or waits."""
        return self._busy or self._pending is not None or bool(self._urgent)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until nothing runs or waits; return whether that came true in time."""
        with self._changed:
            return self._changed.wait_for(lambda: not self.busy or self._closed, timeout)

    def close(self, timeout: float = 5.0) -> None:
        """Stop the work and end the thread."""
        with self._changed:
            self._closed = True
            self._ticket += 1
            self._pending = self._later = None
            self._urgent.clear()
            self._changed.notify_all()
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout)

    def _loop(self) -> None:
        while True:
            with self._changed:
                self._busy = False
                self._changed.notify_all()
                while not self._closed and not self.busy and self._until() != 0.0:
                    self._changed.wait(self._until())
                if self._closed:
                    return
                quiet = self._pending is None and not self._urgent
                self._busy = not quiet
                rest, self._later = (self._later, None) if quiet else (None, self._later)
                taken, self._pending = (self._pending, None) if not self._urgent else (None, self._pending)
            self._guarded(self._run_urgent)
            if rest is not None:
                self._guarded(lambda rest=rest: self._run(rest[0], rest[2]))  # type: ignore[misc]
            if taken is not None:
                self._guarded(lambda taken=taken: self._run(*taken))  # type: ignore[misc]
                self._guarded(self._on_idle)

    def _until(self) -> float | None:
        """Return the seconds until what is for later may begin, or ``None`` if there is nothing."""
        return None if self._later is None else max(0.0, self._later[1] - time.monotonic())

    def _run(self, ticket: int, work: Work) -> None:
        if not self.current(ticket):
            return
        steps = work()
        try:
            for _ in steps:
                if not self.current(ticket):
                    return
                self._run_urgent()
        finally:
            close = getattr(steps, "close", None)
            if close is not None:
                close()

    def _run_urgent(self) -> None:
        while True:
            with self._changed:
                if not self._urgent or self._closed:
                    return
                job = self._urgent.pop(next(iter(self._urgent)))
            self._guarded(job)

    def _guarded(self, job: Job) -> None:
        try:
            job()
        except Exception as error:
            try:
                self._on_error(error)
            except Exception:
                log.exception("a listener failed while an error was shown")


class SyncRunner:
    """The same interface, run at once on the calling thread; for tests and scripts."""

    def __init__(self, on_error: Callable[[Exception], None], on_idle: Callable[[], None] | None = None) -> None:
        self._on_error = on_error
        self._on_idle = on_idle or (lambda: None)
        self._ticket = 0
        self._rest: tuple[int, Work] | None = None
        self.busy = False

    def put(self, work: Work) -> int:
        """Run the work to its end, unless it puts newer work itself."""
        self._ticket += 1
        ticket = self._ticket
        try:
            for _ in work():
                if not self.current(ticket):
                    break
        except Exception as error:
            self._on_error(error)
        self._on_idle()
        return ticket

    def urgent(self, name: str, job: Job) -> None:
        """Run the job."""
        try:
            job()
        except Exception as error:
            self._on_error(error)

    def later(self, work: Work, pause: float) -> None:
        """Keep this work for ``run_later``; a test says when there is a pause."""
        self._rest = (self._ticket, work)

    def run_later(self) -> None:
        """Run what was kept for later, unless something was put or stopped since."""
        rest, self._rest = self._rest, None
        if rest is not None and self.current(rest[0]):
            try:
                for _ in rest[1]():
                    if not self.current(rest[0]):
                        break
            except Exception as error:
                self._on_error(error)

    def stop(self) -> None:
        """Make work under way end at its next step."""
        self._ticket += 1

    def current(self, ticket: int) -> bool:
        """Whether no newer work has been put since."""
        return ticket == self._ticket

    def wait(self, timeout: float | None = None) -> bool:
        """Nothing ever waits."""
        return True

    def close(self, timeout: float = 5.0) -> None:
        """Nothing to end."""
