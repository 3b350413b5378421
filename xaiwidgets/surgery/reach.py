"""Which operations lie between what is explained and where it is traced back to: only those must have a rule."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor


def nodes_between(source: Tensor, ends: Iterable[Tensor]) -> set[Any]:
    """Return the autograd nodes that a signal from ``source`` meets on its way to the first of ``ends``."""
    stops = {end.grad_fn for end in ends}
    found: set[Any] = set()
    waiting = [source.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in found or node in stops:
            continue
        found.add(node)
        waiting += [below for below, _ in node.next_functions]
    return found
