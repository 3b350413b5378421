"""Exact Shapley values of a few segments."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from xaiwidgets.core.cards import explainer
from xaiwidgets.core.knobs import Range, knob
from xaiwidgets.engine.segments import COUNTED, FILLS, number_of
from xaiwidgets.explainers.perturbation.segmented import HELP, OUTPUTS, Cut

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from torch import Tensor

    from xaiwidgets.core.results import Attribution
    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Target

#: 2¹² coalitions take half a minute; a sample of more players tells as much (KernelSHAP).
MOST = 12


@explainer(
    id="shapley_exact",
    title="Shapley values (exact)",
    family="perturbation",
    idea="Shares out the score among a few segments by all of their coalitions: fair by definition.",
    cite="Shapley 1953; Lundberg, Lee 2017",
    paper="arXiv:1705.07874",
    section="2.3.4",
    formula="φᵢ = Σ over S without i of |S|! (M−|S|−1)! / M! · (v(S ∪ i) − v(S))",
    how="The photo is cut into a few segments, and the network scores it with every combination of them shown. A "
    "segment's value is what it adds on average over all orders in which they could appear.",
    caution="Exact for this cut and this fill only. The number of passes doubles with each segment: more than twelve "
    "are for KernelSHAP.",
)
class ShapleyExact:
    """Shapley values of at most 12 segments, from all coalitions (Shapley 1953).

    Yields ``(1, H, W)`` in the unit of the score for a segment, signed. Until all coalitions have been scored it is
    KernelSHAP's estimate from those that have, sizes from outside in, and says so; the last result is exact, and sums
    to ``explained``. ``details["coalitions"]`` then holds the score of each coalition by its bit mask.
    """

    segments: int = knob(8, Range(2, MOST, log=True), label="Segments", help="Each one doubles the passes.")
    segmenter: str = knob("grid", COUNTED, label="Segments by", help=HELP["segmenter"])
    fill: str = knob("blur", FILLS, label="Fill", help=HELP["fill"])
    output: str = knob("logit", OUTPUTS, label="Score", help=HELP["output"], advanced=True)

    def cost(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the (forward, backward) passes of one image: one for each of all coalitions."""
        return 2 ** number_of(self.segmenter, self.segments, size), 0

    def steps(self, model: Model, image: Tensor, target: Target) -> Iterator[Attribution]:
        """Yield an estimate after every batch of coalitions, and the exact values at the end."""
        from xaiwidgets.engine.surrogate import GROUPS, Coalitions, Game, shapley, shapley_weight

        cut = Cut(model, image, target, (self.segmenter, self.segments), self.fill, self.output)
        order = _order(cut.players)
        members = (order[:, None] >> np.arange(cut.players)) & 1 == 1
        inner, sizes = members[2:], members[2:].sum(axis=1)
        counts = np.bincount(sizes)
        weights = np.array([shapley_weight(cut.players, int(size)) / counts[size] for size in sizes])
        listed = Coalitions(inner, weights, np.zeros((len(inner), GROUPS)))
        worth, game = np.full(len(order), np.nan), None
        for numbers, scores in cut.scores(members):
            worth[order[numbers.start : numbers.stop]] = scores
            if game is None:
                if numbers.stop < 2:
                    continue
                game = Game(listed, float(worth[-1]), float(worth[0]))
            game.add(worth[order[2 + game.count : numbers.stop]])
            done = numbers.stop == len(order)
            values = shapley(worth) if done else game.values()[0]
            details = {"explained": game.whole - game.empty, "base": game.empty}
            yield cut.result(
                values,
                game.whole,
                numbers.stop / len(order),
                notes=() if done else (f"An estimate: {numbers.stop:,} of {len(order):,} coalitions are scored.",),
                details={**details, "coalitions": worth.copy()} if done else details,
            )


def _order(players: int) -> NDArray[np.intp]:
    """Return the bit masks of all coalitions: the whole and the empty one, then sizes from outside in."""
    masks = np.arange(2**players)
    sizes = np.array([int(mask).bit_count() for mask in masks])
    return np.array(sorted(masks, key=lambda mask: (min(sizes[mask], players - sizes[mask]), -sizes[mask], mask)))
