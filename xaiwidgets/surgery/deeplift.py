"""DeepLIFT as a policy: a rule for every operation, or a refusal that names it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from . import differences
from .coverage import Coverage
from .differences import halves, paired
from .linear import LinearMap, is_weighted
from .mode import SurgeryMode, check
from .ops import ACTIVATIONS
from .policy import Choice, Policy
from .propagation import DENSE
from .reveal import pushes, reveal, told_apart
from .rows import REDUCING, astray, moves
from .rules import Backward, Rule

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from .again import Again
    from .ops import Op

    Composed = Callable[..., Tensor]

ELEMENTWISE = (ACTIVATIONS - {"glu", "softmax", "log_softmax"}) | {"clamp"}
"""Kinds that work on each unit alone."""
ALONE = frozenset({
    "pow", "float_power", "__pow__", "__rpow__", "__ipow__", "maximum", "max", "minimum", "fmax", "fmin", "where",
})  # fmt: skip
"""Functions of two tensors that work on each unit alone if one of them is constant."""
PICKING = {"maximum": differences.maximum, "fmax": differences.maximum, "max": differences.maximum,
           "minimum": differences.minimum, "fmin": differences.minimum}  # fmt: skip
"""Functions that choose between two maps, unit by unit."""
LINEAR = frozenset({"pad", "neg", "add", "sub", "avg_pool", "adaptive_avg_pool", "interpolate", "identity"})
POOLING = frozenset({"max_pool", "adaptive_max_pool", "max"})
#: Activations whose kind has refined them to two bounds, the identity between.
CLIPPED = frozenset({"relu", "relu6"})
REVERSED = frozenset({"__rdiv__", "__rtruediv__"})


class DeepLiftPolicy(Policy):
    """Multipliers of differences from a reference (Shrikumar et al. 2017).

    The batch is ``(pictures; references)``, of the same number. The signal that is sent back must be zero in the rows
    of the references; what arrives in those of the pictures, times picture less reference, sums to the difference of
    the scores. Linear operations keep their gradient, which is exact; element-wise ones are rescaled; of maxima, the
    winners of picture and reference share; products are split in half; normalizations by the input's own statistics
    and softmax are composed of these. Everything else is refused by name, and so is what moves the batch axis.

    Args:
        where: operations after which activations follow RevealCancel: those of ``dense`` layers, or ``all`` with
            weights; an empty string for none. An activation that does not follow one directly is rescaled.
        gates: what a gate gets of the map that it is multiplied onto: half of what both do together (``split``), or
            nothing (``constant``), which leaves a gap.
    """

    def __init__(self, where: str = "", gates: str = "split") -> None:
        super().__init__()
        self.name = "DeepLIFT RevealCancel" if where else "DeepLIFT Rescale"
        self.gates = gates
        self.weighted = {"": frozenset[str](), "dense": DENSE, "all": DENSE | {"conv", "conv_transpose"}}[where]
        self.revealed = 0
        self._where = where
        self._rows = 0
        self._mapped: dict[int, tuple[Tensor, int, LinearMap, Tensor, int]] = {}
        self._reached: list[tuple[str, str]] = []

    @property
    def key(self) -> Hashable:
        """The settings."""
        return "deeplift", self._where, self.gates

    def start(self, image: Tensor) -> None:
        """Note how many rows there are."""
        super().start(image)
        if len(image) % 2:
            raise ValueError(f"the batch must be pictures and as many references; got {len(image)} rows")
        self._rows = len(image)

    def finish(self) -> None:
        """Let go of tensors when the forward pass has ended."""
        super().finish()
        self._mapped.clear()

    def choose(self, op: Op, path: str) -> Choice:
        """Return the rule for one operation."""
        live = tuple(tensor.requires_grad for tensor in op.inputs)
        lacks = astray(op, live, self._rows, self._call())
        if lacks:
            return self._unless_used(op, path, lacks)
        kind, number = op.kind, sum(live)
        if kind == "identity" and op.name in {"detach", "detach_", "data"}:
            # no derivative is wanted but shares of a difference, and that is there all the same
            return Choice("linear", Rule(lambda _op, _kept, signal: (signal,), _nothing, inputs=False))
        if moves(op):
            return Choice("route")
        if kind in LINEAR or kind in REDUCING or (kind == "dropout" and not op.parameters.get("training", True)):
            return Choice("linear")
        if is_weighted(op):
            return self._weighted(op)
        if kind in {"mul", "div", "matmul"}:
            return self._product(op, live)
        if kind in POOLING:
            return self._pooled(op)
        if kind in ELEMENTWISE or (kind == "pointwise" and number == 1 and self._alone(op, live)):
            return self._activation(op, live)
        if kind == "pointwise" and op.name in PICKING:
            picked = PICKING[op.name]
            return _composed("rescale", lambda _op, one, other: picked(one, other), live)
        if kind == "glu":
            return _composed("split", _glu, live)
        if kind in {"softmax", "log_softmax"}:
            return self._softmax(op)
        return self._normalization(op, live)

    def _unless_used(self, op: Op, path: str, lacks: str) -> Choice:
        """Refuse an operation only if a signal comes back to it: networks look at their pictures to branch."""
        if op.kind == "unknown" and not moves(op):
            return Choice(None)
        if op.inplace or op.kind in {"setitem", "chunk", "unbind", "unknown"}:
            return Choice(None, lacks=lacks)

        def backward(o: Op, _kept: Tensor | None, _signal: Tensor) -> tuple[Tensor | None, ...]:
            self._reached.append((lacks, path))
            return tuple(map(torch.zeros_like, o.inputs))  # so that it comes to those before, too

        return Choice("unused", Rule(backward, _nothing, inputs=True))

    @property
    def reached(self) -> Coverage:
        """What was not refused in the forward pass but should have been, since the score depends on it."""
        return Coverage(refused=tuple(reversed(self._reached)))

    def _weighted(self, op: Op) -> Choice:
        mapped = LinearMap(op)
        if op.kind not in self.weighted:
            return Choice("linear", Rule(_pictures_only(mapped), _nothing, inputs=True) if op.kind == "conv" else None)

        def backward(o: Op, _kept: Tensor | None, signal: Tensor) -> tuple[Tensor | None, ...]:
            return (told_apart(mapped, o.inputs[0], signal), *(None,) * (len(o.inputs) - 1))

        return Choice("linear", Rule(backward, _nothing, inputs=True))

    def _product(self, op: Op, live: tuple[bool, ...]) -> Choice:
        if op.kind == "div":
            below = 0 if op.name in REVERSED or "input" in op.parameters else 1
            if op.parameters.get("rounding_mode"):
                return Choice(None, lacks="division that rounds")
            if len(live) == 1:
                return self._activation(op, live) if below == 0 else Choice("linear")
            if not live[below]:
                return Choice("linear")
            return _composed("split", lambda _op, *both: _divided(both[1 - below], both[below]), live)
        if sum(live) == 1:
            return Choice("linear")
        gate = self.gate_of(op) if op.kind == "mul" and self.gates == "constant" else None
        run = torch.mul if op.kind == "mul" else torch.matmul

        def backward(o: Op, _kept: Tensor | None, signal: Tensor) -> tuple[Tensor | None, ...]:
            one, other = o.inputs
            found = differences.split(run, one, other, halves(signal)[0])
            return tuple(None if index == gate else paired(part) for index, part in enumerate(found))

        return Choice("split" if gate is None else "gate constant", Rule(backward, _nothing, inputs=True))

    def _pooled(self, op: Op) -> Choice:
        again = self._call()

        def backward(o: Op, kept: Tensor | None, signal: Tensor) -> tuple[Tensor | None, ...]:
            return (paired(differences.cross_maximum(again, o.inputs[0], _there(kept), halves(signal)[0])),)

        return Choice("cross-maximum", Rule(backward, _output, inputs=True))

    def _activation(self, op: Op, live: tuple[bool, ...]) -> Choice:
        index, again = live.index(True), self._call()
        pushed = self._pushed(op.inputs[index])

        def backward(o: Op, kept: Tensor | None, signal: Tensor) -> tuple[Tensor | None, ...]:
            def run(values: Tensor) -> Any:
                return again(*o.inputs[:index], values, *o.inputs[index + 1 :])

            inputs, output = o.inputs[index], _there(kept)
            if pushed is not None:
                found = reveal(run, inputs, output, pushed, halves(signal)[0])
            elif o.kind in CLIPPED:
                bounds = float(o.parameters["low"]), float(o.parameters["high"])
                found = differences.clipped(signal, *bounds, inputs, output)
            else:
                found = differences.scaled(signal, differences.rescaled(run, inputs, output))
            return tuple(found if place == index else None for place in range(len(live)))

        self.revealed += pushed is not None
        return Choice("rescale" if pushed is None else "reveal-cancel", Rule(backward, _output, inputs=True))

    def _softmax(self, op: Op) -> Choice:
        def backward(o: Op, _kept: Tensor | None, signal: Tensor) -> tuple[Tensor | None, ...]:
            (inputs,), logarithm = o.inputs, o.kind == "log_softmax"
            given = halves(signal)[0]
            dim = int(o.parameters["dim"])
            return (paired(differences.softmax_multipliers(inputs, dim, given, logarithm=logarithm)),)

        return Choice("rescale", Rule(backward, _nothing, inputs=True))

    def _normalization(self, op: Op, live: tuple[bool, ...]) -> Choice:
        found = op.parameters
        fixed = found.get("running_var") is not None
        if op.kind == "batch_norm" and fixed and not found.get("training"):
            return Choice("linear")
        if op.kind == "instance_norm" and fixed and found.get("use_input_stats") is False:
            return Choice("linear")
        if op.kind in {"instance_norm", "group_norm"} or (op.kind == "layer_norm" and op.name == "layer_norm"):
            return _composed("composed", _own_norm, live)
        return Choice(None, lacks="batch_norm by statistics of the batch" if op.kind == "batch_norm" else op.name)

    # -- what comes directly before an activation ---------------------------------------------------------------

    def seen(self, op: Op, outputs: list[Tensor], again: Callable[[dict[int, Tensor]], Any]) -> None:
        """Remember what weights have just given, until something else is done to it."""
        super().seen(op, outputs, again)
        if op.kind in self.weighted and is_weighted(op):
            inputs = op.inputs[0]
            made = LinearMap(op)
            self._mapped[id(outputs[0])] = outputs[0], outputs[0]._version, made, inputs.detach(), inputs._version
        elif op.kind == "identity" and id(op.inputs[0]) in self._mapped and self._unchanged(op.inputs[0]):
            _, _, made, inputs, version = self._mapped[id(op.inputs[0])]
            self._mapped[id(outputs[0])] = outputs[0], outputs[0]._version, made, inputs, version

    def _unchanged(self, tensor: Tensor) -> bool:
        _, version, _, inputs, before = self._mapped[id(tensor)]
        return tensor._version == version and inputs._version == before

    def _pushed(self, tensor: Tensor) -> tuple[Tensor, Tensor] | None:
        if id(tensor) not in self._mapped or not self._unchanged(tensor):
            return None
        _, _, mapped, inputs, _ = self._mapped[id(tensor)]
        with torch.no_grad():
            return pushes(mapped, inputs)

    def _alone(self, op: Op, live: tuple[bool, ...]) -> bool:
        if len(live) == 1:
            return True
        shapes = [tensor.shape for tensor in op.inputs]
        common = torch.broadcast_shapes(*shapes)  # type: ignore[no-untyped-call]
        return op.name in ALONE and common == shapes[live.index(True)]

    def _call(self) -> Again:
        """Return the operation that is being chosen for, as a function of its inputs."""
        if self.again is None:
            raise RuntimeError("a policy is asked about an operation by a SurgeryMode only")
        return self.again


def _pictures_only(mapped: LinearMap) -> Backward:
    """Return the ordinary gradient of a convolution, computed for the rows that the multipliers travel in."""

    def backward(o: Op, _kept: Tensor | None, signal: Tensor) -> tuple[Tensor | None, ...]:
        inputs = halves(o.inputs[0])[0]
        found = paired(mapped.transposed(halves(signal)[0], mapped.weight, inputs))
        return (found, *(None,) * (len(o.inputs) - 1))

    return backward


def difference_start(score: Callable[[Tensor], Tensor], method: str) -> Callable[[Tensor, Tensor], Sequence[Tensor]]:
    """Return the start of a propagation for a batch ``(pictures; references)``: the multipliers of the scores.

    Args:
        score: from what the target reads to the scores ``(N,)``.
        method: whom errors are about.
    """

    def start(source: Tensor, _scores: Tensor) -> Sequence[Tensor]:
        leaf = source.detach().requires_grad_()
        policy = DeepLiftPolicy()
        with SurgeryMode(policy, lambda: "the target") as mode:
            mode.start(leaf)
            scores = score(leaf)
        check(policy, mode.coverage, method)
        ones = paired(torch.ones_like(halves(scores)[0]))
        (found,) = torch.autograd.grad(scores, leaf, ones, allow_unused=True)
        refuse_reached(policy, method)
        return (torch.zeros_like(leaf) if found is None else found,)

    return start


def refuse_reached(policy: DeepLiftPolicy, method: str) -> None:
    """Raise NotApplicable if the signals of a pass have come to an operation that mixes pictures."""
    if policy.reached.refused:
        check(policy, policy.reached, method)


def _composed(label: str, run: Composed, live: tuple[bool, ...]) -> Choice:
    """Return the rule of an operation that is composed of linear functions, element-wise ones and products."""

    def backward(op: Op, _kept: Tensor | None, signal: Tensor) -> tuple[Tensor | None, ...]:
        with torch.enable_grad():
            leaves = [tensor.detach().requires_grad_(alive) for tensor, alive in zip(op.inputs, live, strict=True)]
            output = run(op, *leaves)
        found = iter(torch.autograd.grad(output, [leaf for leaf in leaves if leaf.requires_grad], signal))
        return tuple(next(found) if alive else None for alive in live)

    return Choice(label, Rule(backward, _nothing, inputs=True))


def _divided(above: Tensor, below: Tensor) -> Tensor:
    inverse = differences.elementwise(below, torch.reciprocal)
    return differences.product(above, inverse) if above.requires_grad else above * inverse


def _glu(op: Op, inputs: Tensor) -> Tensor:
    above, gate = inputs.chunk(2, dim=int(op.parameters.get("dim", -1)))
    return differences.product(above, differences.elementwise(gate, torch.sigmoid))


def _own_norm(op: Op, inputs: Tensor) -> Tensor:
    """Normalization by the statistics of each picture: of its last axes, or of groups of channels."""
    found, shape = op.parameters, inputs.shape
    eps = found.get("eps")
    eps = 1e-5 if eps is None else float(eps)
    if op.kind == "layer_norm":
        wanted = found["normalized_shape"]
        count = 1 if isinstance(wanted, int) else len(tuple(wanted))
        output = differences.normalized(inputs, tuple(range(-count, 0)), eps)
        affine: tuple[int, ...] = tuple(shape[-count:])
    else:
        groups = shape[1] if op.kind == "instance_norm" else int(found["num_groups"])
        output = differences.normalized(inputs.reshape(shape[0], groups, -1), (-1,), eps).reshape(shape)
        affine = (shape[1], *[1] * (inputs.ndim - 2))
    weight, shift = found.get("weight"), found.get("bias")
    output = output if weight is None else output * weight.detach().reshape(affine)
    return output if shift is None else output + shift.detach().reshape(affine)


def _there(kept: Tensor | None) -> Tensor:
    if kept is None:
        raise TypeError("this rule needs the output of its operation")
    return kept


def _nothing(_op: Op, _output: Tensor) -> None:
    return None


def _output(_op: Op, output: Tensor) -> Tensor:
    return output
