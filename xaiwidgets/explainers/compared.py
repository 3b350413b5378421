"""What methods share that explain the difference between a picture's score and that of a reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from xaiwidgets.core.knobs import Choice, Flag, knob
from xaiwidgets.errors import NotApplicable
from xaiwidgets.explainers.onepass import covered, ruled_pass
from xaiwidgets.explainers.relevant import BEFORE_SOFTMAX

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Target
    from xaiwidgets.surgery.coverage import Coverage
    from xaiwidgets.surgery.deeplift import DeepLiftPolicy

UNCENTERED = "Only logits have a mean class: nothing is subtracted."


@dataclass(frozen=True)
class Compared:
    """Shares of the differences between the scores of pictures and of their references.

    Attributes:
        values: ``(N, C, H, W)``, multipliers times differences of the pixels.
        scores: the target's on the pictures, ``(N,)``.
        ends: what is explained, on the pictures and on the references, each ``(N,)``; other than ``scores`` if the mean
            class is subtracted.
        coverage: which operations the rules covered.
        notes: for the reader.
        details: the coverage by layer, for an Attribution.
    """

    values: Tensor
    scores: Tensor
    ends: tuple[Tensor, Tensor]
    coverage: Coverage
    notes: tuple[str, ...]
    details: dict[str, Any]


def baseline_knob() -> Any:
    """Return the knob for the one reference."""
    return knob(
        "black",
        Choice(("black", "white", "gray", "mean", "blur", "border")),
        label="Baseline",
        help="The picture that is compared with.",
    )


def gates_knob() -> Any:
    """Return the knob for products of two maps."""
    return knob(
        "split",
        Choice(("split", "constant")),
        label="Gates",
        help="A gate and the map it multiplies share what they do together, or the gate gets nothing, which leaves a "
        "gap.",
        advanced=True,
    )


def centered_knob() -> Any:
    """Return the knob for the mean over classes."""
    return knob(
        False,
        Flag(),
        label="Against the mean class",
        help="Explain the logit less the mean of all logits, as the authors do where a softmax follows.",
        advanced=True,
    )


def compare(
    method: str,
    model: Model,
    images: Tensor,
    references: Tensor,
    target: Target,
    policy: Callable[[], DeepLiftPolicy],
    *,
    centered: bool = False,
) -> Compared:
    """Run pictures and references ``(N, C, H, W)`` as one batch, and send the multipliers of the differences back.

    Raises:
        NotApplicable: an operation of the network has no rule, or the network takes one image at a time.
    """
    import torch

    from xaiwidgets.surgery.deeplift import difference_start, refuse_reached

    if model.inspection.largest_batch == 1:
        instead = ("integrated_gradients", "gradient_x_input", "grad_cam")
        raise NotApplicable(
            method, "picture and reference in one batch", "the network takes one image at a time", instead
        )
    logits = not target.layer and target.output == "logit"
    count = len(target.classes) - (target.minus is not None) if centered and logits else 0

    def score(outputs: Tensor) -> Tensor:
        found = target.score(outputs, {target.layer: outputs})
        return found - outputs.mean(dim=1) * count if count else found

    found, used = ruled_pass(
        method, model, torch.cat([images, references]), target, policy, start=difference_start(score, method)
    )
    refuse_reached(used, method)
    number = len(images)
    ends = score(found.outputs) if count else found.score
    notes = (UNCENTERED,) * (centered and not logits) + (BEFORE_SOFTMAX,) * found.before_softmax
    return Compared(
        values=(images - references) * found.inputs[0][:number],
        scores=found.score[:number],
        ends=(ends[:number], ends[number:]),
        coverage=found.coverage,
        notes=notes,
        details=covered(found),
    )


def gap_of(found: Compared) -> tuple[float, dict[str, Any]]:
    """Return what the values of the first picture miss or exceed the explained difference by, and the details."""
    above, below = (float(end[0]) for end in found.ends)
    gap = float(found.values[0].double().sum()) - (above - below)
    return gap, {**found.details, "explained": above - below, "baseline_score": below}
