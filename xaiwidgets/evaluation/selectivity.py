"""Selectivity."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from xaiwidgets.core.knobs import Choice, Flag, Range, knob
from xaiwidgets.core.metric_cards import metric
from xaiwidgets.core.scores import Score
from xaiwidgets.evaluation.case import REDUCTIONS, map_of
from xaiwidgets.evaluation.controls import sobel_map
from xaiwidgets.evaluation.parts import in_order, part_ranks, squares, sums
from xaiwidgets.evaluation.paths import Curves, counts_of
from xaiwidgets.evaluation.removal import SUBSTRATES, path, substrate

if TYPE_CHECKING:
    from collections.abc import Generator

    from numpy.typing import NDArray
    from torch import Tensor

    from xaiwidgets.evaluation.case import Case


@metric(
    title="Explanation selectivity",
    category="behavior",
    question="Does the score fall fast when the patches with most relevance are taken away?",
    cite="Montavon, Samek, Müller 2018",
    paper="arXiv:1706.07979",
    section="4.6",
    direction="lower",
    formula="mean over k of f(x without its k most relevant patches)",
    how="Again and again, the patch with the most relevance is blackened, and the score is written down: the area "
    "under that curve is the result.",
    caution="Black is a color like any other: on dark pictures nothing is removed. Compare with a random order.",
)
class Selectivity:
    """Area under the score while patches vanish, most relevant first (Montavon et al. 2018, section 6.2).

    In probability or logits. ``details``: ``counts`` and ``values``, the curve; ``order``, numbers of the patches, row
    by row, as their turns came.

    Raises:
        NotApplicable: a hidden unit is explained, which has no probability.
    """

    patches: int = knob(
        8, Range(1, 64), label="Patches", help="Along the longer side. 28 px at 224; the paper takes 4 px of 28."
    )
    substrate: str = knob("black", SUBSTRATES, label="Substrate", help="What stands where a patch was.")
    again: bool = knob(
        False,
        Flag(),
        label="Explain again",
        help="Makes a new map after every patch, in place of keeping the order of the first.",
    )
    draws: int = knob(3, Range(1, 50), label="Random orders", help="How many are averaged for the control.")
    output: str = knob(
        "probability", Choice(("probability", "logit")), label="Score", help="What is watched.", advanced=True
    )
    reduction: str = knob(
        "signed",
        Choice(REDUCTIONS),
        label="Channels",
        help="How the colors of a pixel become one number.",
        advanced=True,
    )

    def score(self, case: Case) -> Generator[Score | None, None, None]:
        """Yield the area from a coarse curve on."""
        found = yield from case.attribution()
        values = map_of(found, self.reduction)
        target = case.probability() if self.output == "probability" else case.target
        parts = squares(case.size, -(-max(case.size) // self.patches))
        relevance = sums(values, parts)
        base = substrate(case.model, case.image, self.substrate, case.rng(0))
        rank = part_ranks(relevance, parts)
        if self.again:
            rank = yield from self._explained_again(case, relevance, parts, base)
        edges = sums(sobel_map(case.model.to_pixels(case.image), case.seed), parts)
        rankings = [("map", rank), ("edges", part_ranks(edges, parts))]
        rankings += [
            ("random", part_ranks(case.rng(1, draw).random(len(relevance)), parts)) for draw in range(self.draws)
        ]
        paths = [path(name, one, case.image, base) for name, one in rankings]
        curves = Curves(case.model, target, paths, counts_of(len(relevance), len(relevance)))
        turns = np.empty(len(relevance), np.int64)
        turns[rank.ravel()] = parts.ravel()
        yield None
        for progress in curves.run():
            if not curves.known(0):
                yield None
                continue
            areas = {
                name: float(np.mean([curves.area(number) for number in members]))
                for name, members in curves.groups().items()
            }
            yield Score(
                areas.pop("map"),
                f"{target.unit}, mean over the curve",
                progress=progress,
                controls=areas,
                curves=curves.lines("share of patches removed"),
                maps={"map": values, "turn": rank.astype(np.float32)},
                details={"counts": curves.counts, "values": curves.mean("map"), "order": turns},
                notes=(f"{len(relevance)} patches; missing ones: {self.substrate}.",),
                warnings=("W_OOD",),
            )

    def _explained_again(
        self, case: Case, relevance: NDArray[np.float64], parts: NDArray[np.intp], base: Tensor | None
    ) -> Generator[None, None, NDArray[np.int32]]:
        """Return the patches' turns when each is chosen on a map of what is left of the picture."""
        import torch

        order: list[int] = []
        while len(order) < len(relevance):
            left = relevance.copy()
            left[order] = -np.inf
            order.append(int(left.argmax()))
            gone = np.isin(parts, order)
            out = torch.empty_like(case.image)
            path("", np.where(gone, 0, 1), case.image, base).write(out[0], 1)
            if len(order) < len(relevance):
                yield None
                found = yield from case.explaining(image=out)
                relevance = sums(map_of(found, self.reduction), parts)
        return in_order(np.array(order), parts)
