"""Localization error."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from xaiwidgets.core.knobs import Choice, Flag, Range, knob
from xaiwidgets.core.metric_cards import metric
from xaiwidgets.core.scores import Score
from xaiwidgets.evaluation.boxes import (
    RULES,
    best_iou,
    box_of,
    center_box,
    foreground,
    outline,
    whole_box,
)
from xaiwidgets.evaluation.case import map_of
from xaiwidgets.evaluation.controls import CONTROLS

if TYPE_CHECKING:
    from collections.abc import Generator

    from numpy.typing import NDArray

    from xaiwidgets.evaluation.boxes import Box
    from xaiwidgets.evaluation.case import Case

GREEN, RED = (46, 160, 67), (214, 40, 57)


@metric(
    title="Localization error",
    category="localization",
    question="Does a box around the map's evidence miss the object?",
    cite="Cao et al. 2015; Fong, Vedaldi 2017",
    paper="arXiv:1704.03296",
    section="4, Table 1",
    direction="lower",
    range=(0.0, 1.0),
    needs=("truth",),
    formula="1 if IoU(box around {e ≥ threshold}, true box) ≤ 0.5 for all true boxes, else 0",
    how="The strongest pixels that together hold 95 % of the map's evidence are the foreground; the tightest box "
    "around them is compared with the true boxes. Its mean over pictures is the error of weakly supervised "
    "localization.",
    caution="A threshold for all methods punishes maps with long tails: the papers tuned its type and level for each "
    "method, as tune_localization does. Without that, the whole picture as a box beats most gradient maps.",
)
class LocalizationError:
    """Whether the box misses the object (Cao et al. 2015; Fong and Vedaldi 2017, section 5.3): 0 or 1.

    The defaults are the protocol of the review's Table 1; ``tune_localization`` finds a rule and a level on held-out
    scenes. Equal values are in the foreground together. A map of zeros gives the whole picture.

    ``details``: ``iou``, the largest with a true box; ``box``; ``foreground``, its share of the picture. Reduction:
    ``evidence`` for signed maps, else ``abs``. ``controls``: the same for maps that know nothing, for the whole
    picture, and for half of it around the middle.
    """

    rule: str = knob(
        "energy",
        Choice(RULES),
        label="Threshold",
        help="energy: the strongest pixels that hold a share of the sum; value: share of the range; mean: times the "
        "mean.",
    )
    level: float = knob(0.95, Range(0.0, 10.0, step=0.05), label="Level", help="Of the threshold; see there.")
    largest: bool = knob(
        False, Flag(), label="Largest component", help="Box only the largest connected part, as the CAM papers do."
    )
    evidence: str = knob(
        "pos",
        Choice(("pos", "abs")),
        label="Evidence",
        help="What counts of a map with signs: pos, positive values only; abs, sizes. Both are summed over colors.",
        advanced=True,
    )
    overlap: float = knob(
        0.5, Range(0.05, 0.95, step=0.05), label="Overlap", help="IoU that a hit must exceed.", advanced=True
    )

    def score(self, case: Case) -> Generator[Score | None, None, None]:
        """Yield one score."""
        found = yield from case.attribution()
        truth = None if case.scene is None else case.scene.boxes
        if truth is None:
            raise ValueError("a scene without boxes and masks has no truth")
        values = map_of(found, self.evidence if found.signed else "abs")
        box = self.box(values)
        overlap = best_iou(box, truth)
        pixels = case.model.to_pixels(case.image)
        boxes = {name: self.box(make(pixels, case.seed)) for name, make in CONTROLS.items() if name != "constant"}
        boxes |= {"whole picture": whole_box(case.size), "middle": center_box(case.size)}
        empty = not values.any()
        yield Score(
            self.missed(overlap),
            "missed objects",
            controls={name: self.missed(best_iou(one, truth)) for name, one in boxes.items()},
            maps={"map": values, "foreground": self._foreground(values).astype(np.float32)},
            pictures={"boxes": _drawn(pixels, box, truth)},
            details={"iou": overlap, "box": box, "foreground": float(self._foreground(values).mean())},
            notes=("The map is zero everywhere: its box is the whole picture.",) if empty else (),
            warnings=("W_DEGENERATE",) if empty else (),
        )

    def box(self, values: NDArray[np.float32]) -> Box | None:
        """Return the box around the evidence of a map ``(H, W)``."""
        return box_of(self._foreground(values), largest=self.largest)

    def missed(self, overlap: float) -> float:
        """Return 0 for a box that overlaps the truth enough, else 1."""
        return float(not overlap > self.overlap)

    def _foreground(self, values: NDArray[np.float32]) -> NDArray[np.bool_]:
        return foreground(values, self.rule, self.level)


def _drawn(pixels: NDArray[np.float32], box: Box | None, truth: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Return the picture with the true boxes in green and the box of the map in red."""
    shown = np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels
    drawn = np.rint(np.clip(shown, 0, 1) * 255).astype(np.uint8)
    for one in truth.tolist():
        drawn[outline(tuple(one), pixels.shape[:2])] = GREEN
    drawn[outline(box, pixels.shape[:2])] = RED
    return drawn
