"""Model-parameter randomization test."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from xaiwidgets.core.knobs import Choice, Flag, Range, knob
from xaiwidgets.core.metric_cards import metric
from xaiwidgets.core.scores import Limit, Score, mean_and_interval
from xaiwidgets.evaluation.cascade import Cascade, chosen_steps, entropy, flat, step_name
from xaiwidgets.evaluation.case import map_of
from xaiwidgets.evaluation.similarity import SIMILARITIES, random_spearman, small

if TYPE_CHECKING:
    from collections.abc import Generator

    from torch import Tensor

    from xaiwidgets.core.results import Attribution
    from xaiwidgets.evaluation.case import Case

#: The similarity that the verdict is about.
MAIN = "spearman_abs"
#: Pictures of a set that normalizations are calibrated on, at most.
PROBES = 8
#: Names of weights that are told.
TOLD = 4


@metric(
    title="Model randomization",
    category="weights",
    question="Does the map change when the network forgets what it has learned?",
    cite="Adebayo et al. 2018",
    paper="arXiv:1810.03292",
    section="4.1",
    direction="lower",
    range=(-1.0, 1.0),
    limit=Limit(
        "<",
        0.46,
        "Between the methods that the paper calls sensitive and those it calls insensitive, on nets and photos that "
        "come with xaiwidgets; the paper itself gives no number.",
    ),
    formula="mean over stages and seeds of ρ(|e|, |e′|), ρ Spearman's rank correlation, e′ the map of the same class "
    "after the weights of a stage (and of all above it) were drawn anew",
    how="Layers get random weights from the top down, and the map is made again after each. A map that explains what "
    "the network has learned must then be another one. Edges of the photo are beside it: they never change.",
    caution="A map that changes may still be wrong. Top-down cascades keep early layers, and with them much of the "
    "photo, alive for long; absolute values hide changes of sign: compare the other curves.",
)
class ModelParameterRandomization:
    """Similarity of maps before and after weights are drawn anew (Adebayo et al. 2018, section 3), in [-1, 1].

    ``curves``: each similarity by stage, and the rank correlation of controls; ``maps``: the trained network's map and
    one of each stage of the last seed; ``details``: ``values`` by similarity, ``(seeds, stages)``, ``stages`` their
    names in the order in which they were drawn, ``means`` by similarity. The target is the class asked about. Maps are
    compared as absolute values but for ``spearman_signed``; SSIM and HOG after division by the 99th percentile.

    ``smooth`` averages each map over noisy inputs, and ``complexity`` reports how much the histogram entropy of the map
    rises when all is drawn (Hedström et al. 2023), as ``details["complexity"]`` of the last score.
    """

    order: str = knob(
        "cascading",
        Choice(("cascading", "bottom_up", "independent", "all")),
        label="Order",
        help="cascading: from the scores down, each on top of those before; bottom_up: from the picture; independent: "
        "one stage at a time; all: everything at once.",
    )
    stages: int = knob(
        0,
        Range(0, 60),
        label="Stages",
        help="How many are looked at, evenly spread and always with the first and the last; 0 is all of them.",
    )
    seeds: int = knob(1, Range(1, 20), label="Seeds", help="How often all is drawn.")
    blocks: bool = knob(
        True, Flag(), label="By blocks", help="Residual and inception blocks count as one stage; off: every layer."
    )
    similarities: str = knob(
        "all",
        Choice(("all", "rank")),
        label="Similarities",
        help="all: rank correlations, SSIM and HOG; rank: only that of absolute values, which is faster.",
    )
    norms: str = knob(
        "recalibrate",
        Choice(("recalibrate", "keep", "reset")),
        label="BatchNorm",
        help="Statistics of drawn stages: taken anew from the pictures, kept from training, or 0 and 1.",
        advanced=True,
    )
    smooth: int = knob(
        1,
        Range(1, 50),
        label="Noisy copies",
        help="Maps are means over so many noisy pictures; 1 is none.",
        advanced=True,
    )
    noise: float = knob(
        0.1,
        Range(0.01, 0.5),
        label="Noise",
        help="Its deviation, as a share of the input's range, for noisy copies.",
        advanced=True,
    )

    def score(self, case: Case) -> Generator[Score | None, None, None]:
        """Yield the mean over what was drawn so far, stage after stage."""
        from xaiwidgets.evaluation.weights import Randomizer, left_out, stages_of

        stages = stages_of(case.model, blocks=self.blocks)
        steps = chosen_steps(self.order, len(stages), self.stages)
        names = tuple(SIMILARITIES) if self.similarities == "all" else (MAIN,)
        trained = yield from self._map(case)
        found = Cascade(tuple(step_name(stages, step, self.order) for step in steps), names)
        found.maps["trained"] = map_of(trained, "signed")
        found.kept = left_out(case.model, stages)
        places, drawn = case.size[0] * case.size[1], 0
        chance = case.rng(3)
        for seed in range(self.seeds):
            yield None
            randomizer = Randomizer(case.model, stages, case.seed * 1000 + seed, self.norms, self._probe(case))
            found.begin()
            try:
                for step in steps:
                    model = randomizer.set(step)
                    yield None
                    made = yield from self._map(case, model=model)
                    drawn += 1
                    found.add(trained, made, random_spearman(places, chance))
                    yield self._report(case, found, drawn / (self.seeds * len(steps)))
            finally:
                randomizer.release()

    def _map(self, case: Case, **other: Any) -> Generator[None, None, Attribution]:
        """Return the map of the case, or of another network; the mean over noisy pictures if that is wanted."""
        if self.smooth == 1:
            return (yield from (case.explaining(**other) if other else case.attribution()))
        import torch

        spread = self.noise * (float(case.image.max()) - float(case.image.min()))
        total: Any = 0.0
        for copy in range(self.smooth):
            generator = torch.Generator().manual_seed(case.seed * 9973 + copy)
            noise = spread * torch.randn(case.image.shape, generator=generator).to(case.image)
            made = yield from case.explaining(image=case.image + noise, **other)
            total = total + made.values
        return made.replace(values=total / self.smooth)

    def _probe(self, case: Case) -> Tensor:
        """Return the inputs that normalizations are calibrated on: those of ``data``, or the picture itself."""
        import torch

        if case.data is None:
            return case.image
        pictures = case.data if isinstance(case.data, (list, tuple)) else [case.data]
        return torch.cat([case.model.input(getattr(one, "pixels", one)) for one in pictures[:PROBES]])

    def _report(self, case: Case, found: Cascade, progress: float) -> Score:
        values = flat(found.values[MAIN])
        mean, interval = mean_and_interval(values, seed=case.seed)
        undefined = sum(map(math.isnan, values))
        notes = [_kept(found.kept)] if found.kept else []
        if undefined:
            notes.append(f"{undefined} of {len(values)} maps were constant, and have no rank correlation.")
        last = list(found.maps.values())[-1]
        return Score(
            mean,
            "mean rank correlation of absolute maps",
            progress=progress,
            interval=interval,
            controls={"edges": 1.0, "random": float(np.mean(flat(found.random)))},
            curves=found.curves(),
            maps=dict(found.maps),
            items=tuple(values),
            notes=tuple(notes),
            warnings=(*(["W_DEGENERATE"] if undefined else []), *(["W_SMALL"] if small(case.size) else [])),
            details={
                "values": {name: [list(seed) for seed in rows] for name, rows in found.values.items()},
                "means": found.means(),
                "stages": found.ticks,
                "complexity": (entropy(found.maps["trained"]), entropy(last)) if progress == 1 else None,
            },
        )


def _kept(names: tuple[str, ...]) -> str:
    """Return which weights are never drawn, in a sentence."""
    some = ", ".join(names[:TOLD]) + (", …" if len(names) > TOLD else "")
    return f"Weights of modules that a pass does not call are not drawn: {some}."
