"""Focus."""

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
from xaiwidgets.evaluation.mosaics import SMALL, Piece, mosaic, must_shrink, own_piece, pieces, shares, shown

if TYPE_CHECKING:
    from collections.abc import Generator

    from numpy.typing import NDArray

    from xaiwidgets.evaluation.case import Case

SIDE = 2


@metric(
    title="Focus",
    category="localization",
    question="Of two pictures of the class and two of others, does the evidence lie on the right two?",
    cite="Arias-Duart et al. 2022",
    paper="arXiv:2109.15035",
    section="extra",
    direction="higher",
    range=(0.0, 1.0),
    formula="Σ positive evidence on the two pictures of the class / Σ positive evidence",
    how="Two pictures of the class and two of other classes are laid out in a square of random order, and explained as "
    "one picture; chance is one half.",
    caution="Evidence on a picture of another class can be a fault of the map, or something that both classes share "
    "and that the network uses: look at which class draws it.",
)
class Focus:
    """Share of positive evidence on the two cells of the target's class (Arias-Duart et al. 2022, eq. 1): 0 to 1.

    The picture in question fills one cell; the others come from ``data`` (pictures, scenes or pairs with classes) or
    are bundled. Where there is no second picture of the class, its mirror image is used, and said. Reduction: colors
    summed, then the positive part; a map without any gives no value. ``items``: of each mosaic; ``rows``: how much of
    the evidence other classes draw.

    Raises:
        NotApplicable: the target is not one class, or there are fewer than two pictures of other classes.
    """

    mosaics: int = knob(10, Range(1, 200), label="Mosaics", help="How many squares; the paper takes 50 for each class.")
    confidence: float = knob(
        0.0,
        Range(0.0, 1.0, step=0.01),
        label="Confidence",
        help="Probability that the other pictures must have alone.",
    )
    cells: str = knob(
        "whole",
        Choice(("whole", "small")),
        label="Cells",
        help="whole: each as large as the network's input; small: all together as large as that.",
        advanced=True,
    )

    def score(self, case: Case) -> Generator[Score | None, None, None]:
        """Yield a score after each mosaic."""
        own = own_piece(case, "focus")
        yield None
        pool = yield from pieces(case, self.confidence)
        alike = [one for one in pool if one.label == own.label and not same(one, own)]
        others = [one for one in pool if one.label != own.label]
        if len(others) < 2:
            raise NotApplicable(
                "focus",
                "two pictures of other classes that the network recognizes",
                f"there are {len(others)}: give more as data, or lower the confidence",
            )
        small = self.cells == "small" or must_shrink(case)
        rng = case.rng(4)
        found: list[float] = []
        drawn: dict[int, list[float]] = {}
        controls: dict[str, list[float]] = {"random": [], "edges": []}
        for number in range(self.mosaics):
            second = alike[rng.integers(len(alike))] if alike else _mirrored(own)
            first, last = rng.permutation(len(others))[:2]
            chosen = [own, second, others[first], others[last]]
            order = rng.permutation(4)
            image = mosaic([chosen[k].image for k in order], SIDE, small=small)
            right = (order < 2).reshape(SIDE, SIDE)
            attribution = yield from case.explaining(image=image)
            values = map_of(attribution, "signed")
            found.append(focus(values, right))
            share = shares(values, SIDE)
            for cell, k in enumerate(order):
                if k >= 2 and share is not None:
                    drawn.setdefault(chosen[k].label, []).append(float(share.flat[cell]))
            pixels = case.model.to_pixels(image)
            for name, make in (("random", random_map), ("edges", sobel_map)):
                controls[name].append(focus(make(pixels, case.seed + number), right))
            yield self._score(
                case, found, drawn, controls, values, shown(case.model, image), mirrored=not alike, small=small
            )

    def _score(
        self,
        case: Case,
        found: list[float],
        drawn: dict[int, list[float]],
        controls: dict[str, list[float]],
        values: NDArray[np.float32],
        picture: NDArray[np.uint8],
        *,
        mirrored: bool,
        small: bool,
    ) -> Score:
        value, interval = mean_and_interval(found, seed=case.seed)
        names = {label: case.model.labels.short(label) for label in drawn}
        table = sorted(((names[k], len(v), float(np.mean(v))) for k, v in drawn.items()), key=lambda row: -row[2])
        empty = sum(map(math.isnan, found))
        notes = [SMALL] if small else []
        if mirrored:
            notes.append("There is no second picture of the class: its mirror image stands for it.")
        if empty:
            notes.append(f"{empty} maps have no positive evidence and give no value.")
        return Score(
            value,
            "share of evidence on the class",
            progress=len(found) / self.mosaics,
            interval=interval,
            controls={k: mean_and_interval(v)[0] for k, v in controls.items()} | {"constant": 0.5},
            header=("other class", "cells", "share of evidence"),
            rows=tuple(table),
            maps={"map": values},
            pictures={"mosaic": picture},
            items=tuple(found),
            details={"confuser": table[0][0] if table else "", "small": small, "mirrored": mirrored},
            notes=tuple(notes),
            warnings=(*(("W_OOD",) if small else ()), *(("W_DEGENERATE",) if empty else ())),
        )


def focus(values: NDArray[Any], right: NDArray[np.bool_]) -> float:
    """Return the share of positive evidence of a map ``(H, W)`` in the right of 2 × 2 cells; NaN if there is none."""
    share = shares(values, SIDE)
    return math.nan if share is None else float(np.clip(share[right].sum(), 0, 1))


def same(one: Piece, other: Piece) -> bool:
    """Return whether two pieces show the same picture."""
    return bool(one.image.equal(other.image))


def _mirrored(piece: Piece) -> Piece:
    return Piece(piece.image.flip(3), piece.label, f"{piece.name} mirrored", piece.probability, piece.top)
