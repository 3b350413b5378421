"""Random soft masks: coarse grids of kept and hidden cells, enlarged and shifted (Petsiuk et al. 2018, section 3.2)."""

from __future__ import annotations

import torch
from torch.nn import functional


class RandomMasks:
    """``count`` masks of ``size`` (H, W) with values in [0, 1], drawn once from a private generator.

    Each is a grid of ``cells`` × ``cells`` that keeps a cell with chance ``keep``, enlarged bilinearly to
    ``(cells + 1) * ceil(size / cells)`` and cut out at a random offset within one cell.
    """

    def __init__(self, size: tuple[int, int], count: int, cells: int, keep: float, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.size = size
        self.cell = (-(-size[0] // cells), -(-size[1] // cells))
        self.large = ((cells + 1) * self.cell[0], (cells + 1) * self.cell[1])
        self.grids = (torch.rand((count, 1, cells, cells), generator=generator) < keep).float()
        spread = torch.rand((count, 2), generator=generator)
        self.offsets = (spread * torch.tensor(self.cell)).long()

    def draw(self, numbers: range) -> torch.Tensor:
        """Return the masks of these numbers, ``(n, 1, H, W)``."""
        chosen = slice(numbers.start, numbers.stop)
        large = functional.interpolate(self.grids[chosen], size=self.large, mode="bilinear", align_corners=False)
        height, width = self.size
        cut = [
            mask[:, top : top + height, left : left + width]
            for mask, (top, left) in zip(large, self.offsets[chosen].tolist(), strict=True)
        ]
        return torch.stack(cut).clamp_(0, 1)  # interpolation rounds to a hair above one
