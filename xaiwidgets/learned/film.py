"""One run of a film of a training: the same synthesis at every checkpoint, side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from xaiwidgets.core.cards import card
from xaiwidgets.core.results import Exhibit
from xaiwidgets.errors import InvalidKnob
from xaiwidgets.learned.checkpoints import find_checkpoints
from xaiwidgets.synthesis.run import Run

if TYPE_CHECKING:
    from collections.abc import Generator

    from numpy.typing import NDArray

    from xaiwidgets.core.results import Synthesis
    from xaiwidgets.learned.checkpoints import Checkpoints
    from xaiwidgets.model.model import Model
    from xaiwidgets.synthesis.run import Saved

#: Side in pixels from which on the settings of activation maximization fit. Narrower blurs than this only dim.
FITTING, NARROW = 64, 0.3


class Film(Run):
    """A run in progress; a step is one step at each checkpoint.

    Attributes:
        weights: what tells the checkpoints from others. ``saved``: state of the run at each checkpoint.
        shots: what each yielded last.
    """

    VALUES = ("weights", "saved")

    weights = ""
    saved: tuple[Any, ...] = ()
    points: Checkpoints
    shots: list[Synthesis]
    steps: list[Generator[Synthesis, Any, None]]

    def begin(self) -> None:
        """Start at every checkpoint from the same noise: what differs comes from the training."""
        self._find()
        self.weights = self.points.digest()
        self.saved = (None,) * len(self.points.points)
        self._open()

    def restore(self, saved: Saved) -> None:
        """Go on as it was, with the same checkpoints."""
        super().restore(saved)
        self._find()
        if self.points.digest() != self.weights:
            raise InvalidKnob("checkpoints must name those that the run began with; others are kept by now.")
        self._open()
        if self.over:
            self.shots = [next(steps) for steps in self.steps]

    def advance(self) -> None:
        """Do one step at each checkpoint; one whose run has ended stays as it is."""
        for number, steps in enumerate(self.steps):
            self.shots[number] = next(steps, self.shots[number])
        self.saved = tuple(shot.state for shot in self.shots)
        pairs = zip(self.points.points, self.shots, strict=True)
        self.log(self.shots[-1].score, **{point.label: shot.score for point, shot in pairs})

    def pixels(self) -> NDArray[np.float32]:
        """Return the picture of the last checkpoint."""
        return np.asarray(self.shots[-1].image)

    def beside(self) -> tuple[Exhibit, ...]:
        """Return the film: a picture for each checkpoint, in the order of training."""
        shown = []
        for point, shot in zip(self.points.points, self.shots, strict=True):
            chance = shot.terms.get("probability")
            words = f"score {shot.score:.3g}" if chance is None else f"probability {chance:.2f}"
            shown.append(Exhibit(shot.image, f"{point.caption}: {words}"))
        return tuple(shown)

    def _find(self) -> None:
        self.points = find_checkpoints(self.model, self.method.checkpoints)

    def _method(self) -> Any:
        """Return the method with its own settings; those in pixels shrink where pictures are smaller than they fit."""
        made = card(self.method.technique)
        defaults = {k.name: k.default for k in made.knobs}
        wanted = {"iterations": self.method.iterations, "seed": self.method.seed}
        side = min(self.model.input_shape[1:])
        if side < FITTING and "jitter" in defaults:
            blur = defaults["blur_width"] * side / FITTING
            wanted |= {"jitter": defaults["jitter"] * side // FITTING, "blur_width": blur if blur >= NARROW else 0.0}
        return made.make(**{name: value for name, value in wanted.items() if name in defaults})

    def _open(self) -> None:
        """Open the runs, at the start or where they were."""
        method = self._method()
        self.shots, self.steps = [], []
        for point, state in zip(self.points.points, self.saved, strict=True):
            going = method if state is None else method.resume(state)
            self.steps.append(going.steps(point.model, None, self.target))
            self.shots.append(_shown(point.model, state))


def _shown(model: Model, state: Any) -> Synthesis:
    """Return what stands for a run before its first step: nothing is known, and mid-gray is shown."""
    from xaiwidgets.core.results import Synthesis

    size = model.input_shape[1:]
    return Synthesis(np.full((*size, 3), 0.5, np.float32), float("nan"), "", np.zeros(0, np.float32), 0, state=state)
