"""Feature ablation: one segment hidden after another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from xaiwidgets.core.cards import explainer
from xaiwidgets.core.knobs import Range, knob
from xaiwidgets.engine.segments import COUNTED, FILLS, number_of
from xaiwidgets.explainers.perturbation.segmented import HELP, OUTPUTS, Cut

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from xaiwidgets.core.results import Attribution
    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Target


@explainer(
    title="Feature ablation",
    family="perturbation",
    idea="Hides one segment after another and watches the score fall.",
    cite="Zeiler, Fergus 2014; Kokhlikyan et al. 2020",
    paper="arXiv:2009.07896",
    section="2.3.1",
    formula="a(S) = f(x) − f(x with segment S hidden)",
    how="The photo is cut into segments. Each is hidden once; how far the score falls is its value. Occlusion with "
    "shapes that follow the photo.",
    caution="Segments that stand in for one another hide each other's worth: hiding one alone changes nothing. Depends "
    "on the cut and the fill.",
)
class Ablation:
    """Fall of the score when a segment is hidden (feature ablation, as Zeiler and Fergus 2014 with windows).

    Yields ``(1, H, W)`` in the unit of the score for a segment, signed, larger segments first; one that has not been
    hidden yet shows 0. ``details``: ``segments`` (H, W) and ``weights``, the falls by segment, NaN where not done.
    There is no sampling, so there is no standard error.
    """

    segments: int = knob(49, Range(2, 200, log=True), label="Segments", help="One pass each.")
    segmenter: str = knob("slic", COUNTED, label="Segments by", help=HELP["segmenter"])
    fill: str = knob("segment_mean", FILLS, label="Fill", help=HELP["fill"])
    output: str = knob("logit", OUTPUTS, label="Score", help=HELP["output"], advanced=True)

    def cost(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the (forward, backward) passes of one image: one a segment, and the whole photo's."""
        return number_of(self.segmenter, self.segments, size) + 1, 0

    def steps(self, model: Model, image: Tensor, target: Target) -> Iterator[Attribution]:
        """Yield the falls so far after every batch of segments."""
        cut = Cut(model, image, target, (self.segmenter, self.segments), self.fill, self.output)
        order = np.argsort(-np.bincount(cut.labels.ravel()), kind="stable")
        shown = np.ones((cut.players + 1, cut.players), dtype=bool)
        shown[np.arange(1, len(shown)), order] = False
        falls, score = np.full(cut.players, np.nan), float("nan")
        for numbers, scores in cut.scores(shown):
            if numbers.start == 0:
                score = float(scores[0])
            first = max(numbers.start, 1)
            falls[order[first - 1 : numbers.stop - 1]] = score - scores[first - numbers.start :]
            yield cut.result(np.nan_to_num(falls), score, numbers.stop / len(shown), details={"weights": falls.copy()})
