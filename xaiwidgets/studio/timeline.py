"""What is kept of a run while it goes on: pictures to look back at, and results to go on from, within bounds."""

from __future__ import annotations

import threading
from bisect import bisect_right
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xaiwidgets.core.results import Synthesis
    from xaiwidgets.synthesis.run import Event

#: Pictures kept of a run; when there are more, every other one is dropped.
MOST_FRAMES = 160
#: Bytes that all results kept of a run may take; when they take more, every other one is dropped.
MOST_BYTES = 40 * 2**20


class Timeline:
    """The steps of one run so far. What is dropped is made again from the result before it.

    May be read on any thread; one thread adds and cuts.

    Attributes:
        last: the newest step. ``events``: what was moved up to it, as in ``Synthesis.events``.
    """

    def __init__(self) -> None:
        self.last = 0
        self.events: tuple[Event, ...] = ()
        self._frames: list[tuple[int, NDArray[np.uint8]]] = []
        self._results: list[Synthesis] = []
        self._terms: dict[str, tuple[list[int], list[float]]] = {}
        self._stride = self._gap = 1
        self._newest: tuple[int, NDArray[np.uint8]] | None = None
        self._lock = threading.Lock()

    def add(self, result: Synthesis) -> None:
        """Keep what a step has given."""
        pixels = pixels_of(result)
        with self._lock:
            self.last, self.events = result.step, result.events
            self._newest = (result.step, pixels)
            for name, value in result.terms.items():
                steps, values = self._terms.setdefault(name, ([], []))
                if steps and steps[-1] == result.step:  # a run that stops says so in a second result of a step
                    values[-1] = value
                else:
                    steps.append(result.step)
                    values.append(value)
            if result.step % self._stride == 0:
                self._frames.append(self._newest)
                if len(self._frames) > MOST_FRAMES:
                    self._frames = self._frames[1::2]
                    self._stride *= 2
            if result.step % self._gap == 0 and result.state is not None:
                self._results.append(result)
                while len(self._results) > 2 and sum(map(size_of, self._results)) > MOST_BYTES:
                    self._gap *= 2
                    self._results = [kept for kept in self._results if kept.step % self._gap == 0]

    def frame(self, step: int) -> tuple[int, NDArray[np.uint8]] | None:
        """Return (step, picture) of the newest picture kept that is no newer than ``step``; the first, if none is."""
        with self._lock:
            if self._newest is not None and step >= self._newest[0]:
                return self._newest
            place = bisect_right(self._frames, step, key=lambda kept: kept[0])
            return self._frames[max(place - 1, 0)] if self._frames else self._newest

    def result(self, step: int) -> Synthesis | None:
        """Return the newest result kept that is no newer than ``step``, or ``None``."""
        with self._lock:
            place = bisect_right(self._results, step, key=lambda kept: kept.step)
            return self._results[place - 1] if place else None

    def frames(self) -> list[NDArray[np.uint8]]:
        """Return pictures for an animation: evenly spread over the run, and the newest at the end."""
        with self._lock:
            found = list(self._frames)
            if self._newest is not None and (not found or found[-1][0] != self._newest[0]):
                found.append(self._newest)
        return [pixels for _, pixels in found]

    def curves(self) -> dict[str, tuple[NDArray[np.int64], NDArray[np.float64]]]:
        """Return (steps, values) of every term of the results, by name."""
        with self._lock:
            return {name: (np.array(steps), np.array(values, float)) for name, (steps, values) in self._terms.items()}

    def cut(self, step: int) -> None:
        """Drop what is newer than ``step``."""
        with self._lock:
            if step >= self.last:
                return
            self._frames = [kept for kept in self._frames if kept[0] <= step]
            self._results = [kept for kept in self._results if kept.step <= step]
            for name, (steps, values) in self._terms.items():
                count = bisect_right(steps, step)
                self._terms[name] = steps[:count], values[:count]
            self.events = tuple(event for event in self.events if event[0] <= step)
            self.last = step
            self._newest = self._frames[-1] if self._frames else None

    def copy(self, step: int) -> Timeline:
        """Return another timeline with what is no newer than ``step``; pictures and results are shared."""
        twin = Timeline()
        with self._lock:
            twin.last, twin.events, twin._newest = self.last, self.events, self._newest
            twin._frames, twin._results = list(self._frames), list(self._results)
            twin._terms = {name: (list(steps), list(values)) for name, (steps, values) in self._terms.items()}
            twin._stride, twin._gap = self._stride, self._gap
        twin.cut(step)
        return twin


def size_of(result: Synthesis) -> int:
    """Return the bytes of the arrays that a result holds, its saved state included."""
    arrays = [result.image, *(exhibit.image for exhibit in result.beside)]
    arrays += [array for array in result.state.arrays.values() if array is not None]
    return sum(array.nbytes for array in arrays)


def pixels_of(result: Synthesis) -> NDArray[np.uint8]:
    """Return the picture with 8 bits a color."""
    return (result.image * 255 + 0.5).clip(0, 255).astype(np.uint8)
