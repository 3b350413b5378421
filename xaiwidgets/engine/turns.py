"""Many explanations at once on one thread: each advances by one step in turn, those that take least begin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from xaiwidgets.engine.cost import passes
from xaiwidgets.errors import InvalidModel, XaiError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    from xaiwidgets.core.results import Attribution
    from xaiwidgets.model.model import Model

T = TypeVar("T")
#: Runs first of those that share a pass: its own is the one that serves the others, too.
FIRST = ("fullgrad",)
#: (forward, backward) passes up to which a method may live on a pass that serves others.
ONE_PASS = 2


def in_order(model: Model, jobs: Sequence[T], method: Callable[[T], Any]) -> list[T]:
    """Return the jobs in the order in which they begin: those of few passes first, otherwise as they were.

    Jobs of one pass stay as they came, by target, so that what one of them leaves for the others is still there when
    they begin.
    """
    size = model.input_shape[1:]

    def key(job: T) -> tuple[int, int]:
        try:
            spent = sum(passes(method(job), model, size))
        except XaiError:  # it says so when it is run
            return 0, 0
        return (0, 0) if spent <= ONE_PASS else (1, spent)

    return sorted(jobs, key=key)


def begins(method: Any) -> bool:
    """Return whether this method's pass is to come before those of others that it can serve."""
    return type(method).card.id in FIRST


def in_turn(
    jobs: Sequence[tuple[T, Generator[Attribution, None, None]]], errors: type[Exception] = XaiError
) -> Iterator[tuple[T, Attribution | Exception]]:
    """Yield (key, result so far) of jobs that advance by one step each in turn; an error ends its own job only.

    A job ends with its first result of progress 1. Jobs that have not ended are left as they are when this is closed.
    """
    running = list(jobs)
    while running:
        left = []
        for key, steps in running:
            try:
                result = next(steps)
                check_finite(result)
            except StopIteration:
                continue
            except errors as error:
                steps.close()
                yield key, error
                continue
            if result.progress < 1:
                left.append((key, steps))
            else:
                steps.close()
            yield key, result
        running = left


def check_finite(result: Attribution) -> None:
    """Raise ``InvalidModel`` if a map holds NaN or infinity."""
    if not np.isfinite(result.values).all():
        raise InvalidModel(
            "the map must be finite; for this photo the network gave NaN or infinity. Check its weights, or try "
            "another method."
        )
