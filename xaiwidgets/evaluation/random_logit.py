"""Random-logit test."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from xaiwidgets.core.knobs import Choice, Range, knob
from xaiwidgets.core.metric_cards import metric
from xaiwidgets.core.scores import Curve, Score, mean_and_interval
from xaiwidgets.errors import NotApplicable
from xaiwidgets.evaluation.case import map_of
from xaiwidgets.evaluation.controls import CONTROLS
from xaiwidgets.evaluation.similarity import SIMILARITIES, small

if TYPE_CHECKING:
    from collections.abc import Generator

    from xaiwidgets.evaluation.case import Case


@metric(
    title="Random logit",
    category="data",
    question="Does the map change when another class is asked about?",
    cite="Sixt, Granz, Landgraf 2020",
    paper="arXiv:1912.09818",
    section="extra",
    direction="lower",
    range=(-1.0, 1.0),
    formula="mean over other classes c′ of SSIM(|e_c|, |e_c′|)",
    how="The same network is asked about other classes, drawn at random, on the same picture. A map that explains a "
    "class must then be another one. Edges of the photo are beside it: they never change.",
    caution="Classes that share their evidence have similar maps with good reason, and a network of two classes with "
    "one score each may tell both from the same places. Absolute values hide changes of sign: compare the details.",
)
class RandomLogit:
    """Similarity of maps of the class asked about and of others (Sixt et al. 2020), in [-1, 1].

    ``maps``: those of all classes, signed; ``items``: a similarity for each other class; ``details``: ``means`` by
    similarity, ``classes``. Maps are compared as absolute values but for ``spearman_signed``; SSIM and HOG over both
    dimensions of maps divided by their 99th percentile.
    """

    classes: int = knob(5, Range(1, 100), label="Classes", help="How many other classes are drawn, without repeats.")
    similarity: str = knob(
        "ssim",
        Choice(tuple(SIMILARITIES)),
        label="Similarity",
        help="Which one the score is; all of them are in the details.",
    )

    def score(self, case: Case) -> Generator[Score | None, None, None]:
        """Yield the mean over the classes so far."""
        own = case.target
        others = [c for c in range(case.model.classes) if c not in own.classes]
        if own.layer or own.minus is not None or not others:
            found = "there is no other" if not others else f"{own.name} is something else"
            raise NotApplicable("random_logit", "a class as the target, and others", found)
        given = yield from case.attribution()
        pair = {how: map_of(given, how) for how in ("abs", "signed")}
        drawn = case.rng(0).permutation(len(others))[: self.classes]
        values: dict[str, list[float]] = {name: [] for name in SIMILARITIES}
        maps, names = {own.name: pair["signed"]}, []
        pixels = case.model.to_pixels(case.image)
        known = [CONTROLS["random"](pixels, case.seed + more) for more in (0, 1)]
        chance = SIMILARITIES[self.similarity](*known)
        for number, place in enumerate(drawn):
            yield None
            target = case.model.target(others[place]).with_output(own.output)
            made = yield from case.explaining(target=target)
            for name, compare in SIMILARITIES.items():
                how = "signed" if name == "spearman_signed" else "abs"
                values[name].append(compare(pair[how], map_of(made, how)))
            names.append(target.name)
            maps[target.name if target.name not in maps else f"{target.name} {others[place]}"] = map_of(made, "signed")
            main = values[self.similarity]
            mean, interval = mean_and_interval(main, seed=case.seed)
            undefined = sum(map(math.isnan, main))
            warnings = (*(["W_DEGENERATE"] if undefined else []), *(["W_SMALL"] if small(case.size) else []))
            yield Score(
                mean,
                f"mean {self.similarity} with other classes",
                progress=(number + 1) / len(drawn),
                interval=interval,
                controls={"edges": 1.0, "random": chance},
                curves=(
                    Curve(
                        self.similarity, np.arange(len(main), dtype=np.float64), np.array(main), "class", "similarity",
                        ticks=tuple(names),
                    ),
                ),
                maps=dict(maps),
                items=tuple(main),
                notes=(f"{undefined} of {len(main)} maps were constant, and have no similarity.",) if undefined else (),
                warnings=warnings,
                details={"means": {name: mean_and_interval(v)[0] for name, v in values.items()}, "classes": (*names,)},
            )  # fmt: skip
