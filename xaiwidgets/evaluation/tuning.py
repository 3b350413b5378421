"""Thresholds of localization, chosen on scenes that are held out for that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from xaiwidgets.errors import InvalidImage
from xaiwidgets.evaluation.boxes import LEVELS, RULES, best_iou, box_of, foreground
from xaiwidgets.evaluation.case import map_of
from xaiwidgets.evaluation.judge import case_of

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from numpy.typing import NDArray

    from xaiwidgets.data.scenes import Scene
    from xaiwidgets.model.model import Model


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
    steps = maps_and_truth(model, scenes, method, evidence=evidence)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            maps, truth = end.value
            return best_threshold(maps, truth, largest=largest)


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
    maps: Sequence[NDArray[np.float32]],
    truth: Sequence[NDArray[np.int64]],
    *,
    largest: bool = False,
    overlap: float = 0.5,
) -> Threshold:
    """Return the threshold that misses the fewest; of several, the one whose boxes overlap the true ones most."""
    errors, best = {}, (2.0, 0.0)
    chosen = RULES[0], LEVELS[RULES[0]][0]
    for rule in RULES:
        for level in LEVELS[rule]:
            found = overlaps(maps, truth, rule, level, largest=largest)
            errors[rule, level] = float(np.mean(~(found > overlap)))
            rank = errors[rule, level], -float(found.mean())
            if rank < best:
                best, chosen = rank, (rule, level)
    return Threshold(*chosen, errors[chosen], len(maps), errors)
