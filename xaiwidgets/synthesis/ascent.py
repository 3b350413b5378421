"""One run of gradient ascent on a picture: its steps, its guards, and going on from a saved state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from xaiwidgets.core.knobs import knobs_of
from xaiwidgets.core.results import Synthesis
from xaiwidgets.errors import InvalidKnob
from xaiwidgets.synthesis import regularizers
from xaiwidgets.synthesis.canvas import Canvas
from xaiwidgets.synthesis.climb import climb, direction, follow, rms
from xaiwidgets.synthesis.state import ARRAYS, KEPT, Event, Reading, State, check_state, read

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Target
    from xaiwidgets.synthesis.activation_maximization import ActivationMaximization

#: Standard deviation in gray levels of the noise against a zero gradient, at the first and the second time in a row.
NUDGES = (5.0, 20.0)


class Ascent:
    """A run in progress; private to the generator that drives it. Tensors are replaced, never changed in place.

    Attributes:
        method: the hyper-parameters in force. ``step``: how many steps were done.
        picture: ``(1, C, H, W)`` in gray levels less the mean color. ``gradient``: of the score, of the same shape.
        motion: the running mean of directions, without a unit.
        reading: what the last pass said about ``picture``. ``first``: the rms of the first gradient, or 0.
    """

    picture: Tensor
    gradient: Tensor
    motion: Tensor
    reading: Reading

    def __init__(self, method: ActivationMaximization, model: Model, target: Target) -> None:
        import numpy as np
        import torch

        self.method, self.model, self.target = method, model, target
        self.canvas = Canvas(model)
        self.random = torch.Generator().manual_seed(method.seed)
        self.curve = np.zeros(method.iterations, np.float32)
        self.step, self.nudges, self.first, self.stopped = 0, 0, 0.0, False
        self.notes: tuple[str, ...] = ()
        self.events: tuple[Event, ...] = ()

    @classmethod
    def begin(cls, method: ActivationMaximization, model: Model, target: Target, photo: Tensor | None) -> Ascent:
        """Return a run before its first step."""
        run = cls(method, model, target)
        run.picture = run.canvas.start(method.start, photo, run.random)
        run.motion = run.picture.new_zeros(run.picture.shape)
        run.gradient, run.reading, finite = run._pass(run.picture)
        if not finite:
            run._stop("the score or its gradient is not finite on the start picture; choose another start")
        return run

    @classmethod
    def go_on(cls, method: ActivationMaximization, model: Model, target: Target, state: State) -> Ascent:
        """Return the run as it was; live hyper-parameters may differ, and ``iterations`` too.

        Raises:
            InvalidTarget: the state belongs to another target.
            InvalidKnob: it is none, or of another network, or a fixed hyper-parameter differs.
        """
        import numpy as np
        import torch

        run = cls(method, model, target)
        check_state(state, target, run.canvas.shape)
        for name in ARRAYS:
            setattr(run, name, run.canvas.tensor(getattr(state, name)))
        run.random.set_state(torch.from_numpy(state.random.copy()))
        for name in KEPT:
            setattr(run, name, getattr(state, name))
        run.curve = np.concatenate([state.curve, run.curve[state.step :]])
        run._log_changes(state.knobs, free=("iterations",))
        return run

    @property
    def over(self) -> bool:
        """Whether there is nothing left to do."""
        return self.stopped or self.step >= self.method.iterations

    def adopt(self, method: Any) -> None:
        """Use these live hyper-parameters from the next step on, and log what changed.

        Raises:
            InvalidKnob: not a method of this kind, or a hyper-parameter differs that only a new run can change.
        """
        if type(method) is not type(self.method):
            raise InvalidKnob(
                f"what is sent to a running synthesis must be a {type(self.method).__name__}; got {method!r}."
            )
        old, self.method = self.method, method
        self._log_changes({k.name: getattr(old, k.name) for k in knobs_of(old)})

    def advance(self) -> None:
        """Do one step: move the picture along the last gradient, regularize it, and pass it through the network."""
        if self.gradient.any():
            self.nudges, self.first = 0, self.first or rms(self.gradient)
            ascent = direction(self.gradient, self.method.normalization, self.first)
            motion = follow(self.motion, ascent, self.method.momentum)
            picture = climb(self.picture, self.gradient, motion, self.method, self.step + 1)
        elif self.nudges < len(NUDGES):
            picture, motion = self._nudge(), self.motion
        else:
            self._stop(
                "the gradient is exactly zero, so no pixel changes the score (the unit is off, or at its ceiling). "
                "Start from noise or a photo, or choose another unit"
            )
            return
        finite = bool(picture.isfinite().all())
        if finite:
            picture = self.canvas.clip(picture)
            gradient, reading, finite = self._pass(picture)
        if not finite:
            self._stop("the next picture, its score or its gradient is not finite. Lower the step size and start anew")
            return
        self.picture, self.gradient, self.motion, self.reading = picture, gradient, motion, reading
        self.curve[self.step] = reading.score
        self.step += 1

    def result(self) -> Synthesis:
        """Return the picture and all that is known of it; nothing in it changes when the run goes on."""
        curve = self.curve[: self.step]
        curve.flags.writeable = False
        terms = {"objective": self.reading.score}
        if self.reading.probability is not None:
            terms["probability"] = self.reading.probability
        terms["norm"] = float(self.picture.norm())
        terms["total_variation"] = float(regularizers.total_variation(self.picture))
        return Synthesis(
            image=self.canvas.pixels(self.picture),
            score=self.reading.score,
            unit=self.target.unit,
            curve=curve,
            step=self.step,
            progress=1.0 if self.over else self.step / self.method.iterations,
            terms=terms,
            events=self.events,
            notes=self.notes,
            state=self._state(curve),
        )

    def _state(self, curve: NDArray[np.float32]) -> State:
        kept: dict[str, Any] = {name: self.canvas.array(getattr(self, name)) for name in ARRAYS}
        kept |= {name: getattr(self, name) for name in KEPT}
        knobs = {k.name: getattr(self.method, k.name) for k in knobs_of(self.method)}
        return State(**kept, random=self.random.get_state().numpy(), curve=curve, knobs=knobs)

    def _nudge(self) -> Tensor:
        size = NUDGES[self.nudges]
        self.nudges += 1
        self.notes += (
            f"Step {self.step + 1}: the gradient was exactly zero, so noise of {size:g} gray levels was added.",
        )
        return self.picture + size * self.canvas.noise(self.random)

    def _pass(self, picture: Tensor) -> tuple[Tensor, Reading, bool]:
        """Return the gradient by gray levels, what the network said, and whether all of it is finite."""
        shift = regularizers.draw_shift(self.random, self.method.jitter)
        found = self.model.gradient(self.canvas.inputs(regularizers.jitter(picture, shift)), self.target)
        if found.input is None:
            raise RuntimeError("Model.gradient must return the gradient by the input")
        gradient = regularizers.jitter(self.canvas.per_gray_level(found.input), (-shift[0], -shift[1]))
        finite = bool(gradient.isfinite().all() and found.score.isfinite().all())
        return gradient, read(found, self.target, self.model), finite

    def _stop(self, why: str) -> None:
        self.stopped = True
        self.notes += (f"Stopped after {self.step} steps: {why}.",)

    def _log_changes(self, old: dict[str, Any], free: tuple[str, ...] = ()) -> None:
        for spec in knobs_of(self.method):
            before, now = old[spec.name], getattr(self.method, spec.name)
            if before == now or spec.name in free:
                continue
            if not spec.live:
                raise InvalidKnob(
                    f"{spec.name} must stay {before!r} while a run goes on; got {now!r}. Start a new run to change it."
                )
            self.events += ((self.step + 1, spec.name, before, now),)
