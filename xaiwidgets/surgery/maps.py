"""The maps of a pass by their number: results of operations with rows and columns, whichever module they belong to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

from .ops import TELLING


class MapWatch(TorchFunctionMode):
    """Counts the results ``(N, C, h, w)`` of a forward pass in the order in which they are made.

    The same network makes the same maps in the same order, so a number stands for one of them. Enter it after all other
    modes: it then sees the operations as the network asks for them, and their results as the others give them.

    Args:
        seen: called with (number, map, whether it was written over an input); what it returns, unless ``None``, takes
            the map's place.
    """

    def __init__(self, seen: Callable[[int, Tensor, bool], Tensor | None]) -> None:
        super().__init__()
        self.seen = seen
        self.count = 0

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        if not isinstance(output, Tensor) or output.ndim != 4 or not output.is_floating_point() or func in TELLING:
            return output
        number, self.count = self.count, self.count + 1
        over = any(output is given for given in args)
        other = self.seen(number, output, over)
        if other is None:
            return output
        return output.copy_(other) if over else other  # who works in place need not look at what is returned
