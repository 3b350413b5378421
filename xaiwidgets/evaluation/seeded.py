"""Pictures that a reversed network makes of any seed at a layer, not only of a unit's or a class's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from xaiwidgets.evaluation.random_cnn import RULES
from xaiwidgets.model.targets import Target

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from torch import Tensor

    from xaiwidgets.model.model import Model


class Seeded(Target):
    """A target whose derivative by a layer's output is a given seed ``(1, …)`` of that output's shape."""

    def __init__(self, layer: str, seed: Tensor) -> None:
        super().__init__(layer=layer, name=f"a seed at {layer}")
        object.__setattr__(self, "_seed", seed)

    def score(self, outputs: Tensor, records: Mapping[str, Tensor] | None = None) -> Tensor:
        """Return the sums ``(N,)`` of the layer's outputs times the seed."""
        seed: Tensor = self.__dict__["_seed"]
        return ((records or {})[self.layer] * seed).flatten(1).sum(dim=1)


def seeds(
    activation: Tensor, units: Mapping[str, tuple[int, int, int]], generator: torch.Generator
) -> dict[str, Tensor]:
    """Return seeds at a layer ``(1, C, h, w)`` by name: single units, two of Gaussian and two of positive numbers."""
    found = {}
    for name, place in units.items():
        found[name] = torch.zeros_like(activation)
        found[name][(0, *place)] = 1
    for kind, draw in (("Gaussian", torch.randn), ("positive", torch.rand)):
        for letter in "AB":
            found[f"{kind} {letter}"] = draw(activation.shape, generator=generator).to(activation)
    return found


def pictures(
    model: Model, image: Tensor, layer: str, given: Mapping[str, Tensor]
) -> Generator[None, None, dict[str, dict[str, Tensor]]]:
    """Return the picture ``(C, H, W)`` of each seed, by rule and seed; only the gradient without ReLUs throughout."""
    found: dict[str, dict[str, Tensor]] = {}
    for rule, recipe in RULES.items():
        if recipe is not None and "relu" not in model.offers:
            continue
        found[rule] = {}
        for name, seed in given.items():
            found[rule][name] = model.gradient(image, Seeded(layer, seed), recipe=recipe).input[0]
            yield None
    return found
