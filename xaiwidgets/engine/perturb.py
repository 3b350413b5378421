"""The perturbation runner: scores of many altered copies of one picture, in one reused buffer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from xaiwidgets.engine.batching import batch_size, is_out_of_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Target


def perturbed_scores(
    model: Model,
    image: Tensor,
    target: Target,
    count: int,
    alter: Callable[[Tensor, range], None],
    batch: int | None = None,
    *,
    fresh: bool = True,
) -> Iterator[tuple[range, Tensor]]:
    """Yield (numbers, scores ``(n,)``) of ``count`` altered copies of ``image``, batch after batch.

    Memory does not grow with ``count``. When memory runs out, the batch is halved and the pass is run again.

    Args:
        model: under study.
        image: input ``(1, C, H, W)``.
        target: what is scored.
        count: how many copies.
        alter: changes a buffer of fresh copies ``(n, C, H, W)`` in place, given their numbers; called again with fewer
            numbers when memory runs out.
        batch: images a pass; measured when not given.
        fresh: fill the buffer with copies of the image first; off for an ``alter`` that writes every value itself.
    """
    largest = model.inspection.largest_batch or count
    size = max(1, min(batch or batch_size(model), count, largest))
    buffer = _buffer(image, size)
    start = 0
    while start < count:
        numbers = range(start, min(start + size, count))
        part = buffer[: len(numbers)]
        try:
            with torch.no_grad():
                if fresh:
                    part.copy_(image.expand_as(part))
                alter(part, numbers)
                scores = model.scores(part, target)
        except (MemoryError, RuntimeError) as error:
            if size == 1 or not is_out_of_memory(error):
                raise
            size //= 2
            buffer = _buffer(image, size)
            continue
        yield numbers, scores
        start = numbers.stop


def _buffer(image: Tensor, size: int) -> Tensor:
    return torch.empty(
        (size, *image.shape[1:]), dtype=image.dtype, device=image.device, memory_format=torch.channels_last
    )
