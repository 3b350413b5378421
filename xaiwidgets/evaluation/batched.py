"""Maps of many pictures by methods of one pass, a batch at a time, with the network's answers from the same passes.

This module imports torch: import it inside functions.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch

from xaiwidgets.engine.batching import batch_size
from xaiwidgets.explainers.onepass import OnePass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

    from xaiwidgets.evaluation.case import Case
    from xaiwidgets.model.model import Model
    from xaiwidgets.model.passes import Gradients


def batches(case: Case) -> bool:
    """Return whether the case's method explains a batch as it explains each of its pictures."""
    kind = type(case.method)
    return isinstance(case.method, OnePass) and kind.steps is OnePass.steps and kind.raw is not OnePass.raw


def maps_of(case: Case, count: int, make: Callable[[int], Tensor]) -> Iterator[tuple[range, Tensor, Tensor]]:
    """Yield (numbers, values ``(n, C, h, w)``, logits ``(n, K)``) of ``count`` pictures, batch after batch.

    On the fast copy of the network, whose rounding is its own: compare these maps only with each other. Logits come
    from the passes of the maps where the method gives them, else from further ones.

    Args:
        case: whose method ``batches``.
        count: how many pictures.
        make: gives the input ``(1, C, H, W)`` of one.
    """
    view, outputs = _listening(case.model)
    size = max(1, min(batch_size(case.model, gradient=True), case.model.inspection.largest_batch or count, count))
    for start in range(0, count, size):
        numbers = range(start, min(start + size, count))
        images = torch.cat([make(number) for number in numbers])
        outputs.clear()
        values = case.method.raw(view, images, case.target).values
        known = len(outputs) == 1 and len(outputs[0]) == len(numbers)
        yield numbers, values, outputs[0] if known else case.model.logits(images)


def _listening(model: Model) -> tuple[Model, list[Tensor]]:
    """Return a view of a Model and a list, to which it appends the logits of each pass for a gradient."""
    view, outputs = copy.copy(model), []  # type: tuple[Model, list[Tensor]]
    view.captures = None

    def gradient(*args: object, **options: object) -> Gradients:
        found: Gradients = type(view).gradient(view, *args, **options)  # type: ignore[arg-type]
        outputs.append(found.outputs)
        return found

    vars(view)["gradient"] = gradient
    return view, outputs
