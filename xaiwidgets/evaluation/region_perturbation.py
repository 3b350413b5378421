"""Region perturbation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from xaiwidgets.core.knobs import Choice, Range, knob
from xaiwidgets.core.metric_cards import metric
from xaiwidgets.core.scores import Score
from xaiwidgets.evaluation.case import REDUCTIONS, map_of
from xaiwidgets.evaluation.controls import sobel_map
from xaiwidgets.evaluation.parts import part_ranks, squares, sums
from xaiwidgets.evaluation.paths import Curves, counts_of
from xaiwidgets.evaluation.removal import SUBSTRATES, path, substrate

if TYPE_CHECKING:
    from collections.abc import Generator

    from numpy.typing import NDArray

    from xaiwidgets.evaluation.case import Case
    from xaiwidgets.evaluation.removal import Path

BEST, LEAST = "most relevant first", "least relevant first"


@metric(
    title="Region perturbation",
    category="behavior",
    question="Does the score fall fast when the most relevant regions are replaced, and late for the least relevant?",
    cite="Samek, Binder, Montavon, Lapuschkin, Müller 2017",
    paper="arXiv:1509.06321",
    section="4.6",
    direction="higher",
    formula="AOPC = 1/(L + 1) Σ_k (f(x⁰) - f(xᵏ)), k = 0 … L, xᵏ with k regions replaced",
    how="The picture is cut into squares, each with the sum of its relevance. They are filled with random colors one "
    "after another, and the fall of the score is averaged over the steps, and over several fills.",
    caution="Random colors make pictures no network was trained on: the fall for a random order shows what they do by "
    "themselves.",
)
class RegionPerturbation:
    """Area over the perturbation curve, AOPC (Samek et al. 2017, equation 12), in probability or logits.

    ``details``: ``morf`` and ``lerf``, the areas with the most and the least relevant region first; ``between``, their
    difference; ``aopc``, the area after each number of regions, ``(steps + 1,)``; ``regions``, how many there are.

    Raises:
        NotApplicable: a hidden unit is explained, which has no probability.
    """

    region: int = knob(9, Range(1, 112), label="Region", help="Side of the squares that are replaced.", unit="px")
    steps: int = knob(100, Range(1, 4096), label="Steps", help="How many regions are replaced, at most.")
    points: int = knob(
        25,
        Range(1, 4096),
        label="Places",
        help="At how many of the steps the score is measured; the curve is straight between.",
        advanced=True,
    )
    repeats: int = knob(3, Range(1, 50), label="Fills", help="Random fills that are averaged. The paper takes 10.")
    order: str = knob(
        "morf",
        Choice(("morf", "lerf", "between")),
        label="Order",
        help="Most relevant first, least relevant first (then a small fall is good), or their difference, which is 0 "
        "on average for random maps.",
    )
    fill: str = knob("noise", SUBSTRATES, label="Fill", help="What a region is replaced by. noise: random colors.")
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
        parts = squares(case.size, self.region)
        number = int(parts.max()) + 1
        paths = self._paths(case, values, parts)
        curves = Curves(case.model, target, paths, counts_of(min(self.steps, number), self.points))
        yield None
        for progress in curves.run():
            yield self._score(curves, progress, values, number) if curves.known(1) else None

    def _paths(self, case: Case, values: NDArray[np.float32], parts: NDArray[np.intp]) -> list[Path]:
        relevance = sums(values, parts)
        edges = sums(sobel_map(case.model.to_pixels(case.image), case.seed), parts)
        found = []
        for repeat in range(self.repeats if self.fill == "noise" else 1):
            base = substrate(case.model, case.image, self.fill, case.rng(0, repeat))
            by_chance = case.rng(1, repeat).random(len(relevance))
            rankings = {BEST: relevance, LEAST: -relevance, "random": by_chance, "edges": edges}
            found += [path(name, part_ranks(by, parts), case.image, base) for name, by in rankings.items()]
        return found

    def _score(self, curves: Curves, progress: float, values: NDArray[np.float32], number: int) -> Score:
        last = int(curves.counts[-1])
        areas: dict[str, NDArray[np.float64]] = {}
        for name in curves.groups():
            every = np.interp(np.arange(last + 1), curves.counts, curves.mean(name))
            areas[name] = np.cumsum(every[0] - every) / np.arange(1, last + 2)
        aopc = {name: float(found[-1]) for name, found in areas.items()}
        kinds = {"morf": aopc[BEST], "lerf": aopc[LEAST], "between": aopc[BEST] - aopc[LEAST]}
        details: dict[str, Any] = {**kinds, "aopc": areas[BEST], "counts": curves.counts, "regions": number}
        controls = {name: found for name, found in aopc.items() if name not in (BEST, LEAST)}
        return Score(
            kinds[self.order],
            f"{curves.target.unit}, mean fall over {last} regions",
            direction="lower" if self.order == "lerf" else "higher",
            progress=progress,
            controls={} if self.order == "between" else controls,
            curves=curves.lines("regions replaced", curves.counts.astype(np.float64)),
            maps={"map": values},
            details=details,
            notes=(f"{last} of {number} regions of {self.region} px were replaced ({self.fill}).",),
            warnings=("W_OOD",),
        )
