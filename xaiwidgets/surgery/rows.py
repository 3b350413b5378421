"""Whether an operation keeps the pictures of a batch apart: one to each row of the first axis, in their order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from .again import Again
    from .ops import Op

MOVING = frozenset({
    "cat", "stack", "chunk", "unbind", "getitem", "setitem", "narrow", "select", "copy", "pixel_shuffle",
    "pixel_unshuffle", "reshape", "permute", "transpose", "expand", "channel_shuffle",
})  # fmt: skip
"""Kinds that put values elsewhere, perhaps those of one picture among another's."""
MOVING_NAMES = frozenset({"flip", "roll", "rot90", "repeat", "tile", "repeat_interleave", "movedim", "moveaxis"})
"""Functions of the same sort that have no kind of their own."""
REDUCING = frozenset({"mean", "sum"})
#: Marks what belongs to no picture.
NOBODY = -1


def moves(op: Op) -> bool:
    """Return whether an operation puts values elsewhere and changes none."""
    return op.kind in MOVING or op.name in MOVING_NAMES


def astray(op: Op, live: tuple[bool, ...], rows: int, again: Again) -> str:
    """Return how an operation mixes pictures, or makes its settings of them, in words; an empty string if it does not.

    Args:
        op: the operation.
        live: which of its inputs carry the pictures' signal.
        rows: how many pictures there are.
        again: the operation, to be run on other inputs.
    """
    name = op.name.strip("_")
    if any(isinstance(value, Tensor) and value.requires_grad for value in op.parameters.values()):
        return f"{name} with settings that depend on the picture"
    if moves(op):
        if any(isinstance(index, Tensor) for index in _indices(op)):
            return f"{name} by a computed index"
        return "" if _in_rows(op, rows, again) else f"{name} that moves the batch axis"
    most = max(tensor.ndim for tensor in op.inputs)
    alive = [tensor for tensor, lives in zip(op.inputs, live, strict=True) if lives]
    apart = all(tensor.ndim and len(tensor) == rows and tensor.ndim == most for tensor in alive)
    return "" if apart and not _across(op, live) else f"{name} across pictures"


def _in_rows(op: Op, rows: int, again: Again) -> bool:
    """Move the numbers of the rows as the operation moves values, and return whether they come to rows of their own."""
    marks = []
    for tensor in op.inputs:
        mark = torch.full(tensor.shape, NOBODY, dtype=torch.int16)
        if tensor.requires_grad and tensor.ndim:
            mark[:] = _numbers(len(tensor), tensor.ndim)
        marks.append(mark)
    found = again(*marks)
    results = [marks[0]] if op.kind == "setitem" else found if isinstance(found, (tuple, list)) else [found]
    return all(
        mark.ndim > 0 and len(mark) == rows and bool(((mark == NOBODY) | (mark == _numbers(rows, mark.ndim))).all())
        for mark in results
    )


def _numbers(count: int, rank: int) -> Tensor:
    return torch.arange(count, dtype=torch.int16).reshape(-1, *[1] * (rank - 1))


def _indices(op: Op) -> tuple[Any, ...]:
    found = op.parameters.get("index")
    return tuple(found) if isinstance(found, (tuple, list)) else (found,)


def _across(op: Op, live: tuple[bool, ...]) -> bool:
    """Return whether an operation takes the batch axis for another one."""
    kind, found, tensor = op.kind, op.parameters, op.inputs[0]
    if kind in REDUCING | {"softmax", "log_softmax", "glu", "max"}:
        dim = found.get("dim", -1 if kind == "glu" else None)
        dims = (dim,) if isinstance(dim, int) else dim
        return not dims or any(int(axis) % tensor.ndim == 0 for axis in dims)
    if kind == "layer_norm":
        wanted = found.get("normalized_shape")
        return not isinstance(wanted, int) and len(tuple(wanted or ())) >= tensor.ndim
    if kind in {"conv", "conv_transpose"}:
        return tensor.ndim < int(found["weight"].ndim)
    if kind in {"linear", "batch_norm", "instance_norm", "group_norm"}:
        return tensor.ndim < 2
    if kind in {"matmul", "addmm"}:
        return op.name == "__rmatmul__" or any(
            lives and tensor.ndim < (2 if place == 0 and sum(live) == 1 else 3)  # a sum over rows otherwise
            for place, (tensor, lives) in enumerate(zip(op.inputs, live, strict=True))
        )
    return False
