"""Views that a network is shown instead of a picture: moved, turned, zoomed; and the way back for a gradient."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Generator, Tensor


@dataclass(frozen=True)
class Pose:
    """How a picture is shown.

    Attributes:
        shift: (row, column) in pixels; what leaves on one side comes in on the other.
        angle: in degrees. ``scale``: over 1 is larger. Both about the center, between pixels linearly; what comes in
            from outside is 0, the mean color.
    """

    shift: tuple[int, int] = (0, 0)
    angle: float = 0.0
    scale: float = 1.0

    @property
    def still(self) -> bool:
        """Whether pixels are at most moved."""
        return self.angle == 0.0 and self.scale == 1.0

    def show(self, picture: Tensor) -> Tensor:
        """Return the view of a picture ``(N, C, H, W)``."""
        moved = picture.roll(self.shift, (2, 3)) if any(self.shift) else picture
        return moved if self.still else self._turn(moved)

    def back(self, gradient: Tensor) -> Tensor:
        """Return the derivative with respect to the picture, from that with respect to the view: the adjoint."""
        import torch

        if not self.still:
            with torch.inference_mode(False), torch.enable_grad():
                leaf = gradient.new_zeros(gradient.shape).requires_grad_()
                (gradient,) = torch.autograd.grad(self._turn(leaf), leaf, gradient.clone())
        shift = (-self.shift[0], -self.shift[1])
        return gradient.roll(shift, (2, 3)) if any(shift) else gradient

    def _turn(self, picture: Tensor) -> Tensor:
        from torch.nn import functional

        height, width = picture.shape[2:]
        cos, sin = math.cos(math.radians(self.angle)) / self.scale, math.sin(math.radians(self.angle)) / self.scale
        # in shares of each side: a turn of a picture that is no square needs its aspect
        rows = [[cos, -sin * height / width, 0.0], [sin * width / height, cos, 0.0]]
        grid = functional.affine_grid(
            picture.new_tensor([rows] * len(picture)), list(picture.shape), align_corners=False
        )
        return functional.grid_sample(picture, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def draw_pose(generator: Generator, pixels: int = 0, degrees: float = 0.0, zoom: float = 0.0) -> Pose:
    """Return a random pose: moved by up to ``pixels``, turned by up to ``degrees``, zoomed by up to a share ``zoom``.

    Nothing is drawn for what is 0.
    """
    import torch

    row = column = 0
    if pixels:
        row, column = (int(v) for v in torch.randint(-pixels, pixels + 1, (2,), generator=generator).tolist())
    angle = degrees * (2 * float(torch.rand((), generator=generator)) - 1) if degrees else 0.0
    scale = 1.0 + zoom * (2 * float(torch.rand((), generator=generator)) - 1) if zoom else 1.0
    return Pose((row, column), angle, scale)
