"""What deletion and insertion share: the map's curve beside those of rankings that know nothing of the network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from xaiwidgets.core.knobs import Choice, Range, knob
from xaiwidgets.core.scores import Score
from xaiwidgets.engine.ranks import ranks
from xaiwidgets.evaluation.case import REDUCTIONS, map_of
from xaiwidgets.evaluation.controls import sobel_map
from xaiwidgets.evaluation.paths import Curves, counts_of
from xaiwidgets.evaluation.removal import SUBSTRATES, path, picture, substrate

if TYPE_CHECKING:
    from collections.abc import Generator

    from numpy.typing import NDArray

    from xaiwidgets.evaluation.case import Case
    from xaiwidgets.model.model import Model

#: Orders that are drawn where equal values are ordered by chance.
TIES = 5
#: Parts of the way of which the score shows a picture.
SHOWN = (0.25, 0.5, 0.75)


@dataclass(frozen=True)
class RemovalCurve:
    """Area under the score of a picture that loses, or gains, its pixels in the order of a map.

    Pixels go with all their channels. ``details``: ``order``, the pixels' flat indices as their turns come; ``counts``
    and ``values``, the map's curve; ``start`` and ``end``, its ends; ``gain``, how much better than random it is;
    ``random_spread``, the standard deviation over random orders; ``tied``, the share of pixels whose value is that of
    others, too. ``evaluation.removal.at`` makes the picture at any place of the curve.
    """

    insert: ClassVar[bool] = False

    steps: int = knob(
        28, Range(2, 4096), label="Steps", help="Places at which the curve is measured. The paper takes 224."
    )
    substrate: str = knob(
        "mean", SUBSTRATES, label="Substrate", help="What stands where a pixel is missing: it is part of the question."
    )
    output: str = knob(
        "probability",
        Choice(("probability", "logit")),
        label="Score",
        help="The papers watch the probability; the logit does not saturate.",
        advanced=True,
    )
    reduction: str = knob(
        "abs",
        Choice(REDUCTIONS),
        label="Channels",
        help="How the colors of a pixel become one number. abs ranks evidence for and against the class alike.",
        advanced=True,
    )
    draws: int = knob(3, Range(1, 50), label="Random orders", help="How many are averaged for the control.")
    ties: str = knob(
        "index",
        Choice(("index", "random")),
        label="Equal values",
        help="Go from top left to bottom right, or in five orders drawn by chance, whose mean is given.",
        advanced=True,
    )

    def score(self, case: Case) -> Generator[Score | None, None, None]:
        """Yield the area over a coarse curve, then with more and more of the other steps."""
        found = yield from case.attribution()
        values = map_of(found, self.reduction)
        target = case.probability() if self.output == "probability" else case.target
        base = substrate(case.model, case.image, self.substrate, case.rng(0))
        pixels = case.model.to_pixels(case.image)
        rankings = [("map", rank) for rank in self._ranks(values, case)]
        rankings += [("edges", ranks(sobel_map(pixels, case.seed)))]
        rankings += [("random", ranks(case.rng(1, draw).random(values.shape))) for draw in range(self.draws)]
        paths = [path(name, rank, case.image, base, insert=self.insert) for name, rank in rankings]
        curves = Curves(case.model, target, paths, counts_of(values.size, self.steps))
        known = {
            "order": np.argsort(rankings[0][1], axis=None, kind="stable").astype(np.int32),
            "counts": curves.counts,
            "tied": tied(values),
            "substrate": self.substrate,
            "insert": self.insert,
        }
        yield None
        for progress in curves.run():
            yield self._score(curves, values, known, progress, case.model) if curves.known(0) else None

    def _ranks(self, values: NDArray[np.float32], case: Case) -> list[NDArray[np.int32]]:
        if self.ties == "index" or tied(values) == 0:
            return [ranks(values)]
        return [ranks(values, case.rng(2, draw)) for draw in range(TIES)]

    def _score(
        self, curves: Curves, values: NDArray[np.float32], known: dict[str, Any], progress: float, model: Model
    ) -> Score:
        areas = {name: [curves.area(number) for number in members] for name, members in curves.groups().items()}
        mean = {name: float(np.mean(found)) for name, found in areas.items()}
        sign = 1 if self.insert else -1
        map_curve = curves.mean("map")
        ends = {"start": float(map_curve[0]), "end": float(map_curve[-1])}
        details: dict[str, Any] = {**known, "values": map_curve, **ends}
        if "random" in mean:
            details["gain"] = sign * (mean["map"] - mean["random"])
            details["random_spread"] = float(np.std(areas["random"]))
        notes = [f"Missing pixels: {self.substrate}. Another substrate asks another question."]
        flat = bool((values == values[0, 0]).all())
        if flat:
            notes.append("The map is constant: its order is that of the pixels in the picture.")
        elif details["tied"] > 0.5 and self.ties == "index":
            notes.append(f"{details['tied']:.0%} of the pixels share their value: ties='random' orders them by chance.")
        return Score(
            mean["map"],
            f"{curves.target.unit}, mean over the curve",
            progress=progress,
            controls={name: number for name, number in mean.items() if name != "map"},
            curves=curves.lines(f"share of pixels {'shown' if self.insert else 'removed'}"),
            pictures=self._pictures(curves, model) if progress == 1 else {},
            maps={"map": values},
            details=details,
            notes=tuple(notes),
            warnings=("W_OOD", "W_DEGENERATE") if flat else ("W_OOD",),
        )

    def _pictures(self, curves: Curves, model: Model) -> dict[str, NDArray[np.uint8]]:
        import torch

        found = {}
        for share in SHOWN:
            out = torch.empty_like(curves.paths[0].image)
            curves.paths[0].write(out[0], round(share * curves.paths[0].length))
            found[f"{share:.0%} {'shown' if self.insert else 'removed'}"] = picture(model, out)
        return found


def tied(values: NDArray[np.float32]) -> float:
    """Return the share of pixels whose value is that of another pixel, too."""
    counts = np.unique(values, return_counts=True)[1]
    return float(counts[counts > 1].sum() / values.size)
