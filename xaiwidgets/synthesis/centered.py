"""One run of center-biased optimization: its phases, its crops, and denoising."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from xaiwidgets.synthesis.canvas import Canvas
from xaiwidgets.synthesis.climb import direction
from xaiwidgets.synthesis.reading import read
from xaiwidgets.synthesis.run import Run

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Goal

#: The denoising stops when a step changes the crop by less: a thousandth of the range of colors.
ENOUGH = 0.255
#: Steps of denoising at most.
MOST = 100


@dataclass(frozen=True)
class Phase:
    """One phase of the schedule.

    Attributes:
        steps: at full pace. ``size``: of the canvas by the network's input. ``step``: its size in gray levels, from the
            first to the last; ``weight``: of the denoising, likewise. ``window``: what the crop's spread is multiplied
            by. ``margin``: whether nothing is drawn in the margin; it is denoised all the same.
    """

    steps: int
    size: float
    step: tuple[float, float]
    weight: tuple[float, float]
    window: float = 1.0
    margin: bool = False


#: Of Nguyen et al. 2016, as in their released code.
PHASES = (
    Phase(190, 1.0, (11.0, 11.0), (0.001, 0.05)),
    Phase(150, 1.2, (6.0, 6.0), (0.01, 0.08)),
    Phase(150, 1.44, (1.0, 1.0), (0.01, 2.0)),
    Phase(30, 1.44, (3.0, 3.0), (0.1, 2.0), 1 / 3, margin=True),
    Phase(10, 1.44, (6.0, 3.0), (0.01, 2.0)),
)
#: So many phases at the end are never shortened: they begin with strong denoising, which wipes out details, and fewer
#: steps do not bring them back.
WHOLE = 2


def lengths(pace: float) -> tuple[int, ...]:
    """Return how many steps each phase has at this pace: at least one, and of the last two phases all."""
    drawn = [max(1, round(phase.steps * pace)) for phase in PHASES[:-WHOLE]]
    return (*drawn, *(round(phase.steps * max(1.0, pace)) for phase in PHASES[-WHOLE:]))


class Centered(Run):
    """A run in progress; ``picture`` is the whole canvas ``(1, C, H, W)`` in gray levels less the mean color."""

    ARRAYS: ClassVar[tuple[str, ...]] = ("picture",)
    picture: Tensor

    def __init__(self, method: Any, model: Model, target: Goal, photo: Tensor | None = None) -> None:
        super().__init__(method, model, target, photo)
        self.canvas = Canvas(model)
        self.net = model.input_shape[1:]

    @property
    def planned(self) -> int:
        """How many steps all phases have."""
        return sum(lengths(self.method.pace))

    def begin(self) -> None:
        """Draw the start picture."""
        self.picture = self.canvas.start(self.method.start, self.photo, self.random)

    def advance(self) -> None:
        """Grow the canvas if a phase begins, and change one crop of it."""
        phase, share = self.place()
        picture = self.grown(phase.size)
        top, left = self.corner(phase, picture)
        height, width = self.net
        crop = picture[..., top : top + height, left : left + width]
        found = self.ask(self.canvas.inputs(crop))
        gradient = self.canvas.per_gray_level(found.input)
        if phase.margin:
            gradient = inside(gradient, self.method.margin)
        if not bool(gradient.isfinite().all() and found.score.isfinite().all()):
            self.stop("the score or its gradient is not finite. Lower the step size and start anew")
            return
        if gradient.any():
            size = self.method.step_factor * between(phase.step, share)
            crop = crop + size * direction(gradient, "mean", 0.0)
        else:
            self.note("The gradient was exactly zero at some steps, which did no more than denoise.")
        crop = self.canvas.clip(denoised(self.canvas.clip(crop), self.method.sharpness * between(phase.weight, share)))
        picture = picture.clone()
        picture[..., top : top + height, left : left + width] = crop
        self.picture = picture
        reading = read(found, self.target, self.model)
        self.log(reading.score, **reading.chance)

    def place(self) -> tuple[Phase, float]:
        """Return the phase of the next step, and how far it has come, in [0, 1]."""
        done = self.step
        for phase, steps in zip(PHASES, lengths(self.method.pace), strict=True):
            if done < steps:
                return phase, done / max(1, steps - 1)
            done -= steps
        return PHASES[-1], 1.0

    def grown(self, size: float) -> Tensor:
        """Return the picture on a canvas of this size by the network's input, enlarged if it is smaller."""
        from torch.nn import functional

        wanted = tuple(round(side * size) for side in self.net)
        if tuple(self.picture.shape[2:]) == wanted:
            return self.picture
        return functional.interpolate(self.picture, wanted, mode="bilinear", align_corners=False)

    def corner(self, phase: Phase, picture: Tensor) -> tuple[int, int]:
        """Return the corner (top, left) of a crop whose center is normally distributed about the canvas' center."""
        import torch

        draws = torch.randn(2, generator=self.random).tolist()
        found = []
        for draw, whole, side in zip(draws, picture.shape[2:], self.net, strict=True):
            room = whole - side
            place = room / 2 + draw * self.method.window * phase.window * room
            found.append(min(max(round(place), 0), room))
        return found[0], found[1]

    def pixels(self) -> NDArray[np.float32]:
        """Return the whole canvas as colors."""
        return self.canvas.pixels(self.picture)


def between(ends: tuple[float, float], share: float) -> float:
    """Return the number at this share of the way from one to the other."""
    return ends[0] + share * (ends[1] - ends[0])


def inside(gradient: Tensor, margin: float) -> Tensor:
    """Return a gradient ``(1, C, H, W)`` that is 0 in a margin, given as a share of each side."""
    height, width = gradient.shape[2:]
    top, left = round(margin * height), round(margin * width)
    kept = gradient.new_zeros(gradient.shape)
    kept[..., top : height - top, left : width - left] = gradient[..., top : height - top, left : width - left]
    return kept


def denoised(picture: Tensor, weight: float) -> Tensor:
    """Return the picture ``(1, C, H, W)`` with less total variation; a smaller weight is smoother."""
    import torch
    from skimage.restoration import denoise_tv_bregman

    values = picture[0].permute(1, 2, 0).cpu().numpy()
    made = denoise_tv_bregman(values, weight=weight, max_num_iter=MOST, eps=ENOUGH, channel_axis=-1)
    made = made.reshape(values.shape)  # of one channel, it comes without that axis
    return torch.from_numpy(np.ascontiguousarray(made.transpose(2, 0, 1)))[None].to(picture)
