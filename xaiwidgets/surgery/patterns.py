"""Signal directions in place of weights on the way back.

Kindermans et al. 2018: a unit's weights filter its signal out of noise, so they point away from both; its signal
direction ``a`` is what an input changes by when the unit's signal does.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from typing import TYPE_CHECKING, Any

import torch

from xaiwidgets.errors import SurgeryError

from .linear import LinearMap, is_weighted
from .policy import Choice, Policy
from .rules import Rule
from .structure import AVERAGING, ROUTING, ROUTING_NAMES, SUMS

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    from torch import Tensor

    from .ops import Op

GATES = frozenset({"relu", "relu6"})
#: A unit whose weights see less than this of its signal direction has none.
TINY = 1e-12


class PatternPasses(Policy):
    """What a network may be made of: convolutions, dense layers, ReLUs, pooling, and sums of maps.

    An operation that scales each value by a constant (a normalization by fixed statistics that could not be folded
    included) is a unit with one input.
    """

    def __init__(self) -> None:
        super().__init__()
        self._calls: Counter[str] = Counter()

    def choose(self, op: Op, path: str) -> Choice:
        """Return the rule for one operation."""
        kind = op.kind
        if kind in GATES:
            return Choice("gate")
        if kind in ROUTING or op.name in ROUTING_NAMES:
            return Choice("route")
        if kind in AVERAGING or (kind in SUMS and sum(tensor.requires_grad for tensor in op.inputs) > 1):
            return Choice("gradient")
        if is_weighted(op):
            if kind == "conv_transpose" or (kind == "conv" and op.parameters["weight"].ndim != 4):
                return Choice(None, lacks=op.name)
            self._calls[path] += 1
            return self.weighted(op, f"{path}#{self._calls[path]}" if self._calls[path] > 1 else path)
        scale = scale_of(op)
        return Choice(None) if scale is None else self.scaled(op, scale)

    @abstractmethod
    def weighted(self, op: Op, name: str) -> Choice:
        """Return the rule for a weighted operation, told from others by its name."""

    def scaled(self, op: Op, scale: Tensor | float) -> Choice:
        """Return the rule for an operation that scales each value."""
        return Choice("scale")


class PatternPolicy(PatternPasses):
    """The gradient with each weight replaced by the signal direction ``a``, or by ``w·a`` (attribution).

    Args:
        patterns: signal directions by name of the weighted operation, each shaped like its weights, ``wᵀa = 1``.
        attribution: send back what units contribute in place of signals.
    """

    def __init__(self, patterns: Mapping[str, Tensor], *, attribution: bool) -> None:
        super().__init__()
        self.patterns, self.attribution = patterns, attribution
        self.name = "PatternAttribution" if attribution else "PatternNet"
        self.label = "w·a" if attribution else "a"

    @property
    def key(self) -> Hashable:
        """The forward pass is the same for all patterns."""
        return self.name

    def weighted(self, op: Op, name: str) -> Choice:
        """Replace the weights."""
        mapped = LinearMap(op)
        pattern = self.patterns.get(name)
        if pattern is None or pattern.shape != mapped.weight.shape:
            wanted = "none" if pattern is None else f"shape {tuple(pattern.shape)}"
            raise SurgeryError(
                f"patterns must hold a direction of shape {tuple(mapped.weight.shape)} for {name}; there is {wanted}. "
                "Does the network run other layers for other pictures?"
            )
        pattern = pattern.to(mapped.weight)
        shape, count, attribution = op.inputs[0].shape, len(op.inputs), self.attribution

        def backward(_op: Op, _kept: Tensor | None, signal: Tensor) -> tuple[Tensor | None, ...]:
            # the weights at hand may be those before a normalization was folded in
            contributions = mapped.weight * pattern
            sums = contributions.flatten(1).sum(dim=1)
            sums = torch.where(sums.abs() < TINY, torch.inf, sums).reshape(-1, *[1] * (pattern.ndim - 1))
            used = (contributions if attribution else pattern) / sums
            last = signal.ndim == 4 and signal.is_contiguous(memory_format=torch.channels_last)
            layout = torch.channels_last if last and len(shape) == 4 else torch.contiguous_format
            like = torch.empty(shape, dtype=signal.dtype, device=signal.device, memory_format=layout)
            return (mapped.transposed(signal, used, like), *(None,) * (count - 1))

        return Choice(self.label, Rule(backward, lambda _op, _output: None, False))

    def scaled(self, op: Op, scale: Tensor | float) -> Choice:
        """Send a signal back to where it was before it was scaled; a contribution stays what it is."""
        index = next(i for i, tensor in enumerate(op.inputs) if tensor.requires_grad)
        shape, count, attribution = op.inputs[index].shape, len(op.inputs), self.attribution

        def backward(_op: Op, _kept: Tensor | None, signal: Tensor) -> tuple[Tensor | None, ...]:
            if not attribution:
                by = torch.as_tensor(scale, dtype=signal.dtype, device=signal.device)
                signal = torch.where(by == 0, 0.0, signal / torch.where(by == 0, 1.0, by))
            found: list[Tensor | None] = [None] * count
            found[index] = signal.sum_to_size(shape)
            return tuple(found)

        return Choice("pass" if attribution else "1/scale", Rule(backward, lambda _op, _output: None, False))


def scale_of(op: Op) -> Tensor | float | None:
    """Return what an operation multiplies each value by, or ``None`` if it does anything else."""
    found = op.parameters
    live = [tensor.requires_grad for tensor in op.inputs]
    if op.kind == "neg":
        return -1.0
    if op.kind in SUMS and sum(live) == 1:
        alpha = float(found.get("alpha") or 1.0)
        signs = (-alpha, 1.0) if op.name in {"rsub", "__rsub__"} else (1.0, alpha if op.kind == "add" else -alpha)
        return signs[live.index(True)]
    if op.kind == "batch_norm" and not found.get("training") and found.get("running_var") is not None:
        scale: Tensor = (found["running_var"] + float(found.get("eps", 1e-5))).rsqrt()
        if found.get("weight") is not None:
            scale = scale * found["weight"].detach()
        return scale.reshape(1, -1, *[1] * (op.inputs[0].ndim - 2))
    if op.kind not in {"mul", "div"} or sum(live) != 1 or found.get("rounding_mode"):
        return None
    if op.kind == "div" and (not live[0] or op.name.startswith("__r")):
        return None
    other: Any = op.inputs[1 - live.index(True)].detach() if len(live) == 2 else found.get("other", found.get("input"))
    if not isinstance(other, (int, float, torch.Tensor)):
        return None
    return other if op.kind == "mul" else 1.0 / other
