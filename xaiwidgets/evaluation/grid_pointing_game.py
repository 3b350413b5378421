"""Grid pointing game."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from xaiwidgets.core.knobs import Choice, Range, knob
from xaiwidgets.core.metric_cards import metric
from xaiwidgets.core.scores import Score, mean_and_interval
from xaiwidgets.errors import NotApplicable
from xaiwidgets.evaluation.case import map_of
from xaiwidgets.evaluation.controls import random_map, sobel_map
from xaiwidgets.evaluation.mosaics import SMALL, Piece, mosaic, must_shrink, of_class, own_piece, pieces, shares, shown

if TYPE_CHECKING:
    from collections.abc import Generator

    from xaiwidgets.evaluation.case import Case


@metric(
    title="Grid pointing game",
    category="localization",
    question="Of several pictures side by side, does the map of a class point at the one that shows it?",
    cite="Böhle, Fritz, Schiele 2021; Rao, Böhle, Schiele 2022",
    paper="arXiv:2104.00032",
    section="extra",
    direction="higher",
    range=(0.0, 1.0),
    formula="mean over cells of Σ positive evidence for the cell's class inside it / Σ positive evidence",
    how="Pictures of different classes are laid out in a square. For each, the map of its class is made on the whole "
    "square, and the share of its positive evidence that lies in the right cell is taken; chance is one over the "
    "number of cells.",
    caution="A network was not trained on such squares. One whose class scores share their evidence (few classes: what "
    "speaks against one speaks for another) scores near chance with any faithful map.",
)
class GridPointingGame:
    """Share of positive evidence in the right cell, averaged over cells (Böhle et al. 2021, eq. 13): 0 to 1.

    The picture in question fills one cell, ``data`` the others: pictures, scenes, or pairs (picture, class); bundled
    ones by default. Reduction: colors summed, then the positive part; a map without any scores 0, as in the authors'
    code. ``items``: the share of each cell; ``rows``: of which picture.

    Raises:
        NotApplicable: the target is not one class, or there are too few pictures of other classes.
    """

    side: int = knob(2, Range(2, 3), label="Cells a side", help="Pictures a row and a column.")
    mosaics: int = knob(1, Range(1, 100), label="Mosaics", help="How many squares are drawn.")
    confidence: float = knob(
        0.0,
        Range(0.0, 1.0, step=0.01),
        label="Confidence",
        help="Probability that a picture of another class must have alone; the papers ask for 0.99.",
    )
    cells: str = knob(
        "whole",
        Choice(("whole", "small")),
        label="Cells",
        help="whole: each as large as the network's input; small: all together as large as that.",
        advanced=True,
    )

    def score(self, case: Case) -> Generator[Score | None, None, None]:
        """Yield a score after each cell."""
        own = own_piece(case, "grid_pointing_game")
        yield None
        pool = yield from pieces(case, self.confidence)
        by_class: dict[int, list[Piece]] = {}
        for one in pool:
            by_class.setdefault(one.label, []).append(one)
        by_class.pop(own.label, None)
        n = self.side
        if len(by_class) < n * n - 1:
            raise NotApplicable(
                "grid_pointing_game",
                f"pictures of {n * n - 1} further classes that the network recognizes",
                f"there are {len(by_class)}: give more as data, or lower the confidence",
            )
        small = self.cells == "small" or must_shrink(case)
        rng = case.rng(3)
        found: list[float] = []
        rows: list[tuple[Any, ...]] = []
        maps: dict[str, Any] = {}
        controls: dict[str, list[float]] = {"random": [], "edges": []}
        empty = 0
        for _ in range(self.mosaics):
            labels = rng.permutation(sorted(by_class))[: n * n - 1]
            chosen = [own, *(by_class[label][rng.integers(len(by_class[label]))] for label in labels)]
            chosen = [chosen[k] for k in rng.permutation(n * n)]
            image = mosaic([one.image for one in chosen], n, small=small)
            pixels = case.model.to_pixels(image)
            for name, make in (("random", random_map), ("edges", sobel_map)):
                known = shares(make(pixels, case.seed + len(rows)), n)
                controls[name].append(1 / n**2 if known is None else float(known.mean()))
            for cell, one in enumerate(chosen):
                attribution = yield from case.explaining(image=image, target=of_class(one, case))
                values = map_of(attribution, "signed")
                share = shares(values, n)
                empty += share is None
                found.append(0.0 if share is None else float(share.flat[cell]))
                rows.append((case.model.labels.short(one.label), one.name, round(one.probability, 3), found[-1]))
                if one is own:
                    maps = {"map": values}
                value, interval = mean_and_interval(found, seed=case.seed)
                yield Score(
                    value,
                    "share of evidence in the right cell",
                    progress=len(found) / (self.mosaics * n * n),
                    interval=interval,
                    controls={k: float(np.mean(v)) for k, v in controls.items()} | {"constant": 1 / n**2},
                    header=("class", "picture", "probability alone", "share"),
                    rows=tuple(rows),
                    maps=maps,
                    pictures={"mosaic": shown(case.model, image)},
                    items=tuple(found),
                    details={"own": _own(rows, own), "small": small, "chance": 1 / n**2},
                    notes=self._notes(own, empty, small=small),
                    warnings=("W_OOD",) if small else (),
                )

    def _notes(self, own: Piece, empty: int, *, small: bool) -> tuple[str, ...]:
        notes = [SMALL] if small else []
        if not own.top:
            notes.append(
                f"Alone, {own.name} is not recognized: what is asked about has probability {own.probability:.2g}."
            )
        if empty:
            notes.append(f"{empty} maps have no positive evidence and score 0.")
        return tuple(notes)


def _own(rows: list[tuple[Any, ...]], own: Piece) -> float:
    """Return the mean share of the picture in question."""
    found = [row[3] for row in rows if row[1] == own.name]
    return float(np.mean(found)) if found else math.nan
