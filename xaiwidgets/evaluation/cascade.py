"""Maps of a network that forgets stage after stage: what is drawn when, and how alike the maps are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from xaiwidgets.core.correlation import pearson, ranks
from xaiwidgets.core.scores import Curve, mean_known
from xaiwidgets.evaluation.case import map_of
from xaiwidgets.evaluation.similarity import SIMILARITIES, between, descriptor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from xaiwidgets.core.results import Attribution
    from xaiwidgets.evaluation.weights import Stage

#: Similarities as the legend names them.
WORDS = {
    "spearman_abs": "rank correlation, absolute",
    "spearman_signed": "rank correlation, signed",
    "spearman_nz": "rank correlation where not 0",
    "ssim": "SSIM",
    "hog": "HOG",
}


#: Similarities that are rank correlations of the absolute and of the signed map, in the order of ``_maps``.
RANKED = ("spearman_abs", "spearman_signed")


def chosen_steps(order: str, count: int, wanted: int = 0) -> list[tuple[int, ...]]:
    """Return the sets of stages that are drawn together, one after the other.

    Args:
        order: ``cascading`` from the scores down, ``bottom_up``, ``independent`` one at a time, or ``all`` at once.
        count: how many stages there are, numbered in execution order.
        wanted: how many sets, evenly spread with the first and the last among them; 0 is all of them.
    """
    if order == "all":
        return [tuple(range(count))]
    if order == "cascading":
        every = [tuple(range(count - k, count)) for k in range(1, count + 1)]
    elif order == "bottom_up":
        every = [tuple(range(k)) for k in range(1, count + 1)]
    else:
        every = [(k,) for k in reversed(range(count))]
    if wanted == 0 or wanted >= len(every):
        return every
    if wanted == 1:
        return every[-1:]
    return [every[round(place)] for place in np.linspace(0, len(every) - 1, wanted)]


def step_name(stages: Sequence[Stage], step: Sequence[int], order: str) -> str:
    """Return what a step is called: the stage that it adds to those drawn before."""
    if order == "all":
        return "all"
    return stages[max(step) if order == "bottom_up" else min(step)].name


class Cascade:
    """Similarities of maps by stage, for one or more draws.

    Attributes:
        ticks: names of the steps. ``values``: by similarity, a row of values for each draw.
        random: the same of random maps. ``maps``: signed maps ``(H, W)`` of the last draw, by the step's name.
        kept: names of parameters that are never drawn.
    """

    def __init__(self, ticks: tuple[str, ...], names: Sequence[str]) -> None:
        self.ticks = ticks
        self.kept: tuple[str, ...] = ()
        self.values: dict[str, list[list[float]]] = {name: [] for name in names}
        self.random: list[list[float]] = []
        self.maps: dict[str, NDArray[np.float32]] = {}
        self._trained: Attribution | None = None

    def begin(self) -> None:
        """Begin another draw."""
        for rows in (*self.values.values(), self.random):
            rows.append([])

    def add(self, trained: Attribution, other: Attribution, random: float) -> None:
        """Write down how alike the maps of a step and of the trained network are."""
        if self._trained is not trained:
            self._trained, self._one = trained, _maps(trained)
            self._ranks = tuple(map(ranks, self._one))
            self._hog = descriptor(self._one[0]) if "hog" in self.values else None
        two = _maps(other)
        for name, rows in self.values.items():
            # what is known of the trained network's map is not computed again: that takes a third of a pass
            if name in RANKED:
                which = RANKED.index(name)
                rows[-1].append(pearson(self._ranks[which], ranks(two[which])))
            elif name == "hog":
                rows[-1].append(between(self._hog, descriptor(two[0])))
            else:
                rows[-1].append(SIMILARITIES[name](self._one[0], two[0]))
        self.maps[self.ticks[len(self.random[-1])]] = two[1]
        self.random[-1].append(random)

    def curves(self) -> tuple[Curve, ...]:
        """Return a curve over the steps for each similarity and for both controls, means over draws."""
        ones = [[1.0] * len(row) for row in self.random]
        lines = {WORDS[name]: rows for name, rows in self.values.items()}
        lines |= {"edges of the photo": ones, "random map": self.random}
        return tuple(self._curve(name, rows) for name, rows in lines.items())

    def _curve(self, name: str, rows: list[list[float]]) -> Curve:
        count = len(rows[0])
        x, names = np.arange(count, dtype=np.float64), ("drawn anew", "similarity")
        if len(rows) == 1:  # curves are made for each stage, and what a mean of one takes adds up
            return Curve(name, x, np.array(rows[0]), *names, ticks=self.ticks[:count])
        columns = [[row[place] for row in rows if place < len(row)] for place in range(count)]
        low, high = (np.array([pick(column) for column in columns]) for pick in (min, max))
        mean = np.array([mean_known(column) for column in columns])
        return Curve(name, x, mean, *names, low, high, self.ticks[:count])

    def means(self) -> dict[str, float]:
        """Return the mean of each similarity over all steps and draws; undefined ones left out."""
        return {name: mean_known(flat(rows)) for name, rows in self.values.items()}


def _maps(found: Attribution) -> tuple[NDArray[np.float32], ...]:
    """Return the absolute and the signed map of an explanation."""
    return tuple(map_of(found, how) for how in ("abs", "signed"))


def flat(rows: list[list[float]]) -> list[float]:
    """Return the values of all draws in one row."""
    return [value for row in rows for value in row]


def entropy(map: NDArray[np.float32]) -> float:
    """Return the entropy of the histogram of a map's absolute values, 100 bins, in nats."""
    counts, _ = np.histogram(np.abs(map), bins=100)
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())
