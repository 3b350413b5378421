"""Relevance rules of what has no weights: sums, averages, normalizations, products with constants and with gates.

Each rule books what it keeps in the ledger (catalogue of rules: Binder et al. 2016 for sums and normalization;
Arras et al. 2019 for gates; Ali et al. 2022 for normalizations by the input's own statistics).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from .ledger import total
from .relevance import stabilized

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from .ops import Op

#: Relevance of the inputs, the share of constants, the share of the stabilizer.
Shared = tuple[tuple["Tensor | None", ...], "Tensor | None", "Tensor | None"]

PASSING = frozenset({
    "relu", "relu6", "leaky_relu", "prelu", "elu", "silu", "mish", "gelu", "hardswish", "hardsigmoid", "sigmoid",
    "tanh", "softplus", "logsigmoid", "softsign", "shrink", "hardtanh", "threshold", "clamp", "neg",
    "local_response_norm",
})  # fmt: skip
"""Kinds that work on each unit alone: relevance passes."""
ROUTING = frozenset({
    "max_pool", "adaptive_max_pool", "max", "cat", "stack", "chunk", "unbind", "getitem", "setitem", "narrow", "select",
    "copy", "pad", "pixel_shuffle", "pixel_unshuffle", "reshape", "permute", "transpose", "expand", "dropout",
    "channel_shuffle", "identity",
})  # fmt: skip
"""Kinds that only choose, move or copy values: the ordinary gradient carries relevance where it belongs."""
ROUTING_NAMES = frozenset({
    "flip", "roll", "rot90", "repeat", "tile", "repeat_interleave", "movedim", "moveaxis", "index_select", "gather",
    "maximum", "fmax", "minimum", "fmin",
})  # fmt: skip
"""Functions of the same sort that have no kind of their own."""
AVERAGING = frozenset({"avg_pool", "adaptive_avg_pool", "mean", "sum", "interpolate"})
SUMS = frozenset({"add", "sub"})
PRODUCTS = frozenset({"mul", "div"})
RISING = frozenset({"relu", "relu6", "clamp", "hardtanh", "neg", "sigmoid", "tanh", "batch_norm"})
"""Kinds that rise or fall with each of their inputs, whatever their settings."""


@dataclass(frozen=True, slots=True)
class Sharing:
    """How a sum shares its relevance among what is added.

    Attributes:
        epsilon: stabilizer.
        bias: ``keep``: constants take their share; ``ignore``: they are left out.
        positive: among addends of the result's own sign only, so that no relevance changes sign.
    """

    epsilon: float
    bias: str
    positive: bool = False


def contributions(op: Op, relevance: Tensor, output: Tensor, parts: Sequence[Tensor | None], how: Sharing) -> Shared:
    """Share among addends: ``parts`` are what each input adds to the output, the rest is a constant."""
    given = [part for part in parts if part is not None]
    rest = output - sum(given[1:], given[0]) if how.bias == "keep" else None
    if how.positive:
        sign = torch.where(output < 0, -1.0, torch.ones_like(output))
        parts = [None if part is None else (part * sign).clamp(min=0) for part in parts]
        given = [part for part in parts if part is not None]
        rest = None if rest is None else (rest * sign).clamp(min=0)
    if how.positive or rest is None:
        output = sum(given[1:], given[0]) if rest is None else sum(given, rest)
    quotient = stabilized(relevance, output, how.epsilon)
    constant = None if rest is None else total(quotient * rest)
    lost = total(quotient * torch.sign(output)) * how.epsilon if how.epsilon else None
    shared = [
        None if part is None else (quotient * part).sum_to_size(tensor.shape)
        for part, tensor in zip(parts, op.inputs, strict=True)
    ]
    return tuple(shared), constant, lost


def addends(op: Op, live: tuple[bool, ...]) -> list[Tensor | None]:
    """Return what each input of a sum or difference adds to its result; ``None`` for constants."""
    alpha = op.parameters.get("alpha")
    alpha = 1.0 if alpha is None else float(alpha)
    signs = [1.0, alpha if op.kind == "add" else -alpha]
    if op.name in {"rsub", "__rsub__"}:
        signs = [-alpha, 1.0]
    if len(op.inputs) == 1:  # the other one is a number; in x − 2 the tensor comes first, in 2 − x it is subtracted
        signs = [signs[0]]
    return [tensor * sign if alive else None for tensor, sign, alive in zip(op.inputs, signs, live, strict=True)]


def replay(op: Op, inputs: Tensor) -> Tensor:
    """Return an averaging operation's result for other inputs."""
    run: Callable[..., Tensor] = getattr(functional, op.name, None) or getattr(torch, op.name)
    settings = {name: value for name, value in op.parameters.items() if name not in {"inplace", "rest"}}
    return run(inputs, **settings)


def average(op: Op, relevance: Tensor, how: Sharing) -> Shared:
    """Share in proportion to what each place adds to an average."""
    (inputs,) = op.inputs
    if not how.positive or bool(inputs.min() >= 0):
        return _averaged(op, inputs, relevance, how)
    below = replay(op, inputs) < 0
    high, _, lost = _averaged(op, inputs.clamp(min=0), torch.where(below, 0.0, relevance), how)
    low, _, more = _averaged(op, -inputs.clamp(max=0), torch.where(below, relevance, 0.0), how)
    found = tuple(None if one is None or other is None else one + other for one, other in zip(high, low, strict=True))
    return found, None, None if lost is None or more is None else lost + more


def _averaged(op: Op, inputs: Tensor, relevance: Tensor, how: Sharing) -> Shared:
    with torch.enable_grad():
        leaf = inputs.detach().requires_grad_()
        output = replay(op, leaf)
    quotient = stabilized(relevance, output.detach(), how.epsilon)
    lost = total(quotient * torch.sign(output.detach())) * how.epsilon if how.epsilon else None
    return (inputs * torch.autograd.grad(output, leaf, quotient)[0],), None, lost


def batch_norm(op: Op, relevance: Tensor, output: Tensor, how: Sharing) -> Shared:
    """Share between the input and the shift of a normalization by fixed statistics; without the latter, pass."""
    (inputs,) = op.inputs
    found = op.parameters
    scale = (found["running_var"] + float(found.get("eps", 1e-5))).rsqrt()
    if found.get("weight") is not None:
        scale = scale * found["weight"].detach()
    part = inputs * scale.reshape(1, -1, *[1] * (inputs.ndim - 2))
    return contributions(op, relevance, output, [part], how if how.bias == "keep" else replace(how, positive=False))


def own_norm(op: Op, relevance: Tensor, output: Tensor, how: Sharing) -> Shared:
    """Share through a normalization by the input's own statistics, its standard deviation taken as constant."""
    (inputs,) = op.inputs
    found = op.parameters
    shape = inputs.shape
    if op.kind == "layer_norm":
        wanted = found["normalized_shape"]
        count = 1 if isinstance(wanted, int) else len(tuple(wanted))
        grouped, dims = inputs, tuple(range(-count, 0))
        affine: tuple[int, ...] = tuple(shape[-count:])
    else:
        grouped = inputs.reshape(shape[0], int(found["num_groups"]), -1)
        dims = (-1,)
        affine = (shape[1], *[1] * (inputs.ndim - 2))
    spread = grouped.var(dim=dims, unbiased=False, keepdim=True).add(float(found.get("eps") or 1e-5)).rsqrt()
    weight, shift = found.get("weight"), found.get("bias")
    constant = output.new_zeros(()) if shift is None else shift.detach().reshape(affine)
    with torch.enable_grad():
        leaf = grouped.detach().requires_grad_()
        made = ((leaf - leaf.mean(dim=dims, keepdim=True)) * spread).reshape(shape)
        if weight is not None:
            made = made * weight.detach().reshape(affine)
    denominator = made.detach() if how.bias == "ignore" else output
    quotient = stabilized(relevance, denominator, how.epsilon)
    taken = total(quotient * constant) if how.bias == "keep" else None
    lost = total(quotient * torch.sign(denominator)) * how.epsilon if how.epsilon else None
    (back,) = torch.autograd.grad(made, leaf, quotient)
    return (inputs * back.reshape(shape),), taken, lost


def keeps_order(op: Op, live: tuple[bool, ...]) -> bool:
    """Return whether the least and the largest inputs give the bounds of the output; ``live`` are those that vary."""
    if op.kind in ROUTING or op.name in ROUTING_NAMES:
        return True
    if op.kind == "interpolate":
        return bool(op.parameters.get("mode", "nearest") != "bicubic")
    # what works in place on a constant has overwritten it
    return sum(live) == 1 and (live[0] or not op.inplace) and op.kind in RISING | PRODUCTS | SUMS | AVERAGING


def product(op: Op, relevance: Tensor, live: tuple[bool, ...], gate: int | None) -> Shared:
    """Give all relevance of a product to the map; a gate or a constant only scales it."""
    heir = gate_free(live, gate)
    found: list[Tensor | None] = [None] * len(op.inputs)
    found[heir] = relevance.sum_to_size(op.inputs[heir].shape)
    return tuple(found), None, None


def gate_free(live: tuple[bool, ...], gate: int | None) -> int:
    """Return the index of the input of a product that is neither a constant nor the gate."""
    return next(index for index, alive in enumerate(live) if alive and index != gate)
