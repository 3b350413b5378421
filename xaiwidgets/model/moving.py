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
from xaiwidgets.model.skeleton import keep_tensors, make_skeleton

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from torch import Tensor

    from xaiwidgets.model.model import Model


class MovingModel:
    """A Model of the same network on tensors of its own, which ``set`` overwrites.

    Making a Model for each of many sets of weights takes several times as long as a pass of it: copying, folding,
    checking. Here all of that is done once, and new weights are written into what is there. Whoever holds ``model``
    sees the newest weights, so results must be finished before the next ``set``.

    Args:
        model: of the network; it stays as it is.
        hasty: ``exactly`` changes nothing: maps of many weights are compared by what is far above rounding, and the
            prepared copy is faster by a third.

    Attributes:
        model: the Model. ``module``: its network in evaluation mode, in whose tensors the weights are.
    """

    def __init__(self, model: Model, *, hasty: bool = False) -> None:
        with model._lock, torch.inference_mode(False):
            model._refresh()
            own = _apart(make_skeleton(model.module))
            plain = make_skeleton(own) if model._stateful else own
            other = copy.copy(model)
            other._lock, other._memo, other._shared = threading.RLock(), {}, {}
            other.captures = None if model.captures is None else Captures(model.captures.whole)
            other.module, other._hasty, other._own = own, hasty, True
            other._build(lambda: plain, _moved(model.inspection, model._plain, plain))
            other._shared = {k: v for k, v in model._shared.items() if _is_of(k, *LASTING)}
            other._memo = {k: v for k, v in model._memo.items() if _is_of(k, "forward checked")}
        self.model, self.module = other, own
        self._tensors = dict(all_tensors(own))
        self._same: dict[int, list[str]] = {}
        for name, tensor in self._tensors.items():
            self._same.setdefault(id(tensor), []).append(name)
        self._plain = plain
        self._folds = {name: (norm, plain.get_submodule(norm)) for name, norm in _folds(other).items()}
        self._parts = {
            name: part for name, part in plain.named_modules() if any(v is not None for v in part._parameters.values())
        }
        self._shared = {id(tensor) for tensor in _tensors(plain)}
        self._fast: dict[int, tuple[nn.Module, dict[str, nn.Module]]] = {}

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
        self.moved(other for name in weights for other in self._same[id(self._tensors[name])])

    def moved(self, names: Iterable[str] | None = None) -> None:
        """Bring the fast copies up to date after the network's tensors were written to in place; all, or named ones."""
        touched = self._parts.keys() if names is None else self._with_folded({n.rpartition(".")[0] for n in names})
        other = self.model
        with other._lock, torch.no_grad(), torch.inference_mode(False):
            if self._plain is not self.module:
                for one, new in zip(_tensors(self._plain), _tensors(self.module), strict=True):
                    one.copy_(new)
            for key, prepared in other._shared.items():
                if _is_of(key, "bare"):
                    self._follow(prepared.module, touched)
            other._memo = {k: v for k, v in other._memo.items() if _is_of(k, "forward checked", "batch size")}
            if other.captures is not None:
                other.captures = Captures(other.captures.whole)

    def _with_folded(self, names: Collection[str]) -> list[str]:
        """Return modules with parameters among those named, and convolutions that are folded with one of them."""
        return [
            *(name for name in names if name in self._parts),
            *(conv for conv, (norm, _) in self._folds.items() if norm in names and conv not in names),
        ]

    def _follow(self, fast: nn.Module, names: Iterable[str]) -> None:
        """Write the weights of some modules into a fast copy, which shares all but folded and reordered ones."""
        if id(fast) not in self._fast:
            self._fast[id(fast)] = fast, dict(fast.named_modules())
        there_are = self._fast[id(fast)][1]
        for name in names:
            part, target = self._parts[name], there_are[name]
            fused = target if isinstance(target, FusedConv) else None
            target = fused.conv if fused is not None else target
            if name in self._folds and isinstance(part, nn.modules.conv._ConvNd) and target.bias is not part.bias:
                _fold_into(target, part, self._folds[name][1], name)
            else:
                for key, value in part._parameters.items():
                    there = target._parameters.get(key)
                    if value is not None and there is not None and id(there) not in self._shared:
                        there.copy_(value)
            if fused is not None:
                fused.follow()


def _fold_into(target: nn.Module, conv: nn.modules.conv._ConvNd, norm: nn.Module, name: str) -> None:
    """Write the weights of a convolution and the normalization after it, in one, into a fast copy's convolution."""
    scale_shift = _scale_shift(norm) if isinstance(norm, nn.modules.batchnorm._BatchNorm) else None
    if scale_shift is None:
        raise RuntimeError(f"the fast copy has folded {name}, which cannot be folded now")
    scale, shift = scale_shift
    torch.mul(conv.weight, scale.reshape(-1, *[1] * (conv.weight.ndim - 1)), out=target.get_parameter("weight"))
    bias = target.get_parameter("bias")
    bias.copy_(shift if conv.bias is None else shift + conv.bias * scale)


def _apart(skeleton: nn.Module) -> nn.Module:
    """Return a copy whose tensors share nothing with the user's.

    New tensors, not new storage for the old ones: those count what is written into them together with the user's, and
    whoever has a graph or a stamp of the user's weights would take them for changed.
    """
    fresh = {
        id(tensor): nn.Parameter(tensor.detach().clone(), requires_grad=False)
        if isinstance(tensor, nn.Parameter)
        else tensor.detach().clone()
        for tensor in _tensors(skeleton)
    }
    return copy.deepcopy(skeleton, {**keep_tensors(skeleton), **fresh})


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


def all_tensors(module: nn.Module) -> Iterable[tuple[str, Tensor]]:
    """Return parameters and buffers by all their names: layers may share one."""
    return chain(module.named_parameters(remove_duplicate=False), module.named_buffers(remove_duplicate=False))


def _tensors(module: nn.Module) -> Iterable[Tensor]:
    return chain(module.parameters(), module.buffers())
