"""Sums over samples of units, from which their signal directions follow.

For a unit ``y = wᵀx`` over patches ``x``, the linear estimator is ``a = cov[x, y] / wᵀcov[x, y]``; the two-component
one, for units before a ReLU, ``a = n / wᵀn`` with ``n = E₊[x·y] − E₊[x]·E[y]``, where ``E₊`` is the mean over samples
that the ReLU lets pass (Kindermans et al. 2018, section 4).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from xaiwidgets.engine.bank import Direction

if TYPE_CHECKING:
    from torch import Tensor

#: A unit that a ReLU let pass on fewer samples is dead, and one whose signal is less than this share of its square.
LEAST, FLAT = 10, 1e-6


class Sums:
    """Counts and sums over the samples of one weighted operation.

    Args:
        weight: ``(units, ...)``. ``groups``: of a convolution.
    """

    def __init__(self, weight: Tensor, groups: int) -> None:
        self.weight, self.groups = weight, groups
        units, size = len(weight) // groups, weight[0].numel()  # the taps of a kernel come first, then channels
        dtype = torch.promote_types(weight.dtype, torch.float32)

        def zeros(units: int, size: int) -> Tensor:
            return torch.zeros((groups, units, size), dtype=dtype, device=weight.device)

        self.count = 0
        self.inputs = zeros(1, size)  # Σ x
        self.outputs, self.squares = zeros(units, 1), zeros(units, 1)  # Σ y, Σ y²
        self.products = zeros(units, size)  # Σ x y
        self.fired = zeros(units, 1)  # how often y got through the ReLU
        self.fired_inputs: Tensor | None = None  # Σ x of those samples
        self.fired_products: Tensor | None = None  # Σ x y of those samples

    def add(self, inputs: Tensor, outputs: Tensor, positive: Tensor | None) -> None:
        """Add samples: ``(n, taps, groups, d)``, ``(n, groups, units)``, and where a ReLU let the outputs pass."""
        x, y = inputs.to(self.products.dtype), outputs.to(self.products.dtype)
        self.count += len(x)
        self.inputs += _by_group(_sum(x))
        self.outputs += _sum(y)[..., None]
        self.squares += _sum(y.square())[..., None]
        _add_products(self.products, y, x)
        if positive is None:
            return
        if self.fired_inputs is None or self.fired_products is None:
            self.fired_inputs, self.fired_products = torch.zeros_like(self.products), torch.zeros_like(self.products)
        fired = positive.to(x.dtype)
        self.fired += _sum(fired)[..., None]
        _add_products(self.fired_inputs, fired, x)
        _add_products(self.fired_products, y * fired, x)

    def direction(self) -> Direction:
        """Return the directions that the samples so far say."""
        count = max(1, self.count)
        mean = self.outputs / count
        linear = self._directed(self.products / count - mean * (self.inputs / count))
        gated = None
        if self.fired_inputs is not None and self.fired_products is not None:
            fired = self.fired.clamp(min=1)
            found = self._directed(self.fired_products / fired - self.fired_inputs / fired * mean)
            rare = (self.fired < LEAST).reshape(-1, *[1] * (found.ndim - 1))
            gated = torch.where(rare, 0.0, found)
        return Direction(linear, gated, self.count)

    def _directed(self, found: Tensor) -> Tensor:
        """Return ``found / wᵀ·found``, zeros for dead units, shaped like the weights."""
        weight = self.weight.flatten(2).transpose(1, 2) if self.weight.ndim > 2 else self.weight
        signal = (weight.reshape(found.shape).to(found.dtype) * found).sum(dim=2, keepdim=True)
        dead = signal.abs() <= FLAT * self.squares / max(1, self.count)
        made = torch.where(dead, 0.0, found / torch.where(dead, 1.0, signal)).to(self.weight.dtype)
        made = made.reshape(weight.shape)
        return (made.transpose(1, 2) if self.weight.ndim > 2 else made).reshape(self.weight.shape)


def _sum(samples: Tensor) -> Tensor:
    """Return the sum over the first dimension; on a CPU, a product with ones is many times faster than ``sum``."""
    return (samples.new_ones(1, len(samples)) @ samples.flatten(1)).reshape(samples.shape[1:])


def _by_group(values: Tensor) -> Tensor:
    """Return ``(groups, 1, taps · d)`` of ``(taps, groups, d)``."""
    return values.transpose(0, 1).flatten(1)[:, None]


def _add_products(total: Tensor, left: Tensor, right: Tensor) -> None:
    """Add ``Σ left · right`` over samples, of ``(n, groups, units)`` and ``(n, taps, groups, d)``."""
    groups, units, _ = total.shape
    if groups == 1:
        total[0].addmm_(left[:, 0].T, right.flatten(1))
    elif units == 1:  # tap by tap, so that what is between stays in the processor's cache
        scratch = torch.empty_like(right[:, 0])
        by_tap = total[:, 0].view(groups, *right.shape[1::2])
        for tap in range(right.shape[1]):
            by_tap[:, tap] += _sum(torch.mul(left, right[:, tap], out=scratch))
    else:
        total.baddbmm_(left.permute(1, 2, 0), right.permute(2, 0, 1, 3).flatten(2))
