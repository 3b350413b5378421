"""One run of class model visualization: an ascent that is pulled back to the mean color."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xaiwidgets.synthesis.ascent import Ascent
from xaiwidgets.synthesis.climb import direction
from xaiwidgets.synthesis.poses import Pose

if TYPE_CHECKING:
    from torch import Tensor

    from xaiwidgets.synthesis.reading import Reading


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
        if self.method.steps_by == "first":
            return self.picture + self.method.step_size * slope / self.first, self.motion
        return self.picture + self.method.step_size * direction(slope, "max", 0.0), self.motion

    def bounded(self, picture: Tensor) -> Tensor:
        """Return the picture as it is."""
        return picture

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
