"""Two ways to write a picture down as genes: every value by itself, or a small network that paints from coordinates.

This module imports torch inside functions only.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Generator, Tensor

#: The spread of polynomial mutation (Deb and Goyal 1996): most changes are of a few hundredths of the range.
ETA = 15.0
#: After so many generations a value of the direct encoding is mutated half as often.
HALVED_EVERY = 1000
#: What a node of the painting network does with its sum, and how many nodes each of its two hidden layers has.
FUNCTIONS = ("sine", "sigmoid", "Gaussian", "linear")
NODES = 8
#: Column, row, distance from the center, and a constant, from -1 to 1.
INPUTS = 4
#: Standard deviation of a new network's weights: waves of about half the picture. Wider ones please fewer classes.
WEIGHTS = 3.0
#: How often a mutation gives a node another function.
SWITCHED = 0.05


class Encoding(Protocol):
    """How genes ``(N, genes)`` become pictures ``(N, C, H, W)``, in whole gray levels, and how they are changed."""

    @property
    def genes(self) -> int:
        """How many numbers make a picture."""
        ...

    def draw(self, count: int, random: Generator) -> Tensor:
        """Return new genes."""
        ...

    def mutate(self, genes: Tensor, random: Generator, rate: float, strength: float, generation: int) -> Tensor:
        """Return changed genes."""
        ...

    def render(self, genes: Tensor) -> Tensor:
        """Return the pictures."""
        ...

    def told(self, genes: Tensor) -> dict[str, float]:
        """Return what there is to say of one picture's genes."""
        ...


class Direct:
    """Every value of a picture is a gene, a whole gray level."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        self.shape = shape

    @property
    def genes(self) -> int:
        """How many values a picture has."""
        return math.prod(self.shape)

    def draw(self, count: int, random: Generator) -> Tensor:
        """Return uniform noise."""
        import torch

        return torch.randint(0, 256, (count, self.genes), generator=random, dtype=torch.uint8)

    def mutate(self, genes: Tensor, random: Generator, rate: float, strength: float, generation: int) -> Tensor:
        """Return genes of which each was changed with a probability of ``rate``, by polynomial mutation."""
        import torch

        chosen = torch.rand(genes.shape, generator=random) < rate * 0.5 ** (generation // HALVED_EVERY)
        drawn = torch.rand(int(chosen.sum()), generator=random)
        changed = genes.float()
        changed[chosen] += strength * 255 * polynomial(drawn)
        return changed.round().clamp(0, 255).to(torch.uint8)

    def render(self, genes: Tensor) -> Tensor:
        """Return the pictures."""
        return genes.float().reshape(-1, *self.shape)

    def told(self, genes: Tensor) -> dict[str, float]:
        """Return nothing: all have the same number of values."""
        return {}


class Painter:
    """Genes are weights and node functions of a compositional pattern-producing network of two hidden layers."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        self.shape = shape
        self.grid = places(shape)
        self.sizes = ((NODES, INPUTS), (NODES, NODES), (shape[0], NODES))
        self.weights = sum(one * other for one, other in self.sizes)

    @property
    def genes(self) -> int:
        """How many weights and nodes there are."""
        return self.weights + 2 * NODES

    def draw(self, count: int, random: Generator) -> Tensor:
        """Return genes of random networks."""
        import torch

        weights = WEIGHTS * torch.randn((count, self.weights), generator=random)
        return torch.cat([weights, self._functions((count, 2 * NODES), random)], dim=1)

    def mutate(self, genes: Tensor, random: Generator, rate: float, strength: float, generation: int) -> Tensor:
        """Return genes with noise on some weights, each with a probability of ``rate``, and a few other functions."""
        import torch

        weights, functions = genes[:, : self.weights], genes[:, self.weights :]
        chosen = torch.rand(weights.shape, generator=random) < rate
        weights = weights + strength * chosen * torch.randn(weights.shape, generator=random)
        switched = torch.rand(functions.shape, generator=random) < SWITCHED
        other = self._functions(tuple(functions.shape), random)
        return torch.cat([weights, other.where(switched, functions)], dim=1)

    def render(self, genes: Tensor) -> Tensor:
        """Return what the networks paint."""
        matrices, begin = [], 0
        for size in self.sizes:
            end = begin + size[0] * size[1]
            matrices.append(genes[:, begin:end].reshape(-1, *size))
            begin = end
        codes = genes[:, self.weights :].long().reshape(-1, 2, NODES, 1)
        first = activate(matrices[0] @ self.grid, codes[:, 0])
        second = activate(matrices[1] @ first, codes[:, 1])
        painted: Tensor = matrices[2] @ second
        return (255 * painted.sigmoid()).round().reshape(-1, *self.shape)

    def told(self, genes: Tensor) -> dict[str, float]:
        """Return nothing: all have the same structure."""
        return {}

    def _functions(self, shape: tuple[int, ...], random: Generator) -> Tensor:
        import torch

        return torch.randint(0, len(FUNCTIONS), shape, generator=random).float()


def places(shape: tuple[int, int, int]) -> Tensor:
    """Return what a painting network is told of each place, ``(INPUTS, places)``."""
    import torch

    rows, columns = torch.meshgrid(torch.linspace(-1, 1, shape[1]), torch.linspace(-1, 1, shape[2]), indexing="ij")
    grid = [columns, rows, (rows**2 + columns**2).sqrt(), torch.ones_like(rows)]
    return torch.stack([part.flatten() for part in grid])


def activate(sums: Tensor, codes: Tensor) -> Tensor:
    """Return each node's function of its sums ``(N, nodes, places)``; codes ``(N, nodes, 1)`` count ``FUNCTIONS``."""
    import torch

    found = sums.clone()
    functions: tuple[Callable[[Tensor], Tensor], ...] = (torch.sin, torch.sigmoid, bump)
    for code, function in enumerate(functions):
        chosen = codes[..., 0] == code
        found[chosen] = function(sums[chosen])  # each for its own nodes only: this is what a painting costs
    return found


def bump(sums: Tensor) -> Tensor:
    """Return the Gaussian of the sums, 1 at 0."""
    return (-sums.square()).exp()


def polynomial(drawn: Tensor) -> Tensor:
    """Return changes between -1 and 1 from uniform numbers between 0 and 1, by Deb's polynomial distribution."""
    power = 1 / (ETA + 1)
    return ((2 * drawn) ** power - 1).where(drawn < 0.5, 1 - (2 - 2 * drawn).clamp_min(0) ** power)
