"""LIME."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from xaiwidgets.core.cards import explainer
from xaiwidgets.core.knobs import Choice, Range, knob
from xaiwidgets.engine.segments import FILLS, SEGMENTERS
from xaiwidgets.explainers.perturbation.segmented import HELP, OUTPUTS, Cut

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from torch import Tensor

    from xaiwidgets.core.results import Attribution
    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Target

#: Below this share of explained variance the surrogate says little about the network.
FAITHFUL = 0.3
#: Samples for each segment from which on a good fit is more than what so many coefficients can fit to anything.
ENOUGH = 2


@explainer(
    title="LIME",
    family="perturbation",
    idea="Hides random segments of the photo and fits a linear model to the scores.",
    cite="Ribeiro, Singh, Guestrin 2016",
    paper="arXiv:1602.04938",
    section="2.3.10",
    formula="argmin over w of Σ π(z) (f(z) − w·z − b)² + α‖w‖²,  π(z) = √exp(−D(z, 1)² / σ²)",
    how="The photo is cut into segments. Many copies hide a random half of them, and a linear model is fitted to the "
    "network's scores, copies near to the photo counting more. A segment's coefficient is what showing it adds.",
    caution="Another cut, fill or width can turn it over. Read the fidelity: where the linear model explains little of "
    "the scores, its coefficients explain little of the network.",
)
class Lime:
    """Coefficients of a weighted ridge regression of the score on shown segments (Ribeiro et al. 2016, section 3.4).

    Yields ``(1, H, W)`` in the unit of the score for a segment, signed, refitted after every batch; the first sample is
    the whole photo. ``details``: ``segments`` (H, W), ``weights`` by segment, ``standard_error`` of the coefficients,
    ``fidelity``, the weighted R², ``intercept``, and ``top``, the pixels of the strongest positive segments.

    With ``features``, only so many segments are fitted, chosen anew after every batch by ``selection``, in the words of
    the authors' program; standard errors are those of the fit to the chosen ones.
    """

    samples: int = knob(400, Range(10, 20_000, log=True), label="Samples", help="More is less noisy and slower.")
    segmenter: str = knob("slic", SEGMENTERS, label="Segments by", help=HELP["segmenter"])
    segments: int = knob(
        50, Range(2, 200, log=True), label="Segments", help="quickshift and felzenszwalb find their own number."
    )
    fill: str = knob("segment_mean", FILLS, label="Fill", help=HELP["fill"])
    features: int = knob(
        0, Range(0, 50), label="Features", help="Fit only so many segments; 0 is all. The paper shows a few."
    )
    selection: str = knob(
        "auto",
        Choice(("auto", "forward_selection", "highest_weights", "lasso_path")),
        label="Chosen by",
        help="How few segments are found: one by one, by weight, or by an L1 penalty. auto: one by one up to six.",
        advanced=True,
    )
    show: str = knob(
        "all", Choice(("all", "top")), label="Show", help="top: only the strongest segments that speak for the class."
    )
    top: int = knob(5, Range(1, 50), label="Top segments", help="How many segments are the strongest.", advanced=True)
    width: float = knob(
        0.25, Range(0.01, 10.0), label="Kernel width", help="How far from the photo a copy may be.", advanced=True
    )
    alpha: float = knob(1.0, Range(0.0, 100.0), label="Ridge", help="Shrinks coefficients.", advanced=True)
    output: str = knob("probability", OUTPUTS, label="Score", help=HELP["output"], advanced=True)
    seed: int = knob(0, Range(0, 2**31 - 1), label="Seed", help="Same seed, same samples.", advanced=True)

    def cost(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the (forward, backward) passes of one image: one a sample, of which the first is the photo."""
        return self.samples, 0

    def steps(self, model: Model, image: Tensor, target: Target) -> Iterator[Attribution]:
        """Yield the fit to the samples so far after every batch."""
        from xaiwidgets.engine.surrogate import Sums, choose, closeness, ridge, strongest

        cut = Cut(model, image, target, (self.segmenter, self.segments), self.fill, self.output)
        shown = self._drawn(cut.players)
        sums, score = Sums(cut.players), float("nan")
        for numbers, scores in cut.scores(shown):
            if numbers.start == 0:
                score = float(scores[0])
            z = shown[numbers.start : numbers.stop].astype(np.float64)
            sums.add(z, scores, closeness(z, self.width))
            few = 0 < self.features < cut.players
            fit = ridge(sums, self.alpha, choose(sums, self.features, self.selection) if few else None)
            enough = sums.count >= ENOUGH * (self.features if few else cut.players)
            best = strongest(fit.coefficients, self.top)
            yield cut.result(
                np.where(best, fit.coefficients, 0.0) if self.show == "top" else fit.coefficients,
                score,
                numbers.stop / self.samples,
                notes=(_fidelity(fit.fidelity, enough=enough),),
                details={
                    "weights": fit.coefficients.astype(np.float32),
                    "errors": fit.errors,
                    "fidelity": fit.fidelity,
                    "intercept": fit.intercept,
                    "top": best[cut.labels],
                },
            )

    def _drawn(self, players: int) -> NDArray[np.uint8]:
        """Return which segments each sample shows, ``(samples, M)``; the first one shows all."""
        chance = np.random.default_rng(self.seed)
        shown = chance.integers(0, 2, (self.samples, players), dtype=np.uint8)
        shown[0] = 1
        return shown


def _fidelity(found: float, *, enough: bool = True) -> str:
    if math.isnan(found):
        return "The score does not change with what is hidden: there is nothing to explain."
    if not enough:
        return "Too few samples to tell how well the linear model fits."
    text = f"Fidelity {found:.2f}: the linear model explains {max(found, 0):.0%} of the scores' variance."
    return text if found >= FAITHFUL else f"{text} That is too little to rely on its coefficients."
