"""One private network whose weights are set again and again, without making its fast copy anew each time."""

from __future__ import annotations

import copy
import threading
from itertools import chain
from typing import TYPE_CHECKING

import torch
from torch import nn

from xaiwidgets.errors import InvalidModel, did_you_mean
from xaiwidgets.model.captures import Captures
from xaiwidgets.model.fuse import FusedConv
from xaiwidgets.model.model import LASTING, _is_of, _moved
from xaiwidgets.model.prepare import _scale_shift
from xaiwidgets.model.skeleton import make_skeleton, stamp

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from torch import Tensor

    from xaiwidgets.model.model import Model


class MovingModel:
    """A Model of the same network on tensors of its own, which ``set`` overwrites.

    Making a Model for each of many sets of weights takes several times as long as a pass of it: copying, folding,
    checking. Here all of that is done once, and new weights are written into what is there. Whoever holds ``model``
    sees the newest weights, so results must be finished before the next ``set``.

    Attributes:
        model: the Model. ``module``: its network in evaluation mode, in whose tensors the weights are.
    """

    def __init__(self, model: Model) -> None:
        with model._lock, torch.inference_mode(False):
            model._refresh()
            own = make_skeleton(model.module)
            for tensor in _tensors(own):
                tensor.data = tensor.data.clone()
            plain = make_skeleton(own) if model._stateful else own
            other = copy.copy(model)
            other._lock, other._memo, other._shared = threading.RLock(), {}, {}
            other.captures = None if model.captures is None else Captures(model.captures.whole)
            other.module = own
            other._build(lambda: plain, _moved(model.inspection, model._plain, plain))
            other._shared = {k: v for k, v in model._shared.items() if _is_of(k, *LASTING)}
            other._memo = {k: v for k, v in model._memo.items() if _is_of(k, "forward checked")}
        self.model, self.module = other, own
        self._tensors = {**dict(own.named_parameters()), **dict(own.named_buffers())}
        self._plain = plain
        self._folds = _folds(other)

    def set(self, weights: Mapping[str, Tensor]) -> None:
        """Write new values, by the names of parameters and buffers; the others stay as they are.

        Raises:
            InvalidModel: no such name, or another shape.
        """
        for name, value in weights.items():
            if name not in self._tensors:
                raise InvalidModel(
                    f"weights must be named as in the module; got {name!r}.{did_you_mean(name, self._tensors)}"
                )
            if value.shape != self._tensors[name].shape:
                shape = tuple(self._tensors[name].shape)
                raise InvalidModel(f"weights for {name!r} must have shape {shape}; got {tuple(value.shape)}.")
        with torch.no_grad(), torch.inference_mode(False):
            for name, value in weights.items():
                self._tensors[name].copy_(value)
        self.moved(weights)

    def moved(self, names: Iterable[str] | None = None) -> None:
        """Bring the fast copies up to date after the network's tensors were written to in place; all, or named ones."""
        touched = None if names is None else {name.rpartition(".")[0] for name in names}
        other = self.model
        with other._lock, torch.no_grad(), torch.inference_mode(False):
            if self._plain is not self.module:
                for one, new in zip(_tensors(self._plain), _tensors(self.module), strict=True):
                    one.copy_(new)
            for key, prepared in other._shared.items():
                if _is_of(key, "bare"):
                    _follow(prepared.module, self._plain, self._folds, touched)
            other._memo = {k: v for k, v in other._memo.items() if _is_of(k, "forward checked", "batch size")}
            if other.captures is not None:
                other.captures = Captures(other.captures.whole)
            other._stamp = stamp(other.module)


def _folds(model: Model) -> dict[str, str]:
    """Return the name of the normalization that each convolution may have been folded with."""
    pairs, plain = dict(model.inspection.pairs), model._plain
    norms = {
        id(part.running_mean): name
        for name, part in plain.named_modules()
        if isinstance(part, nn.modules.batchnorm._BatchNorm)
    }
    found = {}
    for name, part in plain.named_modules():
        mean = pairs.get(id(part._parameters.get("weight")))
        if mean in norms:
            found[name] = norms[mean]
    return found


def _tensors(module: nn.Module) -> Iterable[Tensor]:
    return chain(module.parameters(), module.buffers())


def _follow(fast: nn.Module, plain: nn.Module, folds: Mapping[str, str], touched: set[str] | None) -> None:
    """Write a plain network's weights into its fast copy, which shares all but folded and reordered ones.

    Only modules that are in ``touched`` or are folded with one that is, unless it is ``None``.
    """
    shared = {id(tensor) for tensor in _tensors(plain)}
    there_are = dict(fast.named_modules())
    for name, part in plain.named_modules():
        own = {key: value for key, value in part._parameters.items() if value is not None}
        if not own or (touched is not None and name not in touched and folds.get(name) not in touched):
            continue
        target = there_are[name]
        fused = target if isinstance(target, FusedConv) else None
        target = fused.conv if fused is not None else target
        if name in folds and isinstance(part, nn.modules.conv._ConvNd) and target.bias is not part.bias:
            norm = plain.get_submodule(folds[name])
            scale_shift = _scale_shift(norm) if isinstance(norm, nn.modules.batchnorm._BatchNorm) else None
            if scale_shift is None:
                raise RuntimeError(f"the fast copy has folded {name}, which cannot be folded now")
            scale, shift = scale_shift
            wanted = {
                "weight": part.weight * scale.reshape(-1, *[1] * (part.weight.ndim - 1)),
                "bias": shift if part.bias is None else shift + part.bias * scale,
            }
            for key, value in wanted.items():
                target.get_parameter(key).copy_(value)
        else:
            for key, value in own.items():
                there = target._parameters.get(key)
                if there is not None and id(there) not in shared:
                    there.copy_(value)
        if fused is not None:
            fused.weight.copy_(fused.conv.weight)
            fused.wide[..., 1:, 1:].copy_(fused.conv.weight)
