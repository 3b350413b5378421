"""How operations hand receptive fields on: element-wise ones, joining and cutting, sums and matrix products."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from .fields import WHOLE, WHOLE_AXIS, Field, merge

if TYPE_CHECKING:
    from torch import Tensor

    from .ops import Op


@dataclass(frozen=True, slots=True)
class Track:
    """What is known of one tensor that depends on the picture.

    Attributes:
        field: receptive field, None if unknown.
        shape: shape of the tensor.
        dims: which dimensions are rows and columns, None once they are gone (flattened or averaged).
    """

    field: Field | None
    shape: tuple[int, ...]
    dims: tuple[int, int] | None


Flow = Callable[["Op", "Track", "list[Track]", "Tensor"], Track]


def lost(output: Tensor) -> Track:
    """Return the track of a tensor whose dependence is not known."""
    return Track(None, tuple(output.shape), None)


def whole(output: Tensor, dims: tuple[int, int] | None = None) -> Track:
    """Return the track of a tensor of which every element may depend on every pixel."""
    return Track(WHOLE, tuple(output.shape), dims)


def same(op: Op, first: Track, tracks: list[Track], output: Tensor) -> Track:
    """Element-wise, whatever it computes."""
    return replace(first, shape=tuple(output.shape))


def combine(op: Op, first: Track, tracks: list[Track], output: Tensor) -> Track:
    """Element-wise of several tensors, broadcasting: the union."""
    shape = tuple(output.shape)
    placed = {track.dims[0] - len(track.shape) for track in tracks if track.dims and not is_point(track)}
    across = {track.dims[1] - len(track.shape) for track in tracks if track.dims and not is_point(track)}
    if len(placed) > 1 or len(across) > 1:
        return whole(output) if any(t.field is not None and t.field.whole for t in tracks) else lost(output)
    dims = (placed.pop() + len(shape), across.pop() + len(shape)) if placed else first.dims
    fields = [track.field if covers(track, shape, dims) else None for track in tracks]
    return Track(merge(fields), shape, dims)


def cat(op: Op, first: Track, tracks: list[Track], output: Tensor) -> Track:
    """Side by side over channels: the union; over rows or columns: unknown."""
    dim = _dim(op, 0, output.ndim)
    if first.dims and dim in first.dims and not _all_whole(tracks):
        return lost(output)
    return combine(op, first, tracks, output)


def stack(op: Op, first: Track, tracks: list[Track], output: Tensor) -> Track:
    """Like `cat`, with a new dimension."""
    joined = merge([track.field for track in tracks])
    return Track(joined, tuple(output.shape), _shifted(first.dims, _dim(op, 0, output.ndim), 1))


def cut(op: Op, first: Track, tracks: list[Track], output: Tensor) -> Track:
    """A piece over channels keeps its field; over rows or columns the piece's place is not followed."""
    dim = _dim(op, 0, len(first.shape))
    if first.dims and dim in first.dims and first.field != WHOLE:
        return lost(output)
    gone = -1 if op.kind in {"unbind", "select"} else 0
    return Track(first.field, tuple(output.shape), _shifted(first.dims, dim, gone))


def reduce(op: Op, first: Track, tracks: list[Track], output: Tensor) -> Track:
    """Mean, sum or maximum over some dimensions; over rows or columns they see everything there."""
    given = op.parameters.get("dim")
    count = len(first.shape)
    dims = range(count) if given is None else [given] if isinstance(given, int) else list(given)
    over = {int(dim) % count for dim in dims}
    if first.dims is None or first.field is None:
        return Track(first.field, tuple(output.shape), None)
    rows = WHOLE_AXIS if first.dims[0] in over else first.field.rows
    columns = WHOLE_AXIS if first.dims[1] in over else first.field.columns
    if output.ndim == count:
        return Track(Field(rows, columns), tuple(output.shape), first.dims)
    if over & set(first.dims):
        both = rows.whole and columns.whole
        return whole(output) if both else lost(output)
    left = tuple(dim - sum(gone < dim for gone in over) for dim in first.dims)
    return Track(Field(rows, columns), tuple(output.shape), (left[0], left[1]))


def mixing(op: Op, first: Track, tracks: list[Track], output: Tensor) -> Track:
    """A linear layer over the last dimension: channels-last maps keep their field, everything else sees all."""
    free = first.dims is not None and len(first.shape) - 1 not in first.dims
    return Track(first.field, tuple(output.shape), first.dims) if free else whole(output, first.dims)


def everything(op: Op, first: Track, tracks: list[Track], output: Tensor) -> Track:
    """A matrix product may mix rows or columns."""
    return whole(output, first.dims if len(first.shape) == output.ndim else None)


def is_point(track: Track) -> bool:
    """Whether the map has a single position."""
    return track.dims is not None and track.shape[track.dims[0]] == track.shape[track.dims[1]] == 1


def covers(track: Track, shape: tuple[int, ...], dims: tuple[int, int] | None) -> bool:
    """Whether the track's rows and columns are those of the result, not one position spread over it."""
    if track.field == WHOLE or dims is None:
        return True
    if track.dims is None:
        return False
    return all(track.shape[mine] == shape[its] for mine, its in zip(track.dims, dims, strict=True))


def _all_whole(tracks: list[Track]) -> bool:
    return all(track.field == WHOLE for track in tracks)


def _dim(op: Op, default: int, count: int) -> int:
    dim: Any = op.parameters.get("dim", default)
    return int(dim) % count


def _shifted(dims: tuple[int, int] | None, at: int, by: int) -> tuple[int, int] | None:
    return dims and (dims[0] + by * (dims[0] >= at), dims[1] + by * (dims[1] >= at))
