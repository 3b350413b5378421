"""One forward pass under a policy, and one or more signals sent back through it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from xaiwidgets.errors import SurgeryError
from xaiwidgets.model.meter import spend
from xaiwidgets.model.tape import Tape, recording
from xaiwidgets.surgery.mode import SurgeryMode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from torch import Tensor, nn

    from xaiwidgets.model.targets import Target
    from xaiwidgets.surgery.coverage import Coverage
    from xaiwidgets.surgery.policy import Policy

    #: From (what the target reads: logits or a layer's output, the target's scores ``(N,)``, both in one graph) to the
    #: signals that are sent back from there, each of the former's shape.
    Start = Callable[[Tensor, Tensor], Sequence[Tensor]]


@dataclass(frozen=True)
class Propagation:
    """What a pass under a policy gave; all tensors are detached.

    Attributes:
        score: ``(N,)``. ``outputs``: logits ``(N, K)``.
        starts: the signals that were sent back.
        inputs: for each of them, what arrived at the images, ``(N, C, H, W)``.
        layers: by name, for each of them, what arrived at the named layer.
        coverage: which operations the policy met, and how it ruled them.
        activations: what the named layers gave.
        before_softmax: the network ends in a softmax, and the scores before it are what was explained.
    """

    score: Tensor
    outputs: Tensor
    starts: tuple[Tensor, ...]
    inputs: tuple[Tensor, ...]
    coverage: Coverage
    layers: dict[str, tuple[Tensor, ...]] = field(default_factory=dict)
    activations: dict[str, Tensor] = field(default_factory=dict)
    before_softmax: bool = False


def slope(source: Tensor, scores: Tensor) -> Tensor:
    """Return the derivative of the scores by what the target reads."""
    if not scores.requires_grad:
        return torch.zeros_like(source)
    return torch.autograd.grad(scores.sum(), source, retain_graph=True)[0]


def value_start(source: Tensor, scores: Tensor) -> Sequence[Tensor]:
    """Start with the share of each unit in the score: its value times the score's derivative by it."""
    return (slope(source, scores) * source.detach(),)


def unit_start(source: Tensor, scores: Tensor) -> Sequence[Tensor]:
    """Start with the score's derivative: 1 at a class or at a unit."""
    return (slope(source, scores),)


def propagate(
    network: nn.Module,
    images: Tensor,
    target: Target,
    policy: Policy,
    *,
    start: Start = value_start,
    layers: Iterable[str] = (),
    wrt_input: bool = True,
) -> Propagation:
    """Run a batch under a policy and send signals back; see ``Model.propagate``."""
    names = tuple(dict.fromkeys(layers))
    wanted = frozenset((*names, target.layer) if target.layer else names)
    tape = Tape(wanted=wanted, differentiable=True)
    with torch.inference_mode(False), torch.enable_grad():
        leaf = (images.clone() if images.is_inference() else images.detach()).requires_grad_()
        with recording(tape), SurgeryMode(policy, tape.where, lambda: target.layer in tape.records) as mode:
            mode.start(leaf)
            outputs = network(leaf.clone())
            source = tape.records[target.layer] if target.layer else outputs
            policy.aim(source)
        if not source.requires_grad:
            raise SurgeryError("the network's scores do not depend on the picture, so nothing can be traced back to it")
        scores = target.score(outputs, tape.records)
        starts = tuple(signal.detach() for signal in start(source, scores))
        held = [*([leaf] if wrt_input else []), *(tape.records[name] for name in names)]
        mode.spare(source, [] if wrt_input else held)
        arrived = []
        for number, signal in enumerate(starts):
            policy.send(number)
            more = number < len(starts) - 1
            found = torch.autograd.grad(source, held, signal, retain_graph=more, allow_unused=True)
            arrived.append([torch.zeros_like(t) if g is None else g for t, g in zip(held, found, strict=True)])
    spend(forward=len(images), backward=len(images) * len(starts))
    inputs = tuple(found.pop(0) for found in arrived) if wrt_input else ()
    by_layer = {name: tuple(found[index] for found in arrived) for index, name in enumerate(names)}
    given = {name: tape.records[name].detach() for name in names}
    return Propagation(scores.detach(), outputs.detach(), starts, inputs, mode.coverage, by_layer, given)
