"""The private skeleton: a copy of the user's module objects that shares the user's weights.

Hooks, modes and flags are put on the skeleton, so the user's module is never touched. Only Python objects and buffers
are copied; parameters keep their storage, so it costs no weight memory. Buffers are small, and a forward may write to
them; ``stamp`` tells when they have changed and a new skeleton is due.
"""

from __future__ import annotations

import copy
from itertools import chain
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from xaiwidgets.errors import InvalidModel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

    Change = Callable[[str, Tensor], Tensor]


def make_skeleton(module: nn.Module, change: Change | None = None) -> nn.Module:
    """Return a copy of ``module`` in eval mode whose parameters share storage with the original.

    Args:
        module: the user's module; it is only read.
        change: gives the tensor to use for a parameter or buffer, from its name and a copy of its value.

    Raises:
        InvalidModel: the module cannot be copied, or ``change`` gave what does not fit.
    """
    memo = keep_tensors(module)
    for name, parameter in module.named_parameters():
        _refuse_lazy(name, parameter)
        memo[id(parameter)] = nn.Parameter(_changed(change, name, parameter.detach()), requires_grad=False)
    for name, buffer in module.named_buffers():
        memo[id(buffer)] = _changed(change, name, buffer.detach()).clone()
    try:
        skeleton = copy.deepcopy(module, memo)
    except Exception as error:
        raise InvalidModel(
            f"module must be copyable: xaiwidgets works on a private copy of its objects, and copying "
            f"{type(module).__name__} failed ({type(error).__name__}: {error}). Remove what cannot be copied "
            "(locks, open files, generators) from its attributes, or define __deepcopy__."
        ) from error
    return skeleton.eval()


def keep_tensors(module: nn.Module) -> dict[int, Any]:
    """Return a memo for ``copy.deepcopy`` under which a copy of ``module`` has the same tensors, free of any graph."""
    memo: dict[int, Any] = {id(t): t for t in chain(module.parameters(), module.buffers())}
    # what a forward has kept as a plain attribute may hang in a graph, which deepcopy refuses
    for child in module.modules():
        for tensor in _loose(vars(child)):
            if id(tensor) not in memo:
                memo[id(tensor)] = tensor.detach()
    return memo


def _loose(value: Any) -> Iterator[Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (dict, list, tuple)):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _loose(part)


def stamp(module: nn.Module) -> tuple[int, int]:
    """Return numbers that change when the user's weights change: in-place versions and storage addresses."""
    versions = addresses = 0
    seen: set[int] = set()
    left = [module]
    # looked at before every explanation: twice as fast as ``parameters()``, which makes names on its way
    while left:
        one = left.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        left.extend(child for child in one._modules.values() if child is not None)
        for tensor in (*one._parameters.values(), *one._buffers.values()):
            if tensor is not None and id(tensor) not in seen:  # one that is shared would cancel itself
                seen.add(id(tensor))
                addresses ^= tensor.data_ptr()
                try:
                    versions += tensor._version
                except RuntimeError:  # one that was made in inference mode counts none
                    continue
    return versions, addresses


def _changed(change: Change | None, name: str, value: Tensor) -> Tensor:
    if value.is_inference():
        value = value.clone()  # autograd refuses weights that were made in inference mode
    if change is None:
        return value
    # a copy, for the change may work in place and these are the user's weights
    new = change(name, value.clone())
    if not isinstance(new, torch.Tensor) or new.shape != value.shape:
        got = tuple(new.shape) if isinstance(new, torch.Tensor) else type(new).__name__
        raise InvalidModel(f"weights for {name!r} must be a tensor of shape {tuple(value.shape)}; got {got}.")
    return value if torch.equal(new, value) else new.detach()


def _refuse_lazy(name: str, parameter: nn.Parameter) -> None:
    if isinstance(parameter, nn.parameter.UninitializedParameter):
        raise InvalidModel(f"module has the uninitialized parameter {name!r}: run one forward pass on it first.")
