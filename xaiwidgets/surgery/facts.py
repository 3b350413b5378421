"""What a traced pass says about a model: counts of operations, how it ends, which batch norms can be folded."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from .recipes import RELU_LIKE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .fields import Field

PICTURE = -1
"""Stands for the picture among an operation's sources."""
_PASSING = frozenset({"reshape", "dropout", "identity", "select", "getitem"})


@dataclass(frozen=True)
class OpRecord:
    """One operation of a traced pass.

    Attributes:
        kind: canonical kind.
        name: name of the function called.
        path: dotted path of the module that was running.
        inputs: shapes of the tensors it read.
        output: shape of what it returned (the first tensor, if several).
        sources: indices of the operations whose results it read, −1 for the picture.
        field: receptive field of its output, None if unknown.
        kernel: size of the kernel, for convolutions.
        weight: ``id`` of the weight tensor, for convolutions and linear layers.
        mean: ``id`` of the running mean, for batch norms that use it.
    """

    kind: str
    name: str
    path: str
    inputs: tuple[tuple[int, ...], ...]
    output: tuple[int, ...]
    sources: tuple[int, ...]
    field: Field | None
    kernel: tuple[int, ...] = ()
    weight: int | None = None
    mean: int | None = None


@dataclass(frozen=True)
class Facts:
    """What decides which methods apply.

    Attributes:
        relu_like: number of activations with an on/off gate.
        max_pool: number of max-poolings.
        convolutions: number of convolutions with a kernel larger than one.
        softmax: whether the last operation is a softmax or log-softmax.
        gap_path: path of the global average pooling if only one linear map (or 1×1 convolution) goes with it.
        head_path: path of that linear map.
        map_path: path of what made the map it averages.
        softmaxes: number of softmaxes and log-softmaxes.
    """

    relu_like: int
    max_pool: int
    convolutions: int
    softmax: bool
    gap_path: str | None = None
    head_path: str | None = None
    map_path: str | None = None
    softmaxes: int = 0


def facts_of(ops: Sequence[OpRecord], last: int) -> Facts:
    """Count, and follow the end of the net backwards from operation ``last``, which made the output."""
    at = _skip(ops, last)
    softmax = at >= 0 and ops[at].kind in {"softmax", "log_softmax"}
    if softmax:
        at = _skip(ops, _source(ops, at))
    return Facts(
        sum(op.kind in RELU_LIKE for op in ops),
        sum(op.kind == "max_pool" for op in ops),
        sum(op.kind == "conv" and prod(op.kernel) > 1 for op in ops),
        softmax,
        *_head(ops, at),
        sum(op.kind in {"softmax", "log_softmax"} for op in ops),
    )


def pairs_of(ops: Sequence[OpRecord]) -> list[tuple[int, int]]:
    """Return (id of weight, id of running mean) of each convolution whose result only a batch norm reads.

    Weights and statistics used more than once are left out, for folding one use would change the other.
    """
    readers = [source for op in ops for source in op.sources]
    weights = [op.weight for op in ops]
    means = [op.mean for op in ops]
    found = []
    for op in ops:
        if op.kind != "batch_norm" or op.mean is None or len(op.sources) != 1 or op.sources[0] < 0:
            continue
        source, weight = op.sources[0], ops[op.sources[0]].weight
        alone = readers.count(source) == 1 and means.count(op.mean) == 1
        if ops[source].kind == "conv" and weight is not None and alone and weights.count(weight) == 1:
            found.append((weight, op.mean))
    return found


def _source(ops: Sequence[OpRecord], at: int) -> int:
    """The one operation that this one reads, −1 if there are none or several."""
    return ops[at].sources[0] if len(ops[at].sources) == 1 else PICTURE


def _skip(ops: Sequence[OpRecord], at: int) -> int:
    while at >= 0 and ops[at].kind in _PASSING:
        at = _source(ops, at)
    return at


def _head(ops: Sequence[OpRecord], at: int) -> tuple[str | None, str | None, str | None]:
    """Linear after pooling, or a 1×1 convolution before or after it (they commute)."""
    if at < 0 or _source(ops, at) < 0:
        return None, None, None
    before = _skip(ops, _source(ops, at))
    if before < 0:
        return None, None, None
    for pool, head in ((before, at), (at, before)):
        if _pools(ops[pool]) and _maps(ops[head], after=head == at):
            made = ops[_source(ops, min(pool, head))].path if _source(ops, min(pool, head)) >= 0 else None
            return ops[pool].path, ops[head].path, made
    return None, None, None


def _pools(op: OpRecord) -> bool:
    """Whether this averages a map to one value a channel."""
    if op.kind not in {"adaptive_avg_pool", "avg_pool", "mean"} or len(op.inputs[0]) != 4:
        return False
    area = prod(op.inputs[0][2:])
    return area > 1 and prod(op.output) * area == prod(op.inputs[0]) and op.output[:2] == op.inputs[0][:2]


def _maps(op: OpRecord, *, after: bool) -> bool:
    pointwise = op.kind == "conv" and prod(op.kernel) == 1
    return pointwise or (after and op.kind in {"linear", "addmm"})
