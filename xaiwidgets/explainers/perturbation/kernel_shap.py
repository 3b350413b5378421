"""KernelSHAP."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from xaiwidgets.core.cards import explainer
from xaiwidgets.core.knobs import Range, knob
from xaiwidgets.explainers.perturbation import segmented

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from xaiwidgets.core.results import Attribution
    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Target


@explainer(
    title="KernelSHAP",
    family="perturbation",
    idea="Shares out the score among segments as fairly as a sample of their coalitions tells.",
    cite="Lundberg, Lee 2017",
    paper="arXiv:1705.07874",
    section="2.3.4",
    formula="argmin over φ of Σ π(z) (v(z) − v(∅) − φ·z)²,  Σ φ = v(N) − v(∅),  "
    "π(z) = (M−1) / (C(M,|z|) |z| (M−|z|))",
    how="The photo is cut into segments, the players of a game whose worth is the score with only some of them shown. "
    "A weighted least-squares fit to coalitions gives their Shapley values: exactly with all coalitions, nearly with "
    "a sample. The values always sum to what the whole photo adds to a hidden one.",
    caution="Depends on the cut and on what hides a segment. Hidden segments make pictures unlike any that the network "
    "has seen. Watch the standard error fall.",
)
class KernelShap:
    """Shapley values of segments from a constrained weighted fit (Lundberg and Lee 2017, theorem 2).

    Yields ``(1, H, W)`` in the unit of the score for a segment, signed, refitted after every batch. The constraint is
    eliminated, so ``details["weights"]`` sum to ``explained`` at every step. Sizes of coalitions are listed whole while
    they fit, the heaviest first; the rest are drawn with their complements, duplicates merged.
    ``details["standard_error"]`` is that of the fit: it does not tell what coalitions not seen would change.
    """

    samples: int = knob(
        512, Range(10, 20_000, log=True), label="Coalitions", help="More is nearer to the exact values."
    )
    segmenter: str = segmented.segmenter("grid")
    segments: int = segmented.how_many(49)
    fill: str = segmented.fill("blur")
    output: str = segmented.output("probability")
    seed: int = knob(0, Range(0, 2**31 - 1), label="Seed", help="Same seed, same coalitions.", advanced=True)

    def cost(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the (forward, backward) passes of one image: one a coalition, the whole and the empty one too."""
        players = segmented.players_of(self.segmenter, self.segments, size)
        return min(self.samples, 2**players - 2) + 2, 0

    def steps(self, model: Model, image: Tensor, target: Target) -> Iterator[Attribution]:
        """Yield the fit to the coalitions so far after every batch."""
        from xaiwidgets.engine.surrogate import Sums, coalitions, eliminated, kernel_shap

        cut = segmented.Cut(model, image, target, (self.segmenter, self.segments), self.fill, self.output)
        chosen = coalitions(cut.players, self.samples, self.seed)
        ends = np.stack([np.ones(cut.players, bool), np.zeros(cut.players, bool)])
        members = np.concatenate([ends, chosen.members])
        weights = np.concatenate([[0.0, 0.0], chosen.weights])
        sums, worth = Sums(cut.players - 1), np.full(2, np.nan)
        for numbers, scores in cut.scores(members):
            known = [number for number in numbers if number < len(worth)]
            worth[known] = scores[: len(known)]
            if np.isnan(worth).any():
                continue
            part = slice(max(numbers.start, 2), numbers.stop)
            if part.start < part.stop:
                z, y = eliminated(members[part], scores[part.start - numbers.start :], *worth)
                sums.add(z, y, weights[part])
            fit = kernel_shap(sums, *worth)
            yield cut.result(
                fit.coefficients,
                float(worth[0]),
                numbers.stop / len(members),
                details={"errors": fit.errors, "explained": float(worth[0] - worth[1]), "base": float(worth[1])},
            )
