"""How far reversed pictures of a trained network move when another class is forced, or the picture is attacked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from xaiwidgets.evaluation.random_cnn import RULES, apart

if TYPE_CHECKING:
    from collections.abc import Generator

    from torch import Tensor

    from xaiwidgets.evaluation.case import Case
    from xaiwidgets.model.model import Model

#: Steps of the attack, each of one of 255 levels.
STEPS = 16


@dataclass(frozen=True)
class Moved:
    """Distances of reversed pictures, divided by the mean of their norms.

    Attributes:
        forced: by rule, of the class that the network sees and of one drawn at random.
        attacked: by rule, of the picture and of one that the network takes for the runner-up, each of its own class;
            empty if the attack failed.
        classes: the class seen, the one forced, the runner-up. ``levels``: by how much the attack moved pixels.
    """

    forced: dict[str, float]
    attacked: dict[str, float]
    classes: tuple[int, int, int]
    levels: int


def moved(case: Case) -> Generator[None, None, Moved]:
    """Return how far the maps of each rule move; only the gradient without ReLU-like activations throughout."""
    model, image = case.model, case.image
    first, second = (int(c) for c in model.logits(image)[0].topk(2).indices)
    others = [c for c in range(model.classes) if c != first]
    forced = others[int(case.rng(1).integers(len(others)))]
    rules = {name: rule for name, rule in RULES.items() if rule is None or "relu" in model.offers}
    yield None
    other, levels = yield from attack(model, image, first, second)
    far: dict[str, float] = {}
    hit: dict[str, float] = {}
    for name, rule in rules.items():
        own = model.gradient(image, model.target(first), recipe=rule).input
        far[name] = apart(own, model.gradient(image, model.target(forced), recipe=rule).input)
        yield None
        if levels:
            hit[name] = apart(own, model.gradient(other, model.target(second), recipe=rule).input)
            yield None
    return Moved(far, hit, (first, forced, second), levels)


def attack(model: Model, image: Tensor, first: int, second: int) -> Generator[None, None, tuple[Tensor, int]]:
    """Move all pixels by one level at a time until the network sees the second class; return the picture and steps.

    Iterated signs of the gradient of the difference of both scores (Kurakin et al. 2017); 0 steps if it never does.
    """
    mean, std = (
        torch.tensor(values).to(image).reshape(1, -1, 1, 1)
        for values in (model.preprocessing.mean, model.preprocessing.std)
    )
    target = model.target(type(model.target(first)).difference(second, first))
    other = image
    for step in range(1, STEPS + 1):
        found = model.gradient(other, target).input
        pixels = (other * std + mean + found.sign() / 255).clamp(0, 1)
        other = (pixels - mean) / std
        if int(model.logits(other)[0].argmax()) == second:
            return other, step
        yield None
    return image, 0
