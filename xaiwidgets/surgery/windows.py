"""How operations with a window (convolution, pooling, padding, resizing) hand receptive fields on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from . import flow, moves
from .fields import WHOLE, WHOLE_AXIS, Field
from .flow import Flow, Track, lost, whole
from .ops import pair

if TYPE_CHECKING:
    from torch import Tensor

    from .ops import Op

Window = tuple[float, float, float]
"""Output ``i`` reads ``step·i + start`` to ``step·i + stop``, given as (start, stop, step)."""


def _read(first: Track, output: Tensor, windows: Sequence[Window | None]) -> Track:
    """Apply one window to rows and one to columns; None is a window over everything."""
    count = output.ndim
    if first.field == WHOLE:
        return whole(output, (count - 2, count - 1))
    if first.field is None or first.dims is None or set(first.dims) != {count - 2, count - 1}:
        return lost(output)
    if first.dims[0] == count - 1:  # the map is transposed: its last dimension holds the rows
        windows = windows[::-1]
    axes = [WHOLE_AXIS if window is None else axis.reading(*window)
            for axis, window in zip((first.field.rows, first.field.columns), windows, strict=True)]  # fmt: skip
    return Track(Field(axes[0], axes[1]), tuple(output.shape), first.dims)


def convolution(op: Op, first: Track, tracks: list[Track], output: Tensor) -> Track:
    """Kernel, stride, dilation; padding as numbers, ``"same"`` (the extra pixel goes right) or ``"valid"``."""
    weight: Tensor = op.parameters["weight"]
    if weight.ndim != 4 or len(tracks) > 1:
        return whole(output) if first.field == WHOLE else lost(output)
    dilation, stride = pair(op.parameters.get("dilation", 1)), pair(op.parameters.get("stride", 1))
    spans = [dilation[axis] * (weight.shape[2 + axis] - 1) for axis in (0, 1)]
    padding: Any = op.parameters.get("padding", 0)
    left = [span // 2 for span in spans] if padding == "same" else pair(0 if padding == "valid" else padding)
    return _read(first, output, [(-left[axis], spans[axis] - left[axis], stride[axis]) for axis in (0, 1)])


def transposed(op: Op, first: Track, tracks: list[Track], output: Tensor) -> Track:
    """Output ``o`` reads ``(o + padding − dilation·(kernel − 1)) / stride`` to ``(o + padding) / stride``."""
    weight: Tensor = op.parameters["weight"]
    if weight.ndim != 4 or len(tracks) > 1:
        return whole(output) if first.field == WHOLE else lost(output)
    stride, padding, dilation = (pair(op.parameters.get(name, at)) for name, at in
                                 (("stride", 1), ("padding", 0), ("dilation", 1)))  # fmt: skip
    windows = []
    for axis in (0, 1):
        span = dilation[axis] * (weight.shape[2 + axis] - 1)
        windows.append(((padding[axis] - span) / stride[axis], padding[axis] / stride[axis], 1 / stride[axis]))
    return _read(first, output, windows)


def pooling(op: Op, first: Track, tracks: list[Track], output: Tensor) -> Track:
    """Kernel, stride (the kernel's size if not given), padding, dilation."""
    if op.name.partition("_pool")[2][:2] != "2d":
        return whole(output) if first.field == WHOLE else lost(output)
    kernel = pair(op.parameters["kernel_size"])
    stride = pair(op.parameters.get("stride") or kernel)
    padding, dilation = pair(op.parameters.get("padding", 0)), pair(op.parameters.get("dilation", 1))
    return _read(
        first,
        output,
        [(-padding[a], dilation[a] * (kernel[a] - 1) - padding[a], stride[a]) for a in (0, 1)],
    )


def adaptive(op: Op, first: Track, tracks: list[Track], output: Tensor) -> Track:
    """Everything for one output; regular windows where the sizes divide; else the windows' common bounds."""
    if len(first.shape) != output.ndim or "2d" not in op.name:
        return whole(output) if first.field == WHOLE else lost(output)
    windows: list[Window | None] = []
    for axis in (-2, -1):
        length, wanted = first.shape[axis], output.shape[axis]
        step = length / wanted
        if wanted == 1:
            windows.append(None if length > 1 else (0, 0, 1))
        else:
            windows.append((0, step - 1, step) if length % wanted == 0 else (1 / wanted - 1, step, step))
    return _read(first, output, windows)


def padding(op: Op, first: Track, tracks: list[Track], output: Tensor) -> Track:
    """Zeros shift the positions; mirrored and repeated borders widen the field; circular ones lose it."""
    amounts = list(op.parameters.get("pad", ()))
    mode = op.parameters.get("mode", "constant")
    if len(amounts) > 4 and any(amounts[4:]):
        return whole(output) if first.field == WHOLE else lost(output)
    left, right, top, bottom = [*amounts[:4], 0, 0, 0, 0][:4]
    reach = {"constant": 0, "replicate": 1, "reflect": 2}.get(mode)
    if reach is None:
        return lost(output)
    sides = ((top, bottom), (left, right))
    return _read(
        first,
        output,
        [(-before - reach * max(after, 0), reach * max(before, 0) - before, 1) for before, after in sides],
    )


def resizing(op: Op, first: Track, tracks: list[Track], output: Tensor) -> Track:
    """Nearest, bilinear and bicubic; the bounds hold for every position and every factor."""
    mode = op.parameters.get("mode", "nearest")
    corners = bool(op.parameters.get("align_corners"))
    if len(first.shape) != 4 or op.parameters.get("antialias") or mode not in _REACH:
        return whole(output) if first.field == WHOLE else lost(output)
    windows: list[Window | None] = []
    for axis in (-2, -1):
        before, after = first.shape[axis], output.shape[axis]
        if mode == "nearest":
            inside = (before - after) / after if after % before == 0 else -1.0
            windows.append((inside, 0, before / after))
            continue
        step = (before - 1) / max(after - 1, 1) if corners else before / after
        center = 0.0 if corners else (step - 1) / 2
        windows.append((center - _REACH[mode], center + _REACH[mode], step))
    return _read(first, output, windows)


def shuffling(op: Op, first: Track, tracks: list[Track], output: Tensor) -> Track:
    """Channels to pixels (`pixel_shuffle`) or pixels to channels."""
    if op.kind == "pixel_shuffle":
        factor = op.parameters["upscale_factor"]
        return _read(first, output, [(1 / factor - 1, 0, 1 / factor)] * 2)
    factor = op.parameters["downscale_factor"]
    return _read(first, output, [(0, factor - 1, factor)] * 2)


def normalizing(op: Op, first: Track, tracks: list[Track], output: Tensor) -> Track:
    """Statistics over rows or columns see the whole picture; over channels only, nothing changes."""
    if op.kind == "layer_norm" and first.dims is not None:
        shape = op.parameters.get("normalized_shape", ())
        inner = output.ndim - (1 if isinstance(shape, int) else len(shape))
        if max(first.dims) < inner:
            return flow.same(op, first, tracks, output)
    return whole(output, first.dims)


_REACH = {"nearest": 1.0, "bilinear": 1.0, "bicubic": 2.0}
_SAME = (
    "relu relu6 threshold hardtanh clamp leaky_relu prelu elu silu mish gelu hardswish hardsigmoid sigmoid tanh "
    "softplus logsigmoid softsign shrink batch_norm local_response_norm neg dropout channel_shuffle identity"
)

FLOWS: dict[str, Flow] = {
    **dict.fromkeys(_SAME.split(), flow.same),
    **dict.fromkeys(("add", "sub", "mul", "div", "pointwise", "setitem", "copy"), flow.combine),
    **dict.fromkeys(("mean", "sum", "max"), flow.reduce),
    "linear": flow.mixing,
    **dict.fromkeys(("matmul", "addmm"), flow.everything),
    **dict.fromkeys(("chunk", "unbind", "select", "narrow"), flow.cut),
    **dict.fromkeys(("max_pool", "avg_pool"), pooling),
    **dict.fromkeys(("adaptive_avg_pool", "adaptive_max_pool"), adaptive),
    **dict.fromkeys(("instance_norm", "group_norm", "layer_norm"), normalizing),
    **dict.fromkeys(("pixel_shuffle", "pixel_unshuffle"), shuffling),
    **dict.fromkeys(("conv", "convolution"), convolution),
    "conv_transpose": transposed,
    "pad": padding,
    "interpolate": resizing,
    "cat": flow.cat,
    "stack": flow.stack,
    "getitem": moves.getitem,
    "reshape": moves.reshape,
    "permute": moves.permute,
    "transpose": moves.transpose,
    "expand": moves.expand,
}
"""Kind → how fields go through it; a kind that is not here leaves the field unknown."""
