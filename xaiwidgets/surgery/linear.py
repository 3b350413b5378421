"""A weighted operation as a linear map: run again with other inputs or weights, forward and transposed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor

    from .ops import Op

WEIGHTED = frozenset({"conv", "conv_transpose", "linear", "addmm", "matmul"})
"""Kinds that multiply the signal with weights."""

_SETTINGS = {
    "conv": ("stride", "padding", "dilation", "groups"),
    "conv_transpose": ("stride", "padding", "output_padding", "groups", "dilation"),
}
_DEFAULTS = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, "output_padding": 0}


class LinearMap:
    """``a -> a * weight`` of a convolution, a transposed one, or a dense layer, without its bias.

    Attributes:
        weight: the operation's weights as ``forward`` and ``transposed`` take them.
        bias: shaped so that it can be added to the output, or ``None``.

    Args:
        op: an operation of one of the kinds in ``WEIGHTED`` that has weights of its own (see ``is_weighted``).
    """

    def __init__(self, op: Op) -> None:
        found = op.parameters
        self._kind = op.kind
        bias: Tensor | None = found.get("bias")
        if op.kind in _SETTINGS:
            self.weight: Tensor = found["weight"].detach()
            self._rank = self.weight.ndim - 2
            self._settings = {name: found.get(name, _DEFAULTS[name]) for name in _SETTINGS[op.kind]}
            self._run = getattr(functional, f"{op.kind}{self._rank}d")
            self.bias = None if bias is None else bias.detach().reshape(-1, *[1] * self._rank)
            return
        if op.kind == "linear":
            self.weight = found["weight"].detach()
        else:
            self.weight = op.inputs[1].detach().transpose(-1, -2)
        alpha = float(found.get("alpha", 1.0)) if op.kind == "addmm" else 1.0
        beta = float(found.get("beta", 1.0)) if op.kind == "addmm" else 1.0
        self.weight = self.weight if alpha == 1.0 else self.weight * alpha
        self.bias = None if bias is None else bias.detach() * beta if beta != 1.0 else bias.detach()

    def forward(self, inputs: Tensor, weight: Tensor) -> Tensor:
        """Return ``inputs * weight`` in the shape of the operation's output."""
        if self._kind in _SETTINGS:
            return self._run(inputs, weight, None, **self._settings)  # type: ignore[no-any-return]
        return inputs @ weight.transpose(-1, -2)

    def transposed(self, signal: Tensor, weight: Tensor, like: Tensor) -> Tensor:
        """Return ``signal * weightᵀ`` in the shape of ``like``, an input of the operation."""
        if self._kind not in _SETTINGS:
            return signal @ weight
        if self._kind == "conv" and not isinstance(self._settings["padding"], str) and like.ndim == self._rank + 2:
            stride, padding, dilation, groups = (self._each(name) for name in _SETTINGS["conv"])
            return torch.ops.aten.convolution_backward(  # type: ignore[no-any-return]
                signal, like, weight, None, stride, padding, dilation, False, [0] * self._rank, groups,
                [True, False, False],
            )[0]  # fmt: skip
        with torch.enable_grad():
            leaf = like.detach().requires_grad_()
            output = self.forward(leaf, weight)
        return torch.autograd.grad(output, leaf, signal)[0]

    def _each(self, name: str) -> Any:
        value = self._settings[name]
        if name == "groups":
            return value
        return [value] * self._rank if isinstance(value, int) else list(value) * (self._rank // len(value))


def is_weighted(op: Op) -> bool:
    """Return whether the operation multiplies one signal with weights that do not depend on the picture."""
    if op.kind not in WEIGHTED:
        return False
    if op.kind in {"matmul", "addmm"}:
        return op.inputs[0].requires_grad and not op.inputs[1].requires_grad and op.inputs[1].ndim == 2
    weight: Tensor = op.parameters["weight"]
    return not weight.requires_grad
