"""Pictures that deceive a network while it learns, so that it becomes a robust one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from xaiwidgets.learned.recipes import Recipe


@dataclass(frozen=True)
class Adversary:
    """Projected gradient steps against the loss (Madry et al. 2018, equation 2.1), from a random start.

    Attributes:
        epsilon: largest change of a pixel, of 255 levels. ``steps``: how many.
        reach: length of all steps together, in epsilons.
    """

    epsilon: float = 4.0
    steps: int = 3
    reach: float = 2.5

    def changed(self, net: nn.Module, inputs: Tensor, labels: Tensor, made: Recipe, starts: torch.Generator) -> Tensor:
        """Return inputs that are changed by at most epsilon, stay pictures, and have a larger loss."""
        import torch
        from torch.nn import functional

        std, mean = (torch.tensor(v).reshape(1, -1, 1, 1).to(inputs) for v in (made.std, made.mean))
        most = self.epsilon / 255 / std
        low, high = (inputs - most).maximum(-mean / std), (inputs + most).minimum((1 - mean) / std)
        found = torch.lerp(low, high, torch.rand(inputs.shape, generator=starts).to(inputs))
        for _ in range(self.steps):
            with torch.enable_grad():
                leaf = found.requires_grad_()
                (slope,) = torch.autograd.grad(functional.cross_entropy(net(leaf), labels), leaf)
            found = (leaf.detach() + self.reach / self.steps * most * slope.sign()).clamp(low, high)
        return found
