"""Layer-wise relevance propagation as a policy: a rule for every operation, or a refusal that names it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import ReferenceType, ref

import torch

from . import structure
from .gates import GATES
from .ledger import Entry, Ledger, by_picture, total
from .linear import LinearMap, is_weighted
from .ops import tensors_of
from .policy import Choice, Policy
from .relevance import WEIGHTED_RULES, Case, by_sign
from .rules import Rule

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from torch import Tensor

    from .composites import Composite
    from .ops import Op

DENSE = frozenset({"linear", "addmm", "matmul"})
NOTHING: frozenset[int] = frozenset()


class RelevancePolicy(Policy):
    """Relevance rules by composite (Bach et al. 2015; Montavon et al. 2019).

    Weighted operations follow the composite. Element-wise activations pass relevance on; max-pooling gives it to the
    winner; sums, averages and normalization share it in proportion, stabilized; of a product of two maps the gate is
    taken as constant. Everything else is refused by name.

    Attributes:
        ledger: what each operation kept of the first signal, filled by the backward pass.
        used: which exceptions of the composite an operation has met, by their names.
        signed: where weights met negative activations in a rule that tells signs apart, the picture not counted.
        weighted: the modules in which weighted operations ran.
        ends: numbers of the weighted operations that feed what is explained with no other one in between, for a
            composite that treats them in a way of their own.
    """

    def __init__(self, composite: Composite) -> None:
        super().__init__()
        self.composite = composite
        self.name = f"LRP {composite.name}"
        self.refuses = composite.refuses & GATES  # only when the pass has ended is it known what is a mere gate
        self.ledger = Ledger()
        self.used: set[str] = set()
        self.signed: dict[str, None] = {}
        self.weighted: dict[str, None] = {}
        self._sharing = structure.Sharing(composite.epsilon, composite.bias, composite.positive)
        self._exceptions = dict(composite.layers)
        self._bounds: dict[int, tuple[Tensor, Tensor]] = {}
        self._pictures = 0
        self._live: tuple[bool, ...] = ()
        self._count = 0
        self._feeding: dict[int, tuple[ReferenceType[Tensor], frozenset[int]]] = {}
        self.ends = NOTHING

    @property
    def key(self) -> Hashable:
        """The composite."""
        return self.composite

    def start(self, image: Tensor) -> None:
        """Note the picture and, where they are known, its bounds."""
        super().start(image)
        self._pictures = len(image)
        if self.composite.low:
            bounds = (self.composite.low, self.composite.high)
            low, high = (torch.tensor(b, dtype=image.dtype, device=image.device).reshape(1, -1, 1, 1) for b in bounds)
            self._bounds[id(image)] = (low.expand_as(image), high.expand_as(image))

    def choose(self, op: Op, path: str) -> Choice:
        """Return the rule for one operation."""
        kind, how = op.kind, self._sharing
        self._live = live = tuple(tensor.requires_grad for tensor in op.inputs)
        if kind in self.composite.refuses - GATES:
            return Choice(None)
        if kind in structure.ROUTING or op.name in structure.ROUTING_NAMES:
            return Choice("route")
        if kind in structure.PASSING:
            return self._ruled(op, path, "pass", lambda _op, _kept, relevance: ((relevance,), None, None), keep="")
        if is_weighted(op):
            return self._weighted(op, path)
        if kind in structure.AVERAGING:
            return self._ruled(op, path, "average", lambda o, _k, r: structure.average(o, r, how), keep="inputs")
        if kind in structure.SUMS:

            def share(o: Op, kept: Tensor, r: Tensor) -> structure.Shared:
                return structure.contributions(o, r, kept, structure.addends(o, live), how)

            return self._ruled(op, path, "sum", share)
        if kind == "batch_norm" and not op.parameters.get("training") and op.parameters.get("running_var") is not None:
            label = "epsilon" if how.bias == "keep" else "pass"
            return self._ruled(op, path, label, lambda o, k, r: structure.batch_norm(o, r, k, how))
        if kind == "group_norm" or (kind == "layer_norm" and op.name == "layer_norm"):
            return self._ruled(op, path, "frozen spread", lambda o, k, r: structure.own_norm(o, r, k, how))
        if kind in structure.PRODUCTS:
            return self._product(op, path, live)
        return Choice(None)

    def _product(self, op: Op, path: str, live: tuple[bool, ...]) -> Choice:
        divided = op.kind == "div"
        if divided and (sum(live) != 1 or not live[0] or op.name in {"__rdiv__", "__rtruediv__"}):
            return Choice(None)
        gate = self.gate_of(op) if sum(live) == 2 else None
        if sum(live) == 2 and gate is None:
            return Choice(None, lacks=f"{op.kind} of two maps")
        label = "pass" if gate is None else "gate constant"
        return self._ruled(op, path, label, lambda o, _k, r: structure.product(o, r, live, gate), keep="inputs")

    def _weighted(self, op: Op, path: str) -> Choice:
        composite, number = self.composite, self._count
        self._count += 1
        self.weighted[path] = None
        first = id(op.inputs[0]) in self._raw
        spec = composite.dense if op.kind in DENSE else composite.conv
        if first and composite.first is not None:
            spec = composite.first
        exception = self._exception(path)
        if exception is not None:
            self.used.add(exception)
            spec = self._exceptions[exception]
        bounds = self._bounds.get(id(op.inputs[0])) if spec.name == "zbox" else None
        if spec.name == "zbox" and bounds is None:
            return Choice(None, lacks=f"{op.kind} by zbox, the bounds of whose inputs are not known,")
        if bounds is not None and len(bounds[0]) == self._pictures:  # the same for each picture
            bounds = bounds[0][:1], bounds[1][:1]
        mapped = LinearMap(op)

        def share(o: Op, kept: Tensor, relevance: Tensor) -> structure.Shared:
            feeds = number in self.ends
            case = Case(mapped, o.inputs[0], kept, relevance, spec, feeds and self.sent > 0, *(bounds or ()))
            found = by_sign(case) if feeds and composite.ends == "sign" else WEIGHTED_RULES[spec.name](case)
            if case.signed and not first:
                self.signed[path] = None
            rest = (None,) * (len(o.inputs) - 1)
            return (found, *rest), case.bias_share, case.epsilon_share

        return self._ruled(op, path, spec.label, share)

    def _exception(self, path: str) -> str | None:
        """Return the name of the closest module around an operation that has a rule of its own."""
        found = [name for name in self._exceptions if path == name or path.startswith(f"{name}.")]
        return max(found, key=len, default=None)

    def _ruled(
        self, op: Op, path: str, label: str, share: Callable[..., structure.Shared], *, keep: str = "both"
    ) -> Choice:
        kind = op.kind

        def backward(o: Op, kept: Tensor | None, relevance: Tensor) -> tuple[Tensor | None, ...]:
            found, constant, lost = share(o, kept, relevance)
            if self.sent == 0 and label != "pass":  # the receipt is about the map that is explained
                handed = [None if part is None else total(part) for part in found]
                self._book(path, kind, label, total(relevance), handed, [constant], [lost])
            return found

        return Choice(label, Rule(backward, _output if keep == "both" else _nothing, bool(keep)))

    def _book(self, path: str, kind: str, label: str, given: Tensor, *columns: list[Tensor | None]) -> None:
        """Write down what was given and, in columns, what was handed on and what biases and the stabilizer took."""
        none = given.new_zeros(self._pictures)
        sums = []
        for column in columns:
            amounts = [by_picture(amount, self._pictures) for amount in column if amount is not None]
            sums.append(sum(amounts, none))
        self.ledger.entries.append(Entry(path, kind, label, by_picture(given, self._pictures), *sums))

    def seen(self, op: Op, outputs: list[Tensor], again: Callable[[dict[int, Tensor]], Any]) -> None:
        """Carry the picture's bounds through what comes before the first weights."""
        super().seen(op, outputs, again)
        # as it was before the operation: one that works in place brings constants to life
        alive = [tensor for tensor, live in zip(op.inputs, self._live, strict=True) if live]
        if self.composite.ends != "plain":
            known = [self._feeding[id(t)][1] for t in alive if id(t) in self._feeding]
            ends = frozenset((self._count - 1,)) if is_weighted(op) else NOTHING.union(*known)
            self._feeding.update((id(output), (ref(output), ends)) for output in outputs)
        if is_weighted(op) or not all(id(tensor) in self._raw for tensor in alive):
            return
        known_bounds = {id(t): self._bounds[id(t)] for t in alive if id(t) in self._bounds}
        self._raw.update((id(output), output) for output in outputs)
        if op.inplace:
            self._forget(op.inputs[0])
        if any(id(t) not in known_bounds for t in alive) or not structure.keeps_order(op, self._live):
            return
        ends_of = [self._again(op, {key: pair[end] for key, pair in known_bounds.items()}, again) for end in (0, 1)]
        for output, one, other in zip(outputs, *ends_of, strict=True):
            if one.shape == output.shape:
                self._bounds[id(output)] = (torch.minimum(one, other), torch.maximum(one, other))

    def _again(self, op: Op, others: dict[int, Tensor], again: Callable[[dict[int, Tensor]], Any]) -> list[Tensor]:
        others = {key: tensor.clone() for key, tensor in others.items()}
        if op.inplace:  # never the network's own tensor
            others.setdefault(id(op.inputs[0]), op.inputs[0].detach().clone())
        output = again(others)
        if op.inplace:
            output = others[id(op.inputs[0])]
        return list(tensors_of(output))

    def _forget(self, changed: Tensor) -> None:
        """Forget the bounds of all that shares memory with a tensor that was overwritten."""
        memory = changed.untyped_storage().data_ptr()
        for key, tensor in self._raw.items():
            if tensor.untyped_storage().data_ptr() == memory:
                self._bounds.pop(key, None)

    def aim(self, source: Tensor) -> None:
        """Find the weighted operations that feed what is explained with no other one in between."""
        held = self._feeding.get(id(source))
        if held is not None and held[0]() is source:
            self.ends = held[1]

    def finish(self) -> None:
        """Let go of tensors when the forward pass has ended."""
        super().finish()
        self._bounds.clear()
        self._feeding.clear()


def _nothing(_op: Op, _output: Tensor) -> None:
    return None


def _output(_op: Op, output: Tensor) -> Tensor:
    return output
