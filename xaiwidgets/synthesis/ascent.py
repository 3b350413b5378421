"""One run of gradient ascent on a picture: its steps, and its guards."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

from xaiwidgets.synthesis import regularizers
from xaiwidgets.synthesis.canvas import Canvas
from xaiwidgets.synthesis.climb import climb, direction, follow, is_finite, rms
from xaiwidgets.synthesis.poses import draw_pose
from xaiwidgets.synthesis.reading import read
from xaiwidgets.synthesis.run import Run

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Goal
    from xaiwidgets.synthesis.poses import Pose
    from xaiwidgets.synthesis.reading import Reading

#: Standard deviation in gray levels of the noise against a zero gradient, at the first and the second time in a row.
NUDGES = (5.0, 20.0)


class Ascent(Run):
    """A run in progress.

    Attributes:
        picture: ``(1, C, H, W)`` in gray levels less the mean color. ``gradient``: of the score, of the same shape.
        motion: the running mean of directions, without a unit.
        nudges: how often, in a row, noise was added against a zero gradient. ``first``: rms of the first gradient.
    """

    ARRAYS: ClassVar[tuple[str, ...]] = ("picture", "gradient", "motion")
    VALUES: ClassVar[tuple[str, ...]] = ("first", "nudges")
    picture: Tensor
    gradient: Tensor
    motion: Tensor

    def __init__(self, method: Any, model: Model, target: Goal, photo: Tensor | None = None) -> None:
        super().__init__(method, model, target, photo)
        self.canvas = Canvas(model)
        self.nudges, self.first = 0, 0.0

    def begin(self) -> None:
        """Draw the start picture and pass it through the network."""
        self.start_from(self.method.start)

    def start_from(self, name: str) -> None:
        """Begin with one of the canvas' start pictures."""
        self.picture = self.canvas.start(name, self.photo, self.random)
        self.motion = self.picture.new_zeros(self.picture.shape)
        self.gradient, _, finite = self._pass(self.picture)
        if not finite:
            self.stop("the score or its gradient is not finite on the start picture; choose another start")

    def advance(self) -> None:
        """Do one step: move the picture along the last gradient, regularize it, and pass it through the network."""
        if self.gradient.any():
            self.nudges, self.first = 0, self.first or self.size_of(self.gradient)
            picture, motion = self.moved()
        elif self.nudges < len(NUDGES):
            picture, motion = self._nudge(), self.motion
        else:
            self.stop(
                "the gradient is exactly zero, so no pixel changes the score (the unit is off, or at its ceiling). "
                "Start from noise or a photo, or choose another unit"
            )
            return
        finite = is_finite(picture)
        if finite:
            picture = self.bounded(picture)
            gradient, reading, finite = self._pass(picture)
        if not finite:
            self.stop("the next picture, its score or its gradient is not finite. Lower the step size and start anew")
            return
        self.picture, self.gradient, self.motion = picture, gradient, motion
        self.log(reading.score, **reading.chance, **self.measured(reading))

    def moved(self) -> tuple[Tensor, Tensor]:
        """Return the picture after a step along the gradient, before it is bounded, and the running mean."""
        ascent = direction(self.gradient, self.method.normalization, self.first)
        motion = follow(self.motion, ascent, self.method.momentum)
        return climb(self.picture, self.gradient, motion, self.method, self.step + 1), motion

    def bounded(self, picture: Tensor) -> Tensor:
        """Return the picture moved to where pictures may be: colors that can be shown, or one distance from the mean.

        On the sphere (Erhan et al. 2009) all pictures are equally far from the mean color, whatever the step.
        """
        if self.method.constraint == "box":
            return self.canvas.clip(picture)
        if self.method.constraint == "none":
            return picture
        length = picture.norm()
        return picture * (self.method.radius * math.sqrt(picture.numel()) / length) if length else picture

    def size_of(self, gradient: Tensor) -> float:
        """Return the size of a gradient that later ones are divided by when steps are to shrink."""
        return rms(gradient)

    def measured(self, reading: Reading) -> dict[str, float]:
        """Return what is logged of a step beside score and probability."""
        return {}

    def pose(self) -> Pose:
        """Return how the network is shown the next picture."""
        method = self.method
        return draw_pose(self.random, method.jitter, method.rotation, method.zoom)

    def pixels(self) -> NDArray[np.float32]:
        """Return the picture as colors."""
        return self.canvas.pixels(self.picture)

    def terms(self) -> dict[str, float]:
        """Return the norm and the total variation of the picture."""
        return {
            "norm": float(self.picture.norm()),
            "total_variation": float(regularizers.total_variation(self.picture)),
        }

    def _nudge(self) -> Tensor:
        size = NUDGES[self.nudges]
        self.nudges += 1
        self.note(f"Step {self.step + 1}: the gradient was exactly zero, so noise of {size:g} gray levels was added.")
        return self.picture + size * self.canvas.noise(self.random, tuple(self.picture.shape))

    def _pass(self, picture: Tensor) -> tuple[Tensor, Reading, bool]:
        """Return the gradient by gray levels, what the network said, and whether all of it is finite."""
        pose = self.pose()
        found = self.ask(self.canvas.inputs(pose.show(picture)))
        gradient = pose.back(self.canvas.per_gray_level(found.input))
        finite = is_finite(gradient) and is_finite(found.score)
        return gradient, read(found, self.target, self.model), finite
