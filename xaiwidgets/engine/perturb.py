"""The perturbation runner: scores of many altered copies of one picture, in one reused buffer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from xaiwidgets.engine.batching import batch_size, is_out_of_memory
from xaiwidgets.model.captures import ScoreTable
from xaiwidgets.model.targets import EachClass

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator

    from torch import Tensor

    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Target

#: A run for one class keeps the scores of so many classes, those that come first on the picture itself.
LIKELIEST = 10


def score_table(model: Model, image: Tensor, target: Target, series: Hashable, count: int) -> ScoreTable | None:
    """Return where the scores of altered copies are kept for other classes, with what is known of them already.

    ``None`` where nothing is kept: for a hidden unit, and on a Model that does not share its passes. A new table takes
    one pass, that of the picture itself. It has the ``LIKELIEST`` classes and those of the target.

    Args:
        model: under study.
        image: input ``(1, C, H, W)``.
        target: what is scored first.
        series: all that the copies follow from besides the picture.
        count: how many copies.
    """
    if model.captures is None or target.layer:
        return None

    def make() -> ScoreTable:
        every = model.scores(image, EachClass(tuple(range(model.classes)), target.output))
        first = every[0].argsort(descending=True, stable=True)[:LIKELIEST].tolist()
        others = () if target.minus is None else (target.minus,)
        columns = EachClass(tuple(sorted({*first, *target.classes, *others})), target.output)
        return ScoreTable(columns, every[:, list(columns.classes)], count)

    return model.captures.table(model, image, (series, count), target, make)


def perturbed_scores(
    model: Model,
    image: Tensor,
    target: Target,
    count: int,
    alter: Callable[[Tensor, range], None],
    batch: int | None = None,
    *,
    fresh: bool = True,
    table: ScoreTable | None = None,
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
        table: from ``score_table``; what it knows takes no pass and no call of ``alter``, and the rest is added to it.
    """
    base = image.contiguous(memory_format=torch.channels_last)
    asked = target if table is None else table.columns
    scored = altered_scores(
        model, base, lambda part: model.scores(part, asked), count, alter, batch, fresh=fresh, table=table
    )
    for numbers, scores in scored:
        yield numbers, scores if table is None else table.columns.read(scores, target)


def altered_scores(
    model: Model,
    base: Tensor,
    score: Callable[[Tensor], Tensor],
    count: int,
    alter: Callable[[Tensor, range], None],
    batch: int | None = None,
    *,
    fresh: bool = True,
    table: ScoreTable | None = None,
) -> Iterator[tuple[range, Tensor]]:
    """Yield (numbers, scores) of altered copies of anything, such as a layer's output; see ``perturbed_scores``.

    Args:
        model: under study.
        base: what is altered, ``(1, C, H, W)``.
        score: gives the scores ``(n,)`` of ``n`` copies.
        count: how many copies.
        alter: see ``perturbed_scores``.
        batch: copies at once; measured when not given.
        fresh: see ``perturbed_scores``.
        table: where the scores are kept, if they are.
    """
    largest = model.inspection.largest_batch or count
    size = max(1, min(batch or batch_size(model), count, largest))
    buffer: Tensor | None = None
    start = 0
    while start < count:
        numbers = range(start, min(start + size, count))
        scores = None if table is None else table.rows(numbers)
        if scores is None:
            buffer, scores = _scored(base, buffer, size, numbers, alter, score, fresh=fresh)
            if scores is None:
                size = len(numbers) // 2
                continue
            if table is not None:
                table.add(numbers, scores)
        yield numbers, scores
        start = numbers.stop


def _scored(
    base: Tensor,
    buffer: Tensor | None,
    size: int,
    numbers: range,
    alter: Callable[[Tensor, range], None],
    score: Callable[[Tensor], Tensor],
    *,
    fresh: bool,
) -> tuple[Tensor | None, Tensor | None]:
    """Return the buffer and the scores of one batch, or twice ``None`` if either was too large.

    By then, all that the batch took has been let go.
    """
    try:
        if buffer is None:
            buffer = _buffer(base, size)
        part = buffer[: len(numbers)]
        with torch.no_grad():
            if fresh:
                part.copy_(base.expand_as(part))
            alter(part, numbers)
            return buffer, score(part)
    except (MemoryError, RuntimeError) as error:
        if len(numbers) == 1 or not is_out_of_memory(error):
            raise
        return None, None


def _buffer(base: Tensor, size: int) -> Tensor:
    last = base.ndim == 4 and base.is_contiguous(memory_format=torch.channels_last)
    wanted = torch.channels_last if last else torch.contiguous_format
    return torch.empty((size, *base.shape[1:]), dtype=base.dtype, device=base.device, memory_format=wanted)
