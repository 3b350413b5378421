"""What one pass says about a picture that is being made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from xaiwidgets.errors import InvalidTarget
from xaiwidgets.model.objective_algebra import Objective
from xaiwidgets.model.targets import Target

if TYPE_CHECKING:
    from xaiwidgets.model.model import Model
    from xaiwidgets.model.passes import Gradients
    from xaiwidgets.model.targets import Goal


@dataclass(frozen=True)
class Reading:
    """What one pass said about a picture: the target's score, and its probability if it is a class."""

    score: float
    probability: float | None = None

    @property
    def chance(self) -> dict[str, float]:
        """The probability under its name, if there is one: what a run logs beside the score."""
        return {} if self.probability is None else {"probability": self.probability}


def read(found: Gradients, target: Goal, model: Model) -> Reading:
    """Return score and probability of the first picture of a pass.

    The probability is that of the target's classes, of an objective that of all classes that it adds; a unit of the
    layer that gives the class scores counts as a class.
    """
    score = float(found.score[0])
    if not isinstance(target, (Target, Objective)) or not found.outputs.shape[1]:
        return Reading(score)
    outputs, classes = found.outputs[0], list(target.classes)
    if isinstance(target, Objective):
        return Reading(score, float(outputs.softmax(dim=0)[classes].sum()) if classes else None)
    if target.layer and model.layer(target.layer).shape == (model.classes,):
        classes = [target.channel] if float(outputs[target.channel]) == score else []
    if not classes or target.minus is not None:
        return Reading(score)
    return Reading(score, float(outputs.softmax(dim=0)[classes].sum()))


def one_class(target: Goal) -> int:
    """Return the class that a picture shall be taken for.

    Raises:
        InvalidTarget: it is not a single class.
    """
    if not isinstance(target, Target) or len(target.classes) != 1 or target.minus is not None or target.layer:
        raise InvalidTarget(
            f"target must be the one class that the picture shall be taken for; got {target.name!r}, which is not a "
            "single class."
        )
    return target.classes[0]
