"""One run of gradient ascent towards certainty, with steps that are as long as the progress that is wanted."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from xaiwidgets.core.results import Exhibit
from xaiwidgets.model.targets import Target
from xaiwidgets.synthesis.canvas import Canvas
from xaiwidgets.synthesis.reading import one_class
from xaiwidgets.synthesis.run import Run

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Goal
    from xaiwidgets.synthesis.fooling_gradient import FoolingGradient

#: Probabilities whose first pictures are kept.
MILESTONES = (0.5, 0.99, 0.999, 0.9999)
KEPT = tuple(f"at{number}" for number in range(len(MILESTONES)))
#: This share of all values is shown without being cut off, when contrast is stretched.
BULK = 0.995


class Certainty(Run):
    """A run in progress.

    Attributes:
        picture, first: ``(1, C, H, W)`` in gray levels less the mean color, now and at the start.
        slope: of what is raised, by gray levels. ``score``: what is raised. ``chance``: the probability.
        reached: after how many steps each of the ``MILESTONES`` was passed, or 0; their pictures are ``KEPT``.
        promised: by how much the last step was to raise the score.
    """

    ARRAYS: ClassVar[tuple[str, ...]] = ("picture", "first", "slope", *KEPT)
    VALUES: ClassVar[tuple[str, ...]] = ("score", "chance", "promised", "reached")
    method: FoolingGradient
    picture: Tensor
    first: Tensor
    slope: Tensor
    score: float
    chance: float
    promised: float
    reached: tuple[int, ...]

    def __init__(self, method: FoolingGradient, model: Model, target: Goal, photo: Tensor | None = None) -> None:
        super().__init__(method, model, target, photo)
        self.index = one_class(target)
        self.canvas = Canvas(model)

    def begin(self) -> None:
        """Draw the start picture and pass it through the network."""
        import torch

        if self.method.start == "uniform":
            drawn = torch.rand(self.canvas.shape, generator=self.random).to(self.canvas.like)
            self.picture = self.canvas.clip(255 * drawn + self.canvas.low)
        else:
            self.picture = self.canvas.start(self.method.start, None, self.random)
        self.first, self.promised, self.reached = self.picture, 0.0, (0,) * len(MILESTONES)
        for name in KEPT:
            setattr(self, name, None)
        self._pass(self.picture)

    @property
    def unit(self) -> str:
        """What the objective is measured in."""
        return self._raised.unit

    @property
    def _raised(self) -> Target:
        logit = self.method.raised == "logit"
        return Target((self.index,), output="logit" if logit else "log_probability", name=self.target.name)

    def adopted(self, old: Any) -> None:
        """Find the slope of what is raised now."""
        if self.method.raised != old.raised:
            self._pass(self.picture)

    def advance(self) -> None:
        """Do one step that raises the probability by what is wanted, as far as the slope tells."""
        if not self.slope.any() or not self.slope.isfinite().all():
            self.stop(
                "the gradient is exactly zero or not finite, so no pixel is known to raise the score. Start from "
                "uniform noise, or choose another class or seed"
            )
            return
        wanted = min(self.method.early, self.method.late * (1 - self.chance))
        # dP = P d(log P) = P (1 - P) d(logit), the other logits being fixed
        rate = self.chance * (1 - self.chance if self.method.raised == "logit" else 1)
        self.promised = min(wanted / max(rate, 1e-30), self.method.leap) if wanted else 0.0
        largest = self.slope.abs().max()
        unit = self.slope / largest  # squares of tiny slopes would vanish
        moved = self.picture + self.promised / (largest * unit.square().sum()) * unit
        self.picture = self.canvas.clip((1 - self.method.decay) * moved)
        self._pass(self.picture)
        self.log(self.score, probability=self.chance, promised=self.promised)
        for number, (name, limit) in enumerate(zip(KEPT, MILESTONES, strict=True)):
            if self.chance > limit and not self.reached[number]:
                setattr(self, name, self.picture)
                self.reached = (*self.reached[:number], self.step, *self.reached[number + 1 :])

    def pixels(self) -> NDArray[np.float32]:
        """Return the picture as colors."""
        return self.canvas.pixels(self.picture)

    def terms(self) -> dict[str, float]:
        """Return after how many steps each milestone was passed."""
        return {f"steps to {limit}": float(n) for limit, n in zip(MILESTONES, self.reached, strict=True) if n}

    def beside(self) -> tuple[Exhibit, ...]:
        """Return the start, the picture with all its contrast, and the first picture past each milestone."""
        bulk = float(np.quantile(self.picture.abs().cpu().numpy(), BULK))
        factor = max(1.0, 127.5 / max(bulk, 1e-3))
        strong = self.canvas.low + 127.5 + factor * self.picture
        kept = [
            Exhibit(self.canvas.pixels(getattr(self, name)), f"First over {limit}: step {step}")
            for name, limit, step in zip(KEPT, MILESTONES, self.reached, strict=True)
            if step
        ]
        return (
            Exhibit(self.canvas.pixels(self.first), "The start"),
            Exhibit(self.canvas.pixels(strong), f"The difference from the mean color × {factor:.3g}"),
            *kept,
        )

    def _pass(self, picture: Tensor) -> None:
        found = self.ask(self.canvas.inputs(picture), self._raised)
        self.slope = self.canvas.per_gray_level(found.input)
        self.score = float(found.score[0])
        self.chance = math.exp(float(found.outputs[0].log_softmax(dim=0)[self.index]))
