"""One run of regularized optimization: the order of its operators, its learning rates, and what it keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from xaiwidgets.core.results import Exhibit
from xaiwidgets.model.targets import Target
from xaiwidgets.synthesis import regularizers
from xaiwidgets.synthesis.ascent import Ascent
from xaiwidgets.synthesis.poses import Pose

if TYPE_CHECKING:
    from torch import Tensor

    from xaiwidgets.model.passes import Gradients
    from xaiwidgets.synthesis.reading import Reading

#: Blurs narrower than this leave a pixel's neighbors out and only dim it.
NARROW = 0.3


class Regularized(Ascent):
    """A run in progress; see ``Ascent``.

    Attributes:
        best: the picture of the highest score so far. ``majority``: the first that was answered with the class, or for
            which a hidden unit was the highest of its layer.
    """

    ARRAYS = (*Ascent.ARRAYS, "best", "majority")
    VALUES = (*Ascent.VALUES, "best_score", "best_step", "majority_step")

    best: Tensor | None = None
    majority: Tensor | None = None
    best_score = float("-inf")
    best_step = majority_step = 0

    def begin(self) -> None:
        """Start from noise on the mean color."""
        self.start_from("noise")

    def advance(self) -> None:
        """Do one step, and keep the picture if it is the best or the first of its class."""
        if 0 < self.method.blur_width < NARROW:
            self.note(
                f"A blur of {self.method.blur_width:g} pixels only dims the picture: take 0, or {NARROW} and more."
            )
        before = self.step
        super().advance()
        if self.step == before:
            return
        score = self._curves["objective"][-1]
        if score > self.best_score:
            self.best, self.best_score, self.best_step = self.picture, score, self.step
        if self.majority is None and self._won:
            self.majority, self.majority_step = self.picture, self.step

    def moved(self) -> tuple[Tensor, Tensor]:
        """Return the picture after ascent, decay, blur, small norm and small contribution, in this order."""
        method = self.method
        picture = regularizers.decay(self.picture + self.eta() * self.gradient, method.decay)
        if self.step % method.blur_every == 0:  # the first step too, as in the paper's code
            picture = regularizers.blur_mirrored(picture, method.blur_width)
        picture = regularizers.clip_norm(picture, method.clip_norm)
        return regularizers.clip_contribution(picture, self.gradient, method.clip_contribution), self.motion

    def eta(self) -> float:
        """Return the learning rate of the next step."""
        method = self.method
        if method.rate == "first":
            return float(method.step_size / self.first)
        if method.rate == "constant":
            return float(method.eta)
        length = float(self.gradient.double().square().sum())
        return float(min(method.eta, method.progress / length)) if length else 0.0

    def bounded(self, picture: Tensor) -> Tensor:
        """Return the picture with colors that can be shown: the next step begins with it."""
        return self.canvas.clip(picture)

    def pose(self) -> Pose:
        """Return the picture as it is."""
        return Pose()

    def measured(self, reading: Reading) -> dict[str, float]:
        """Return the length of the gradient, which the learning rate may follow."""
        return {"gradient": float(self.gradient.norm())}

    def ask(self, images: Tensor, target: Any = None, **options: Any) -> Gradients:
        """Return score and gradient, and see whether the class has the highest score, or the unit in its layer."""
        goal = self.target
        if not isinstance(goal, Target) or self.majority is not None:
            self._won = False
            return super().ask(images, target, **options)
        if not goal.layer:
            found = super().ask(images, target, **options)
            self._won = int(found.outputs[0].argmax()) in goal.classes
            return found
        found = super().ask(images, target, **{**options, "layers": [goal.layer]})
        self._won = _highest(found.layers[goal.layer][0][0], goal)
        return found

    def beside(self) -> tuple[Exhibit, ...]:
        """Return the best picture, and the first that was answered with the class."""
        shown = []
        if self.best is not None:
            words = f"best so far: step {self.best_step}, {self.best_score:.3g}"
            shown.append(Exhibit(self.canvas.pixels(self.best), words))
        if self.majority is not None:
            hidden = isinstance(self.target, Target) and self.target.layer
            words = "first that was the highest of its layer" if hidden else "first of its class"
            shown.append(Exhibit(self.canvas.pixels(self.majority), f"{words}: step {self.majority_step}"))
        return tuple(shown)


def _highest(activation: Tensor, unit: Target) -> bool:
    """Return whether no other unit of the layer, ``(K,)`` or ``(K, h, w)``, is higher: channels by what is asked."""
    if activation.ndim == 1:
        return int(activation.argmax()) == unit.channel
    if unit.position in ("mean", "max"):
        flat = activation.flatten(1)
        values = flat.mean(dim=1) if unit.position == "mean" else flat.amax(dim=1)
        return int(values.argmax()) == unit.channel
    return float(unit.score(activation[None], {unit.layer: activation[None]})) >= float(activation.max())
