"""What a synthesis run needs to go on from where it was: plain arrays and numbers, safe to pickle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from xaiwidgets.errors import InvalidKnob, InvalidTarget

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xaiwidgets.model.model import Model
    from xaiwidgets.model.passes import Gradients
    from xaiwidgets.model.targets import Target

#: A change of a live hyper-parameter: (first step made with it, name, old value, new value).
Event = tuple[int, str, Any, Any]


@dataclass(frozen=True)
class Reading:
    """What one pass said about a picture: the target's score, and its probability if it is a class."""

    score: float
    probability: float | None = None


@dataclass(frozen=True, eq=False)
class State:
    """A run after ``step`` steps.

    Attributes:
        picture: ``(1, C, H, W)`` in gray levels less the mean color. ``gradient``: of the score with respect to it.
        motion: the running mean of the directions of ascent.
        random: state of the run's private random numbers. ``curve``: the score after every step.
        target: what is made. ``reading``: of the last pass. ``first``: rms of the first gradient, 0 before it.
        nudges: how often, in a row, noise was added against a zero gradient.
        stopped: the run cannot go on. ``notes``, ``events``: as in ``Synthesis``.
        knobs: all hyper-parameters in force, by name.
    """

    picture: NDArray[Any]
    gradient: NDArray[Any]
    motion: NDArray[Any]
    random: NDArray[Any]
    curve: NDArray[Any]
    target: Target
    reading: Reading
    step: int
    first: float
    nudges: int
    stopped: bool
    notes: tuple[str, ...]
    events: tuple[Event, ...]
    knobs: dict[str, Any]


#: Fields of a ``State`` that a run keeps as tensors.
ARRAYS = ("picture", "gradient", "motion")
#: Fields of a ``State`` that a run keeps under the same name and as they are.
KEPT = ("target", "reading", "step", "first", "nudges", "stopped", "notes", "events")


def check_state(state: State, target: Target, shape: tuple[int, ...]) -> None:
    """Raise ``InvalidKnob`` or ``InvalidTarget`` unless a run on pictures of this shape can go on from ``state``."""
    if not isinstance(state, State):
        raise InvalidKnob(f"state must be the .state of an earlier result; got {type(state).__name__}.")
    if state.picture.shape != shape:
        raise InvalidKnob(f"state must hold pictures of shape {shape}; got {state.picture.shape}, of another network.")
    if target != state.target:
        raise InvalidTarget(
            f"target must be that of the saved run, {state.target.name!r}; got {target.name!r}. To go on from its "
            "picture with another target, start a new run with start='photo' and the picture as image=."
        )


def read(found: Gradients, target: Target, model: Model) -> Reading:
    """Return score and probability of the first picture of a pass.

    The probability is that of the target's classes; a unit of the layer that gives the class scores counts as a class.
    """
    score, outputs = float(found.score[0]), found.outputs[0]
    classes = list(target.classes)
    if target.layer and model.layer(target.layer).shape == (model.classes,):
        classes = [target.channel] if float(outputs[target.channel]) == score else []
    if not classes or target.minus is not None:
        return Reading(score)
    return Reading(score, float(outputs.softmax(dim=0)[classes].sum()))
