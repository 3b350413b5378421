"""Thresholds of localization, chosen on scenes that are held out for that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from xaiwidgets.errors import InvalidImage
from xaiwidgets.evaluation.boxes import LEVELS, RULES, best_iou, box_of, cuts, foreground
from xaiwidgets.evaluation.case import map_of
from xaiwidgets.evaluation.judge import case_of

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from numpy.typing import NDArray

    from xaiwidgets.data.scenes import Scene
    from xaiwidgets.model.model import Model

T = TypeVar("T")
#: The overlap that a hit must exceed.
HIT = 0.5


@dataclass(frozen=True)
class Threshold:
    """A rule and a level with which a method's boxes miss the fewest objects.

    Attributes:
        rule, level: as in ``LocalizationError``.
        error: share of the held-out scenes that are missed. ``count``: how many there were.
        errors: error by (rule, level), of all that were tried.
    """

    rule: str
    level: float
    error: float
    count: int
    errors: Mapping[tuple[str, float], float]

    @property
    def knobs(self) -> dict[str, Any]:
        """What ``LocalizationError`` takes: ``evaluate(…, "localization_error", **threshold.knobs)``."""
        return {"rule": self.rule, "level": self.level}


def tune_localization(
    model: Model, scenes: Sequence[Scene], method: Any, *, evidence: str = "pos", largest: bool = False
) -> Threshold:
    """Return the threshold with the least localization error of a method on held-out scenes.

    Tried are energy 0 to 0.95 by 0.05, value 0 to 0.95 by 0.05, and mean 0 to 10 by 0.5 (Fong and Vedaldi 2017).

    Args:
        model: under study.
        scenes: with boxes or masks. They must not be those that the error is measured on afterwards.
        method: as for ``evaluate``.
        evidence: as in ``LocalizationError``.
        largest: the same.

    Raises:
        InvalidImage: no scenes, or one without truth.
    """
    return finished(_tuned(model, scenes, method, evidence, largest=largest))


def _tuned(
    model: Model, scenes: Sequence[Scene], method: Any, evidence: str, *, largest: bool
) -> Generator[None, None, Threshold]:
    maps, truth = yield from maps_and_truth(model, scenes, method, evidence=evidence)
    found = yield from best_threshold(maps, truth, largest=largest)
    return found


def finished(steps: Generator[None, None, T]) -> T:
    """Return what a generator returns in the end."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]


def maps_and_truth(
    model: Model, scenes: Sequence[Scene], method: Any, *, evidence: str = "pos"
) -> Generator[None, None, tuple[list[NDArray[np.float32]], list[NDArray[np.int64]]]]:
    """Return a method's maps ``(H, W)`` of scenes, and the scenes' boxes; yields while they are computed."""
    if not scenes:
        raise InvalidImage("scenes must be a list of at least one scene with boxes or masks.")
    maps, truth = [], []
    for scene in scenes:
        boxes = getattr(scene, "boxes", None)
        if boxes is None:
            raise InvalidImage(f"scenes must have boxes or masks; {getattr(scene, 'name', scene)!r} has none.")
        found = yield from case_of(model, scene, method).attribution()
        maps.append(map_of(found, evidence if found.signed else "abs"))
        truth.append(boxes)
        yield
    return maps, truth


def overlaps(
    maps: Sequence[NDArray[np.float32]], truth: Sequence[NDArray[np.int64]], rule: str, level: float, *, largest: bool
) -> NDArray[np.float64]:
    """Return for each map the largest intersection over union of its box with a true one."""
    boxes = (box_of(foreground(one, rule, level), largest=largest) for one in maps)
    return np.array([best_iou(box, boxes_) for box, boxes_ in zip(boxes, truth, strict=True)])


def best_threshold(
    maps: Sequence[NDArray[np.float32]], truth: Sequence[NDArray[np.int64]], *, largest: bool = False
) -> Generator[None, None, Threshold]:
    """Return the threshold that misses the fewest; of several, the one whose boxes overlap the true ones most.

    Yields after each map.
    """
    tried = [(rule, level) for rule in RULES for level in LEVELS[rule]]
    found = np.zeros((len(maps), len(tried)))
    for row, one, boxes in zip(found, maps, truth, strict=True):
        values = np.asarray(one, np.float64)
        limits = [cut for rule in RULES for cut in cuts(values, rule, LEVELS[rule])]
        row[:] = [best_iou(box_of(values >= cut, largest=largest), boxes) for cut in limits]
        yield
    missed = np.mean(~(found > HIT), axis=0)
    best = int(np.lexsort((-found.mean(axis=0), missed))[0])
    errors = {key: float(error) for key, error in zip(tried, missed, strict=True)}
    return Threshold(*tried[best], errors[tried[best]], len(maps), errors)
