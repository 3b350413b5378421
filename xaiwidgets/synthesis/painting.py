"""A run that paints through a parameterization: from values to a picture, a view of it, the network, and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from xaiwidgets.errors import InvalidImage, InvalidKnob
from xaiwidgets.synthesis import steppers
from xaiwidgets.synthesis.cppn import Network
from xaiwidgets.synthesis.parameterizations import Grid, Pixels, Pyramid, Waves
from xaiwidgets.synthesis.reading import Reading, read
from xaiwidgets.synthesis.run import Run
from xaiwidgets.synthesis.transforms import Transforms, chosen, look

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from torch import Tensor

    from xaiwidgets.model.model import Model
    from xaiwidgets.model.passes import Gradients
    from xaiwidgets.model.targets import Goal
    from xaiwidgets.synthesis.parameterizations import Parameterization

#: After so many steps in a row whose gradient is exactly zero, a run stops.
IDLE = 5


@dataclass(frozen=True)
class Seen:
    """What a pass gave: the slope by the values, what the network said, and what else is logged."""

    slope: Tensor
    reading: Reading
    measured: dict[str, float]

    @property
    def finite(self) -> bool:
        """Whether all of it is."""
        return bool(self.slope.isfinite().all()) and bool(np.isfinite(self.reading.score))


class Painting(Run):
    """A run in progress.

    Attributes:
        values: what the parameterization makes pictures of. ``slope``: of the score by them, at these values.
        mean, square: running moments of slopes. ``idle``: how many slopes in a row were zero.
    """

    ARRAYS: ClassVar[tuple[str, ...]] = ("values", "slope", "mean", "square")
    VALUES = ("idle",)
    values: Tensor
    slope: Tensor
    mean: Tensor
    square: Tensor

    def __init__(self, method: Any, model: Model, target: Goal, photo: Tensor | None = None) -> None:
        super().__init__(method, model, target, photo)
        self.idle = 0
        self.colors = Colors(model)
        self.made = self.parameterization()
        self._drawn: tuple[Tensor, Tensor] | None = None

    def parameterization(self) -> Parameterization:
        """Return what the picture is made of; by default what the hyper-parameters name."""
        return parameterization(self.method, (self.count, *self.model.input_shape))

    @property
    def count(self) -> int:
        """How many pictures are painted at once."""
        return 1

    def begin(self) -> None:
        """Set the values of the start, and pass its picture through the network."""
        self.values = self._start().to(self.colors.mean)
        self.mean = self.square = self.values.new_zeros(self.values.shape)
        seen = self.passed(self.values)
        self.slope = seen.slope
        if not seen.finite:
            self.stop("the score or its gradient is not finite on the start picture; choose another start or seed")

    def advance(self) -> None:
        """Do one step: move the values along the last slope, and pass their picture through the network."""
        self.idle = 0 if self.slope.any() else self.idle + 1
        if self.idle >= IDLE:
            self.stop(
                f"the gradient was exactly zero {IDLE} times, so nothing in the picture changes the score (the unit is "
                "off, or at its ceiling). Choose another start, seed or unit"
            )
            return
        mean, square = steppers.moments(self.mean, self.square, self.slope)
        values = self.values + self.climbed(mean, square)
        finite = bool(values.isfinite().all())
        if finite:
            seen = self.passed(values)
            finite = seen.finite
        if not finite:
            self.stop("the next picture, its score or its gradient is not finite. Lower the step size and start anew")
            return
        self.values, self.slope, self.mean, self.square = values, seen.slope, mean, square
        self.log(seen.reading.score, **seen.reading.chance, **seen.measured)

    def climbed(self, mean: Tensor, square: Tensor) -> Tensor:
        """Return what to add to the values."""
        return steppers.adam(mean, square, self.step + 1, self.method.step_size * self.made.pace)

    def passed(self, values: Tensor) -> Seen:
        """Return what the network says of a random view of the pictures of some values."""
        view = self.transforms.draw(self.random)
        slope, _, found = self.backed(values, lambda images: look(images, view, self.transforms.pad), self.goal)
        return Seen(slope, *self.read(found))

    @property
    def goal(self) -> Goal:
        """What is climbed."""
        return self.target

    def read(self, found: Gradients) -> tuple[Reading, dict[str, float]]:
        """Return what is logged of a pass: score and probability, and other numbers by name."""
        return read(found, self.target, self.model), {}

    @property
    def transforms(self) -> Transforms:
        """How strong random views are now."""
        return transforms_of(self.method)

    def backed(
        self, values: Tensor, viewed: Callable[[Tensor], Tensor], goal: Goal
    ) -> tuple[Tensor, Tensor, Gradients]:
        """Return the slopes of the summed score by the values and by the pictures, and what the pass gave.

        Args:
            values: of the parameterization.
            viewed: differentiable, from pictures in [0, 1] to what the network is shown, in [0, 1].
            goal: what is scored.
        """
        import torch

        with torch.inference_mode(False), torch.enable_grad():
            leaf = values.detach().clone().requires_grad_()
            pictures = self.made.image(leaf)
            inputs = self.colors.inputs(viewed(pictures))
            found = self.ask(inputs.detach(), goal)
            # the picture of these values, so that it is not drawn again to be shown
            self._drawn = values, pictures.detach()
            slope, by_picture = torch.autograd.grad(inputs, [leaf, pictures], found.input)
        # in row-major order, as they come back from a saved run
        slope, by_picture = (one.new_empty(one.shape).copy_(one) for one in (slope, by_picture))
        return slope, by_picture, found

    def pictures(self) -> Tensor:
        """Return the pictures ``(N, C, H, W)`` in [0, 1]."""
        import torch

        if self._drawn is None or self._drawn[0] is not self.values:
            with torch.no_grad():
                self._drawn = self.values, self.made.image(self.values)
        return self._drawn[1]

    def pixels(self) -> NDArray[np.float32]:
        """Return the picture as colors."""
        return shown(self.pictures()[0])

    def terms(self) -> dict[str, float]:
        """Return how far pixels are from their mean."""
        return {"contrast": float(self.pictures()[0].std())}

    def _start(self) -> Tensor:
        if self.method.start != "photo":
            return self.made.values(self.random, self.method.spread)
        if self.photo is None:
            raise InvalidKnob("start='photo' needs a photo, and none was given: pass image=, or start='noise'.")
        if tuple(self.photo.shape[1:]) != self.model.input_shape:
            raise InvalidImage(
                f"image must be a network input of shape (1, {', '.join(map(str, self.model.input_shape))}); got "
                f"{tuple(self.photo.shape)}."
            )
        photos = self.colors.pixels(self.photo.detach()).expand(self.count, -1, -1, -1)
        return self.made.written(photos).contiguous()


class Colors:
    """Pixels in [0, 1] to network inputs and back, as tensors.

    Pixels, and all that they are made of, are in float32 or float64, also for a network with shorter numbers: Fourier
    transforms know no shorter ones, and a step may be smaller than the difference of two neighbors there.
    """

    def __init__(self, model: Model) -> None:
        import torch

        self.network = model.like
        kind, device = torch.promote_types(model.like.dtype, torch.float32), model.like.device
        normal = model.preprocessing
        self.mean = torch.tensor(normal.mean, dtype=kind, device=device).reshape(1, -1, 1, 1)
        self.std = torch.tensor(normal.std, dtype=kind, device=device).reshape(1, -1, 1, 1)

    def inputs(self, pixels: Tensor) -> Tensor:
        """Return network inputs for pixels; differentiable."""
        return ((pixels - self.mean) / self.std).to(self.network)

    def pixels(self, inputs: Tensor) -> Tensor:
        """Return pixels for network inputs."""
        return inputs.to(self.mean) * self.std + self.mean


def parameterization(method: Any, shape: tuple[int, int, int, int]) -> Parameterization:
    """Return what the hyper-parameters of a method name."""
    correlated = bool(method.decorrelate)
    if method.parameterization == "fourier":
        return Waves(shape, correlated=correlated, decay=method.decay_power)
    if method.parameterization == "grid":
        return Grid(shape, correlated=correlated, cells=method.cells)
    kinds: dict[str, Any] = {"pixel": Pixels, "pyramid": Pyramid, "cppn": Network}
    made: Parameterization = kinds[method.parameterization](shape, correlated=correlated)
    return made


def transforms_of(method: Any) -> Transforms:
    """Return how strong the random views are that the hyper-parameters of a method name."""
    custom = Transforms(pad=method.jitter, jitter=2 * method.jitter, scale=method.zoom, rotation=method.rotation)
    return chosen(method.transforms, method.strength, custom)


def mean_reading(scores: Tensor, outputs: Tensor, target: Goal, model: Model) -> Reading:
    """Return the mean of what the network said of several pictures; a probability if it is one for each."""
    from xaiwidgets.model.passes import Gradients

    each = [
        read(Gradients(scores[i : i + 1], outputs[i : i + 1]), target, model).probability for i in range(len(scores))
    ]
    chances = [one for one in each if one is not None]
    return Reading(float(scores.mean()), sum(chances) / len(each) if len(chances) == len(each) else None)


def shown(picture: Tensor) -> NDArray[np.float32]:
    """Return a picture ``(C, H, W)`` in [0, 1] as float32 ``(H, W, 3)``; gray becomes three equal channels."""
    pixels = picture.clamp(0, 1).permute(1, 2, 0).expand(-1, -1, 3)
    return np.ascontiguousarray(pixels.float().cpu().numpy())
