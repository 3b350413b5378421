"""Pointing game."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from xaiwidgets.core.knobs import Range, knob
from xaiwidgets.core.metric_cards import metric
from xaiwidgets.core.scores import Score
from xaiwidgets.evaluation.case import map_of
from xaiwidgets.evaluation.controls import CONTROLS

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    from numpy.typing import NDArray

    from xaiwidgets.data.scenes import Scene
    from xaiwidgets.evaluation.case import Case

#: The benchmark's pictures, for which its tolerance was chosen, are about so large.
SIDE = 224
#: Objects that cover less of the picture than this may be difficult.
DIFFICULT = 0.25


@metric(
    title="Pointing game",
    category="localization",
    question="Does the strongest place of the map lie on the object?",
    cite="Zhang et al. 2018",
    paper="arXiv:1608.00507",
    section="4",
    direction="higher",
    range=(0.0, 1.0),
    needs=("truth",),
    formula="1 if the distance from argmax e to the object's mask is at most the tolerance, else 0",
    how="The place of the map's largest value is looked up in the object's mask. Several equal maxima count by their "
    "share.",
    caution="A network may look at something beside the object, and a map that says so truly misses. A map that always "
    "points at the center wins on photos with centered objects: compare with the center's score.",
)
class PointingGame:
    """Share of maxima on the object (Zhang et al. 2018, section 4.2), 0 or 1 unless maxima are tied.

    ``details``: ``energy``, the share of positive evidence on the object; ``area``, the object's share of the picture,
    which is what a random map gets of both; ``class``, whose accuracies the benchmark averages; and ``difficult``, its
    harder part: the object covers less than a quarter of the picture, which also shows another class (the scene's fact
    ``others``). Reduction: ``pos`` for signed maps, else ``abs``.
    """

    tolerance: float = knob(
        15.0,
        Range(0.0, 60.0, step=1),
        label="Tolerance",
        help="How far from the object still counts, of a picture of 224 px; it is scaled with the picture.",
        unit="px",
    )

    def score(self, case: Case) -> Generator[Score | None, None, None]:
        """Yield one score."""
        found = yield from case.attribution()
        values = map_of(found, "pos" if found.signed else "abs")
        mask = case.scene.mask if case.scene is not None else None
        if mask is None:
            raise ValueError("a scene without boxes and masks has no truth")
        reach = self.tolerance / SIDE * max(mask.shape)
        near = within(mask, reach)
        pixels = case.model.to_pixels(case.image)
        controls = {name: hit(make(pixels, case.seed), near) for name, make in CONTROLS.items()}
        total = float(values.sum())
        energy = float(values[mask].sum()) / total if total > 0 else math.nan
        empty = float(values.max()) <= 0
        yield Score(
            math.nan if empty else hit(values, near),
            "share of maxima on the object",
            controls=controls,
            maps={"map": values, "object": mask.astype(np.float32)},
            details={
                "energy": energy,
                "area": float(mask.mean()),
                "tolerance": reach,
                "class": case.target.name,
                "difficult": difficult(case.scene, mask),
            },
            notes=("The map has no positive value: it points nowhere.",) if empty else (),
            warnings=("W_DEGENERATE",) if empty else (),
        )


def difficult(scene: Scene | None, mask: NDArray[np.bool_]) -> bool:
    """Return whether an object covers less than a quarter of a picture that shows another class, too."""
    return scene is not None and bool(scene.facts.get("others")) and float(mask.mean()) < DIFFICULT


def by_class(scores: Iterable[Score]) -> float:
    """Return the mean over classes of each class's mean, as the benchmark does; scores without a value are left out.

    Args:
        scores: of the pointing game.
    """
    classes: dict[str, list[float]] = {}
    for one in scores:
        if math.isfinite(one.value):
            classes.setdefault(one.details["class"], []).append(one.value)
    return float(np.mean([np.mean(values) for values in classes.values()])) if classes else math.nan


def within(mask: NDArray[np.bool_], reach: float) -> NDArray[np.bool_]:
    """Return the pixels whose distance to the nearest pixel of a mask is at most ``reach``."""
    from scipy.ndimage import distance_transform_edt

    return np.asarray(distance_transform_edt(~mask) <= reach)


def hit(values: NDArray[np.float32], near: NDArray[np.bool_]) -> float:
    """Return the share of a map's maxima that lie in a mask."""
    return float(near[values == values.max()].mean())
