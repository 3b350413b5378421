"""A network that ends in a softmax, run up to the scores before it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch.overrides import TorchFunctionMode

from .ops import classify

SOFTMAX = frozenset({"softmax", "log_softmax"})


class BeforeSoftmax(TorchFunctionMode):
    """Leaves out the softmax of a network that has only this one, as its last operation."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        op = classify(func, args, kwargs or {})
        if op is not None and op.kind in SOFTMAX:
            return op.inputs[0]
        return func(*args, **(kwargs or {}))
