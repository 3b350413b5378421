"""FGVis: fine-grained visual explanations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from xaiwidgets.core.cards import explainer
from xaiwidgets.core.knobs import Choice, Flag, Range, knob
from xaiwidgets.core.results import Attribution
from xaiwidgets.explainers.onepass import size_of, to_numpy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from torch import Tensor

    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Target


@explainer(
    id="fgvis",
    title="FGVis",
    family="mask",
    idea="Optimizes a mask for every pixel and color, with a defense that keeps it from fooling the network.",
    cite="Wagner, Köhler, Gindele, Hetzel, Wiedemer, Behnke 2019",
    paper="arXiv:1908.02686",
    section="2.3.10",
    needs=("gradient", "rectifier"),
    signed=False,
    formula="e = m ⊙ x + (1 − m) ⊙ r;  deletion: min over m of f(e) + λ ‖1 − m‖₁;  preservation: max f(e) − λ ‖m‖₁",
    how="Gradient steps hide single color values until the class is gone, or show as few as keep it. In each backward "
    "pass, a ReLU hands its signal on only while it is no more active than on the photo itself: evidence that is not "
    "in the photo cannot be made up.",
    caution="Without the defense the mask is adversarial noise, and explains classes that are not there. A class that "
    "is not in the photo should leave the mask empty: try one.",
)
class FGVis:
    """Mask per pixel and color channel, by gradient steps under a gradient filter (Wagner et al. 2019, section 3).

    Yields ``(C, H, W)`` in [0, 1], how far each value is hidden (deletion) or kept (preservation), after every step.
    ``details``: ``curves``, the watched ``score`` and ``area`` (mean of the mask) by step; ``image``, the explanation
    ``(H, W, C)`` in [0, 1]; ``changed``, the step at which the top class was no longer the first one's, if it was.

    The log probability is watched. Its gradient is divided by its largest absolute value before a step. With
    ``defend``, a rectifier's signal is stopped where its output is larger than on the photo.
    """

    game: str = knob(
        "deletion",
        Choice(("deletion", "preservation")),
        label="Game",
        help="deletion: hide until the class is gone; preservation: show until it is there.",
    )
    iterations: int = knob(80, Range(1, 1000, log=True), label="Steps", help="The paper takes at most 500.")
    defend: bool = knob(True, Flag(), label="Defense", help="Off shows how adversarial an undefended mask is.")
    stop: bool = knob(True, Flag(), label="Stop at the change", help="In deletion, end when another class is on top.")
    fill: str = knob(
        "mean", Choice(("mean", "black", "gray", "white", "blur")), label="Fill", help="What hides a value."
    )
    rate: float = knob(0.1, Range(0.001, 1.0), label="Step size", help="Largest change of a value in one step.")
    sparsity: float = knob(1e-9, Range(0.0, 1.0), label="Sparsity", help="Weight of the mask's size.", advanced=True)

    def cost(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the most (forward, backward) passes of one image: one of each a step, and the photo's own."""
        return self.iterations + 1, self.iterations + 1

    def steps(self, model: Model, image: Tensor, target: Target) -> Iterator[Attribution]:
        """Yield the mask after every step."""
        import torch

        from xaiwidgets.engine.baselines import baseline
        from xaiwidgets.surgery.units import Units

        units = Units()
        view = model.exactly().transformed(units, "with filtered gradients")
        asked = target.with_output("log_probability")
        cover = baseline(model, image, self.fill)
        difference = image - cover
        first = view.gradient(image, asked)
        if self.defend:
            units.bounds = [output.clone() for output in units.outputs]
        deleting = self.game == "deletion"
        mask = torch.ones_like(image) if deleting else torch.zeros_like(image)
        top, curves, changed = int(first.outputs[0].argmax()), _Curves(), 0
        score = float(first.score[0] if target.layer else target.score(first.outputs)[0])
        for number in range(1, self.iterations + 1):
            passed = view.gradient(cover + mask * difference, asked)
            curves.add(float(passed.score[0]), float((1 - mask if deleting else mask).mean()))
            if deleting and not changed and int(passed.outputs[0].argmax()) != top:
                changed = number
            direction = passed.input * difference
            # towards a lower score in deletion, a higher one in preservation; in both, the mask should stay small
            step = self.sparsity - direction if deleting else direction - self.sparsity
            largest = step.abs().max()
            ended = self.stop and bool(changed)
            if not ended and float(largest) > 0:
                mask = (mask + self.rate * step / largest).clamp_(0, 1)
            done = ended or number == self.iterations
            details: dict[str, Any] = {
                "curves": curves.taken(),
                "image": model.to_pixels(cover + mask * difference).clip(0, 1),
                **({"changed": changed} if changed else {}),
            }
            progress = 1.0 if done else number / self.iterations
            yield self._result(image, 1 - mask if deleting else mask, score, progress, details)
            if done:
                return

    def _result(
        self, image: Tensor, shares: Tensor, score: float, progress: float, details: dict[str, Any]
    ) -> Attribution:
        word = "hidden" if self.game == "deletion" else "shown"
        notes = [f"{float(shares.mean()):.1%} of the values are {word}."]
        if "changed" in details:
            steps = details["changed"]
            notes.append(f"Another class was on top after {steps} step{'s' * (steps > 1)}.")
        return Attribution(
            values=to_numpy(shares),
            unit=f"share {word}",
            signed=False,
            reduction="mean",
            size=size_of(image),
            progress=progress,
            score=score,
            notes=tuple(notes),
            details=details,
        )


class _Curves:
    """What was watched at every step."""

    def __init__(self) -> None:
        self.score: list[float] = []
        self.area: list[float] = []

    def add(self, score: float, area: float) -> None:
        """Write a step down."""
        self.score.append(score)
        self.area.append(area)

    def taken(self) -> dict[str, NDArray[np.float32]]:
        """Return a copy that no later step changes."""
        return {"score": np.array(self.score, np.float32), "area": np.array(self.area, np.float32)}
