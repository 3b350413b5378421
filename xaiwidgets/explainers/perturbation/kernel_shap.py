"""KernelSHAP."""

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
    title="KernelSHAP",
    family="perturbation",
    idea="Shares out the score among segments as fairly as a sample of their coalitions tells.",
    cite="Lundberg, Lee 2017",
    paper="arXiv:1705.07874",
    section="2.3.4",
    formula="argmin over φ of Σ π(z) (v(z) − v(∅) − φ·z)²,  Σ φ = v(N) − v(∅),  π(z) = (M−1) / (C(M,|z|) |z| (M−|z|))",
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
    they fit, the heaviest first; the rest are drawn with their complements, duplicates merged. ``details``:
    ``segments`` (H, W), ``weights`` by segment, ``base``, the score with everything hidden, and ``standard_error``,
    what other draws would change, from the means of 20 parts of them; 0 once all coalitions are known.
    """

    samples: int = knob(
        512, Range(10, 20_000, log=True), label="Coalitions", help="More is nearer to the exact values."
    )
    segmenter: str = knob("grid", COUNTED, label="Segments by", help=HELP["segmenter"])
    segments: int = knob(49, Range(2, 200, log=True), label="Segments", help="Players of the game.")
    fill: str = knob("blur", FILLS, label="Fill", help=HELP["fill"])
    output: str = knob("probability", OUTPUTS, label="Score", help=HELP["output"], advanced=True)
    seed: int = knob(0, Range(0, 2**31 - 1), label="Seed", help="Same seed, same coalitions.", advanced=True)

    def cost(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the (forward, backward) passes of one image: one a coalition, the whole and the empty one too."""
        players = number_of(self.segmenter, self.segments, size)
        return min(self.samples, 2**players - 2) + 2, 0

    def steps(self, model: Model, image: Tensor, target: Target) -> Iterator[Attribution]:
        """Yield the fit to the coalitions so far after every batch."""
        from xaiwidgets.engine.surrogate import Game, coalitions

        cut = Cut(model, image, target, (self.segmenter, self.segments), self.fill, self.output)
        chosen = coalitions(cut.players, self.samples, self.seed)
        ends = np.stack([np.ones(cut.players, bool), np.zeros(cut.players, bool)])
        members = np.concatenate([ends, chosen.members])
        worth, game = np.empty(len(members)), None
        for numbers, scores in cut.scores(members):
            worth[numbers.start : numbers.stop] = scores
            if game is None:
                if numbers.stop < len(ends):
                    continue
                game = Game(chosen, float(worth[0]), float(worth[1]))
            game.add(worth[len(ends) + game.count : numbers.stop])
            values, errors = game.values()
            yield cut.result(
                values,
                game.whole,
                numbers.stop / len(members),
                details={"errors": errors, "explained": game.whole - game.empty, "base": game.empty},
            )
