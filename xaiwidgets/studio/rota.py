"""One worker thread for several runs: in each the newest work wins, and all of them advance by one step in turn."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from xaiwidgets.studio.runner import Job, Work

log = logging.getLogger("xaiwidgets.studio")


class Rota:
    """Hands out queues; ``wait`` waits for all of them, ``close`` ends the thread."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.closed = False
        self._queues: list[Queue] = []
        self._thread = threading.Thread(target=self._loop, name="xaiwidgets-worker", daemon=True)
        self._thread.start()

    def queue(self, on_error: Callable[[Exception], None]) -> Queue:
        """Return a new queue, whose work takes its turns with that of the others."""
        made = Queue(self, on_error)
        with self.changed:
            self._queues.append(made)
        return made

    def remove(self, queue: Queue) -> None:
        """Give a queue no more turns."""
        with self.changed:
            if queue in self._queues:
                self._queues.remove(queue)

    def here(self) -> bool:
        """Return whether the caller is the worker."""
        return threading.current_thread() is self._thread

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until nothing runs or waits in any queue; return whether that came true in time."""
        with self.changed:
            return self.changed.wait_for(lambda: self.closed or not any(q.busy for q in self._queues), timeout)

    def close(self, timeout: float = 5.0) -> None:
        """Stop all work and end the thread."""
        with self.changed:
            self.closed = True
            self.changed.notify_all()
        if not self.here():
            self._thread.join(timeout)

    def _loop(self) -> None:
        while True:
            with self.changed:
                self.changed.notify_all()
                self.changed.wait_for(lambda: self.closed or any(queue.busy for queue in self._queues))
                if self.closed:
                    break
                turn = list(self._queues)
            for queue in turn:
                queue.turn()
        for queue in list(self._queues):
            queue.end()


class Queue:
    """The interface of a ``Runner``, on a thread that is shared.

    ``put`` replaces the work under way, which stops at its next step; ``urgent`` jobs of one name replace each other
    and run between two steps. Errors go to ``on_error``.
    """

    def __init__(self, rota: Rota, on_error: Callable[[Exception], None]) -> None:
        self._rota, self._on_error = rota, on_error
        self._ticket = 0
        self._pending: tuple[int, Work] | None = None
        self._urgent: dict[str, Job] = {}
        self._steps: Iterator[Any] | None = None
        self._active = self._closed = False

    def put(self, work: Work) -> int:
        """Start this work as soon as the step under way has ended; return its ticket."""
        with self._rota.changed:
            self._ticket += 1
            self._pending = (self._ticket, work)
            self._rota.changed.notify_all()
            return self._ticket

    def urgent(self, name: str, job: Job) -> None:
        """Run a job before the next step; a newer one of this name replaces it."""
        with self._rota.changed:
            self._urgent[name] = job
            self._rota.changed.notify_all()

    def current(self, ticket: int) -> bool:
        """Whether no newer work has been put since."""
        return ticket == self._ticket

    @property
    def busy(self) -> bool:
        """Whether anything runs or waits."""
        return self._active or self._pending is not None or bool(self._urgent) or self._steps is not None

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until nothing runs or waits here; return whether that came true in time."""
        with self._rota.changed:
            return self._rota.changed.wait_for(lambda: not self.busy or self._closed or self._rota.closed, timeout)

    def close(self, timeout: float = 5.0) -> None:
        """Stop the work, after the step under way, and take no more turns."""
        with self._rota.changed:
            self._closed = True
            self._ticket += 1
            self._pending = None
            self._urgent.clear()
            self._rota.changed.notify_all()
            if not self._rota.here():
                self._rota.changed.wait_for(lambda: self._steps is None and not self._active, timeout)
        self._rota.remove(self)

    # -- on the worker ----------------------------------------------------------------------------------------------

    def turn(self) -> None:
        """Do the urgent jobs, and one step."""
        with self._rota.changed:
            if not self.busy:
                return
            self._active = True
            jobs, self._urgent = list(self._urgent.values()), {}
            taken, self._pending = self._pending, None
        try:
            for job in jobs:
                self._guarded(job)
            if taken is not None or self._closed:
                self.end()
            if taken is not None and self.current(taken[0]):
                self._guarded(lambda: self._begin(taken[1]))
            self._guarded(self._step)
        finally:
            with self._rota.changed:
                self._active = False
                self._rota.changed.notify_all()

    def end(self) -> None:
        """Close the work under way."""
        steps, self._steps = self._steps, None
        close = getattr(steps, "close", None)
        if close is not None:
            self._guarded(close)

    def _begin(self, work: Work) -> None:
        self._steps = iter(work())

    def _step(self) -> None:
        if self._steps is None:
            return
        try:
            next(self._steps)
        except StopIteration:
            self._steps = None
        except Exception:
            self._steps = None
            raise

    def _guarded(self, job: Job) -> None:
        try:
            job()
        except Exception as error:
            try:
                self._on_error(error)
            except Exception:
                log.exception("a listener failed while an error was shown")
