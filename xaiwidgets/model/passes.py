"""Running one pass: scores, gradients and named activations of a batch, with or without backward rules."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from xaiwidgets.errors import SurgeryError
from xaiwidgets.model.meter import spend
from xaiwidgets.model.tape import Reached, Tape, recording

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor, nn

    from xaiwidgets.model.targets import Scored
    from xaiwidgets.surgery.mode import Coverage
    from xaiwidgets.surgery.policy import Policy
    from xaiwidgets.surgery.recipes import Recipe


@dataclass(frozen=True)
class Gradients:
    """What one forward and one backward pass gave; all tensors are detached.

    Attributes:
        score: ``(N,)``.
        outputs: logits ``(N, K)``.
        by_input: the gradients behind ``input``, or ``None`` if they were not asked for.
        layers: by name, (activation, gradient of the score with respect to it).
        coverage: which operations the backward rules met, or ``None`` without rules.
    """

    score: Tensor
    outputs: Tensor
    by_input: Tensor | None = None
    layers: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)
    coverage: Coverage | None = None

    @property
    def input(self) -> Tensor:
        """Gradient of each score with respect to its own image, ``(N, C, H, W)``."""
        if self.by_input is None:
            raise ValueError("this pass was run with wrt_input=False")
        return self.by_input


def forward(network: nn.Module, images: Tensor, wanted: Iterable[str] = ()) -> tuple[Tensor, dict[str, Tensor]]:
    """Return outputs and the wanted layers' outputs, without gradients."""
    tape = Tape(wanted=frozenset(wanted))
    with torch.no_grad(), recording(tape):
        outputs = network(images)
    spend(forward=len(images))
    return outputs, tape.records


def replaced(
    network: nn.Module, images: Tensor, layer: str, altered: Tensor, wanted: Iterable[str] = ()
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return outputs and the wanted layers' outputs, with ``altered`` in place of what a layer gives for each image."""
    tape = Tape(wanted=frozenset(wanted), replaced={layer: altered})
    with torch.no_grad(), recording(tape):
        outputs = network(images)
    spend(forward=len(images))
    return outputs, tape.records


def gradient(
    network: nn.Module,
    images: Tensor,
    target: Scored,
    *,
    layers: Iterable[str] = (),
    wrt_input: bool = True,
    recipe: Recipe | None = None,
    early: bool = False,
) -> Gradients:
    """Return scores and their gradients with respect to the images and to the named layers.

    With ``early`` the pass ends at the last layer that is wanted, and ``outputs`` is then ``(N, 0)``.
    """
    names = tuple(dict.fromkeys(layers))
    wanted = frozenset((*names, *target.layers))
    tape = Tape(wanted=wanted, differentiable=True, early=early and bool(wanted))
    coverage = None
    with torch.inference_mode(False), torch.enable_grad():
        leaf = (images.clone() if images.is_inference() else images.detach()).requires_grad_(wrt_input)
        with ExitStack() as stack:
            if wanted or recipe is not None:
                stack.enter_context(recording(tape))
            if recipe is not None:
                from xaiwidgets.surgery.mode import SurgeryMode

                mode = stack.enter_context(SurgeryMode(recipe, tape.where))
            # a copy: the first operation may work in place, which autograd refuses on a leaf
            try:
                outputs = network(leaf.clone())
            except Reached:
                outputs = leaf.new_empty((len(leaf), 0))
        if recipe is not None:
            coverage = mode.coverage
        scores = target.score(outputs, tape.records)
        held = [tape.records[name] for name in names]
        found = _grad(scores, [*([leaf] if wrt_input else []), *held])
    spend(forward=len(images), backward=len(images))
    by_input = found.pop(0) if wrt_input else None
    pairs = {n: (a.detach(), g) for n, a, g in zip(names, held, found, strict=True)}
    return Gradients(scores.detach(), outputs.detach(), by_input, pairs, coverage)


def check_forward(network: nn.Module, images: Tensor, recipe: Recipe | Policy) -> None:
    """Compare a pass under backward rules, as it is run for a gradient, with the plain one.

    Raises:
        SurgeryError: they differ, so the rules would explain another function.
    """
    from xaiwidgets.surgery.mode import SurgeryMode

    tape = Tape()
    with torch.inference_mode(False), torch.enable_grad():
        leaf = images.detach().clone().requires_grad_()
        plain = network(leaf.clone()).detach()
        with recording(tape), SurgeryMode(recipe, tape.where) as mode:
            mode.start(leaf)
            ruled = network(leaf.clone())
        ruled = ruled.detach()
    if not torch.equal(plain, ruled) and not torch.allclose(plain, ruled, rtol=1e-5, atol=1e-6):
        raise SurgeryError(
            f"under the rules of {recipe.name} the network gives other scores than without (largest difference "
            f"{float((plain - ruled).abs().max()):.2e}); is its forward random, or does it keep state between calls?"
        )


def _grad(scores: Tensor, wrt: list[Tensor]) -> list[Tensor]:
    if not scores.requires_grad:  # the score does not depend on any of them
        return [torch.zeros_like(tensor) for tensor in wrt]
    found = torch.autograd.grad(scores.sum(), wrt, allow_unused=True)
    return [torch.zeros_like(t) if g is None else g for t, g in zip(wrt, found, strict=True)]
