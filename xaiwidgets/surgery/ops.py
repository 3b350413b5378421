"""What an intercepted function is: one canonical record for module, functional, method and in-place forms."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .signatures import ALIASES, INPLACE_OPERATORS, SIGNATURES, TORCH_BATCH_NORM, Signature

if TYPE_CHECKING:
    from collections.abc import Callable

ACTIVATIONS = frozenset({
    "relu", "relu6", "leaky_relu", "prelu", "elu", "silu", "mish", "gelu", "hardswish", "hardsigmoid", "sigmoid",
    "tanh", "softplus", "logsigmoid", "softsign", "shrink", "glu", "softmax", "log_softmax", "hardtanh", "threshold",
})  # fmt: skip
"""Kinds of which a report must say whether they were ruled."""

TELLING: frozenset[Any] = frozenset({
    *(
        getattr(Tensor, name).__get__
        for name in ("ndim", "shape", "dtype", "device", "layout", "requires_grad", "is_leaf", "is_mkldnn", "itemsize")
    ),
    Tensor.size, Tensor.dim, Tensor.ndimension, Tensor.numel, Tensor.nelement, Tensor.stride, Tensor.is_contiguous,
    Tensor.is_floating_point, Tensor.is_complex, Tensor.__len__, torch._assert,
})  # fmt: skip
"""Functions that only tell something about a tensor. A forward pass may ask more often than it computes."""

SELU = (1.6732632423543772, 1.0507009873554805)
"""Alpha and scale of Klambauer et al. 2017."""


@dataclass(frozen=True, slots=True, eq=False)
class Op:
    """One operation of a forward pass.

    Attributes:
        kind: canonical kind, for instance ``"relu"`` for ``F.relu``, ``x.relu_()`` and ``x.clamp(min=0)``.
        name: name of the function that was called.
        inputs: the tensors that carry the signal.
        parameters: everything else by name: weight, bias, stride, low, high, slope, …
        inplace: whether the result is written over the first input.
    """

    kind: str
    name: str
    inputs: tuple[Tensor, ...]
    parameters: Mapping[str, Any]
    inplace: bool = False


def classify(func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Op | None:
    """Return the canonical record of a call, or None if it carries no signal (sizes, flags, constants).

    A function that is not in the table is of kind ``"unknown"``; whether it matters shows in what it returns.
    """
    name, signature, inplace = _look_up(func)
    if signature is None:
        inputs = tuple(tensors_of((*args, *kwargs.values())))
        return Op("unknown", name, inputs, {}, name.endswith("_") and not name.endswith("__")) if inputs else None
    bound = _bind(signature, args, kwargs)
    if signature.kind == "max" and isinstance(bound.get("dim", bound.get("other")), Tensor):  # the larger of two
        signature = SIGNATURES["maximum"]
        bound = _bind(signature, args, kwargs)
    inputs = tuple(tensors_of([bound.get(slot) for slot in signature.data]))
    if not inputs:
        return None
    for slot in signature.data:  # a plain number, as in x / 6, stays among the parameters
        if not isinstance(bound.get(slot), int | float):
            bound.pop(slot, None)
    inplace = inplace or bool(bound.pop("inplace", False))
    return _refine(Op(signature.kind, name, inputs, bound, inplace))


def tensors_of(values: object) -> Iterator[Tensor]:
    """Yield the floating-point tensors in nested sequences and mappings."""
    if isinstance(values, Tensor):
        if values.is_floating_point():
            yield values
    elif isinstance(values, Mapping):
        for value in values.values():
            yield from tensors_of(value)
    elif isinstance(values, list | tuple):
        for value in values:
            yield from tensors_of(value)


def pair(value: Any) -> tuple[Any, Any]:
    """Return (rows, columns) of a setting that may be one number for both."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return (value[0], value[-1])
    return (value, value)


def _name_of(func: Callable[..., Any]) -> str:
    name = str(getattr(func, "__name__", type(func).__name__))
    if name == "__get__":  # an attribute such as x.T or x.data
        return str(getattr(getattr(func, "__self__", None), "__name__", name))
    return name.partition(".")[0]  # aten overloads are called relu.default


@lru_cache(maxsize=512)
def _look_up(func: Callable[..., Any]) -> tuple[str, Signature | None, bool]:
    """Return a function's name, its signature if there is one in the table, and whether it works in place."""
    name = _name_of(func)
    if func is torch.batch_norm:
        return name, TORCH_BATCH_NORM, False
    if name in SIGNATURES:
        return name, SIGNATURES[name], name in INPLACE_OPERATORS
    return (name, SIGNATURES.get(name[:-1]), True) if name.endswith("_") else (name, None, False)


def _bind(signature: Signature, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    bound = dict(zip(signature.arguments, args, strict=False))
    if len(args) > len(signature.arguments):
        bound["rest"] = tuple(args[len(signature.arguments) :])
    for key, value in kwargs.items():
        bound[key if key in signature.arguments else ALIASES.get(key, key)] = value
    return bound


def _number(value: Any, default: float) -> float:
    """A bound as a number; NaN for a tensor bound, which matches no known activation."""
    if value is None:
        return default
    return math.nan if isinstance(value, Tensor) else float(value)


def _refine(op: Op) -> Op:
    """Replace general kinds by the activation that the parameters make of them."""
    made = _REFINEMENTS.get(op.kind)
    if made is None:
        return op
    kind, parameters = made(op)
    return Op(kind, op.name, op.inputs, {**op.parameters, **parameters}, op.inplace)


def _clamp(op: Op) -> tuple[str, dict[str, Any]]:
    low, high = _number(op.parameters.get("min"), -math.inf), _number(op.parameters.get("max"), math.inf)
    return _bounded("clamp", low, high)


def _hardtanh(op: Op) -> tuple[str, dict[str, Any]]:
    low, high = _number(op.parameters.get("min_val"), -1.0), _number(op.parameters.get("max_val"), 1.0)
    return _bounded("hardtanh", low, high)


def _bounded(otherwise: str, low: float, high: float) -> tuple[str, dict[str, Any]]:
    kind = otherwise
    if low == 0.0 and high > 0.0:
        kind = "relu" if math.isinf(high) else "relu6"
    return kind, {"low": low, "high": high}


def _threshold(op: Op) -> tuple[str, dict[str, Any]]:
    low, value = _number(op.parameters.get("threshold"), 0.0), _number(op.parameters.get("value"), 0.0)
    return ("relu" if low == value == 0.0 else "threshold"), {"low": low}


def _rrelu(op: Op) -> tuple[str, dict[str, Any]]:
    if op.parameters.get("training"):
        return "unknown", {}
    lower, upper = _number(op.parameters.get("lower"), 1 / 8), _number(op.parameters.get("upper"), 1 / 3)
    return "leaky_relu", {"slope": (lower + upper) / 2}


def _elu(op: Op) -> tuple[str, dict[str, Any]]:
    if op.name.startswith("selu"):
        return "elu", {"alpha": SELU[0], "scale": SELU[1], "soft": 1.0}
    alpha = _number(op.parameters.get("alpha"), 1.0)
    return "elu", {"alpha": alpha, "scale": 1.0, "soft": alpha if op.name.startswith("celu") else 1.0}


_REFINEMENTS: dict[str, Callable[[Op], tuple[str, dict[str, Any]]]] = {
    "clamp": _clamp,
    "hardtanh": _hardtanh,
    "threshold": _threshold,
    "rrelu": _rrelu,
    "elu": _elu,
    "relu": lambda _: ("relu", {"low": 0.0, "high": math.inf}),
    "relu6": lambda _: ("relu6", {"low": 0.0, "high": 6.0}),
    "leaky_relu": lambda op: ("leaky_relu", {"slope": _number(op.parameters.get("negative_slope"), 0.01)}),
    "convolution": lambda op: ("conv_transpose" if op.parameters.get("transposed") else "conv", {}),
}
