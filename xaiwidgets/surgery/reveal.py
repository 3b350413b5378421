"""RevealCancel: what pushes a unit up and what pulls it down are shared separately (Shrikumar et al. 2017, 3.5.3).

Between an activation and the weighted operation before it a pair of multipliers travels: ``m⁺`` for positive terms and
``m⁻`` for negative ones. In a signal their mean stands in the rows of the pictures, and half their difference in those
of the references. A signal that makes no difference between terms has zeros there, and pairs add up like signals.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from .differences import first, halves, paired, quotient, slope

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from .linear import LinearMap


def pushes(mapped: LinearMap, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sums ``(N, …)`` of the positive and of the negative terms ``w·Δx`` of each unit."""
    here, there = halves(inputs)
    up, down = (here - there).clamp(min=0), (here - there).clamp(max=0)
    plus, minus = mapped.weight.clamp(min=0), mapped.weight.clamp(max=0)
    rise = mapped.forward(up, plus) + mapped.forward(down, minus)
    return rise, mapped.forward(up, minus) + mapped.forward(down, plus)


def reveal(
    run: Callable[[Tensor], Any], inputs: Tensor, output: Tensor, pushed: tuple[Tensor, Tensor], signal: Tensor
) -> Tensor:
    """Return the pair of multipliers of an element-wise activation, as a signal.

    Each push counts as the mean of what it does alone and of what it does when the other one is there already.
    """
    (here, there), (after, before) = halves(inputs), halves(output)
    rise, fall = pushed
    with torch.no_grad():
        alone = halves(first(run(torch.cat([there + rise, there + fall]))))
    risen = 0.5 * (alone[0] - before) + 0.5 * (after - alone[1])
    fallen = 0.5 * (alone[1] - before) + 0.5 * (after - alone[0])
    size = torch.maximum(here.abs(), there.abs())
    plus, minus = (
        quotient(part, push, torch.maximum(size, other.abs()), lambda: slope(run, inputs))
        for part, push, other in ((risen, rise, fall), (fallen, fall, rise))
    )
    return torch.cat([0.5 * signal * (plus + minus), 0.5 * signal * (plus - minus)])


def told_apart(mapped: LinearMap, inputs: Tensor, signal: Tensor) -> Tensor:
    """Return the multipliers of a weighted operation's input, as a signal, for a pair of multipliers of its output.

    Positive terms get the first, negative ones the second, those of an input that has not changed half of each.
    """
    here, there = halves(inputs)
    mean, spread = halves(signal)
    if not bool(spread.any()):
        return paired(mapped.transposed(mean, mapped.weight, here))
    both = torch.cat([mean + spread, mean - spread])
    plus = halves(mapped.transposed(both, mapped.weight.clamp(min=0), inputs))
    minus = halves(mapped.transposed(both, mapped.weight.clamp(max=0), inputs))
    change = here - there
    up, down = plus[0] + minus[1], minus[0] + plus[1]
    return paired(torch.where(change > 0, up, torch.where(change < 0, down, 0.5 * (up + down))))
