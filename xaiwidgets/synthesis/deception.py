"""What runs share that change a photo until a network takes it for something else: two classes, and the evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from xaiwidgets.core.results import Exhibit
from xaiwidgets.errors import InvalidImage, InvalidTarget, NotApplicable
from xaiwidgets.model.targets import NOTHING, Target
from xaiwidgets.synthesis.graylevels import GrayLevels
from xaiwidgets.synthesis.run import Run

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from xaiwidgets.core.results import Synthesis
    from xaiwidgets.model.model import Model
    from xaiwidgets.model.passes import Gradients
    from xaiwidgets.model.targets import Goal

#: How much larger than it is the change is shown.
AMPLIFIED = 10


class Deception(Run):
    """A photo that shall be taken for another class.

    The target is the class that it shall be taken for. Without one, or with the class that it is taken for already, any
    other class will do.

    Attributes:
        original, picture: ``(1, C, H, W)`` in gray levels of 0 to 255, before and after.
        before, after: class scores ``(K,)`` of the two. ``rounded``: those of the picture as a file of 8 bits keeps it.
        first: the class that the photo is taken for. ``wanted``: the one that it shall be taken for, or ``None``.
    """

    ARRAYS: ClassVar[tuple[str, ...]] = ("original", "picture", "before", "after", "rounded")
    VALUES: ClassVar[tuple[str, ...]] = ("first", "wanted")
    original: Tensor
    picture: Tensor
    before: Tensor
    after: Tensor
    rounded: Tensor
    first: int
    wanted: int | None

    def __init__(self, method: Any, model: Model, target: Goal, photo: Tensor | None = None) -> None:
        super().__init__(method, model, target, photo)
        _check_class(target)
        if model.classes < 2:
            raise NotApplicable(type(method).card.id, "at least two classes", f"{model.name} has {model.classes}")
        self.levels = GrayLevels(model)

    def begin(self) -> None:
        """Ask the network what it takes the photo for."""
        if self.photo is None:
            raise InvalidImage(f"image must be given for {type(self.method).card.id}: there is no photo to change.")
        self.original = self.picture = self.levels.of(self.photo)
        self.before = self.after = self.rounded = self.scores_of(self.original)
        self.first = int(self.before.argmax())
        named = None if self.target == NOTHING else self.target.classes[0]  # type: ignore[attr-defined]
        self.wanted = None if named == self.first else named

    @property
    def unit(self) -> str:
        """What the objective is measured in."""
        return "nats"

    def taken(self, scores: Tensor) -> bool:
        """Return whether these class scores are what is wanted."""
        top = int(scores.argmax())
        return top != self.first if self.wanted is None else top == self.wanted

    def rival(self, scores: Tensor) -> int:
        """Return the class that is wanted, or the strongest of those that will do."""
        if self.wanted is not None:
            return self.wanted
        one, other = scores.topk(2).indices.tolist()
        return int(other if one == self.first else one)

    def loss(self, picture: Tensor) -> Gradients:
        """Return log probability and its gradient by gray levels, of the class to be taken for or to get away from."""
        index = self.first if self.wanted is None else self.wanted
        return self.ask(self.levels.inputs(picture), Target((index,), output="log_probability"))

    def scores_of(self, picture: Tensor) -> Tensor:
        """Return the class scores ``(K,)`` of a picture."""
        return self.model.logits(self.levels.inputs(picture))[0].to(self.levels.like)

    def gain(self, scores: Tensor) -> float:
        """Return how far it has come: the log probability of the class wanted, or less that of the class it had."""
        logs = scores.log_softmax(dim=0)
        return float(-logs[self.first] if self.wanted is None else logs[self.wanted])

    def judge(self, picture: Tensor, scores: Tensor | None = None) -> None:
        """Make this the picture; the network is asked about it, and, if it matters, about its rounded values."""
        self.picture = picture
        self.after = self.scores_of(picture) if scores is None else scores.to(self.levels.like)
        self.rounded = self.after
        whole = picture.round()
        if self.taken(self.after) and not whole.equal(picture):
            self.rounded = self.scores_of(whole)

    def tell(self, objective: float | None = None, **more: float) -> None:
        """Log the gain or another objective, the probability of both classes, and the size of the change in levels."""
        chances = self.after.softmax(dim=0)
        change = self.picture - self.original
        self.log(
            self.gain(self.after) if objective is None else objective,
            probability=float(chances[self.rival(self.after)]),
            probability_first=float(chances[self.first]),
            l_inf=float(change.abs().max()),
            rms=float(change.square().mean().sqrt()),
            **more,
        )

    def pixels(self) -> NDArray[np.float32]:
        """Return the changed photo as colors."""
        return self.levels.pixels(self.picture)

    def terms(self) -> dict[str, float]:
        """Return whether the network is deceived, and whether it still is by the picture in 8 bits."""
        return {"deceived": float(self.taken(self.after)), "deceived_8_bit": float(self.taken(self.rounded))}

    def beside(self) -> tuple[Exhibit, ...]:
        """Return the photo and the amplified change, each with what the network says."""
        change = self.picture - self.original
        size = f"at most {float(change.abs().max()):.3g}/255, RMS {float(change.square().mean().sqrt()):.3g} levels"
        shown = self.levels.pixels(127.5 + AMPLIFIED * change)
        return (
            Exhibit(self.levels.pixels(self.original), f"The photo: {self.said(self.before)}"),
            Exhibit(shown, f"The change × {AMPLIFIED} around gray ({size}); with it: {self.said(self.after)}"),
        )

    def said(self, scores: Tensor) -> str:
        """Return in words what the network says: the probability of the class it had, and of the one it may become."""
        chances = scores.softmax(dim=0)
        both = sorted({self.first, self.rival(scores), int(scores.argmax())}, key=lambda k: -float(chances[k]))
        return ", ".join(f"{self.model.labels.short(k)} {_percent(float(chances[k]))}" for k in both)

    def result(self) -> Synthesis:
        """Return the picture and all that is known of it, with the verdict as its last note."""
        found = super().result()
        return found.replace(notes=(*found.notes, self.verdict()))

    def verdict(self) -> str:
        """Return in a sentence whether the network is deceived."""
        short, top = self.model.labels.short, int(self.after.argmax())
        if not self.taken(self.after):
            aim = "" if self.wanted is None else f", not for {short(self.wanted)}"
            return f"Not deceived: the network takes it for {short(top)}{aim}."
        if not self.taken(self.rounded):
            rounded = short(int(self.rounded.argmax()))
            return f"Rounding to 8 bits undoes it: as a file, the picture is taken for {rounded}, not {short(top)}."
        return f"Deceived: the network takes {short(self.first)} for {short(top)}, also when rounded to 8 bits."


def _percent(chance: float) -> str:
    return f"{100 * chance:.1f} %" if chance >= 1e-3 or not chance else f"{100 * chance:.1g} %"


def _check_class(target: Goal) -> None:
    if target == NOTHING:
        return
    one = isinstance(target, Target) and len(target.classes) == 1 and target.minus is None and not target.layer
    if not one:
        raise InvalidTarget(
            f"target must be the class that the photo shall be taken for, or none; got {target.name!r}, which is not "
            "a single class."
        )
