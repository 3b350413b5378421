"""One run of the fast gradient sign method: a single step that is looked at with several sizes, or many steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xaiwidgets.core.results import Exhibit
from xaiwidgets.synthesis.deception import Deception

if TYPE_CHECKING:
    from torch import Tensor

    from xaiwidgets.synthesis.adversarial_fgsm import AdversarialFgsm
    from xaiwidgets.synthesis.run import Saved

#: Sizes of the change, in 255ths, at which the answer is asked for with the one gradient of the single step.
LOOKS = (1.0, 2.0, 4.0, 8.0)
#: Steps go this many times as far as it is to the edge of what is allowed, all together (Madry et al. 2018).
REACH = 2.5


class SignSteps(Deception):
    """A run in progress.

    Attributes:
        slope: of the objective by gray levels at the last picture, or ``None`` where no pass was needed.
        motion: running sum of slopes. ``pushed``: the ε that the picture of a single step was made with.
        looks: (ε, probability of the photo's class, rival, its probability) for each size looked at.
    """

    ARRAYS = (*Deception.ARRAYS, "slope", "motion")
    VALUES = (*Deception.VALUES, "pushed", "looks")
    method: AdversarialFgsm
    slope: Tensor | None
    motion: Tensor | None

    def begin(self) -> None:
        """Ask what the photo is taken for, and go to the random start if that is wanted."""
        super().begin()
        self.slope = self.motion = None
        self.pushed = 0.0
        self.looks: tuple[tuple[float, float, int, float], ...] = (self._look(0.0, self.before),)
        if self.method.random_start and not self.single:
            import torch

            drawn = torch.rand(self.levels.shape, generator=self.random).to(self.levels.like)
            self.picture = (self.original + self.method.epsilon * (2 * drawn - 1)).clamp(0, 255)

    @property
    def single(self) -> bool:
        """Whether there is one step only."""
        return self.method.iterations == 1

    @property
    def planned(self) -> int:
        """How many steps there are to be: a look at a size counts as one."""
        return 1 + len(LOOKS) if self.single else self.method.iterations

    def advance(self) -> None:
        """Do one step, or look at the single step with another size."""
        if self.slope is None:
            self.slope = self._uphill(self.loss(self.picture).input)
        if not self.slope.any() or not self.slope.isfinite().all():
            self.stop(
                "the gradient of the loss is exactly zero or not finite, so no pixel is known to change the answer. "
                "Choose another photo or target"
            )
        elif self.single:
            self._push()
            if self.step:
                size = LOOKS[self.step - 1]
                scores = self.after if size == self.pushed else self._answer(self._pushed(size))
                self.looks += (self._look(size, scores),)
            self.tell()
        else:
            self._move()
            self.tell()

    def restore(self, saved: Saved) -> None:
        """Go on as it was; a single step whose ε was moved is made anew from the gradient that was kept."""
        super().restore(saved)
        if self.single and self.slope is not None and not self.stopped:
            self._push()

    def terms(self) -> dict[str, float]:
        """Return, beside what is known of the picture, what the network says at each size looked at."""
        found = super().terms()
        if self.single and self.step:
            chances = self.after.softmax(dim=0)
            change = self.picture - self.original
            found |= {  # as it is now: ε may have been moved after the last step
                "objective": self.gain(self.after),
                "probability": float(chances[self.rival(self.after)]),
                "probability_first": float(chances[self.first]),
                "l_inf": float(change.abs().max()),
                "rms": float(change.square().mean().sqrt()),
            }
            found |= {f"probability_first at {size:g}/255": chance for size, chance, _, _ in self.looks}
        return found

    def beside(self) -> tuple[Exhibit, ...]:
        """Return the photo, the change, and the photo changed by each size looked at."""
        return (*super().beside(), *(self._shown(*look) for look in self.looks[1:]))

    def _shown(self, size: float, first: float, rival: int, chance: float) -> Exhibit:
        short = self.model.labels.short
        return Exhibit(
            self.levels.pixels(self._pushed(size)),
            f"ε = {size:g}/255: {short(self.first)} {100 * first:.1f} %, {short(rival)} {100 * chance:.1f} %",
        )

    def _uphill(self, gradient: Tensor) -> Tensor:
        """Return the direction in which the objective rises, from the gradient of a log probability."""
        slope = self.levels.per_level(gradient)
        return -slope if self.wanted is None else slope

    def _pushed(self, size: float) -> Tensor:
        assert self.slope is not None
        return (self.original + size * self.slope.sign()).clamp(0, 255)

    def _push(self) -> None:
        """Make the picture of a single step, unless it is the one that is there."""
        if self.pushed != self.method.epsilon or not self.step:
            self.pushed = self.method.epsilon
            self.judge(self._pushed(self.pushed))

    def _answer(self, picture: Tensor) -> Tensor:
        return self.scores_of(picture)

    def _look(self, size: float, scores: Tensor) -> tuple[float, float, int, float]:
        chances, rival = scores.softmax(dim=0), self.rival(scores)
        return size, float(chances[self.first]), rival, float(chances[rival])

    def _move(self) -> None:
        """Do one of several steps, and find the slope for the next one in the pass that judges this one."""
        method, slope = self.method, self.slope
        assert slope is not None
        if method.momentum:
            slope = slope / slope.abs().max()  # by the largest value first: tiny slopes would vanish in the mean
            slope = slope / slope.abs().mean()
            slope = slope if self.motion is None else method.momentum * self.motion + slope
        self.motion = slope if method.momentum else None
        size = method.step_size or REACH * method.epsilon / method.iterations
        moved = self.picture + size * slope.sign()
        moved = moved.clamp(self.original - method.epsilon, self.original + method.epsilon).clamp(0, 255)
        if self.step + 1 < self.planned:
            found = self.loss(moved)
            self.slope = self._uphill(found.input)
            self.judge(moved, found.outputs[0])
        else:
            self.slope = None
            self.judge(moved)
