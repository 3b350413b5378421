"""The same function as another network: rewrites that change how a network computes, and nothing that it gives.

Sundararajan, Taly and Yan 2017 ask of explanations that they be the same for both.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from xaiwidgets.errors import InvalidModel
from xaiwidgets.evaluation.channels import Flow
from xaiwidgets.model.model import Model
from xaiwidgets.model.prepare import _fold
from xaiwidgets.model.skeleton import make_skeleton

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from torch import Tensor

#: Factors of channels are drawn between 1 / SPAN and SPAN.
SPAN = 4.0
#: Identity maps of dense layers are made up to this many numbers.
WIDEST = 4096


class Doubled(nn.Module):
    """A linear map z as ReLU(z) − ReLU(−z), from the map and the one with all weights negated."""

    def __init__(self, linear: nn.Module) -> None:
        super().__init__()
        self.positive, self.negative = linear, copy.deepcopy(linear)
        for name, value in self.negative.named_parameters():
            self.negative.get_parameter(name).data = -value.data
        self.above, self.below = nn.ReLU(), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Return what the map gives."""
        return self.above(self.positive(x)) - self.below(self.negative(x))  # type: ignore[no-any-return]


def permute(flow: Flow, rng: np.random.Generator) -> int:
    """Number channels otherwise."""
    chains = flow.chains()
    for chain in chains:
        order = torch.from_numpy(rng.permutation(chain.channels))
        _pick_outputs(flow, (chain.source, *chain.between), order)
        for name, each in chain.readers:
            _pick_inputs(flow.module.get_submodule(name), _runs(order, each))
    return len(chains)


def scale(flow: Flow, rng: np.random.Generator) -> int:
    """Multiply channels by positive factors, and divide by them where they are read."""
    chains = flow.chains(scaled=True)
    for chain in chains:
        factors = torch.from_numpy(SPAN ** rng.uniform(-1, 1, chain.channels))
        source = flow.module.get_submodule(chain.source)
        for key in ("weight", "bias"):
            value = source._parameters.get(key)
            if value is not None:
                _set(source, key, value * factors.to(value).reshape(-1, *[1] * (value.ndim - 1)))
        for name, each in chain.readers:
            reader = flow.module.get_submodule(name)
            weight: Any = reader.weight
            divided = factors.to(weight).repeat_interleave(each).reshape(1, -1, *[1] * (weight.ndim - 2))
            _set(reader, "weight", weight / divided)
    return len(chains)


def split(flow: Flow, rng: np.random.Generator) -> int:
    """Make one channel of a layer twice, and read half of each."""
    chains = flow.chains()
    for chain in chains:
        one = int(rng.integers(chain.channels))
        order = torch.tensor([*range(chain.channels), one])
        _pick_outputs(flow, (chain.source, *chain.between), order)
        for name, each in chain.readers:
            reader = flow.module.get_submodule(name)
            _pick_inputs(reader, _runs(order, each))
            weight: Any = reader.weight
            halved = weight.detach().clone()
            for channel in (one, chain.channels):
                halved[:, channel * each : (channel + 1) * each] /= 2
            _set(reader, "weight", halved)
    return len(chains)


def fold(flow: Flow, rng: np.random.Generator) -> int:
    """Fold batch normalizations into the convolutions before them."""
    with torch.no_grad():
        return len(_fold(flow.module, set(flow.pairs)))


def double(flow: Flow, rng: np.random.Generator) -> int:
    """Give the picture and the results of layers as differences of two ReLUs."""
    places = 0
    for number, name in list(flow.owners.items()):
        part = flow.module_of(number)
        if not isinstance(part, (nn.Conv2d, nn.Linear)):
            continue
        new: nn.Module = part if flow.gives_scores(number) else Doubled(part)
        if flow.reads_picture(number) and isinstance(part, nn.Conv2d):
            new = nn.Sequential(Doubled(_identity(part)), new)
        if new is not part:
            _replace(flow.module, name, new)
            places += 1
    return places


def insert(flow: Flow, rng: np.random.Generator) -> int:
    """Put an identity map and a ReLU before layers that read the results of ReLUs."""
    places = 0
    for number, name in list(flow.owners.items()):
        part = flow.module_of(number)
        if not isinstance(part, (nn.Conv2d, nn.Linear)) or not flow.reads_positive(number):
            continue
        if isinstance(part, nn.Conv2d) or part.in_features <= WIDEST:
            _replace(flow.module, name, nn.Sequential(_identity(part), nn.ReLU(), part))
            places += 1
    return places


#: By the name they are shown with; each works in place on a private copy and returns in how many places it has.
REWRITES: dict[str, Callable[[Flow, np.random.Generator], int]] = {
    "permuted channels": permute,
    "scaled channels": scale,
    "split channels": split,
    "folded BatchNorm": fold,
    "doubled ReLU": double,
    "inserted identity": insert,
}


@dataclass(frozen=True)
class Rewritten:
    """A network that computes the same otherwise.

    Attributes:
        model: of the new network. ``places``: in how many it differs. ``error``: largest difference of scores over
            pictures, divided by the largest score.
    """

    model: Model
    places: int
    error: float


def rewrite(model: Model, name: str, images: Tensor, rng: np.random.Generator) -> Rewritten:
    """Return a network rewritten wherever that is possible; the user's module is only read.

    Args:
        model: of the network.
        name: of ``REWRITES``.
        images: inputs ``(N, C, H, W)`` on which both are compared.
        rng: of what is drawn.

    With no place, the model is the given one.

    Raises:
        InvalidModel: the new network cannot be run: its code counts on numbers of channels.
    """
    module = make_skeleton(model.module)
    places = REWRITES[name](Flow(module, model.input_shape, model.like), rng)
    if not places:
        return Rewritten(model, 0, 0.0)
    other = like(model, module, f"{model.name}, {name}")
    one, two = model.logits(images), other.logits(images)
    return Rewritten(other, places, float((one - two).abs().max() / one.abs().max().clamp_min(1e-12)))


def precise(model: Model) -> tuple[Model, str]:
    """Return the network with numbers of 64 bits, and what to tell if that cannot be."""
    if model.like.dtype == torch.float64:
        return model, ""
    try:
        return like(model, copy.deepcopy(make_skeleton(model.module)).double(), model.name), ""
    except InvalidModel as error:
        return model, f"Numbers have 32 bits, so single units may switch by rounding ({error})"


def like(model: Model, module: nn.Module, name: str) -> Model:
    """Return another network as a Model with the labels and the preprocessing of this one."""
    given = model.preprocessing
    return Model(
        module,
        labels=model.labels,
        mean=given.mean,
        std=given.std,
        size=given.size,
        crop=given.crop,
        interpolation=given.interpolation,
        name=name,
    )


def _runs(order: Tensor, each: int) -> Tensor:
    """Return the numbers of inputs when each channel has so many in a row."""
    return (order[:, None] * each + torch.arange(each)).flatten()


def _pick_outputs(flow: Flow, names: tuple[str, ...], order: Tensor) -> None:
    for name in names:
        part = flow.module.get_submodule(name)
        for key, value in [*part._parameters.items(), *part._buffers.items()]:
            if value is not None and value.ndim:
                _set(part, key, value[order])
        count = len(order)
        if isinstance(part, nn.Linear):
            part.out_features = count
        elif isinstance(part, nn.Conv2d):
            part.out_channels = count
            if part.groups > 1:
                part.in_channels = part.groups = count
        elif isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.num_features = count


def _pick_inputs(part: nn.Module, order: Tensor) -> None:
    weight: Any = part.weight
    _set(part, "weight", weight[:, order])
    if isinstance(part, nn.Linear):
        part.in_features = len(order)
    elif isinstance(part, nn.Conv2d):
        part.in_channels = len(order)


def _set(part: nn.Module, key: str, value: Tensor) -> None:
    """Give a module another tensor; the user's network has the old one."""
    if key in part._parameters:
        part._parameters[key] = nn.Parameter(value.detach().contiguous(), requires_grad=False)
    else:
        part._buffers[key] = value.detach().contiguous()


def _identity(part: nn.Conv2d | nn.Linear) -> nn.Module:
    """Return a linear map of a layer's inputs to themselves."""
    count = part.in_channels if isinstance(part, nn.Conv2d) else part.in_features
    eye = torch.eye(count, device=part.weight.device, dtype=part.weight.dtype)
    made: nn.Module
    if isinstance(part, nn.Conv2d):
        made = nn.Conv2d(count, count, 1, bias=False, device="meta")
        eye = eye[:, :, None, None]
    else:
        made = nn.Linear(count, count, bias=False, device="meta")
    _set(made, "weight", eye)
    return made.eval()


def _replace(module: nn.Module, name: str, new: nn.Module) -> None:
    above, _, own = name.rpartition(".")
    setattr(module.get_submodule(above), own, new.eval())
