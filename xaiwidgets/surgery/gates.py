"""Tells a squeeze-and-excite gate from a main activation by what happens to its result.

A sigmoid (or hard sigmoid) is a gate if every use of its result, possibly reshaped, expanded, scaled or shifted by a
number, is a multiplication onto a map with more elements than it had. Multiplied onto a map of its own size it is a
main activation (``x * sigmoid(x)`` is SiLU). Not used at all, it is the model's output.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isclose
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from .ops import Op

GATES = frozenset({"sigmoid", "hardsigmoid"})
PASSING = frozenset({"reshape", "expand", "identity", "permute", "transpose", "dropout", "interpolate", "getitem"})
SCALING = frozenset({"mul", "div", "add", "sub"})


@dataclass(slots=True)
class Gate:
    """One sigmoid of the pass and what is known of its use."""

    kind: str
    path: str
    elements: int
    use: str = "output"

    @property
    def verdict(self) -> str:
        """The kind to report: ``"sigmoid gate"``, ``"sigmoid output"``, or ``"sigmoid"`` for a main activation."""
        return self.kind if self.use == "main" else f"{self.kind} {self.use}"


class GateWatch:
    """Follows sigmoid results through one forward pass; one for each pass."""

    def __init__(self) -> None:
        self.gates: list[Gate] = []
        self._carriers: dict[int, tuple[Tensor, Gate]] = {}  # the tensor is held so that its id is not reused
        self._clipped: dict[int, tuple[Tensor, float]] = {}

    def meet(self, op: Op, output: Tensor, path: str) -> None:
        """Record a sigmoid, and follow or settle those whose results this operation reads."""
        for tensor in op.inputs:
            held = self._carriers.get(id(tensor))
            if held is not None:
                self._use(held[1], op, tensor, output)
        if op.kind in GATES:
            gate = Gate(op.kind, path, output.numel())
            self.gates.append(gate)
            self._carriers[id(output)] = (output, gate)

    def forget(self) -> None:
        """Let go of the tensors; the verdicts stay."""
        self._carriers.clear()
        self._clipped.clear()

    def hand_made(self, op: Op, output: Tensor) -> bool:
        """Whether this operation makes a hard sigmoid of a clipped map: ``relu6(…) / 6``."""
        if op.kind == "relu6":
            self._clipped[id(output)] = (output, op.parameters["high"])
        if op.kind not in {"mul", "div"} or id(op.inputs[0]) not in self._clipped:
            return False
        number = op.parameters.get("other")
        if not isinstance(number, int | float) or number == 0:
            return False
        high = self._clipped[id(op.inputs[0])][1]
        return isclose(number if op.kind == "div" else 1 / number, high, rel_tol=1e-3)

    def _use(self, gate: Gate, op: Op, tensor: Tensor, output: Tensor) -> None:
        if op.kind in PASSING or (op.kind in SCALING and len(op.inputs) == 1):
            self._carriers[id(output)] = (output, gate)
            return
        others = [other.numel() for other in op.inputs if other is not tensor]
        gating = op.kind == "mul" and others and max(others) > gate.elements
        if gate.use != "main":
            gate.use = "gate" if gating else "main"
        if op.inplace and id(output) in self._carriers:  # gate *= map: the tensor is now a map, not a gate
            del self._carriers[id(output)]
