"""How operations that move, cut or reinterpret dimensions hand receptive fields on."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .fields import WHOLE, Field
from .flow import Track, covers, is_point, lost, whole

if TYPE_CHECKING:
    from .ops import Op


def getitem(op: Op, first: Track, tracks: list[Track], output: Tensor) -> Track:
    """Slices, also over rows and columns with a step; integers and lists over other dimensions."""
    index = op.parameters.get("index")
    items = list(index) if isinstance(index, tuple) else [index]
    if first.dims is None or not _simple(items):
        return whole(output) if first.field == WHOLE else lost(output)
    taken = sum(item is not None and item is not ... for item in items)
    gap = next((at for at, item in enumerate(items) if item is ...), len(items))
    items[gap : gap + 1] = [slice(None)] * (len(first.shape) - taken)
    source, target, dims, axes = 0, 0, [-1, -1], [first.field and first.field.rows, first.field and first.field.columns]
    for item in items:
        if item is not None and source in first.dims:
            which = first.dims.index(source)
            axis = axes[which]
            if not isinstance(item, slice):
                return whole(output) if first.field == WHOLE else lost(output)
            start, _, step = item.indices(first.shape[source])
            dims[which], axes[which] = target, axis and axis.reading(start, start, step)
        source += item is not None
        target += not isinstance(item, int)
    field = Field(axes[0], axes[1]) if axes[0] and axes[1] else None
    return Track(field, tuple(output.shape), (dims[0], dims[1]))


def reshape(op: Op, first: Track, tracks: list[Track], output: Tensor) -> Track:
    """Rows and columns live on where the new shape has them as such; flattened over, everything is seen."""
    shape = tuple(output.shape)
    if first.dims is None or is_point(first):
        return Track(first.field, shape, _ends(shape) if first.dims else None)
    found = tuple(_survivor(first.shape, dim, shape) for dim in first.dims)
    if -1 in found:
        return whole(output)
    return Track(first.field, shape, (found[0], found[1]))


def permute(op: Op, first: Track, tracks: list[Track], output: Tensor) -> Track:
    """Rows and columns move with their dimensions."""
    given = op.parameters.get("dims", ())
    order = tuple(given) if isinstance(given, Sequence) else (given, *op.parameters.get("rest", ()))
    order = tuple(dim % output.ndim for dim in order)
    dims = first.dims and (order.index(first.dims[0]), order.index(first.dims[1]))
    return Track(first.field, tuple(output.shape), dims)


def transpose(op: Op, first: Track, tracks: list[Track], output: Tensor) -> Track:
    """Two dimensions change places."""
    one, other = (int(op.parameters.get(name, at)) % output.ndim for name, at in (("dim0", -2), ("dim1", -1)))
    swap = {one: other, other: one}
    dims = first.dims and (swap.get(first.dims[0], first.dims[0]), swap.get(first.dims[1], first.dims[1]))
    return Track(first.field, tuple(output.shape), dims)


def expand(op: Op, first: Track, tracks: list[Track], output: Tensor) -> Track:
    """Copies along dimensions of one element; harmless over channels, and for what sees the whole picture."""
    shape = tuple(output.shape)
    if first.dims is None or first.field == WHOLE:
        return Track(first.field, shape, _ends(shape) if first.dims else None)
    dims = (first.dims[0] - len(first.shape) + len(shape), first.dims[1] - len(first.shape) + len(shape))
    return Track(first.field, shape, dims) if covers(first, shape, dims) else lost(output)


def _ends(shape: tuple[int, ...]) -> tuple[int, int] | None:
    return (len(shape) - 2, len(shape) - 1) if len(shape) > 2 else None


def _survivor(before: tuple[int, ...], dim: int, after: tuple[int, ...]) -> int:
    """Return the dimension of ``after`` that steps through memory as ``dim`` of ``before`` did, or −1."""
    inner = prod(before[dim + 1 :])
    for place, length in enumerate(after):
        if length == before[dim] and prod(after[place + 1 :]) == inner:
            return place
    return -1


def _simple(items: list[object]) -> bool:
    """Whether an index has slices and numbers, or slices and one list of positions."""
    lists = [item for item in items if not isinstance(item, slice | int | type(None) | type(...))]
    if any(isinstance(item, bool) for item in items) or len(lists) > 1:
        return False
    if not lists:
        return True
    positions = lists[0]
    plain = isinstance(positions, Tensor) and positions.ndim == 1 and positions.dtype != torch.bool
    return plain and not any(isinstance(item, int) for item in items)
