"""One run of class model visualization: an ascent that is pulled back to the mean color."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xaiwidgets.core.results import Exhibit
from xaiwidgets.model.targets import Target
from xaiwidgets.synthesis.ascent import Ascent
from xaiwidgets.synthesis.climb import direction
from xaiwidgets.synthesis.poses import Pose

if TYPE_CHECKING:
    from torch import Tensor

    from xaiwidgets.synthesis.reading import Reading

#: Share of the values that a stretched picture shows without cutting them off.
STRETCH = 0.995
#: Share of the steps, at the end, in which steps that settle become shorter.
SETTLING = 0.25


class ClassModel(Ascent):
    """A run in progress; see ``Ascent``."""

    def begin(self) -> None:
        """Start from the mean color."""
        self.start_from("mean")

    def moved(self) -> tuple[Tensor, Tensor]:
        """Return the picture after a step along the slope of score less penalty."""
        slope = self.gradient - 2 * self.method.l2 * self.picture
        if not slope.any():
            return self.picture, self.motion
        length = self.method.step_size * self.share(slope)
        return self.picture + length * direction(slope, "max", 0.0), self.motion

    def share(self, slope: Tensor) -> float:
        """Return how long the next step is, as a share of the step size."""
        if self.method.steps_by == "first":  # a slope may grow a thousandfold, and steps with it
            return min(1.0, self.size_of(slope) / self.first)
        if self.method.steps_by == "settling":
            return min(1.0, (1 - self.step / self.planned) / SETTLING)
        return 1.0

    def bounded(self, picture: Tensor) -> Tensor:
        """Return the picture as it is."""
        return picture

    def advance(self) -> None:
        """Do one step; at the end, say what the network makes of the picture as it is shown."""
        super().advance()
        if self.over and self.step and isinstance(self.target, Target) and self.target.classes:
            shown = self.canvas.inputs(self.canvas.clip(self.picture))
            chance = self.model.probabilities(shown)[0, list(self.target.classes)].sum()
            self.note(
                f"Clipped to colors that can be shown, the picture of step {self.step} has probability {chance:.3f}."
            )

    def beside(self) -> tuple[Exhibit, ...]:
        """Return the picture with its contrast stretched about gray."""
        size = self.picture.abs().flatten()
        limit = float(size.kthvalue(max(1, round(STRETCH * len(size)))).values)
        if not limit:
            return ()
        color = (0.5 + 0.5 * self.picture[0] / limit).clamp(0, 1).permute(1, 2, 0).expand(-1, -1, 3)
        words = f"difference from the mean color, contrast stretched: gray ± {limit:.3g} gray levels"
        return (Exhibit(color.float().cpu().numpy(), words),)

    def size_of(self, gradient: Tensor) -> float:
        """Return the largest value."""
        return float(gradient.abs().max())

    def measured(self, reading: Reading) -> dict[str, float]:
        """Return the penalty and what is maximized."""
        penalty = self.method.l2 * float(self.picture.square().sum())
        return {"penalty": penalty, "score less penalty": reading.score - penalty}

    def pose(self) -> Pose:
        """Return the picture as it is."""
        return Pose()
