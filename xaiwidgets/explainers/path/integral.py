"""The weighted sum of gradient times velocity along a path, batch after batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray
    from torch import Tensor

    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Target

    #: From numbers of points to where they lie ``(N, C, H, W)`` and how fast the path moves there.
    Path = Callable[[NDArray[Any]], tuple[Tensor, Tensor]]


def path_integral(
    model: Model, target: Target, weights: NDArray[Any], order: NDArray[Any], path: Path
) -> Iterator[tuple[Tensor, int]]:
    """Yield (sum of weight · gradient ⊙ velocity ``(C, H, W)`` in float64, points visited) after every batch.

    A prefix is weighted as if it were the whole rule; the complete rule keeps its own weights.

    Args:
        model: under study.
        target: whose gradient is taken.
        weights: of the points, which sum to one.
        order: numbers of the points in the order of visit.
        path: points and velocities of some numbers; a velocity may be one for all ``(1, C, H, W)``.
    """
    import torch

    from xaiwidgets.engine.batching import batch_size

    size, count = batch_size(model, gradient=True), len(order)
    total: Any = 0.0
    done = 0.0
    for first in range(0, count, size):
        chosen = order[first : first + size]
        points, velocity = path(chosen)
        share = torch.as_tensor(weights[chosen], device=points.device).reshape(-1, 1, 1, 1)
        total = total + (model.gradient(points, target).input.double() * velocity.double() * share).sum(dim=0)
        done += float(weights[chosen].sum())
        visited = first + len(chosen)
        yield total if visited == count or done == 0 else total / done, visited
