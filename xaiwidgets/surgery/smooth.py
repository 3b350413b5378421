"""The forward pass with a softplus in place of every ReLU: a thread-local mode that changes nothing on the model."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from xaiwidgets.errors import NotApplicable

from .ops import classify

__all__ = ["RECTIFIERS", "SmoothMode", "Smoothing"]

RECTIFIERS = frozenset({"relu", "relu6"})
"""Kinds that are smoothed: ``clamp(u, 0, high)``, however it is written."""

LINEAR = 40.0
"""From here on exp(−βu) vanishes even beside one in float64, and softplus is the identity."""


@dataclass(frozen=True)
class Smoothing:
    """Makes the mode of one forward pass; equal settings make equal functions.

    Attributes:
        beta: of softplus_β(u) = log(1 + exp(βu)) / β; a ReLU that is cut off at ``high`` becomes
            softplus_β(u) − softplus_β(u − high).
        gradient_only: leave the forward pass as it is and smooth the derivative alone: sigmoid(βu) for a ReLU.
    """

    beta: float
    gradient_only: bool = False

    def __call__(self) -> SmoothMode:
        """Return a new mode."""
        return SmoothMode(self)


class SmoothMode(TorchFunctionMode):
    """Replaces ReLU and ReLU6 (module, function, tensor method, clamp, in place or not) by their smooth versions.

    Raises:
        NotApplicable: a ReLU runs where its derivative cannot be smoothed: inside a checkpoint, an own
            ``autograd.Function`` or ``no_grad``.
    """

    def __init__(self, smoothing: Smoothing) -> None:
        super().__init__()
        self.smoothing = smoothing

    def __enter__(self) -> SmoothMode:
        self._differentiable, self._hooks = torch.is_grad_enabled(), saving_hooks()
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        op = classify(func, args, kwargs)
        if op is None or op.kind not in RECTIFIERS:
            return func(*args, **kwargs)
        if self._differentiable and (not torch.is_grad_enabled() or saving_hooks() != self._hooks):
            raise NotApplicable(
                "softplus_smoothing",
                "every ReLU in the open: no checkpointing, no own autograd.Function, no no_grad inside the forward",
                f"the model hides a {op.name}",
                ("smoothgrad", "saliency"),
            )
        (data,), high = op.inputs, float(op.parameters.get("high", math.inf))
        if self.smoothing.gradient_only:
            return Gated.apply(data, lambda: func(*args, **kwargs), op.inplace, self.smoothing.beta, high)  # type: ignore[no-untyped-call]
        written = data if op.inplace else op.parameters.get("out")
        if not isinstance(written, Tensor):
            return smooth(data, self.smoothing.beta, high)
        # the derivative needs the input, which is about to be written over
        return written.copy_(smooth(data.clone(), self.smoothing.beta, high))


class Gated(torch.autograd.Function):
    """``run()`` forward; backward the derivative of the smooth version."""

    @staticmethod
    def forward(ctx: Any, data: Tensor, run: Callable[[], Tensor], inplace: bool, beta: float, high: float) -> Tensor:
        """Run the original call and keep its input."""
        ctx.save_for_backward(data.clone() if inplace else data)
        ctx.beta, ctx.high = beta, high
        if inplace:
            ctx.mark_dirty(data)
        return run()

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        """Return upstream times the slope of the smooth version at the input."""
        (data,) = ctx.saved_tensors
        return upstream * slope(data, ctx.beta, ctx.high), None, None, None, None


def smooth(data: Tensor, beta: float, high: float) -> Tensor:
    """Return softplus_β(u), less softplus_β(u − high) if ``high`` is finite."""
    result = functional.softplus(data, beta, LINEAR)
    return result if math.isinf(high) else result - functional.softplus(data - high, beta, LINEAR)


def slope(data: Tensor, beta: float, high: float) -> Tensor:
    """Return the derivative of ``smooth``."""
    result = torch.sigmoid(beta * data)
    return result if math.isinf(high) else result - torch.sigmoid(beta * (data - high))


def saving_hooks() -> object:
    """Return who keeps the tensors that the backward pass needs; a checkpoint computes them anew, past any mode."""
    find = getattr(torch._C._autograd, "_top_saved_tensors_default_hooks", None)
    return None if find is None else find(True)
