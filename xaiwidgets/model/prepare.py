"""The prepared copy: the same function, faster. BatchNorm folded into convolutions, channels last.

Folding follows the data (which convolution's output a normalization received), not the order of declaration, and is
kept only if the copy gives the same numbers; fused convolutions are kept if they are faster, too.
"""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from xaiwidgets.model.fuse import faster, fuse, usable
from xaiwidgets.model.skeleton import keep_tensors

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from torch import Tensor

#: Largest relative difference to the plain network that folding may cause, by type of number.
TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-9}
#: What is tried, the fastest first: (fold BatchNorm, channels last).
ATTEMPTS = ((True, True), (False, True), (True, False))


class AfterNorm(nn.Module):
    """What a fused normalization layer does after normalizing: dropout and activation."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.drop = norm.get_submodule("drop")
        self.act = norm.get_submodule("act")

    def forward(self, x: Tensor) -> Tensor:
        """Return the activated input."""
        return self.act(self.drop(x))  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Prepared:
    """A private copy to run passes on.

    Attributes:
        module: maps a batch to outputs; give it what ``fit`` returns.
        folded: names of the layers whose output is now the normalized one.
        note: one sentence on what was done.
        channels_last: the memory format that inputs are wanted in.
        writes_input: the network works in place on its input.
    """

    module: nn.Module
    folded: frozenset[str]
    note: str
    channels_last: bool = True
    writes_input: bool = False

    def fit(self, images: Tensor) -> Tensor:
        """Return the images in the wanted memory format, as a copy if the network would write to them."""
        if images.ndim != 4:
            return images
        wanted = torch.channels_last if self.channels_last else torch.contiguous_format
        if self.writes_input:
            return images.clone(memory_format=wanted)
        if self.channels_last:
            return images.contiguous(memory_format=wanted)
        # strides count even for one channel, where `contiguous` takes channels-last ones for the wanted ones
        _, channels, height, width = images.shape
        usual = (channels * height * width, height * width, width, 1)
        return images if images.stride() == usual else images.clone(memory_format=wanted)


def prepare(skeleton: nn.Module, pairs: Iterable[tuple[int, int]], probe: Tensor, *, fused: bool = True) -> Prepared:
    """Return the fastest copy of ``skeleton`` that gives the same numbers.

    Args:
        skeleton: the private skeleton.
        pairs: (id of a convolution's weight, id of a normalization's running mean), as met in the data flow.
        probe: an input batch on which both must agree.
        fused: let a convolution and its activation be one operation where that is faster.
    """
    with torch.no_grad():
        plain = skeleton(probe.clone())
    failed: list[str] = []
    known = set(pairs)
    for fold, last in ATTEMPTS:
        if not fold and not known:
            continue
        module = copy.deepcopy(skeleton, keep_tensors(skeleton))
        followers = _fold(module, known) if fold else {}
        if last:
            _to_channels_last(module)
        done = f"{len(followers)} BatchNorm layers folded, channels {'last' if last else 'first'}"
        made = Prepared(module, frozenset(followers), f"{done}{_but(failed)}", last)
        fault = _fault(made, probe, plain)
        if not fault:
            return _fused(made, followers, probe, plain) if fused and last and followers else made
        failed.append(f"{done}: {fault}")
    module = copy.deepcopy(skeleton, keep_tensors(skeleton))
    return Prepared(module, frozenset(), f"plain copy{_but(failed)}", channels_last=False)


def _fused(made: Prepared, followers: Mapping[str, str], probe: Tensor, plain: Tensor) -> Prepared:
    """Return a copy with fused convolutions if that gives the same numbers in less time, else what came in."""
    if not usable(probe):
        return made
    module = copy.deepcopy(made.module, keep_tensors(made.module))
    count = fuse(module, followers)
    better = dataclasses.replace(made, module=module, note=f"{made.note}, {count} convolutions fused")
    if not count or _fault(better, probe, plain) or not faster(module, made.module, probe):
        return made
    return better


def _but(failed: list[str]) -> str:
    return f"; what is faster did not work ({'; '.join(failed)})" if failed else ""


def _fault(made: Prepared, probe: Tensor, plain: Tensor) -> str:
    """Return how a copy differs from the plain network, or an empty string."""
    try:
        with torch.no_grad():
            fast = made.module(made.fit(probe.clone()))
    except Exception as error:
        return f"raised {type(error).__name__}"
    difference = float((plain - fast).abs().max() / plain.abs().max().clamp_min(1e-30))
    if difference <= TOLERANCE.get(plain.dtype, 1e-2):
        return ""
    return f"changed the output by {difference:.1e} of its maximum"


def _to_channels_last(module: nn.Module) -> None:
    """Give a private copy its own channels-last weights (``module.to`` would change those that it shares)."""
    made: dict[int, tuple[Tensor, nn.Parameter]] = {}
    for part in module.modules():
        for name, weight in part._parameters.items():
            if weight is None or weight.ndim != 4:
                continue
            if id(weight) not in made:
                own = weight.detach().contiguous(memory_format=torch.channels_last)
                made[id(weight)] = (weight, nn.Parameter(own, requires_grad=False))
            part._parameters[name] = made[id(weight)][1]


def _fold(module: nn.Module, pairs: set[tuple[int, int]]) -> dict[str, str]:
    """Fold in place on a private copy; return the names of the normalization layers by their convolutions'."""
    # weights that a parametrization computes anew for each pass are no parameters of their own, and not found here
    convolutions = {
        id(m._parameters.get("weight")): (n, m)
        for n, m in module.named_modules()
        if isinstance(m, nn.modules.conv._ConvNd) and not m.transposed
    }
    norms = {
        id(m.running_mean): (n, m) for n, m in module.named_modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)
    }
    names = {}
    for weight_id, mean_id in pairs:
        if weight_id not in convolutions or mean_id not in norms:
            continue
        (conv_name, conv), (norm_name, norm) = convolutions[weight_id], norms[mean_id]
        rest, scale_shift = _rest(norm), _scale_shift(norm)
        if rest is None or scale_shift is None:
            continue
        scale, shift = scale_shift
        if conv.bias is not None:
            shift = shift + conv.bias * scale
        conv.weight = nn.Parameter(conv.weight * scale.reshape(-1, *[1] * (conv.weight.ndim - 1)), requires_grad=False)
        conv.bias = nn.Parameter(shift.clone(), requires_grad=False)
        parent, _, child = norm_name.rpartition(".")
        setattr(module.get_submodule(parent), child, rest)
        names[conv_name] = norm_name
    return names


def _scale_shift(norm: nn.modules.batchnorm._BatchNorm) -> tuple[Tensor, Tensor] | None:
    """Return what a normalization with fixed statistics multiplies by and adds."""
    if norm.running_mean is None or norm.running_var is None:
        return None
    scale = torch.rsqrt(norm.running_var + norm.eps)
    if norm.weight is not None:
        scale = scale * norm.weight
    shift = -norm.running_mean * scale
    return scale, shift if norm.bias is None else shift + norm.bias


def _rest(norm: nn.Module) -> nn.Module | None:
    """Return what remains of a normalization layer once it is folded, or ``None`` if that is not known."""
    if type(norm) in (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d):
        return nn.Identity()
    parts = [name for name, _ in norm.named_children()]
    return AfterNorm(norm) if sorted(parts) == ["act", "drop"] else None
