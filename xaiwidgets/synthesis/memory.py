"""What an inversion keeps for one layer: its pictures, one step of their descent, and how good they are."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xaiwidgets.synthesis import priors

if TYPE_CHECKING:
    from torch import Tensor

    from xaiwidgets.synthesis.matching import Features
    from xaiwidgets.synthesis.representation_inversion import RepresentationInversion

#: How much steeper than a color's size its differences to neighbors are penalized: in photos they are so much smaller.
EDGE = 6.5
#: How much of the running mean of squared slopes is kept at a step (Kingma and Ba 2015), and what keeps it above 0.
KEPT, ABOVE = 0.999, 1e-12


@dataclass(frozen=True, eq=False)
class Memory:
    """The pictures of one layer, and how they got there.

    Attributes:
        goal: what is compared with the photo. ``stride``: of the layer, in pixels.
        pictures: ``(N, C, H, W)`` in halves of the range from black to white, less the mean color, one a start.
        slope: derivative of ``errors`` by them, ``None`` where it must be taken anew.
        motion, size: running means of slopes and of their squares.
        weight: the sum of the weights in ``motion``. ``turns``: how many steps were done.
        errors: squared relative errors ``(N,)``. ``before``: the mean of those of the start.
    """

    goal: Features
    stride: float
    pictures: Tensor
    motion: Tensor
    size: Tensor
    errors: Tensor
    before: float
    slope: Tensor | None = None
    weight: float = 0.0
    turns: int = 0


#: What of a memory is saved as an array, and as a number.
ARRAYS, NUMBERS = ("pictures", "motion", "size", "errors", "slope"), ("weight", "turns", "before")


def descend(memory: Memory, slope: Tensor, method: RepresentationInversion) -> Memory:
    """Return the memory with its pictures one step further down; they may leave the range of colors.

    Args:
        memory: before the step.
        slope: of its errors, by its pictures.
        method: the hyper-parameters.
    """
    pictures, values, area = memory.pictures, memory.pictures[0].numel(), memory.pictures[0, 0].numel()
    if method.alpha_weight:
        slope = slope + method.alpha_weight / values * priors.alpha_slope(pictures, method.alpha)
    if method.tv_weight:
        weight = tv_weight(memory, method) * EDGE**2 / area
        slope = slope + weight * priors.variation_slope(pictures, method.beta)
    slope = slope * values  # a step's size means the same for every picture size
    rate, fresh = _rate(memory.turns, method)
    motion, total = (slope.new_zeros(slope.shape), 0.0) if fresh else (memory.motion, memory.weight)
    turns = memory.turns + 1
    if method.optimizer == "momentum":
        motion = method.momentum * motion - rate * slope
        return dataclasses.replace(memory, pictures=pictures + motion, motion=motion, turns=turns)
    motion = method.momentum * motion + (1 - method.momentum) * slope
    total = method.momentum * total + (1 - method.momentum)
    size = KEPT * memory.size + (1 - KEPT) * slope.square()
    length = (size / (1 - KEPT**turns)).sqrt() + ABOVE
    pictures = pictures - rate * motion / total / length
    return dataclasses.replace(memory, pictures=pictures, motion=motion, size=size, weight=total, turns=turns)


def tv_weight(memory: Memory, method: RepresentationInversion) -> float:
    """Return the weight of the total variation for a layer, which may rise in proportion to its stride."""
    return float(method.tv_weight * (memory.stride if method.by_stride else 1.0))


def _rate(turn: int, method: RepresentationInversion) -> tuple[float, bool]:
    """Return the size of the step after ``turn`` steps, and whether it is new, so that motion starts anew."""
    if method.schedule == "constant":
        return method.step_size, False
    first, second = method.iterations // 4, 3 * method.iterations // 4
    return method.step_size * 0.1 ** ((turn >= first) + (turn >= second)), turn in {first, second}


class Gauge:
    """Measures memories by a photo; what has not changed since it was measured last costs nothing."""

    def __init__(self, photo: Tensor) -> None:
        self.photo = photo
        self._kept: dict[str, tuple[Memory, tuple[float, float], tuple[float, float, float]]] = {}

    def measure(self, memory: Memory, method: RepresentationInversion) -> dict[str, float]:
        """Return the parts of the energy, as they are weighted, and the distance to the photo: means over starts."""
        values, area = memory.pictures[0].numel(), memory.pictures[0, 0].numel()
        alpha, variation, distance = self._raw(memory, method)
        return {
            "error": float(memory.errors.sqrt().mean()),
            "squared_error": float(memory.errors.mean()),
            "alpha_prior": method.alpha_weight / values * alpha,
            "tv_prior": tv_weight(memory, method) * EDGE**2 / area * variation,
            "pixel_error": distance,
        }

    def distances(self, pictures: Tensor) -> Tensor:
        """Return each picture's distance to the photo, relative to the photo's own from the mean color."""
        distances: Tensor = (pictures - self.photo).flatten(1).norm(dim=1)
        size: Tensor = self.photo.norm().clamp_min(1e-12)
        return distances / size

    def _raw(self, memory: Memory, method: RepresentationInversion) -> tuple[float, float, float]:
        powers, layer = (method.alpha, method.beta), memory.goal.layer
        kept = self._kept.get(layer)
        if kept is None or kept[0].pictures is not memory.pictures or kept[1] != powers:
            pictures = memory.pictures
            alpha = float(priors.alpha_norm(pictures, method.alpha).mean())
            variation = float(priors.variation(pictures, method.beta).mean())
            found = alpha, variation, float(self.distances(pictures).mean())
            kept = self._kept[layer] = memory, powers, found
        return kept[2]
