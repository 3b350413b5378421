"""Saliency metric: the smallest crop that still shows the class."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from xaiwidgets.core.knobs import Choice, Flag, Range, knob
from xaiwidgets.core.metric_cards import metric
from xaiwidgets.core.scores import Score
from xaiwidgets.engine.ranks import LEAST_AREA, LEAST_PROBABILITY, saliency_metric
from xaiwidgets.evaluation import boxes
from xaiwidgets.evaluation.case import map_of
from xaiwidgets.evaluation.controls import sobel_map
from xaiwidgets.evaluation.removal import picture

if TYPE_CHECKING:
    from collections.abc import Generator

    from numpy.typing import NDArray
    from torch import Tensor

    from xaiwidgets.evaluation.boxes import Box
    from xaiwidgets.evaluation.case import Case

#: Thresholds that ``best`` chooses from.
SHARES = (0.5, 0.8, 0.95)


@metric(
    title="Saliency metric",
    category="faithfulness",
    question="Is the tightest crop around what the map marks small, and does it still show the class?",
    cite="Dabkowski, Gal 2017",
    paper="arXiv:1705.07857",
    section="4.5",
    direction="lower",
    range=(math.log(LEAST_AREA), -math.log(LEAST_PROBABILITY)),
    formula="log max(a, 0.05) - log P_c(crop), a: the crop's share of the picture",
    how="The strongest pixels that hold a given share of the map's sum are boxed, the box is cut out, enlarged to the "
    "network's input, and classified. Nothing is masked, so that no edge of a mask can act as a feature.",
    caution="It is fair only for networks that have seen objects enlarged; one stray pixel makes the box large.",
)
class SaliencyMetric:
    """log of the crop's area less log of its probability (Dabkowski and Gal 2017, equation 4); low is good.

    0 is a whole picture with probability 1. ``details``: ``box`` (top, left, bottom, right in pixels, the last two not
    included), ``area`` (its share of the picture), ``probability`` of the crop, ``share``, the threshold. Controls:
    the whole picture, a centered box of half its area, edges, and the object's own box where that is known.

    Raises:
        NotApplicable: a hidden unit is explained, which has no probability.
    """

    share: float = knob(
        0.95,
        Range(0.05, 1.0, step=0.05),
        label="Share",
        help="The box holds the strongest pixels with this share of the map's sum. The paper tunes it.",
    )
    best: bool = knob(
        False,
        Flag(),
        label="Best of three",
        help="Takes the best of the shares 0.5, 0.8 and 0.95 for each picture: an optimistic number.",
    )
    reduction: str = knob(
        "auto",
        Choice(("auto", "abs", "pos", "max")),
        label="Channels",
        help="How the colors become one number. auto: the positive part of signed maps.",
        advanced=True,
    )
    keep_proportions: bool = knob(
        False,
        Flag(),
        label="Keep proportions",
        help="Pads the crop to the picture's proportions with the mean color, in place of stretching it.",
        advanced=True,
    )

    def score(self, case: Case) -> Generator[Score | None, None, None]:
        """Yield one score."""
        found = yield from case.attribution()
        how = ("pos" if found.signed else "abs") if self.reduction == "auto" else self.reduction
        values = map_of(found, how)
        target = case.probability()
        shares = SHARES if self.best else (self.share,)
        crops: dict[str, Box] = {f"map {share:g}": box_around(values, share) for share in shares}
        crops["whole picture"] = boxes.whole_box(case.size)
        crops["center"] = boxes.center_box(case.size)
        crops["edges"] = box_around(sobel_map(case.model.to_pixels(case.image), case.seed), self.share)
        if case.scene is not None and case.scene.mask is not None:
            crops["true box"] = boxes.box_of(case.scene.mask) or boxes.whole_box(case.size)
        made = {}
        for name, box in crops.items():
            crop = cropped(case.image, box, keep=self.keep_proportions)
            probability = float(case.model.scores(crop, target)[0])
            made[name] = (metric_of(box, case.size, probability), box, probability, crop)
            yield None
        mine = min((f"map {share:g}" for share in shares), key=lambda name: made[name][0])
        value, box, probability, crop = made[mine]
        notes = ["The threshold was chosen on this very picture, which is optimistic."] if self.best else []
        empty = not float(values.max()) > 0
        if empty:
            notes.append("The map marks nothing: the crop is the whole picture.")
        yield Score(
            value,
            "log share of the picture less log probability",
            controls={name: one[0] for name, one in made.items() if not name.startswith("map ")},
            header=("crop", "share of the picture", "probability", "score"),
            rows=tuple((name, area_of(one[1], case.size), one[2], one[0]) for name, one in made.items()),
            maps={"map": values},
            pictures={"crop": picture(case.model, crop)},
            details={"box": box, "area": area_of(box, case.size), "probability": probability, "share": float(mine[4:])},
            notes=tuple(notes),
            warnings=("W_OOD", "W_DEGENERATE") if empty else ("W_OOD",),
        )


def metric_of(box: Box, size: tuple[int, int], probability: float) -> float:
    """Return log max(a, 0.05) - log p."""
    return saliency_metric(area_of(box, size), probability)


def area_of(box: Box, size: tuple[int, int]) -> float:
    """Return a box's share of the picture."""
    return (box[2] - box[0]) * (box[3] - box[1]) / (size[0] * size[1])


def box_around(values: NDArray[np.float32], share: float) -> Box:
    """Return the tightest box around the strongest pixels with this share of a map's sum; all of it if it has none."""
    found = boxes.box_of(boxes.foreground(np.maximum(values, 0), "energy", share))
    return boxes.whole_box((values.shape[0], values.shape[1])) if found is None else found


def cropped(image: Tensor, box: Box, *, keep: bool = False) -> Tensor:
    """Return a part of ``image (1, C, H, W)`` at the size of the whole, bilinearly; stretched, or padded with 0."""
    from torch.nn import functional

    top, left, bottom, right = box
    part = image[:, :, top:bottom, left:right]
    height, width = image.shape[2:]
    if not keep:
        return functional.interpolate(part, (height, width), mode="bilinear", align_corners=False)
    scale = min(height / part.shape[2], width / part.shape[3])
    rows, columns = (max(1, round(side * scale)) for side in part.shape[2:])
    inner = functional.interpolate(part, (rows, columns), mode="bilinear", align_corners=False)
    out = image.new_zeros(image.shape)
    top, left = (height - rows) // 2, (width - columns) // 2
    out[:, :, top : top + rows, left : left + columns] = inner
    return out
