"""Masks that are learned: few numbers that make a smooth mask of a whole picture, and the derivatives back to them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    #: What a mask of seeds is made of, by cell: seeds around, the sum of their weights at each pixel, the mask there.
    Soft = tuple[Tensor, Tensor, Tensor]

#: How sharply the smooth maximum prefers the largest of its values (Fong, Patrick, Vedaldi 2019, section 3.2).
SHARPNESS = 20.0
#: Values of a mask that differ by less than this are equal where pixels are ranked. Wide bands, such as 0.1, let a mask
#: rest at an even gray, and all of the photo half hidden tells the network little of where the class lies.
NEARLY = 1e-3

#: Numbers that are worked on at a time: they stay in a processor's cache, which is three times as fast.
AT_ONCE = 2**17


class Cells:
    """A grid of cells, enlarged bilinearly and smoothed by a Gaussian (Fong and Vedaldi 2017, section 4.3).

    Both are linear and act on rows and columns apart, so a mask is ``rows @ cells @ columns.T``. Each row of these
    matrices has weights that are not negative and sum to 1: cells in [0, 1] give a mask in [0, 1].

    Args:
        size: (H, W) of the picture.
        cell: pixels along the side of a cell; the last cells may reach over the border.
        sigma: of the smoothing, in pixels; edges are repeated.
        like: a tensor of the type and device that is wanted.
    """

    def __init__(self, size: tuple[int, int], cell: int, sigma: float, like: Tensor) -> None:
        self.rows, self.columns = (_enlarging(side, cell, sigma).to(like) for side in size)

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns) of cells."""
        return self.rows.shape[1], self.columns.shape[1]

    def mask(self, cells: Tensor) -> Tensor:
        """Return the mask ``(H, W)`` of cells ``(h, w)``."""
        return (self.rows @ cells @ self.columns.T).clamp_(0, 1)

    def back(self, slopes: Tensor) -> Tensor:
        """Return derivatives by the cells from those by the mask's pixels, ``(H, W)``."""
        return self.rows.T @ slopes @ self.columns

    def disc(self, share: float) -> Tensor:
        """Return cells that are 1 in a centered disc whose diameter is this share of the shorter side, else 0."""
        (height, cell_rows), (width, cell_columns) = self.rows.shape, self.columns.shape
        down = (torch.arange(cell_rows).to(self.rows) + 0.5) * height / cell_rows - height / 2
        across = (torch.arange(cell_columns).to(self.rows) + 0.5) * width / cell_columns - width / 2
        inside = torch.hypot(down[:, None], across[None, :]) <= share * min(height, width) / 2
        return inside.to(self.rows)


class Seeds:
    """A grid of seeds, each the middle of a soft disc; the mask is the smooth maximum of all discs at a pixel.

    ``m(u) = smax_i k(|u - i| / sigma) s_i`` with ``k(z) = exp(-2 max(0, z - 1/2)²)`` and the smooth maximum
    ``smax v = Σ v exp(20 v) / Σ exp(20 v)`` (Fong, Patrick, Vedaldi 2019, eqs. 6 and 7). Only seeds up to 1 1/3 sigma
    away, along each axis, count for a pixel; beyond the border lie seeds of 0. The mask can have a margin around the
    picture, so that what a disc at the border covers out there can be counted, too.

    Args:
        size: (H, W) of the picture.
        step: pixels between seeds.
        sigma: width of a disc in pixels.
        like: a tensor of the type and device that is wanted.
        margin: at least how many pixels wide; whole steps.
    """

    def __init__(self, size: tuple[int, int], step: int, sigma: float, like: Tensor, margin: float = 0) -> None:
        self.size, self.step = size, step
        self.shape = -(-size[0] // step), -(-size[1] // step)
        self.reach = max(1, math.ceil(4 / 3 * sigma / step))
        self.beyond = math.ceil(margin / step)  # in seeds
        # of all pixels around one seed, from the seeds around it: the same everywhere
        inside = torch.arange(step, dtype=torch.float64) - (step - 1) / 2
        away = inside[None, :] - step * torch.arange(-self.reach, self.reach + 1, dtype=torch.float64)[:, None]
        distance = torch.hypot(away[:, None, :, None], away[None, :, None, :]) / sigma
        kernel = torch.exp(-2 * (distance - 0.5).clamp_min(0) ** 2)  # (rows, columns of seeds around, step, step)
        self.kernel = kernel.flatten(0, 1).flatten(1).T.contiguous().to(like)  # (pixels of a cell, seeds around)

    @property
    def picture(self) -> tuple[slice, slice]:
        """Where the picture lies in the mask."""
        edge = self.beyond * self.step
        return slice(edge, edge + self.size[0]), slice(edge, edge + self.size[1])

    def mask(self, seeds: Tensor) -> tuple[Tensor, Soft]:
        """Return the mask, ``(H, W)`` and the margin around, of seeds ``(h, w)``, and what ``back`` needs to know."""
        side = 2 * self.reach + 1
        around = functional.unfold(seeds[None, None], side, padding=self.reach + self.beyond)[0].T  # (cells, seeds)
        cells, total = (around.new_empty((len(around), len(self.kernel))) for _ in range(2))
        for part in self._parts(around):
            weights = self._weights(around[part])
            total[part] = weights.sum(dim=2)
            cells[part] = torch.bmm(weights.mul_(self.kernel), around[part, :, None])[:, :, 0]
        cells /= total
        return self._joined(cells).clamp(0, 1), (around, total, cells)

    def back(self, slopes: Tensor, soft: Soft) -> Tensor:
        """Return derivatives by the seeds from those by the pixels of the mask."""
        (height, width), (rows, columns) = self._cells, self._lengths
        around, total, cells = soft
        padded = functional.pad(slopes, (0, width * self.step - columns, 0, height * self.step - rows))
        share = padded.reshape(height, self.step, width, self.step).transpose(1, 2).reshape(height * width, -1) / total
        plain = share * (1 - SHARPNESS * cells)
        by_seeds = torch.empty_like(around)
        for part in self._parts(around):
            weights = self._weights(around[part]).mul_(self.kernel)
            of_weights = torch.bmm(plain[part, None], weights)
            of_values = torch.bmm(share[part, None], weights.mul_(self.kernel))
            by_seeds[part] = (of_weights + SHARPNESS * around[part, None] * of_values)[:, 0]
        side = 2 * self.reach + 1
        return functional.fold(by_seeds.T[None], self.shape, side, padding=self.reach + self.beyond)[0, 0]

    def _weights(self, around: Tensor) -> Tensor:
        """Return how much each seed around counts at each pixel of cells; at most exp 20, as seeds are at most 1."""
        return torch.mul(self.kernel, around[:, None]).mul_(SHARPNESS).exp_()

    def _parts(self, around: Tensor) -> Iterator[slice]:
        count = max(1, AT_ONCE // self.kernel.numel())
        return (slice(start, start + count) for start in range(0, len(around), count))

    def _joined(self, cells: Tensor) -> Tensor:
        """Return the picture of cells ``(cells, pixels)``."""
        (height, width), (rows, columns) = self._cells, self._lengths
        pixels = cells.reshape(height, width, self.step, self.step).transpose(1, 2)
        return pixels.reshape(height * self.step, width * self.step)[:rows, :columns]

    @property
    def _cells(self) -> tuple[int, int]:
        return self.shape[0] + 2 * self.beyond, self.shape[1] + 2 * self.beyond

    @property
    def _lengths(self) -> tuple[int, int]:
        return self.size[0] + 2 * self.beyond * self.step, self.size[1] + 2 * self.beyond * self.step


def total_variation(cells: Tensor, power: float) -> tuple[Tensor, Tensor]:
    """Return ``Σ |difference|^power`` over all pairs of neighbors of ``cells (h, w)``, and its derivative.

    A step of height 1 between two halves gives the length of their border for any power.
    """
    slopes = torch.zeros_like(cells)
    total = cells.new_zeros(())
    for axis in (0, 1):
        steps = cells.diff(dim=axis)
        total = total + steps.abs().pow(power).sum()
        push = power * steps.abs().pow(power - 1) * steps.sign()
        slopes.narrow(axis, 1, push.shape[axis]).add_(push)
        slopes.narrow(axis, 0, push.shape[axis]).sub_(push)
    return total, slopes


def area_error(mask: Tensor, pixels: float, whole: int, held: float = 0.0) -> tuple[Tensor, Tensor]:
    """Return how far a mask is from being 1 on so many of its pixels and 0 elsewhere, with slopes.

    That is the sum of squares of the sorted mask less the sorted ideal (Fong, Patrick, Vedaldi 2019, eq. 4), as a share
    of ``whole``, the pixels of the photo; and ``held`` times the square of the sum of the mask less the pixels, as such
    a share: soft edges alone would let the area drift. In the slopes, a pixel's ideal is the mean of those of all
    pixels of its value: which of them leads is chance.
    """
    values, order = mask.flatten().sort(descending=True, stable=True)
    up, top = -values, round(pixels)
    first, last = torch.searchsorted(up, up - NEARLY), torch.searchsorted(up, up + NEARLY, right=True)
    ideal = (last.clamp_max(top) - first).clamp_min_(0).to(mask) / (last - first)
    over = (mask.sum() - pixels) / whole
    slopes = torch.empty_like(values).scatter_(0, order, 2 * (values - ideal + held * over) / whole)
    error = ((values[:top] - 1).square().sum() + values[top:].square().sum()) / whole
    return error + held * over**2, slopes.reshape(mask.shape)


def _enlarging(side: int, cell: int, sigma: float) -> Tensor:
    """Return the matrix ``(side, cells)`` that enlarges a row of cells to pixels and smooths them."""
    count = -(-side // cell)
    place = ((torch.arange(side, dtype=torch.float64) + 0.5) / cell - 0.5).clamp_(0, count - 1)
    cells = torch.arange(count, dtype=torch.float64)
    large = (1 - (place[:, None] - cells).abs()).clamp_min(0)
    if sigma <= 0:
        return large
    radius = max(1, int(3 * sigma + 0.5))
    steps = torch.arange(-radius, radius + 1)
    weights = torch.exp(-(steps.double() ** 2) / (2 * sigma**2))
    near = (torch.arange(side)[:, None] + steps).clamp_(0, side - 1)
    smooth = torch.zeros((side, side), dtype=torch.float64)
    smooth.scatter_add_(1, near, (weights / weights.sum()).expand(side, -1).contiguous())
    return smooth @ large
