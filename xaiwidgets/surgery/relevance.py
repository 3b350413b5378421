"""Relevance rules of weighted operations: how a unit's relevance is shared among its inputs.

Each function takes the map, its inputs, its output and the relevance of the output, and returns the relevance of the
inputs, the share that biases took and the share of the stabilizer (Bach et al. 2015; Montavon et al. 2019).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from .ledger import total

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from .composites import RuleSpec
    from .linear import LinearMap


@dataclass(slots=True)
class Case:
    """One weighted operation on its way back.

    Attributes:
        map: the linear map. ``inputs``, ``output``: of the forward pass. ``relevance``: of the output.
        rule: the rule with its numbers.
        negated: the weights and the bias are taken with the other sign.
        low, high: bounds of the inputs, shaped to be expanded to them; for ``zbox``.
        signed: whether the rule met negative inputs.
        bias_share, epsilon_share: what the bias and the stabilizer took, ``(N,)``, once the rule has run.
    """

    map: LinearMap
    inputs: Tensor
    output: Tensor
    relevance: Tensor
    rule: RuleSpec
    negated: bool = False
    low: Tensor | None = None
    high: Tensor | None = None
    signed: bool = False
    bias_share: Tensor | None = None
    epsilon_share: Tensor | None = None

    def __post_init__(self) -> None:
        if self.negated:
            self.output = -self.output

    @property
    def weight(self) -> Tensor:
        """The weights, with the other sign if they are negated."""
        return -self.map.weight if self.negated else self.map.weight

    @property
    def bias(self) -> Tensor | None:
        """The bias that takes its share, or ``None`` if it does not."""
        if self.map.bias is None or self.rule.bias == "ignore":
            return None
        return -self.map.bias if self.negated else self.map.bias

    def parts(self) -> tuple[Tensor, Tensor | None]:
        """Return the positive and the negative part of the inputs; the latter is ``None`` where there is none."""
        self.signed = bool(self.inputs.min() < 0)
        return (self.inputs.clamp(min=0), self.inputs.clamp(max=0)) if self.signed else (self.inputs, None)

    def share(self, denominator: Tensor, bias: Tensor | None, relevance: Tensor | None = None) -> Tensor:
        """Return relevance ÷ stabilized denominator, and book what the bias and the stabilizer take of it."""
        relevance = self.relevance if relevance is None else relevance
        quotient = stabilized(relevance, denominator, self.rule.epsilon)
        if bias is not None:
            self._book("bias_share", total(quotient * bias))
        if self.rule.epsilon:
            self._book("epsilon_share", total(quotient * torch.sign(denominator)) * self.rule.epsilon)
        return quotient

    def _book(self, name: str, amount: Tensor) -> None:
        before = getattr(self, name)
        setattr(self, name, amount if before is None else before + amount)


def stabilized(relevance: Tensor, denominator: Tensor, epsilon: float) -> Tensor:
    """Return ``relevance / (denominator + epsilon · sign(denominator))``, sign(0) = 1; 0 where that divides by zero."""
    if epsilon:  # adding 0 makes +0 of −0; choosing by a mask would take ten times as long
        return relevance / (denominator + torch.copysign(denominator.new_tensor(epsilon), denominator + 0.0))
    return torch.where(denominator == 0, 0.0, relevance / torch.where(denominator == 0, 1.0, denominator))


def above(values: Tensor) -> Tensor:
    """Return 1 where values are above zero and 0 elsewhere, as numbers: a mask of flags is slow to choose by."""
    return torch.gt(values, 0, out=torch.empty_like(values))


def epsilon(case: Case) -> Tensor:
    """Share in proportion to the contributions ``a·w``."""
    denominator = case.output
    if case.map.bias is not None and case.rule.bias == "ignore":
        denominator = case.output - (-case.map.bias if case.negated else case.map.bias)
    quotient = case.share(denominator, case.bias)
    return case.inputs * case.map.transposed(quotient, case.weight, case.inputs)


def zplus(case: Case) -> Tensor:
    """Share among positive contributions only."""
    return _part(case, positive=True, factor=1.0)


def alpha_beta(case: Case) -> Tensor:
    """Share ``alpha`` of the relevance among positive contributions and ``alpha − 1``, negated, among negative ones."""
    alpha = case.rule.alpha
    positive = _part(case, positive=True, factor=alpha)
    return positive if alpha == 1.0 else positive + _part(case, positive=False, factor=1.0 - alpha)


def _part(case: Case, *, positive: bool, factor: float) -> Tensor:
    up, down = case.weight.clamp(min=0), case.weight.clamp(max=0)
    same, other = (up, down) if positive else (down, up)
    bias = None if case.bias is None else case.bias.clamp(min=0) if positive else case.bias.clamp(max=0)
    high, low = case.parts()
    denominator = case.map.forward(high, same)
    if low is not None:
        denominator = denominator + case.map.forward(low, other)
    if bias is not None:
        denominator = denominator + bias
    relevance = case.relevance if factor == 1.0 else case.relevance * factor
    quotient = case.share(denominator, bias, relevance)
    found = high * case.map.transposed(quotient, same, high)
    return found if low is None else found + low * case.map.transposed(quotient, other, low)


def gamma(case: Case) -> Tensor:
    """Share in proportion to contributions, those of the output's own sign favored by a factor ``1 + gamma``."""
    factor, weight, bias = case.rule.gamma, case.weight, case.bias
    up, down = weight + factor * weight.clamp(min=0), weight + factor * weight.clamp(max=0)
    high, low = case.parts()
    found: Tensor | None = None
    for mask, same, other, positive in ((above(case.output), up, down, True), (above(-case.output), down, up, False)):
        relevance = case.relevance * mask
        if not bool(relevance.any()):
            continue
        favored = None
        if bias is not None:
            favored = bias + factor * (bias.clamp(min=0) if positive else bias.clamp(max=0))
        denominator = case.map.forward(high, same)
        if low is not None:
            denominator = denominator + case.map.forward(low, other)
        if favored is not None:
            denominator = denominator + favored
        quotient = case.share(denominator, favored, relevance)
        part = high * case.map.transposed(quotient, same, high)
        if low is not None:
            part = part + low * case.map.transposed(quotient, other, low)
        found = part if found is None else found + part
    return torch.zeros_like(case.inputs) if found is None else found


def zbox(case: Case) -> Tensor:
    """Share in proportion to ``x·w − low·w⁺ − high·w⁻``, for inputs between two bounds."""
    if case.low is None or case.high is None:
        raise ValueError("the zbox rule needs the bounds of its inputs")
    up, down = case.weight.clamp(min=0), case.weight.clamp(max=0)
    low, high = case.low.expand_as(case.inputs), case.high.expand_as(case.inputs)
    denominator = case.map.forward(case.inputs, case.weight) - case.map.forward(low, up) - case.map.forward(high, down)
    quotient = case.share(denominator, None)
    found = case.inputs * case.map.transposed(quotient, case.weight, case.inputs)
    found = found - low * case.map.transposed(quotient, up, case.inputs)
    return found - high * case.map.transposed(quotient, down, case.inputs)


def w2(case: Case) -> Tensor:
    """Share in proportion to the squared weights, whatever the inputs."""
    return _regardless(case, case.weight.square())


def flat(case: Case) -> Tensor:
    """Share equally among all inputs."""
    return _regardless(case, torch.ones_like(case.weight))


def _regardless(case: Case, weight: Tensor) -> Tensor:
    # padding adds zeros, not ones: places outside the picture have no share
    denominator = case.map.forward(torch.ones_like(case.inputs[:1]), weight)
    quotient = case.share(denominator.expand_as(case.relevance), None)
    return case.map.transposed(quotient, weight, case.inputs)


def by_sign(case: Case) -> Tensor:
    """Share by the rule, for outputs below zero with the weights' other sign: what makes a unit so negative."""
    rule, output, relevance = WEIGHTED_RULES[case.rule.name], case.output, case.relevance
    below = output < 0
    case.relevance = torch.where(below, 0.0, relevance)
    found = rule(case)
    if bool(below.any()):
        case.relevance, case.negated, case.output = torch.where(below, relevance, 0.0), True, -output
        found = found + rule(case)
    return found


WEIGHTED_RULES: dict[str, Callable[[Case], Tensor]] = {
    "epsilon": epsilon,
    "gamma": gamma,
    "alpha_beta": alpha_beta,
    "zplus": zplus,
    "zbox": zbox,
    "w2": w2,
    "flat": flat,
}
