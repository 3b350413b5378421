"""Pixel flipping."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from xaiwidgets.core.knobs import Choice, Range, knob
from xaiwidgets.core.metric_cards import metric
from xaiwidgets.core.scores import Score
from xaiwidgets.engine.ranks import ranks
from xaiwidgets.evaluation.case import REDUCTIONS, map_of
from xaiwidgets.evaluation.controls import sobel_map
from xaiwidgets.evaluation.paths import Curves, counts_of
from xaiwidgets.evaluation.removal import SUBSTRATES, path, substrate

if TYPE_CHECKING:
    from collections.abc import Generator

    from xaiwidgets.evaluation.case import Case

HIGHEST, LOWEST, NEAREST = "highest first", "lowest first", "nearest to zero first"


@metric(
    title="Pixel flipping",
    category="behavior",
    question="Do flipped pixels with much relevance change the score, and those with none leave it alone?",
    cite="Bach et al. 2015",
    paper="10.1371/journal.pone.0130140",
    section="4.6",
    direction="lower",
    formula="mean over q of f(x with its q highest pixels flipped), white for black",
    how="Pixels are inverted one after another in three orders: highest relevance first, lowest first, and nearest to "
    "zero first. Each has its curve; the area under the first is the result.",
    caution="A gray pixel is its own inverse. Of a map without negative values, lowest and nearest to zero are one.",
)
class PixelFlipping:
    """Area under the score while pixels are flipped, highest relevance first (Bach et al. 2015, section "MNIST").

    In probability or logits. ``details``: ``lowest`` and ``nearest``, the areas of the two other orders, which should
    rise or fall late; ``counts`` and ``values``, the curve; ``order``, flat indices of pixels as their turns come;
    ``substrate`` and ``insert``, for ``evaluation.removal.at``.

    Raises:
        NotApplicable: a hidden unit is explained, which has no probability.
    """

    steps: int = knob(28, Range(2, 4096), label="Steps", help="Places at which the curves are measured.")
    substrate: str = knob("invert", SUBSTRATES, label="Flip to", help="What a pixel becomes. invert: white for black.")
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
        base = substrate(case.model, case.image, self.substrate, case.rng(0))
        edges = sobel_map(case.model.to_pixels(case.image), case.seed)
        by = [(HIGHEST, values), (LOWEST, -values), (NEAREST, -np.abs(values)), ("edges", edges)]
        by += [("random", case.rng(1, draw).random(values.shape)) for draw in range(self.draws)]
        rankings = [(name, ranks(one)) for name, one in by]
        paths = [path(name, rank, case.image, base) for name, rank in rankings]
        curves = Curves(case.model, target, paths, counts_of(values.size, self.steps))
        known = {
            "order": np.argsort(rankings[0][1], axis=None, kind="stable").astype(np.int32),
            "counts": curves.counts,
            "substrate": self.substrate,
            "insert": False,
        }
        yield None
        for progress in curves.run():
            if not curves.known(2):
                yield None
                continue
            areas = {
                name: float(np.mean([curves.area(number) for number in members]))
                for name, members in curves.groups().items()
            }
            value, lowest, nearest = (areas.pop(name) for name in (HIGHEST, LOWEST, NEAREST))
            yield Score(
                value,
                f"{target.unit}, mean over the curve",
                progress=progress,
                controls=areas,
                curves=curves.lines("share of pixels flipped"),
                maps={"map": values},
                details={**known, "values": curves.mean(HIGHEST), "lowest": lowest, "nearest": nearest},
                notes=(f"Flipped pixels: {self.substrate}.",),
                warnings=("W_OOD",),
            )
