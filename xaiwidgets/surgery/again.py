"""An operation that can be run again, on other tensors, after its pass has ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .policy import substituted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import Tensor


class _Place:
    """Where an input stood among the arguments."""


class Again:
    """Runs an intercepted call on other inputs; keeps none of its own, so a rule may hold it without holding a graph.

    Args:
        func, args, kwargs: the call.
        inputs: the tensors among its arguments that are to be replaced.
    """

    def __init__(
        self, func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], inputs: Sequence[Tensor]
    ) -> None:
        self._func = func
        self._places = tuple(_Place() for _ in inputs)
        empty: dict[int, Any] = {id(tensor): place for tensor, place in zip(inputs, self._places, strict=True)}
        self._args: Any = substituted(tuple(args), empty)
        self._kwargs: Any = substituted(dict(kwargs), empty)

    def __call__(self, *inputs: Tensor) -> Any:
        """Return what the call gives for these inputs; one that works in place writes to them."""
        filled = {id(place): tensor for place, tensor in zip(self._places, inputs, strict=True)}
        return self._func(*substituted(self._args, filled), **substituted(self._kwargs, filled))
