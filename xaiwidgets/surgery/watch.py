"""Samples for the fit of signal directions: what units read and give in a forward pass, and whether a ReLU follows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from .linear import LinearMap, is_weighted
from .patches import chosen, patches
from .patterns import GATES, PatternPasses, scale_of
from .policy import Choice

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from torch import Tensor

    from .ops import Op

POOLS = frozenset({"max_pool", "adaptive_max_pool"})


@dataclass
class Pending:
    """Samples of a weighted operation until it is known whether a ReLU follows.

    Attributes:
        tensor: the result that carries them on. ``name``: of the operation. ``weight``: as ``LinearMap`` has it.
        inputs: ``(n, taps, groups, d)``, taps of a kernel. ``outputs``: ``(n, groups, units of a group)``.
        places: of each sample, ``(N, S)``.
        spatial: whether the result is a map ``(N, C, h, w)``.
        scaled, pooled: what has happened to the result since.
    """

    tensor: Tensor
    name: str
    weight: Tensor
    inputs: Tensor
    outputs: Tensor
    places: Tensor
    spatial: bool
    scaled: bool = False
    pooled: bool = False


class PatternWatch(PatternPasses):
    """Looks at what weighted operations read and give, and whether a ReLU follows; the backward pass is not ruled.

    Args:
        tell: called with (name, weight, inputs, outputs, positive) for each weighted operation; ``positive`` is where a
            ReLU let the outputs pass, or ``None`` without a ReLU.
        places: from how many places a map has to those that are looked at, ``(N, S)``.
    """

    name = "pattern fitting"

    def __init__(
        self,
        tell: Callable[[str, Tensor, Tensor, Tensor, Tensor | None], None] | None,
        places: Callable[[int], Tensor],
    ) -> None:
        super().__init__()
        self._tell, self._places = tell, places
        self._pending: dict[int, Pending] = {}
        self._named = ""

    @property
    def key(self) -> Hashable:
        """The forward pass is the same for all."""
        return self.name

    def weighted(self, op: Op, name: str) -> Choice:
        """Look on."""
        self._named = name
        return Choice("watch")

    def seen(self, op: Op, outputs: list[Tensor], again: Callable[[dict[int, Tensor]], Any]) -> None:
        """Take samples, or settle those that are read."""
        if self._tell is None:
            return
        with torch.no_grad():
            for tensor in op.inputs:
                held = self._pending.pop(id(tensor), None)
                if held is not None and not self._moved(held, op, outputs[0]):
                    gated = op.kind in GATES and not (held.pooled and held.scaled)
                    self._settle(held, outputs[0] if gated else None)
            if is_weighted(op):
                self._take(op, outputs[0])

    def _moved(self, held: Pending, op: Op, output: Tensor) -> bool:
        """Hand samples on to the result of an operation after which it is still known which unit is which."""
        live = sum(tensor.requires_grad for tensor in op.inputs)
        pool = op.kind in POOLS and held.spatial
        scales = live == 1 and scale_of(op) is not None
        if not pool and (output.shape != held.tensor.shape or not (scales or op.kind in {"identity", "dropout"})):
            return False
        held.tensor, held.pooled, held.scaled = output, held.pooled or pool, held.scaled or scales
        self._pending[id(output)] = held
        return True

    def _take(self, op: Op, output: Tensor) -> None:
        spatial = op.kind == "conv"
        count = output[0, 0].numel() if spatial else output[0].numel() // output.shape[-1]
        places = self._places(count).to(output.device)
        groups = int(op.parameters.get("groups", 1)) if spatial else 1
        read = (
            patches(op, places, output.shape[3]) if spatial else chosen(op.inputs[0], places, 1, spatial=False)[:, None]
        )
        given = chosen(output, places, groups, spatial=spatial)
        self._pending[id(output)] = Pending(output, self._named, LinearMap(op).weight, read, given, places, spatial)

    def _settle(self, held: Pending, gate: Tensor | None) -> None:
        positive = None
        if gate is not None and held.pooled:
            positive = held.outputs > 0
        elif gate is not None:
            positive = chosen(gate, held.places, held.outputs.shape[1], spatial=held.spatial) > 0
        if self._tell is not None:
            self._tell(held.name, held.weight, held.inputs.detach(), held.outputs, positive)

    def finish(self) -> None:
        """Settle what nothing has read."""
        for held in list(self._pending.values()):
            self._settle(held, None)
        self._pending.clear()
        super().finish()
