"""One forward pass, watched: operations in execution order, receptive fields, foldable batch norms, facts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

from .facts import PICTURE, Facts, OpRecord, facts_of, pairs_of
from .fields import PIXEL, WHOLE, Field, merge
from .flow import Track, lost, whole
from .ops import Op, classify, tensors_of
from .windows import FLOWS

__all__ = ["Facts", "Field", "OpRecord", "TraceMode"]


class TraceMode(TorchFunctionMode):
    """Watches the forward pass of one picture ``(1, C, H, W)`` without changing it.

    Tensors are told apart by identity and held until the mode is dropped, so that no identity is reused; an in-place
    operation renews the record of its tensor and of every view that shares its memory.

    Args:
        image: the very tensor that the module is called with.
        where: returns the dotted path of the module that is running, ``""`` for the root.
    """

    def __init__(self, image: Tensor, where: Callable[[], str]) -> None:
        super().__init__()
        self.where = where
        self.ops: list[OpRecord] = []
        self._tensors: dict[int, Tensor] = {}
        self._tracks: dict[int, Track] = {}
        self._makers: dict[int, int] = {}
        self._memory: dict[int, list[int]] = {}
        count = image.ndim
        self._put(image, Track(PIXEL, tuple(image.shape), (count - 2, count - 1)), PICTURE)

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """(``id`` of a convolution's weight, ``id`` of a running mean) of the batch norms that can be folded."""
        return pairs_of(self.ops)

    @property
    def facts(self) -> Facts:
        """Counts of operations, and how the net ends (its last operation made the output)."""
        return facts_of(self.ops, len(self.ops) - 1)

    def field_of(self, tensor: Tensor) -> Field | None:
        """Return the receptive field of a tensor of this pass; None if unknown or independent of the picture.

        Valid at any time during the pass and after it, also right after an in-place operation.
        """
        track = self._tracks.get(id(tensor))
        return None if track is None else track.field

    def dims_of(self, tensor: Tensor) -> tuple[int, int] | None:
        """Return which dimensions of a tensor of this pass are rows and columns; None if it has none that are known."""
        track = self._tracks.get(id(tensor))
        return None if track is None else track.dims

    def follow(self, op: Op, results: list[Tensor]) -> None:
        """Note an operation that another mode has watched in place of this one."""
        self._record(op, results)

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        op = classify(func, args, kwargs)
        output = func(*args, **kwargs)
        if op is None:
            return output
        results = [op.inputs[0]] if op.kind == "setitem" else list(tensors_of(output))
        if results:
            self._record(op, results)
        return output

    def _record(self, op: Op, results: list[Tensor]) -> None:
        tracks = [self._track_of(tensor) for tensor in op.inputs]
        known = [track for track in tracks if track is not None]
        if not known:
            return  # made of weights and constants only
        sources = tuple(self._makers[id(t)] for t in op.inputs if id(t) in self._makers)
        made = [self._flow(op, known, result) for result in results]
        self.ops.append(_op_record(op, self.where(), sources, tuple(results[0].shape), made[0].field))
        for result, track in zip(results, made, strict=True):
            self._put(result, track, len(self.ops) - 1)
            if op.inplace:
                self._renew_views(result, track.field)

    def _track_of(self, tensor: Tensor) -> Track | None:
        if tensor.grad_fn is not None and id(tensor) not in self._tracks:
            return lost(tensor)  # made by something that was not seen, perhaps from the picture
        return self._tracks.get(id(tensor))

    def _flow(self, op: Op, known: list[Track], output: Tensor) -> Track:
        flow = FLOWS.get(op.kind)
        if flow is not None:
            return flow(op, known[0], known, output)
        return whole(output) if any(track.field == WHOLE for track in known) else lost(output)

    def _put(self, tensor: Tensor, track: Track, maker: int) -> None:
        key = id(tensor)
        if key not in self._tensors:
            self._tensors[key] = tensor
            self._memory.setdefault(tensor.untyped_storage().data_ptr(), []).append(key)
        self._tracks[key], self._makers[key] = track, maker

    def _renew_views(self, changed: Tensor, field: Field | None) -> None:
        for key in self._memory.get(changed.untyped_storage().data_ptr(), ()):
            if key != id(changed):
                track = self._tracks[key]
                self._tracks[key] = replace(track, field=merge([track.field, field]))
                self._makers[key] = len(self.ops) - 1


def _op_record(op: Op, path: str, sources: tuple[int, ...], shape: tuple[int, ...], field: Field | None) -> OpRecord:
    weight, mean = op.parameters.get("weight"), op.parameters.get("running_mean")
    fixed = op.kind == "batch_norm" and not op.parameters.get("training", False)
    weighted = op.kind in {"conv", "linear"} and isinstance(weight, Tensor)
    return OpRecord(
        kind=op.kind,
        name=op.name,
        path=path,
        inputs=tuple(tuple(tensor.shape) for tensor in op.inputs),
        output=shape,
        sources=sources,
        field=field,
        kernel=tuple(weight.shape[2:]) if op.kind == "conv" and isinstance(weight, Tensor) else (),
        weight=id(weight) if weighted else None,
        mean=id(mean) if fixed and isinstance(mean, Tensor) else None,
    )
