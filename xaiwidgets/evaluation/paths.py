"""Scores along paths from one picture to another, coarse steps first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from xaiwidgets.core.scores import Curve

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from xaiwidgets.evaluation.removal import Path
    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Target

    Floats = NDArray[np.float64]

#: A curve has at least so many parts before its first area is given.
COARSE = 7


def counts_of(length: int, steps: int) -> NDArray[np.int64]:
    """Return how many of ``length`` parts are gone after each of ``steps`` equal steps, from 0 to all of them."""
    return np.unique(np.round(np.linspace(0, length, min(steps, length) + 1)).astype(np.int64))


def levels(points: int, coarse: int = COARSE) -> list[list[int]]:
    """Return the numbers of ``points`` in the order they are measured: a coarse curve first, then its halves."""
    step = 1
    while (points - 1) / (2 * step) >= coarse:
        step *= 2
    first = sorted({*range(0, points, step), points - 1})
    found, known = [first], set(first)
    while step > 1:
        step //= 2
        between = [number for number in range(0, points, step) if number not in known]
        known.update(between)
        found.append(between)
    return found


class Curves:
    """Scores along several paths.

    Attributes:
        paths: what is gone along. ``counts``: where, in parts.
        values: float64 ``(paths, counts)``, NaN where not measured yet.
    """

    def __init__(self, model: Model, target: Target, paths: Sequence[Path], counts: NDArray[np.int64]) -> None:
        self.model, self.target, self.paths, self.counts = model, target, tuple(paths), counts
        self.values = np.full((len(paths), len(counts)), np.nan)
        self.first = levels(len(counts))[0]

    def run(self) -> Iterator[float]:
        """Yield the share that is done after every batch."""
        from xaiwidgets.engine.perturb import perturbed_scores

        places: dict[tuple[int, ...], list[tuple[int, int]]] = {}
        for level in levels(len(self.counts)):
            for number, one in enumerate(self.paths):
                for point in level:
                    places.setdefault(one.key(int(self.counts[point])), []).append((number, point))
        visits = list(places.values())

        def write(copies: Tensor, numbers: range) -> None:
            for copy, visit in zip(copies, numbers, strict=True):
                number, point = visits[visit][0]
                self.paths[number].write(copy, int(self.counts[point]))

        image = self.paths[0].image
        for numbers, scores in perturbed_scores(self.model, image, self.target, len(visits), write, fresh=False):
            for visit, score in zip(numbers, scores.tolist(), strict=True):
                for place in visits[visit]:
                    self.values[place] = score
            yield numbers.stop / len(visits)

    def known(self, number: int) -> bool:
        """Return whether at least the coarse curve of a path is there."""
        return not np.isnan(self.values[number, self.first]).any()

    def shares(self) -> Floats:
        """Return how much is gone at each place, 0 to 1."""
        found: Floats = self.counts / self.counts[-1]
        return found

    def area(self, number: int) -> float:
        """Return the mean height of a curve by the trapezoidal rule over the places measured so far."""
        there = ~np.isnan(self.values[number])
        return area(self.shares()[there], self.values[number][there])

    def filled(self, number: int) -> Floats:
        """Return a curve at all places, straight between those measured so far."""
        there = ~np.isnan(self.values[number])
        shares = self.shares()
        found: Floats = np.interp(shares, shares[there], self.values[number][there])
        return found

    def groups(self) -> dict[str, list[int]]:
        """Return the numbers of the paths whose coarse curve is there, by name; several draws have one name."""
        found: dict[str, list[int]] = {}
        for number, one in enumerate(self.paths):
            if self.known(number):
                found.setdefault(one.name, []).append(number)
        return found

    def mean(self, name: str) -> Floats:
        """Return the mean curve of a group at all places."""
        found: Floats = np.mean([self.filled(number) for number in self.groups()[name]], axis=0)
        return found

    def lines(self, label: str, x: Floats | None = None) -> tuple[Curve, ...]:
        """Return the groups' curves to be drawn, over shares or over ``x``, with bounds where several were drawn."""
        found = []
        for name, members in self.groups().items():
            rows = np.array([self.filled(number) for number in members])
            bounds = (rows.min(axis=0), rows.max(axis=0)) if len(members) > 1 else (None, None)
            places = self.shares() if x is None else x
            found.append(Curve(name, places, rows.mean(axis=0), label, self.target.unit, *bounds))
        return tuple(found)


def area(x: Floats, y: Floats) -> float:
    """Return the area under a curve by the trapezoidal rule, over the length of ``x``."""
    return float(((y[1:] + y[:-1]) / 2 * np.diff(x)).sum() / (x[-1] - x[0]))
