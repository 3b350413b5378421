"""How the difference of a result from its reference is shared among the differences that caused it.

A batch holds pictures in its first half and their references, in the same order, in its second. Multipliers (shares for
each unit of difference) travel backwards in the first half; rules give zeros for the second. What is composed of the
functions here (``elementwise``, ``product`` and whatever is linear) hands on the whole difference.

Sources: Shrikumar, Greenside, Kundaje 2017, section 3.5 (rescale); Lundberg & Lee 2017 (their library's rule for
maxima). Products are shared as by Shapley, half at the picture and half at the reference.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from .again import Again

#: A difference below this many rounding errors of the numbers it is taken of is no difference to divide by.
ROUNDING = 1000.0


def halves(tensor: Tensor) -> tuple[Tensor, Tensor]:
    """Return the rows of the pictures and those of the references."""
    count = len(tensor) // 2
    return tensor[:count], tensor[count:]


def paired(multipliers: Tensor) -> Tensor:
    """Return the signal with these multipliers: zeros in the rows of the references."""
    return torch.cat([multipliers, torch.zeros_like(multipliers)])


def scaled(signal: Tensor, multipliers: Tensor) -> Tensor:
    """Return ``paired(signal of the pictures * multipliers)`` from the signal of both halves."""
    found = torch.empty_like(signal)
    given, rest = halves(found)
    torch.mul(halves(signal)[0], multipliers, out=given)
    rest.zero_()
    return found


def first(output: Any) -> Tensor:
    """Return the values of an operation that may give indices, too."""
    found: Tensor = output[0] if isinstance(output, (tuple, list)) else output
    return found


def quotient(part: Tensor, change: Tensor, size: Tensor, slope: Callable[[], Tensor]) -> Tensor:
    """Return ``part / change``; where the change is lost in rounding, the slope at the reference.

    Args:
        part: what a change has brought about.
        change: the change.
        size: largest absolute value of the numbers that the change is the difference of.
        slope: gives the derivative for the whole batch; called only if it is needed.
    """
    lost = change.abs() <= ROUNDING * torch.finfo(change.dtype).eps * size
    if not bool(lost.any()):
        return part / change
    # where even the derivative is infinite, as that of a root at zero, nothing has changed that could be shared
    limit = halves(slope())[1].nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
    return torch.where(lost, limit, part / torch.where(lost, 1.0, change))


def slope(run: Callable[[Tensor], Any], inputs: Tensor) -> Tensor:
    """Return the derivative of an element-wise function."""
    with torch.enable_grad():
        leaf = inputs.detach().requires_grad_()
        total = first(run(leaf.clone())).sum()
    return torch.autograd.grad(total, leaf)[0]


def rescaled(run: Callable[[Tensor], Any], inputs: Tensor, output: Tensor) -> Tensor:
    """Return the multipliers ``Δoutput / Δinput`` of an element-wise function."""
    (here, there), (after, before) = halves(inputs), halves(output)
    size = torch.maximum(here.abs(), there.abs())
    return quotient(after - before, here - there, size, lambda: slope(run, inputs))


def clipped(signal: Tensor, low: float, high: float, inputs: Tensor, output: Tensor) -> Tensor:
    """Return the signal behind an activation that is the identity between two bounds and constant outside.

    As ``scaled`` with the multipliers of ``rescaled``, but the activation's results are copies of numbers: a small
    difference of them is as exact as a large one, and only where nothing has changed is there nothing to divide by.
    There both sides of the fraction get a number too small to show in any other: the slope is left. Where torch has to
    choose by a mask it takes ten times as long.
    """
    (here, there), (after, before) = halves(inputs), halves(output)
    least = 1e8 * torch.finfo(signal.dtype).tiny
    inside = torch.full_like(there, least)
    if math.isinf(high):
        inside = torch.ops.aten.threshold_backward(inside, there, low)
    else:
        inside = torch.ops.aten.hardtanh_backward(inside, there, low, high)
    return scaled(signal, (after - before).add_(inside).div_((here - there).add_(least)))


def split(run: Callable[[Tensor, Tensor], Tensor], one: Tensor, other: Tensor, signal: Tensor) -> tuple[Tensor, Tensor]:
    """Return the multipliers of the factors of a product, in the rows of the pictures only.

    The gradient halfway between picture and reference, ``Δ(ab) = Δa·(b + b₀)/2 + Δb·(a + a₀)/2``.
    """
    with torch.enable_grad():
        middles = [torch.lerp(*halves(tensor.detach()), 0.5).requires_grad_() for tensor in (one, other)]
        output = run(*middles)
    found = torch.autograd.grad(output, middles, signal)
    return found[0], found[1]


def cross_maximum(again: Again, inputs: Tensor, output: Tensor, signal: Tensor) -> Tensor:
    """Return the multipliers of an operation that chooses maxima.

    Of ``max(x) − max(x₀)``, the part that the picture's winner has risen by goes to it, and the part that the
    reference's winner has fallen by goes to that one.
    """
    (here, there), (after, before) = halves(inputs), halves(output)
    highest = torch.maximum(after, before)
    shares = torch.cat([signal * (highest - before), signal * (after - highest)])
    with torch.enable_grad():
        leaf = inputs.detach().requires_grad_()
        winners = first(again(leaf))
    given = sum(halves(torch.autograd.grad(winners, leaf, shares)[0]))
    change = here - there
    return torch.where(change == 0, 0.0, given / torch.where(change == 0, 1.0, change))


class _Elementwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor, run: Callable[[Tensor], Tensor]) -> Tensor:
        output = run(inputs)
        ctx.save_for_backward(inputs, output)
        ctx.run = run
        return output

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None]:
        return scaled(upstream[0], rescaled(ctx.run, *ctx.saved_tensors)), None


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, one: Tensor, other: Tensor) -> Tensor:
        ctx.save_for_backward(one, other)
        return one * other

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, Tensor]:
        one, other = ctx.saved_tensors
        found = split(torch.mul, one, other, halves(upstream[0])[0])
        return paired(found[0]), paired(found[1])


def elementwise(inputs: Tensor, run: Callable[[Tensor], Tensor]) -> Tensor:
    """Return ``run(inputs)``, rescaled on the way back."""
    output: Tensor = _Elementwise.apply(inputs, run)  # type: ignore[no-untyped-call]
    return output


def product(one: Tensor, other: Tensor) -> Tensor:
    """Return ``one * other``, split on the way back."""
    output: Tensor = _Product.apply(one, other)  # type: ignore[no-untyped-call]
    return output


def normalized(inputs: Tensor, dims: tuple[int, ...], eps: float) -> Tensor:
    """Return inputs of mean 0 and variance 1 over these axes."""
    centered = inputs - inputs.mean(dim=dims, keepdim=True)
    variance = product(centered, centered).mean(dim=dims, keepdim=True)
    return product(centered, elementwise(variance + eps, torch.rsqrt))


def maximum(one: Tensor, other: Tensor) -> Tensor:
    """Return the larger of two maps: one of them, and what the other is above it."""
    return other + elementwise(one - other, functional.relu)


def minimum(one: Tensor, other: Tensor) -> Tensor:
    """Return the smaller of two maps."""
    return one - elementwise(one - other, functional.relu)


def softmax_multipliers(inputs: Tensor, dim: int, signal: Tensor, *, logarithm: bool) -> Tensor:
    """Return the multipliers of a softmax, or of its logarithm.

    Each probability is the exponential of its logarithm, rescaled: ``Δp = L·Δlog p`` with ``L`` the logarithmic mean of
    ``p`` and ``p₀``. As the probabilities sum to one, ``ΔΣp = 0`` gives the change of the normalizer, which is the mean
    of the changes of the inputs with weights ``L``.
    """
    logs = inputs.detach().log_softmax(dim)
    shares = logs.exp()
    (here, there), (after, before) = halves(logs), halves(shares)
    size = torch.maximum(here.abs(), there.abs()).clamp(min=1)  # near 1 a share is rounded more than its logarithm
    means = quotient(after - before, here - there, size, lambda: shares)
    weights = means / means.sum(dim=dim, keepdim=True)
    given = signal if logarithm else signal * means
    return given - weights * given.sum(dim=dim, keepdim=True)
