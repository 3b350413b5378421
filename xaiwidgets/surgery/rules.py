"""Backward rules: pure functions ``(op, kept, upstream) -> gradient of each tensor input``.

``kept`` is the output of the operation, or what the rule's own ``keep`` chose in the forward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch

if TYPE_CHECKING:
    from torch import Tensor

    from .ops import Op

Backward = Callable[["Op", "Tensor | None", "Tensor"], "tuple[Tensor | None, ...]"]
Keep = Callable[["Op", "Tensor"], "Tensor | None"]


@dataclass(frozen=True, slots=True)
class Rule:
    """A backward rule and what it must be handed.

    Attributes:
        backward: the pure function; returns one gradient for each of ``op.inputs``.
        keep: what of the output is kept for it; the output itself by default.
        inputs: whether it reads ``op.inputs`` (as they were before the operation); otherwise they are empty.
    """

    backward: Backward
    keep: Keep
    inputs: bool


RULES: dict[str, Rule] = {}
#: Share of the signal that the rule ``leaky`` lets through where a ReLU is off.
LEAK = 0.05


def _output(_op: Op, output: Tensor) -> Tensor:
    return output


def rule(name: str, *, keep: Keep = _output, inputs: bool = False) -> Callable[[Backward], Backward]:
    """Register a backward rule under the name that recipes use."""

    def register(backward: Backward) -> Backward:
        RULES[name] = Rule(backward, keep, inputs)
        return backward

    return register


def gate_source(op: Op, output: Tensor) -> Tensor:
    """Keep what the slope can be read from, and no more than PyTorch's own backward pass keeps.

    That is the output of ReLU and of in-place activations, the input of others. A clamp or threshold in place is
    the exception: PyTorch copies its input, so its output may be overwritten later; a one-byte gate is kept.
    """
    if op.kind not in {"relu", "relu6"}:
        return _slope(op, output)
    if op.name.startswith(("cl", "threshold", "_threshold")):  # clamp, clamp_min, clip, threshold, in place or not
        return _gate(op, output) if op.inplace else op.inputs[0]
    return output if op.inplace or op.kind == "relu" else op.inputs[0]


def slope_of(op: Op, output: Tensor) -> Tensor:
    """Return f'(x) of a ReLU-like activation that has just run: of ReLU and ReLU6 as true and false."""
    return _gate(op, output) if op.kind in {"relu", "relu6"} else _slope(op, output)


def _gate(op: Op, source: Tensor) -> Tensor:
    """``[x > 0]``, or ``[0 < x < high]``, of the input or, which is the same, of the output."""
    return source > 0 if op.kind == "relu" else (source > 0) & (source < op.parameters["high"])


def _slope(op: Op, output: Tensor) -> Tensor:
    """f'(x) of a leaky activation; an in-place one has lost its input, so there the sign is read from the output."""
    positive = (output if op.inplace else op.inputs[0]) > 0
    if op.kind == "elu":  # scale·alpha·(exp(x/soft) − 1) on the left
        alpha, scale, soft = (float(op.parameters[name]) for name in ("alpha", "scale", "soft"))
        height = alpha * scale
        left = output + height if op.inplace else height * torch.exp(op.inputs[0] / soft)
        return torch.where(positive, scale, left / soft)
    if op.kind == "leaky_relu":
        return torch.where(positive, 1.0, torch.full_like(output, op.parameters["slope"]))
    weight: Tensor = op.parameters["weight"]
    shape = [1, weight.numel(), *[1] * (output.ndim - 2)] if weight.numel() > 1 else [1] * output.ndim
    return torch.where(positive, 1.0, weight.detach().reshape(shape))


@rule("plain", keep=gate_source)
def plain(op: Op, kept: Tensor | None, upstream: Tensor) -> tuple[Tensor | None, ...]:
    """The ordinary gradient of an activation: upstream · f'(x)."""
    return (_through(op, kept, upstream),)


@rule("guided", keep=gate_source)
def guided(op: Op, kept: Tensor | None, upstream: Tensor) -> tuple[Tensor | None, ...]:
    """Upstream · [upstream > 0] · f'(x) (Springenberg et al. 2015, section 3.4).

    For ReLU f' is the gate. For leaky activations, where the paper says nothing, the signal is rectified just the same
    and multiplied by the slope on the side where the input lies.
    """
    return (_through(op, kept, upstream.clamp(min=0)),)


@rule("leaky", keep=gate_source)
def leaky(op: Op, kept: Tensor | None, upstream: Tensor) -> tuple[Tensor | None, ...]:
    """The ordinary gradient where a ReLU is on, and a little of it where it is off (Mahendran and Vedaldi 2016).

    The forward pass stays as it is: units that are off can be found all the same. Leaky activations need no more leak.
    """
    if op.kind not in {"relu", "relu6"} or kept is None:
        return (_through(op, kept, upstream),)
    gate = kept if kept.dtype == torch.bool else _gate(op, kept)
    return (torch.where(gate, upstream, LEAK * upstream),)


@rule("deconv", keep=lambda _op, _output: None)
def deconv(op: Op, kept: Tensor | None, upstream: Tensor) -> tuple[Tensor | None, ...]:
    """Upstream · [upstream > 0], whatever the forward pass let through (Zeiler & Fergus 2014, section 2.1)."""
    return (upstream.clamp(min=0),)


def _through(op: Op, kept: Tensor | None, signal: Tensor) -> Tensor:
    if kept is None:
        raise TypeError("this rule expects what it kept of the output, and got nothing; give it a keep= function")
    if kept.dtype == torch.bool:
        return torch.where(kept, signal, 0.0)
    if op.kind == "relu":  # PyTorch's own kernels: the gate is never written out
        return cast("Tensor", torch.ops.aten.threshold_backward(signal, kept, 0))
    if op.kind == "relu6":
        return cast("Tensor", torch.ops.aten.hardtanh_backward(signal, kept, 0, op.parameters["high"]))
    return signal * kept


@rule("identity", keep=lambda _op, _output: None)
def identity(op: Op, kept: Tensor | None, upstream: Tensor) -> tuple[Tensor | None, ...]:
    """Upstream, as if the operation were not there."""
    return (upstream,)


def _shape_of_input(op: Op, _output: Tensor) -> Tensor:
    return op.inputs[0].new_zeros(()).expand(op.inputs[0].shape)  # one number, whatever the shape


@rule("center", keep=_shape_of_input)
def center(op: Op, kept: Tensor | None, upstream: Tensor) -> tuple[Tensor | None, ...]:
    """Upstream at the center of each pooling window, wherever the maximum was (Mahendran & Vedaldi 2016, section 2).

    Of a window with an even side the place before its middle is taken; one that hangs over the edge is cut to what lies
    inside.
    """
    if kept is None:
        raise TypeError("the center rule expects the shape of its input, and got nothing")
    rank = int(op.name[op.name.index("pool") + 4])
    found = upstream
    for axis in range(-rank, 0):
        places = _centers(op, axis, kept.shape[axis], upstream.shape[axis]).to(upstream.device)
        shape = [*found.shape[:axis], kept.shape[axis], *(found.shape[axis + 1 :] if axis < -1 else ())]
        found = found.new_zeros(shape).index_add_(axis, places, found)
    return (found,)


def _centers(op: Op, axis: int, size: int, count: int) -> Tensor:
    windows = torch.arange(count)
    if op.kind == "adaptive_max_pool":
        first, last = windows * size // count, ((windows + 1) * size + count - 1) // count - 1
    else:
        kernel, padding, dilation = (
            _along(op.parameters.get(name, default), axis)
            for name, default in (("kernel_size", 1), ("padding", 0), ("dilation", 1))
        )
        stride = _along(op.parameters.get("stride") or op.parameters["kernel_size"], axis)
        first = windows * stride - padding
        last = first + dilation * (kernel - 1)
    return (first.clamp(min=0) + last.clamp(max=size - 1)).div(2, rounding_mode="floor")


def _along(value: int | Sequence[int], axis: int) -> int:
    if isinstance(value, Sequence):
        return value[axis] if len(value) > 1 else value[0]
    return value
