"""Random views of a picture, so that what is painted holds when the picture is moved, scaled or turned a little.

Pure functions on pictures ``(N, C, H, W)`` in [0, 1], all differentiable, and ``Transforms``: how strong each is. A
picture lies on gray paper, 0.5 for ``pad`` pixels around it and black beyond; a window of its size looks at it, moved,
nearer or farther, and turned. The standard set is that of Lucid (Olah et al. 2017): pad 12, jitter 8, scales from 0.90
to 1.10 by 0.02, turns of -10 to 10 degrees with five more chances of none, jitter 4. Lucid shows the network whatever
size comes out; here the window has the size of the network's input, and all of it is one warp, which blurs once where
a chain of warps blurs three times.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Generator, Tensor

#: Color of the paper around a picture.
GRAY = 0.5
#: How many scales there are to choose from, and how many more chances there are of no turn.
SCALES, MORE_UPRIGHT = 11, 5


@dataclass(frozen=True)
class View:
    """One look at a picture: the window moved by (row, column) pixels, ``scale`` times as near, turned by degrees."""

    shift: tuple[int, int] = (0, 0)
    scale: float = 1.0
    degrees: float = 0.0


@dataclass(frozen=True)
class Transforms:
    """How strong random views are; 0 throughout is the picture itself.

    Attributes:
        pad: width of the gray paper around the picture, in pixels.
        jitter: the window moves by up to half of this each way; ``jitter_after`` does so once more.
        scale: how much nearer or farther at most, as a share. ``rotation``: how far it is turned at most, in degrees.
    """

    pad: int = 0
    jitter: int = 0
    scale: float = 0.0
    rotation: float = 0.0
    jitter_after: int = 0

    def times(self, strength: float) -> Transforms:
        """Return all of them stronger or weaker."""
        return Transforms(
            round(self.pad * strength),
            round(self.jitter * strength),
            min(self.scale * strength, 0.9),
            self.rotation * strength,
            round(self.jitter_after * strength),
        )

    def draw(self, random: Generator) -> View:
        """Return a random view; what is 0 draws nothing."""
        import torch

        def pick(count: int) -> int:
            return int(torch.randint(count, (1,), generator=random)) if count > 1 else 0

        shift = [0, 0]
        for width in (self.jitter, self.jitter_after):
            shift = [at + pick(width + 1) - width // 2 for at in shift]
        scale = 1.0
        if self.scale:
            scale += self.scale * (pick(SCALES) / (SCALES // 2) - 1)
        degrees = 0.0
        if self.rotation:
            drawn = pick(21 + MORE_UPRIGHT)
            degrees = self.rotation * (drawn - 10) / 10 if drawn < 21 else 0.0
        return View((shift[0], shift[1]), scale, degrees)


#: Named strengths. ``custom`` takes those of its own knobs.
PRESETS: dict[str, Transforms] = {
    "none": Transforms(),
    "jitter": Transforms(pad=8, jitter=16),
    "light": Transforms(pad=8, jitter=8, scale=0.05),
    "standard": Transforms(pad=12, jitter=8, scale=0.1, rotation=10.0, jitter_after=4),
}
NAMES = (*PRESETS, "custom")


def chosen(name: str, strength: float, custom: Transforms) -> Transforms:
    """Return the strengths of this name, times ``strength``."""
    return PRESETS.get(name, custom).times(strength)


def pad(images: Tensor, width: int, value: float = GRAY) -> Tensor:
    """Return the pictures with ``width`` pixels of one color around them."""
    from torch.nn import functional

    return functional.pad(images, (width,) * 4, value=value) if width else images


def crop(images: Tensor, shift: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Return the window of ``size``, moved by (row, column) pixels from the center; black beyond the pictures."""
    from torch.nn import functional

    rows, columns = images.shape[2:]
    top, left = (rows - size[0]) // 2 + shift[0], (columns - size[1]) // 2 + shift[1]
    bottom, right = top + size[0], left + size[1]
    beyond = (max(-left, 0), max(right - columns, 0), max(-top, 0), max(bottom - rows, 0))
    if any(beyond):
        images = functional.pad(images, beyond)
        top, left = top + beyond[2], left + beyond[0]
    return images[..., top : top + size[0], left : left + size[1]]


def scale(images: Tensor, factor: float) -> Tensor:
    """Return the pictures seen ``factor`` times as near from the center, at their own size; black beyond them."""
    return warp(images, View(scale=factor), (images.shape[2], images.shape[3])) if factor != 1 else images


def rotate(images: Tensor, degrees: float) -> Tensor:
    """Return the pictures turned counterclockwise around the center, at their own size; black beyond them."""
    return warp(images, View(degrees=degrees), (images.shape[2], images.shape[3])) if degrees else images


def warp(images: Tensor, view: View, size: tuple[int, int]) -> Tensor:
    """Return what a window of ``size`` around the center sees, bilinear; black beyond the pictures."""
    import torch
    from torch.nn import functional

    rows, columns = images.shape[2:]
    cosine, sine = math.cos(math.radians(view.degrees)), math.sin(math.radians(view.degrees))
    down = torch.arange(size[0], dtype=images.dtype, device=images.device)[:, None] - (size[0] - 1) / 2
    right = torch.arange(size[1], dtype=images.dtype, device=images.device)[None, :] - (size[1] - 1) / 2
    y = (cosine * down + sine * right) / view.scale + view.shift[0]
    x = (cosine * right - sine * down) / view.scale + view.shift[1]
    grid = torch.stack([x * 2 / columns, y * 2 / rows], dim=-1)
    return functional.grid_sample(
        images, grid.expand(len(images), -1, -1, -1), mode="bilinear", padding_mode="zeros", align_corners=False
    )


def look(images: Tensor, view: View, paper: int = 0) -> Tensor:
    """Return what the window sees of pictures with ``paper`` pixels of gray around them."""
    size = (images.shape[2], images.shape[3])
    if view == View():
        return images
    laid = pad(images, paper)
    if view.scale == 1 and not view.degrees:
        return crop(laid, view.shift, size)
    return warp(laid, view, size)
