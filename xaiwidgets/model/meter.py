"""Counts the passes that a piece of work spends, per thread of control."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass
class Meter:
    """Forward and backward passes of one image, counted by the Model while this meter is current.

    One explanation explains one set of weights: the networks in ``steady``, when it is a set, have been looked at for
    changed weights, and are not looked at again for every pass or by every view of a Model.
    """

    forward: int = 0
    backward: int = 0
    steady: set[object] | None = None

    @property
    def passes(self) -> tuple[int, int]:
        """(forward, backward)."""
        return self.forward, self.backward


#: The meter of the work that runs now; set around one step of a generator, never across a ``yield``.
CURRENT: ContextVar[Meter | None] = ContextVar("xaiwidgets_meter", default=None)


def spend(forward: int = 0, backward: int = 0) -> None:
    """Add passes to the current meter, if there is one."""
    meter = CURRENT.get()
    if meter is not None:
        meter.forward += forward
        meter.backward += backward


def looked_at(network: object, stamp: object) -> bool:
    """Return whether the current work has seen before that a network has this stamp; from now on it has."""
    meter = CURRENT.get()
    if meter is None or meter.steady is None:
        return False
    seen = (id(network), stamp) in meter.steady
    meter.steady.add((id(network), stamp))
    return seen


@contextmanager
def uncounted() -> Iterator[None]:
    """Context whose passes are on nobody's account, for what is measured once a model."""
    token = CURRENT.set(None)
    try:
        yield
    finally:
        CURRENT.reset(token)
