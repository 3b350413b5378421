"""Steps down a slope for a few hundred numbers: Adam, and gradient descent with momentum."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


class Adam:
    """Adam (Kingma and Ba 2015, algorithm 1); the step size may differ from step to step.

    Args:
        like: what is learned; moments start at 0.
        least: slopes well under this are as good as none.
    """

    def __init__(self, like: Tensor, least: float) -> None:
        self.mean, self.square = torch.zeros_like(like), torch.zeros_like(like)
        self.least, self.count = least, 0

    def step(self, slope: Tensor, size: float) -> Tensor:
        """Return what to add."""
        self.count += 1
        self.mean = 0.9 * self.mean + 0.1 * slope
        self.square = 0.999 * self.square + 0.001 * slope**2
        mean, square = self.mean / (1 - 0.9**self.count), self.square / (1 - 0.999**self.count)
        return -size * mean / (square.sqrt() + self.least)


class Momentum:
    """Gradient descent along the running mean of slopes, of which a share ``kept`` is that of before."""

    def __init__(self, like: Tensor, kept: float) -> None:
        self.mean, self.kept = torch.zeros_like(like), kept

    def step(self, slope: Tensor, size: float) -> Tensor:
        """Return what to add."""
        self.mean = self.kept * self.mean + (1 - self.kept) * slope
        return -size * self.mean
