"""One run of activation maximization through a generator: the code, its bounds, and its steps."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from xaiwidgets.core.results import Exhibit
from xaiwidgets.errors import InvalidKnob
from xaiwidgets.learned.decoded import Decoded
from xaiwidgets.learned.decoders import as_inputs
from xaiwidgets.learned.store import get
from xaiwidgets.model.model import Model
from xaiwidgets.model.targets import Target
from xaiwidgets.synthesis.reading import Reading, read

if TYPE_CHECKING:
    from torch import Tensor

    from xaiwidgets.synthesis.run import Saved


class Generating(Decoded):
    """A run in progress.

    Attributes:
        code: ``(1, D)``, within its bounds. ``slope``: of the score by the code, divided by its mean absolute value.
        second: the network that is also asked, if any.
    """

    ARRAYS = (*Decoded.ARRAYS, "code", "slope")
    GENERATOR, KNOB = True, "generator"

    code: Tensor
    slope: Tensor
    second: Model | None = None

    def begin(self) -> None:
        """Start from a code, and find which way its score rises."""
        import torch

        super().begin()
        self._find_second()
        mean, sd = self.decoder.code_mean[None], self.decoder.code_sd[None]
        if self.method.start == "zero":
            code = torch.zeros_like(mean)
        elif self.method.start == "mean":
            code = mean.clone()
        else:
            code = mean + sd * torch.randn(mean.shape, generator=self.random).to(mean)
        self.code = self._bounded(code)
        self._look()

    def restore(self, saved: Saved) -> None:
        """Go on as it was."""
        super().restore(saved)
        self._find_second()

    def advance(self) -> None:
        """Move the code, let it decay, keep it within its bounds, and look at the picture made of it."""
        if not self.slope.any():
            self.stop("the score does not change with the code; another start, seed or unit may help")
            return
        left = 1 - self.step / self.planned
        length = self.method.rate * left * float(self.decoder.code_sd.mean())
        self.code = self._bounded((1 - self.method.decay) * (self.code + length * self.slope))
        reading = self._look()
        second = {} if self.second is None else {"probability by the second network": self._second(self.second)}
        self.log(reading.score, **reading.chance, **second)

    def terms(self) -> dict[str, float]:
        """Return the length of the code."""
        return {"length of the code": float(self.code.norm())}

    def beside(self) -> tuple[Exhibit, ...]:
        """Return the code as gray levels."""
        top = self._top().clamp_min(1e-12)
        share = (self.code / top)[0].clamp(0, 1).cpu().numpy()
        columns = math.ceil(math.sqrt(len(share)))
        grid = np.zeros(columns * math.ceil(len(share) / columns), np.float32)
        grid[: len(share)] = share
        picture = np.repeat(grid.reshape(-1, columns, 1), 3, axis=2)
        zeros, full = int((share <= 0).sum()), int((share >= 1).sum())
        words = f"the code of {len(share)} numbers, from 0 to their bounds: {zeros} at 0, {full} at the bound"
        return (Exhibit(picture, words),)

    def _top(self) -> Tensor:
        top: Tensor = self.decoder.code_mean[None] + self.method.clip * self.decoder.code_sd[None]
        return top

    def _bounded(self, code: Tensor) -> Tensor:
        import torch

        return torch.minimum(code.clamp_min(0), self._top())

    def _look(self) -> Reading:
        """Make the picture, and return its score; ``slope`` is by the code from now on."""
        import torch

        with torch.inference_mode(False), torch.enable_grad():
            code = self.code.clone().requires_grad_(True)
            made = self.decoder.network(code)
            clipped = made.detach().clamp(0, 1)
            found = self.ask(as_inputs(self.model, clipped).to(self.model.like))
            by_input = _evened(found.input)
            # the gradient by the picture is known; this has the same one by the code
            inputs = as_inputs(self.model, made)
            (slope,) = torch.autograd.grad((inputs * by_input.to(inputs)).sum(), code)
        self.made, self.slope = clipped, _evened(slope)
        return read(found, self.target, self.model)

    def _find_second(self) -> None:
        named = self.method.judge
        if not named:
            return
        second = get(named)
        classes = self.target.classes if isinstance(self.target, Target) else ()
        if not isinstance(second, Model) or second.classes != self.model.classes or not classes:
            raise InvalidKnob(
                f"judge must name a Model with the same {self.model.classes} classes, and the target must be a class; "
                f"got {named!r} for {self.target.name!r}."
            )
        self.second = second

    def _second(self, second: Model) -> float:
        classes = list(self.target.classes) if isinstance(self.target, Target) else []
        found = second.probabilities(as_inputs(second, self.made).to(second.like))
        return float(found[0, classes].sum())


def _evened(gradient: Tensor) -> Tensor:
    """Return a gradient divided by its mean absolute value; zero stays zero."""
    size = gradient.abs().mean()
    return gradient / size if float(size) > 0 else gradient
