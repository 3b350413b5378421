"""What is seen of a mask while it is learned: its curves, what was moved meanwhile, and how far it has come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from xaiwidgets.core.results import Attribution
from xaiwidgets.explainers.live import Live
from xaiwidgets.explainers.onepass import size_of

if TYPE_CHECKING:
    from torch import Tensor

    from xaiwidgets.model.targets import Target

#: What is drawn of a run, one number a step.
CURVES = ("score", "area", "objective")
#: A fall that is less than this share of the score counts as this: it is hardly one.
LEAST_FALL = 0.01


def ends(hides: bool, covering: str) -> tuple[str, str]:
    """Return what a mask's 0 and 1 mean in words: where it hides, or, in the other game, keeps."""
    seen, hidden = "seen as it is", f"hidden by {covering}"
    return (seen, hidden) if hides else (hidden, seen)


def fall(whole: float, hidden: float) -> float:
    """Return how far a score falls when all is hidden, as a positive number that it may be divided by."""
    return max(abs(whole - hidden), LEAST_FALL * abs(whole)) or 1.0


class Watch(Live):
    """A run in progress.

    Args:
        method: its hyper-parameters at the start.
        image: input ``(1, C, H, W)``.
        target: what is scored.
        whole: the score of the photo. ``hidden``: that of the photo all hidden.
        before: passes, of the units of work, that come before the first step.
        masks: how many are learned side by side; each step and the end take a pass for each.
        covering: what hides, in words.
    """

    def __init__(
        self,
        method: Any,
        image: Tensor,
        target: Target,
        whole: float,
        hidden: float,
        before: int = 0,
        masks: int = 1,
        covering: str = "blur",
    ) -> None:
        super().__init__(method)
        self.covering = covering
        self.size, self.target, self.whole, self.hidden = size_of(image), target, whole, hidden
        self.before, self.masks = before, masks
        self.curves: dict[str, list[float]] = {name: [] for name in CURVES}
        self._noted: dict[str, list[float]] = {name: [] for name in CURVES}

    @property
    def step(self) -> int:
        """How many steps were done with all masks."""
        return len(self.curves["score"])

    def add(self, **values: float) -> None:
        """Write down a number for each curve, of one mask; when all masks have theirs, that was a step."""
        for name in CURVES:
            self._noted[name].append(values[name])
        if len(self._noted["score"]) == self.masks:
            for name, noted in self._noted.items():
                self.curves[name].append(sum(noted) / self.masks)
                noted.clear()

    def take(self, sent: Any) -> None:
        """Adopt what was sent from the next step on; after the last one nothing can act any more.

        A step that is under way, with some of the masks done, ends as it began.
        """
        following = self.step + (2 if self._noted["score"] else 1)
        if following <= self.method.iterations:
            self.adopt(sent, following)

    @property
    def all(self) -> int:
        """Units of work of the whole run."""
        return int(self.before + (self.method.iterations + 1) * self.masks)

    def result(self, values: Tensor, done: int, notes: tuple[str, ...] = (), **details: Any) -> Attribution:
        """Return what is known after ``done`` units of work; the map ``values`` is ``(H, W)``."""
        return Attribution(
            values=values.detach().float().cpu().contiguous().numpy()[None],
            unit=self.unit,
            signed=False,
            size=self.size,
            progress=done / self.all,
            score=self.whole,
            notes=(*notes, *self.told),
            details={
                "step": self.step,
                "planned": self.method.iterations,
                "curves": {name: np.array(self.curves[name], np.float32) for name in CURVES},
                "curve_words": {"score": self.target.unit, "area": f"share {self.way}"},
                "ends": ends(self.method.game == "deletion", self.covering),
                "hidden_score": self.hidden,
                "events": self.events,
                **details,
            },
        )

    @property
    def unit(self) -> str:
        """What the map is measured in."""
        return f"share {self.way} to {'lower' if self.way == 'hidden' else 'hold'} the {self.target.unit}"

    @property
    def way(self) -> str:
        """What is done with the region, in one word."""
        return "hidden" if self.method.game == "deletion" else "kept"

    @property
    def told(self) -> tuple[str, ...]:
        """What was moved while it ran, in words, or nothing."""
        if not self.events:
            return ()
        moved = ", ".join(
            f"{name} {_short(old)} → {_short(new)} at step {step}" for step, name, old, new in self.events
        )
        return (f"Moved while it ran, so the settings alone do not give this map: {moved}.",)

    def ending(self, area: float, score: float) -> str:
        """Return what the finished mask does, in words."""
        fell = f"the {self.target.unit} goes from {self.whole:.3g} to {score:.3g}"
        return f"With {area:.0%} of the photo {self.way}, {fell}."


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
