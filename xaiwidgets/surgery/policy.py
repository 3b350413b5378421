"""How a backward pass is ruled operation by operation: the choice may depend on the layer and on what came before."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from .gates import PASSING, SCALING

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from torch import Tensor

    from .again import Again
    from .ops import Op
    from .rules import Rule

BOUNDED = frozenset({"sigmoid", "hardsigmoid", "tanh", "softmax", "relu6", "hardtanh", "clamp"})
"""Kinds whose results lie between bounds, as gates do."""


class Choice:
    """What a policy decided about one operation: its rule, and what receipts call it.

    Attributes:
        rule: the backward rule, or ``None`` for the ordinary gradient.
        label: ``epsilon``, ``pass``, ``route``, …; ``None`` if the policy has no meaning for the operation.
        lacks: what is missing, for an operation that would have a meaning otherwise.
    """

    __slots__ = ("label", "lacks", "rule")

    def __init__(self, label: str | None, rule: Rule | None = None, lacks: str = "") -> None:
        self.label, self.rule, self.lacks = label, rule, lacks


class Policy(ABC):
    """Chooses the backward rule of each operation of one forward pass; make a new one for each pass.

    Attributes:
        name: what errors call it.
        needs, refuses: kinds that must be there, or must not; a policy refuses each operation by itself.
        sent: number of the signal that is on its way.
        again: the operation that is being chosen for, to be run on other inputs.
        ordinary: what it sends back is the ordinary gradient, which it only watches.
    """

    name: str = ""
    needs: frozenset[str] = frozenset()
    refuses: frozenset[str] = frozenset()
    ordinary: bool = False

    def __init__(self) -> None:
        self._gates: dict[int, Tensor] = {}
        self._raw: dict[int, Tensor] = {}
        self.sent = 0
        self.again: Again | None = None

    @property
    @abstractmethod
    def key(self) -> Hashable:
        """Equal for policies that rule the same operations in the same way."""

    @abstractmethod
    def choose(self, op: Op, path: str) -> Choice:
        """Return the rule for an operation that carries the picture's signal, before it runs."""

    def start(self, image: Tensor) -> None:
        """Note the tensor that the network is called with."""
        self._raw = {id(image): image}

    def seen(self, op: Op, outputs: list[Tensor], again: Callable[[dict[int, Tensor]], Any]) -> None:
        """Follow gates, and what is still the picture because no weights have been applied."""
        bounded = op.kind in BOUNDED or (
            any(id(tensor) in self._gates for tensor in op.inputs)
            and (op.kind in PASSING or (op.kind in SCALING and len(op.inputs) == 1))
        )
        if bounded:
            self._gates.update((id(output), output) for output in outputs)

    def send(self, number: int) -> None:
        """Note that the signal of this number is about to be sent back."""
        self.sent = number

    def aim(self, source: Tensor) -> None:
        """Note the tensor from which signals will be sent back, before the forward pass is left."""
        return

    def finish(self) -> None:
        """Let go of tensors when the forward pass has ended."""
        self._gates.clear()
        self._raw.clear()
        self.again = None

    def gate_of(self, op: Op) -> int | None:
        """Return which input of a product of two maps is a gate: the smaller one, or the bounded one of two equals."""
        first, second = op.inputs
        if first.numel() != second.numel():
            return 0 if first.numel() < second.numel() else 1
        marks = [id(first) in self._gates, id(second) in self._gates]
        return marks.index(True) if marks.count(True) == 1 else None


def substituted(values: Any, others: dict[int, Tensor]) -> Any:
    """Return nested arguments with some tensors, told by their identity, replaced."""
    if isinstance(values, (list, tuple)):
        found = [substituted(value, others) for value in values]
        return type(values)(found) if type(values) in (list, tuple) else tuple(found)
    if isinstance(values, dict):
        return {key: substituted(value, others) for key, value in values.items()}
    return others.get(id(values), values)
