"""Running means of a layer's first three derivatives over noisy copies, and how far the map of them has settled."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xaiwidgets.explainers.cam.maps import curvature_weights

if TYPE_CHECKING:
    from torch import Tensor

#: Copies are dealt to this many groups; the standard error comes from leaving out one of them at a time.
GROUPS = 8


class Derivatives:
    """Sums of a gradient, its square and its cube, in total and by group of copies.

    Args:
        activation: of the layer on the photo itself, ``(1, K, h, w)``.
    """

    def __init__(self, activation: Tensor) -> None:
        import torch

        self.activation = activation
        shape = (3, *activation.shape)
        self.total = torch.zeros(shape, dtype=torch.float64, device=activation.device)
        # only what is subtracted for the error: the activation's own number type is fine enough
        self.parts = torch.zeros((GROUPS, *shape), dtype=activation.dtype, device=activation.device)
        self.counts = [0] * GROUPS

    def add(self, gradients: Tensor, numbers: range) -> None:
        """Add the gradients ``(n, K, h, w)`` of the copies with these numbers."""
        import torch

        for gradient, number in zip(gradients.double(), numbers, strict=True):
            power = torch.ones_like(gradient)
            for order in range(3):
                power = power * gradient
                self.total[order, 0] += power
                self.parts[number % GROUPS, order, 0] += power
            self.counts[number % GROUPS] += 1

    def map(self, by: str = "d2", *, relu: bool = True) -> tuple[Tensor, Tensor]:
        """Return the map and its standard error, ``(1, 1, h, w)`` each; the error of a single copy is 0.

        The map is no mean of maps, so its error is a jackknife's over groups (Efron and Stein 1981): of m maps without
        one group each, the root of (m − 1) / m times the sum of squares around their mean.
        """
        import torch

        count = sum(self.counts)
        shown = self._shown(self.total / count, by, relu=relu)
        groups = [(part, size) for part, size in zip(self.parts, self.counts, strict=True) if size]
        if len(groups) < 2:
            return shown, torch.zeros_like(shown)
        others = torch.stack([self._shown((self.total - p) / (count - n), by, relu=relu) for p, n in groups]).double()
        spread = (others - others.mean(dim=0)).square().sum(dim=0)
        return shown, ((len(groups) - 1) / len(groups) * spread).sqrt()

    def _shown(self, means: Tensor, by: str, *, relu: bool) -> Tensor:
        first, second, third = means
        weights = curvature_weights(self.activation, first, second, third, by)
        found = (weights.to(self.activation) * self.activation).sum(dim=1, keepdim=True)
        return found.clamp_min(0) if relu else found
