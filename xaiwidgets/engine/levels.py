"""Copies of a photo from hidden to plain, and what a mask makes of them, with its derivative."""

from __future__ import annotations

import torch
from torch import Tensor

from xaiwidgets.engine.baselines import gaussian_blur


class Levels:
    """Copies ``(L, C, H, W)`` of a photo, the most hidden one first and the plain one last.

    A mask ``(H, W)`` with values in [0, 1] says for each pixel how plain it is: 0 takes the first copy, 1 the last, and
    what lies between is mixed linearly from the two copies next to it.
    """

    def __init__(self, copies: Tensor) -> None:
        self.copies = copies

    def under(self, mask: Tensor) -> Tensor:
        """Return the photo under a mask, ``(1, C, H, W)``."""
        hidden, plain, share = self._around(mask)
        return torch.lerp(hidden, plain, share.expand_as(plain))

    def slope(self, mask: Tensor) -> Tensor:
        """Return the derivative of each value of ``under`` with respect to its pixel's mask, ``(1, C, H, W)``."""
        hidden, plain, _ = self._around(mask)
        return (plain - hidden) * (len(self.copies) - 1)

    def shifted(self, down: int, right: int) -> Levels:
        """Return the levels of the photo moved by whole pixels; what comes in at the border repeats its last pixels."""
        if not down and not right:
            return self
        height, width = self.copies.shape[-2:]
        rows = (torch.arange(height) - down).clamp_(0, height - 1).to(self.copies.device)
        columns = (torch.arange(width) - right).clamp_(0, width - 1).to(self.copies.device)
        return Levels(self.copies[..., rows, :][..., columns])

    def _around(self, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the copies below and above a mask, ``(1, C, H, W)``, and the share of the second, ``(1, H, W)``."""
        top = len(self.copies) - 1
        if top == 1:
            return self.copies[:1], self.copies[1:], mask[None]
        place = mask * top
        below = place.detach().floor().clamp(0, top - 1)
        index = below.long().expand(1, *self.copies.shape[1:])
        return self.copies.gather(0, index), self.copies.gather(0, index + 1), (place - below)[None]


def blurred(image: Tensor, sigma: float, count: int) -> Levels:
    """Return ``count`` levels of an input ``(1, C, H, W)``, blurred from ``sigma`` pixels down to not at all."""
    sigmas = [sigma * (1 - number / (count - 1)) for number in range(count)]
    return Levels(torch.cat([gaussian_blur(image, one) for one in sigmas]))
