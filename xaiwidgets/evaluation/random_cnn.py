"""A random network of three layers, whose reversed pictures are known in closed form (Nie, Zhang, Patel 2018).

Convolution with N Gaussian filters, ReLU, max-pooling or none, and a dense Gaussian layer. Each filter adds its own
part to a reversed picture, so that wide networks are done in pieces, and every width on the way is a network, too.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from xaiwidgets.model.model import Model
from xaiwidgets.model.moving import MovingModel
from xaiwidgets.surgery.recipes import DECONV, GUIDED

if TYPE_CHECKING:
    from torch import Tensor

    from xaiwidgets.surgery.recipes import Recipe

#: Backward rules by the name they are shown with; ``None`` is the derivative.
RULES: dict[str, Recipe | None] = {"gradient": None, "DeconvNet": DECONV, "guided backpropagation": GUIDED}
#: Filters that are drawn and run together.
PIECE = 16
#: Two logits are looked at.
LOGITS = 2


class RandomCnn:
    """Some filters of a random network, drawn again and again.

    Args:
        shape: ``(C, H, W)`` of the picture.
        kernel: side of the filters.
        pool: side of the max-pooling's windows, which lie at every place; 0 is none.
        seed: of all weights. Filters and dense weights are standard normal.
    """

    def __init__(self, shape: tuple[int, int, int], kernel: int, pool: int, seed: int) -> None:
        channels, height, width = shape
        side = [n - kernel + 1 - max(pool - 1, 0) for n in (height, width)]
        with torch.random.fork_rng(devices=[]):
            layers = [
                nn.Conv2d(channels, PIECE, kernel, bias=False),
                nn.ReLU(),
                *([nn.MaxPool2d(pool, 1)] if pool else []),
                nn.Flatten(),
                nn.Linear(PIECE * side[0] * side[1], LOGITS, bias=False),
            ]
        net = nn.Sequential(*layers)
        plain = (0.0,) * channels, (1.0,) * channels
        self._moving = MovingModel(Model(net, mean=plain[0], std=plain[1], size=(height, width)))
        self._generator = torch.Generator().manual_seed(seed)
        self._names = ("0.weight", f"{len(layers) - 1}.weight")

    def draw(self) -> None:
        """Draw the next filters, and the dense weights of what they give."""
        for name in self._names:
            shape = self._moving.module.get_parameter(name).shape
            self._moving.set({name: torch.randn(shape, generator=self._generator)})

    def reversed(self, image: Tensor, rule: str, logit: int) -> Tensor:
        """Return what these filters add to the reversed picture of a logit, ``(C, H, W)``."""
        model = self._moving.model
        return model.gradient(image, model.target(logit), recipe=RULES[rule]).input[0]


def closed_form(image: Tensor, kernel: int, filters: int = 1) -> Tensor:
    """Return what guided backpropagation of any logit tends to with many filters and no pooling, ``(C, H, W)``.

    N / 2π · Σ_j C_jᵀ (y_j / ‖y_j‖): each patch y_j of the picture ``(1, C, H, W)`` is divided by its norm and put back
    to its place. Filters and dense weights have a deviation of 1.
    """
    size = tuple(image.shape[2:])
    patches = functional.unfold(image, kernel)
    scaled = patches / patches.norm(dim=1, keepdim=True).clamp_min(1e-12)
    return functional.fold(scaled, size, kernel)[0] * (filters / (2 * math.pi))


def cosine(one: Tensor, other: Tensor) -> float:
    """Return the cosine of the angle between two arrays; NaN if either is 0 everywhere."""
    first, second = one.flatten().double(), other.flatten().double()
    length = float(first.norm() * second.norm())
    return float(first @ second) / length if length > 0 else math.nan


def apart(one: Tensor, other: Tensor) -> float:
    """Return the distance of two arrays divided by the mean of their norms; 0 if both are 0."""
    norms = float(one.double().norm() + other.double().norm())
    return 2 * float((one.double() - other.double()).norm()) / norms if norms > 0 else 0.0
