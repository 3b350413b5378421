"""How many images a pass should take: measured once a model, never guessed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import torch

from xaiwidgets.model.inspection import probe_like
from xaiwidgets.model.meter import uncounted

if TYPE_CHECKING:
    from collections.abc import Callable

    from xaiwidgets.model.model import Model

CANDIDATES = (4, 8, 16)
#: An interactive step should not take longer than this, so that a cancel is felt at once.
LONGEST_STEP = 0.1


def batch_size(model: Model, *, gradient: bool = False) -> int:
    """Return the batch size with the least time an image, among those whose pass stays near a tenth of a second.

    Measured on the prepared copy on first use, then remembered for these weights: 1 or one of ``CANDIDATES``.
    """
    if model.inspection.largest_batch == 1:
        return 1
    return model.remember(("batch size", gradient), lambda: _measure(_runner(model, gradient)))  # type: ignore[no-any-return]


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether a pass failed because its batch was too large; on a CPU, torch raises a bare ``RuntimeError``."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error)


def _runner(model: Model, gradient: bool) -> Callable[[int], None]:
    target = model.target(0) if gradient else None
    images = probe_like(model.input_shape, CANDIDATES[-1], model.like)

    def run(count: int) -> None:
        if target is not None:
            model.gradient(images[:count], target)
        else:
            model.logits(images[:count])

    return run


def _measure(run: Callable[[int], None]) -> int:
    best, least = 1, float("inf")
    with uncounted():  # a measurement is no pass of the method that asked for it
        if _seconds(run, 1) > LONGEST_STEP:
            return 1
        for count in CANDIDATES:
            try:
                seconds = _seconds(run, count)
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                break
            if seconds / count < 0.97 * least:
                best, least = count, seconds / count
            if 2 * seconds > LONGEST_STEP:
                break
    return best


def _seconds(run: Callable[[int], None], count: int) -> float:
    run(count)  # the first time makes the prepared copy and touches new memory, which is not to be timed
    start = time.perf_counter()
    run(count)
    return time.perf_counter() - start


def seconds_per_image(model: Model, *, gradient: bool = False) -> float:
    """Return the seconds that a pass of the prepared copy takes for one image of a batch, measured anew at each call.

    With ``gradient``, forward and backward together.
    """
    run, count = _runner(model, gradient), batch_size(model, gradient=gradient)
    times = []
    for _ in range(3):
        start = time.perf_counter()
        run(count)
        times.append((time.perf_counter() - start) / count)
    return min(times)
