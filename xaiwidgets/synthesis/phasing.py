"""A run that moves the waves of a picture, whose strengths are those of photos, and adds up where it was asked to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from xaiwidgets.core.results import Exhibit
from xaiwidgets.synthesis import steppers
from xaiwidgets.synthesis.painting import Painting, Seen, mean_reading, shown
from xaiwidgets.synthesis.phases import Phases
from xaiwidgets.synthesis.spectrum import magnitude

if TYPE_CHECKING:
    from torch import Generator, Tensor

    from xaiwidgets.synthesis.maco import Maco

#: Standard deviations of the crops' centers and sides, and the smallest side, as shares of the picture (Xplique).
CENTERS, SIDES, LEAST = 0.15, 0.05, 0.05
#: Percentiles of the summed slope that are clear and opaque.
CLEAR, OPAQUE = 10.0, 95.0
#: Color behind what is clear.
GROUND = 0.5


class Phasing(Painting):
    """A run in progress.

    Attributes:
        opacity: ``(1, C, H, W)``, the sum over all steps of the absolute slope of the score by the picture.
    """

    ARRAYS = (*Painting.ARRAYS, "opacity")
    method: Maco
    made: Phases
    opacity: Tensor

    def parameterization(self) -> Phases:
        """Return phases under the amplitudes of photos."""
        channels, rows, columns = self.model.input_shape
        size = round(rows * self.method.canvas), round(columns * self.method.canvas)
        return Phases((1, channels, *size), magnitude(*size, channels))

    def begin(self) -> None:
        """Draw phases, and pass their picture through the network."""
        self.opacity = self.colors.mean.new_zeros(self.made.shape)
        super().begin()

    def climbed(self, mean: Tensor, square: Tensor) -> Tensor:
        """Return what to add to the phases."""
        return steppers.nadam(mean, square, self.slope, self.step + 1, self.method.step_size)

    def passed(self, values: Tensor) -> Seen:
        """Return what the network says of random crops of the picture."""
        method = self.method
        share = min(self.step / max(self.planned - 1, 1), 1.0)
        side = method.crop_first + share * (method.crop_last - method.crop_first)
        boxes = draw_boxes(method.crops, side, self.random)
        shape = (method.crops, *self.model.input_shape)
        added = draw_noise(shape, method.noise, self.random).to(values)
        slope, by_picture, found = self.backed(
            values, lambda images: crops(images, boxes, shape[2:]) + added, self.goal
        )
        self.opacity = self.opacity + by_picture.abs() / method.crops
        return Seen(slope, mean_reading(found.score, found.outputs, self.target, self.model), {})

    def terms(self) -> dict[str, float]:
        """Return contrast, and the summed slope."""
        return super().terms() | {"opacity": float(self.opacity.sum())}

    def beside(self) -> tuple[Exhibit, ...]:
        """Return the picture as far as it was asked for."""
        strength = self.opacity[0].sum(dim=0).float().cpu().numpy()
        low, high = np.percentile(strength, [CLEAR, OPAQUE])
        alpha = ((strength - low) / (high - low)).clip(0, 1) if high > low else np.zeros_like(strength)
        picture = shown(self.pictures()[0])
        faded = GROUND + alpha[..., None] * (picture - GROUND)
        return (Exhibit(faded.astype(np.float32), "As opaque as the score asked for changes, over all steps"),)

    def _start(self) -> Tensor:
        return self.made.values(self.random)


def draw_boxes(count: int, side: float, random: Generator) -> Tensor:
    """Return (row, column, side) of random crops as shares of the picture: center and side ``(count, 3)``."""
    import torch

    drawn = torch.randn((count, 3), generator=random)
    sides = (side + SIDES * drawn[:, 2:]).clamp(LEAST, 1.0)
    return torch.cat([0.5 + CENTERS * drawn[:, :2], sides], dim=1)


def draw_noise(shape: tuple[int, ...], strength: float, random: Generator) -> Tensor:
    """Return normal noise of this standard deviation and even noise of this width, added."""
    import torch

    return strength * (torch.randn(shape, generator=random) + torch.rand(shape, generator=random) - 0.5)


def crops(picture: Tensor, boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Return crops ``(N, C, rows, columns)`` of one picture, bilinear; at its edges the picture is mirrored."""
    import torch
    from torch.nn import functional

    boxes = boxes.to(picture)
    rows, columns = ((torch.arange(s, dtype=picture.dtype, device=picture.device) + 0.5) / s - 0.5 for s in size)
    y = 2 * (boxes[:, 0, None] + boxes[:, 2, None] * rows) - 1
    x = 2 * (boxes[:, 1, None] + boxes[:, 2, None] * columns) - 1
    grid = torch.stack([x[:, None, :].expand(-1, size[0], -1), y[:, :, None].expand(-1, -1, size[1])], dim=-1)
    return functional.grid_sample(
        picture.expand(len(boxes), -1, -1, -1), grid, mode="bilinear", padding_mode="reflection", align_corners=False
    )
