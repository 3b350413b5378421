"""Random soft masks: coarse grids of kept and hidden cells, enlarged and shifted (Petsiuk et al. 2018, section 3.2)."""

from __future__ import annotations

import torch
from torch.nn import functional


class RandomMasks:
    """``count`` masks of ``size`` (H, W) with values in [0, 1], drawn once from a private generator.

    Each is a grid of ``cells`` × ``cells`` that keeps a cell with chance ``keep``, enlarged bilinearly to
    ``(cells + 1) * ceil(size / cells)`` and cut out at a random offset within one cell.

    With ``pairs``, every second mask is the counterpart of the one before: drawn with one less each random number, at
    the same offset. Where half is kept, that is the complement; the mean stays ``keep`` for any share.
    """

    def __init__(
        self, size: tuple[int, int], count: int, cells: int, keep: float, seed: int, *, pairs: bool = False
    ) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.size = size
        self.cell = (-(-size[0] // cells), -(-size[1] // cells))
        self.large = ((cells + 1) * self.cell[0], (cells + 1) * self.cell[1])
        drawn = (count + 1) // 2 if pairs else count
        chances = torch.rand((drawn, 1, cells, cells), generator=generator)
        spread = torch.rand((drawn, 2), generator=generator)
        if pairs:
            chances = torch.stack([chances, 1 - chances], dim=1).flatten(0, 1)[:count]
            spread = spread.repeat_interleave(2, 0)[:count]
        self.grids = (chances < keep).float()
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


class MaskSums:
    """Sums over masks and their weights for each pixel: what a weighted mean of masks and its error are made of.

    With ``coverage``, weights are counted from the first one: a mean moves along with them, and what rounding adds to
    the error is then a share of how far they differ, not of how large they are.

    Args:
        pixels: of a mask.
        each: masks in a row that are one independent draw, 1 or 2.
        coverage: divide by how often a pixel was visible; else by ``keep`` times the number of masks.
        keep: the mean of a mask.
    """

    def __init__(self, pixels: int, each: int, keep: float, *, coverage: bool) -> None:
        self.each, self.keep, self.coverage = each, keep, coverage
        self.masks = self.draws = 0
        self.first: torch.Tensor | None = None
        self.total, self.seen, self.squares, self.cross, self.areas = (
            torch.zeros(pixels, dtype=torch.float64) for _ in range(5)
        )
        self.waiting: tuple[torch.Tensor, torch.Tensor] | None = None  # the first half of a pair

    def add(self, weights: torch.Tensor, masks: torch.Tensor) -> None:
        """Add masks ``(n, pixels)`` with their weights ``(n,)``."""
        if self.coverage:
            self.first = weights[0].clone() if self.first is None else self.first
            weights = weights - self.first
        self.masks += len(masks)
        self.total += weights @ masks
        self.seen += masks.sum(dim=0)
        if self.each == 1:
            self._square(*self._alone(weights, masks))
            self.draws += len(masks)
            return
        if self.waiting is not None:
            weights, masks = torch.cat([self.waiting[0], weights]), torch.cat([self.waiting[1], masks])
        whole = len(masks) // 2 * 2
        parts = weights[:, None] * masks
        values, areas = parts[0:whole:2] + parts[1:whole:2], masks[0:whole:2] + masks[1:whole:2]
        self._square(values.square().sum(dim=0), (values * areas).sum(dim=0), areas.square().sum(dim=0))
        self.draws += whole // 2
        self.waiting = (weights[whole:], masks[whole:]) if whole < len(masks) else None

    @property
    def mean(self) -> torch.Tensor:
        """The weighted mean of the masks, ``(pixels,)``."""
        return self._ratio if self.first is None else self._ratio + self.first

    @property
    def _ratio(self) -> torch.Tensor:
        return self.total / self._whole

    @property
    def error(self) -> torch.Tensor:
        """The standard error of ``mean``; of the ratio of two sums to first order. 0 after the first draw."""
        squares, cross, areas, draws = self.squares, self.cross, self.areas, self.draws
        if self.waiting is not None:
            half = self._alone(*self.waiting)
            squares, cross, areas, draws = squares + half[0], cross + half[1], areas + half[2], draws + 1
        if self.coverage:
            ratio = self._ratio
            left = squares - 2 * ratio * cross + ratio**2 * areas
        else:
            left = squares - self.total**2 / draws
        return left.clamp_min_(0).sqrt_().div_(self._whole)

    @property
    def _whole(self) -> torch.Tensor | float:
        return self.seen.clamp_min(1e-12) if self.coverage else self.keep * self.masks

    def _alone(self, weights: torch.Tensor, masks: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the sums over single masks of the square, of the product with the mask, and of the mask's square."""
        areas = masks**2
        if not self.coverage:
            return weights**2 @ areas, self.cross, self.areas
        return weights**2 @ areas, weights @ areas, areas.sum(dim=0)

    def _square(self, squares: torch.Tensor, cross: torch.Tensor, areas: torch.Tensor) -> None:
        self.squares += squares
        if self.coverage:
            self.cross += cross
            self.areas += areas
