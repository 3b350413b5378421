"""What of an operation is not linear in its inputs: ``F(x) − J·x``, with ``J`` its derivative at ``x``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from .linear import LinearMap, is_weighted
from .ops import ACTIVATIONS, tensors_of
from .structure import AVERAGING, ROUTING, SUMS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from .ops import Op

#: Kinds for which ``F(0)`` is all that is not linear (or homogeneous, ``F(x) = J·x``, as ReLU and max-pooling are).
AFFINE = ROUTING | AVERAGING | SUMS | {"relu", "leaky_relu", "prelu", "neg"}
#: Kinds of which each output depends on one element of the input, so that ``J`` is a slope.
UNITS = ((ACTIVATIONS | {"clamp", "pointwise"}) - AFFINE) - {"softmax", "log_softmax", "glu"}
#: Kinds that have a bias of their own, if any.
NORMS = frozenset({"batch_norm", "instance_norm", "group_norm", "layer_norm"})


@dataclass(frozen=True)
class Call:
    """An operation before it runs.

    Attributes:
        op: the operation. ``live``: which of its inputs carry the picture's signal.
        rule: where its constant comes from: ``bias`` of a layer that has one, ``constant`` added in the forward,
            ``implicit bias``; or ``gradient`` if it has none.
        before: a copy of the first input, where it is about to be overwritten and will be needed.
    """

    op: Op
    live: tuple[bool, ...]
    rule: str
    before: Tensor | None


def met(op: Op) -> Call:
    """Return the record of an operation that is about to run."""
    live = tuple(tensor.requires_grad for tensor in op.inputs)
    rule = _rule(op, live)
    read = rule == "implicit bias" and op.kind != "mul" and not _clipped(op)
    lost = op.inplace and (read or (rule == "constant" and not live[0]))
    return Call(op, live, rule, op.inputs[0].detach().clone() if lost else None)


def _clipped(op: Op) -> bool:
    """Whether an operation is a ReLU6 whose derivative is 0 at both ends; that of a clamp is 1 there."""
    return op.kind == "relu6" and op.name.rstrip("_") in {"relu6", "hardtanh"}


def constants(call: Call, outputs: list[Tensor], again: Callable[[dict[int, Tensor]], Any]) -> Sequence[Tensor]:
    """Return ``F(x) − J·x`` for each output of an operation that has run, in a shape that can be expanded to it.

    Args:
        call: the operation, as it was before it ran.
        outputs: what it gave.
        again: runs it with other tensors in place of some of its own, told by their identity.
    """
    op, rule = call.op, call.rule
    found = op.parameters
    if rule == "bias" and is_weighted(op):
        bias = LinearMap(op).bias
        return [outputs[0].new_zeros(()) if bias is None else bias]
    if op.kind == "batch_norm" and not found.get("training") and found.get("running_var") is not None:
        return [_shift(op, outputs[0].ndim)]
    if _clipped(op):
        high = found["high"]
        return [high * (outputs[0].detach() >= high)]
    if op.kind in {"mul", "matmul"}:  # of degree 2: J·x is twice the product
        return [-outputs[0].detach()]
    inputs = [*op.inputs, *tensors_of(found)]
    values = [t.detach() for t in inputs]
    live = [*call.live, *(t.requires_grad for t in inputs[len(call.live) :])]
    if call.before is not None:
        values[0] = call.before

    def run(others: Sequence[Tensor]) -> list[Tensor]:
        copies = {id(old): new.clone() for old, new in zip(inputs, others, strict=True)}
        made = again(copies)
        return [copies[id(op.inputs[0])]] if op.kind == "setitem" else list(tensors_of(made))

    if rule == "constant":
        with torch.no_grad():
            at_zero = run([torch.zeros_like(v) if alive else v for v, alive in zip(values, live, strict=True)])
        # a border of minus infinity before a max-pooling never wins: it has no share
        return [torch.where(constant.isinf(), 0.0, constant) for constant in at_zero]
    leaves = [v.clone().requires_grad_(alive) for v, alive in zip(values, live, strict=True)]
    with torch.enable_grad():
        made = run(leaves)
        wanted = [leaf for leaf in leaves if leaf.requires_grad]
        if op.kind in UNITS and len(wanted) == 1 and made[0].shape == wanted[0].shape:
            (slope,) = torch.autograd.grad(made[0].sum(), wanted)
            return [(made[0] - slope * wanted[0]).detach()]
        return _remainders(made, wanted)


def _rule(op: Op, live: tuple[bool, ...]) -> str:
    """Return what an operation is called: by where its constant comes from, ``gradient`` if it has none."""
    kind = op.kind
    if is_weighted(op):
        return "gradient" if LinearMap(op).bias is None else "bias"
    if any(tensor.requires_grad for tensor in tensors_of(op.parameters)):
        return "implicit bias"
    if kind in AFFINE:
        number = len(live) == 1 and kind in SUMS | {"setitem"}
        fixed = number or not all(live) or (kind == "pad" and op.parameters.get("value"))
        return "constant" if fixed else "gradient"
    if kind in {"mul", "matmul"} and sum(live) == 1:
        return "gradient"
    plain = not op.name.startswith("__r") and not op.parameters.get("rounding_mode")
    if kind == "div" and live[0] and sum(live) == 1 and plain:
        return "gradient"
    return "bias" if kind in NORMS else "implicit bias"


def _remainders(made: list[Tensor], wanted: list[Tensor]) -> list[Tensor]:
    """Return ``F(x) − J·x``: ``J·x`` is the derivative of ``<Jᵀ·v, x>`` by ``v``."""
    signals = [torch.zeros_like(result).requires_grad_() for result in made]
    back = torch.autograd.grad(made, wanted, signals, create_graph=True, allow_unused=True)
    parts = [(g * leaf.detach()).sum() for g, leaf in zip(back, wanted, strict=True) if g is not None]
    inner = [part for part in parts if part.requires_grad]
    pushed = torch.autograd.grad(torch.stack(inner).sum(), signals, allow_unused=True) if inner else [None] * len(made)
    return [(m if p is None else m - p).detach() for m, p in zip(made, pushed, strict=True)]


def _shift(op: Op, count: int) -> Tensor:
    """Return what a normalization by fixed statistics adds, shaped for a result of ``count`` dimensions."""
    found = op.parameters
    shift: Tensor = -found["running_mean"] * (found["running_var"] + float(found.get("eps", 1e-5))).rsqrt()
    if found.get("weight") is not None:
        shift = shift * found["weight"].detach()
    if found.get("bias") is not None:
        shift = shift + found["bias"].detach()
    return shift.reshape(1, -1, *[1] * (count - 2))
