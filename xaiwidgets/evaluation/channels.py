"""Which layers make a network's channels, which read them, and what lies between, found by watching one pass."""

from __future__ import annotations

import copy
from collections import Counter
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

import torch
from torch import nn

from xaiwidgets.model.inspection import probe_like
from xaiwidgets.model.skeleton import keep_tensors
from xaiwidgets.model.tape import Tape, install, recording
from xaiwidgets.surgery.trace import TraceMode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from xaiwidgets.surgery.facts import OpRecord

#: Operations on each channel alone that a positive factor passes through.
SCALING = frozenset({
    "relu", "leaky_relu", "max_pool", "adaptive_max_pool", "avg_pool", "adaptive_avg_pool", "mean", "dropout",
    "identity", "reshape", "interpolate",
})  # fmt: skip
#: Operations on each channel alone.
ALONE = SCALING | frozenset({
    "relu6", "silu", "sigmoid", "tanh", "gelu", "elu", "hardswish", "hardsigmoid", "mish", "softplus", "hardtanh",
})  # fmt: skip
#: Operations whose results are never negative, and those that keep it so.
POSITIVE = frozenset({"relu", "relu6", "sigmoid", "hardsigmoid", "softplus"})
KEEPING = frozenset({"max_pool", "adaptive_max_pool", "avg_pool", "adaptive_avg_pool", "mean", "dropout", "identity"})


@dataclass(frozen=True)
class Chain:
    """Channels from the layer that makes them to those that read them; nothing else sees them.

    Attributes:
        source: name of the layer that makes them. ``channels``: how many.
        between: names of modules with a weight for each channel: normalizations and depth-wise convolutions.
        readers: names of the layers that read them, with how many inputs in a row belong to one channel.
    """

    source: str
    channels: int
    between: tuple[str, ...]
    readers: tuple[tuple[str, int], ...]


class Flow:
    """The operations of one pass of a network, and the modules behind them.

    Attributes:
        module: the network. ``ops``: in execution order.
        owners: the name of the module that holds the weights of an operation, by its number; only modules that run
            once, are registered once, and hold their weights themselves.
        pairs: (``id`` of a convolution's weight, ``id`` of a running mean) that can be folded.
    """

    def __init__(self, module: nn.Module, shape: tuple[int, int, int], like: Tensor) -> None:
        copied = copy.deepcopy(module, keep_tensors(module))
        install(copied)
        image = probe_like(shape, 1, like)
        devices = [like.device] if like.device.type == "cuda" else []
        with torch.random.fork_rng(devices), torch.inference_mode(False), torch.no_grad():
            trace = TraceMode(image, (tape := Tape()).where)
            with recording(tape), trace:
                copied(image)
        self.module, self.ops, self.pairs = module, tuple(trace.ops), tuple(trace.pairs)
        self.owners = dict(self._owned())
        self._readers: dict[int, list[int]] = {}
        for number, op in enumerate(self.ops):
            for source in set(op.sources):
                self._readers.setdefault(source, []).append(number)

    def _owned(self) -> Iterator[tuple[int, str]]:
        names = Counter(id(part) for _, part in self.module.named_modules(remove_duplicate=False))
        parts = dict(self.module.named_modules())
        runs = Counter(key for op in self.ops for key in (op.weight, op.mean) if key is not None)
        for number, op in enumerate(self.ops):
            part = parts.get(op.path.partition("#")[0])
            if part is None or names[id(part)] > 1:
                continue
            mean = isinstance(part, nn.modules.batchnorm._BatchNorm) and op.mean == id(part.running_mean)
            weighted = isinstance(part, (nn.Conv2d, nn.Linear)) and op.weight == id(part._parameters.get("weight"))
            key = op.mean if mean else op.weight if weighted else None
            if key is not None and runs[key] == 1:
                yield number, op.path

    def module_of(self, number: int) -> nn.Module:
        """Return the module that holds an operation's weights."""
        return self.module.get_submodule(self.owners[number])

    def chains(self, *, scaled: bool = False) -> list[Chain]:
        """Return all channels that only layers with weights for each of them read.

        Args:
            scaled: only such as a positive factor passes through, from the last layer that could give it to them.
        """
        found = []
        for number in self.owners:
            if self._makes(number) or scaled:
                chain = self._follow(number, scaled)
                if chain is not None:
                    found.append(chain)
        return found

    def _makes(self, number: int) -> bool:
        """Whether an operation mixes channels."""
        part = self.module_of(number)
        return isinstance(part, nn.Linear) or (isinstance(part, nn.Conv2d) and part.groups == 1)

    def _follow(self, start: int, scaled: bool) -> Chain | None:
        channels = self.ops[start].output[1]
        between: list[str] = []
        readers: list[tuple[str, int]] = []
        left, seen = [start], {start}
        while left:
            after = self._readers.get(left.pop(), [])
            if not after:
                return None  # these are the scores
            for number in after:
                op = self.ops[number]
                if number in seen:
                    continue
                seen.add(number)
                if op.kind in (SCALING if scaled else ALONE) and _keeps_order(op):
                    left.append(number)
                elif number not in self.owners:
                    return None
                elif self._makes(number):
                    inputs = op.inputs[0][1]
                    if len(op.inputs[0]) not in (2, 4) or inputs % channels:
                        return None
                    readers.append((self.owners[number], inputs // channels))
                elif scaled or op.output[1] != channels:
                    return None
                else:
                    between.append(self.owners[number])
                    left.append(number)
        return Chain(self.owners[start], channels, tuple(between), tuple(readers))

    def reads_picture(self, number: int) -> bool:
        """Whether an operation reads the picture itself."""
        return self.ops[number].sources == (-1,)

    def reads_positive(self, number: int) -> bool:
        """Whether an operation reads what a ReLU or the like has given, pooled or not."""
        while len(self.ops[number].sources) == 1 and self.ops[number].sources[0] >= 0:
            number = self.ops[number].sources[0]
            if self.ops[number].kind in POSITIVE:
                return True
            if self.ops[number].kind not in KEEPING | {"reshape"}:
                return False
        return False

    def gives_scores(self, number: int) -> bool:
        """Whether nothing reads an operation's result."""
        return not self._readers.get(number)


def _keeps_order(op: OpRecord) -> bool:
    """Whether an operation leaves the order of channels, or of groups of numbers that belong to one."""
    if len(op.sources) != 1:
        return False
    given, made = op.inputs[0], op.output
    if made[1] == given[1]:
        return True
    return op.kind == "reshape" and len(made) == 2 and made[1] == prod(given[1:])
