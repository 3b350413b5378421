"""What a picture is made of: pixels, waves, a coarse grid, or a pyramid. One tensor of values gives a batch of them.

The picture is the same function of other coordinates, so gradient ascent goes other ways: by pixels it ends in fine
noise; by waves scaled like those of photos, in larger shapes (Olah, Mordvintsev and Schubert 2017).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import numpy as np

from xaiwidgets.errors import InvalidKnob
from xaiwidgets.synthesis import colors

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Generator, Tensor

#: Lucid's number that keeps the contrast of the start low.
CALM = 4.0


class Parameterization(ABC):
    """A way to write pictures ``(N, C, H, W)`` in [0, 1] as one tensor of values.

    Attributes:
        shape: of the pictures. ``correlated``: whether colors have the correlations of photos.
        pace: what a step size for waves is multiplied with.
    """

    name = ""
    pace = 1.0

    def __init__(self, shape: tuple[int, int, int, int], *, correlated: bool = True) -> None:
        self.shape, self.correlated = shape, correlated

    @abstractmethod
    def values(self, random: Generator, spread: float) -> Tensor:
        """Return the values of a start: noise of standard deviation ``spread`` in each of them."""

    @abstractmethod
    def plain(self, values: Tensor) -> Tensor:
        """Return what stands behind the colors, ``(N, C, H, W)`` without limits; differentiable."""

    def image(self, values: Tensor) -> Tensor:
        """Return the pictures in [0, 1]; differentiable."""
        return colors.to_pixels(self.plain(values), correlated=self.correlated)

    def written(self, pictures: Tensor) -> Tensor:
        """Return the values of pictures in [0, 1].

        Raises:
            InvalidKnob: these values cannot be found.
        """
        return self.inverse(colors.from_pixels(pictures, correlated=self.correlated))

    def inverse(self, plain: Tensor) -> Tensor:
        """Return the values that ``plain`` is nearest to."""
        raise InvalidKnob(
            f"start='photo' needs values that can be found for a photo; those of {self.name} cannot. "
            "Choose start='noise', or parameterization='fourier', 'pixel', 'grid' or 'pyramid'."
        )


class Pixels(Parameterization):
    """Every pixel by itself."""

    name = "pixel"

    def values(self, random: Generator, spread: float) -> Tensor:
        """Return noise."""
        return noise(self.shape, random, spread)

    def plain(self, values: Tensor) -> Tensor:
        """Return the values."""
        return values

    def inverse(self, plain: Tensor) -> Tensor:
        """Return the picture."""
        return plain


class Waves(Parameterization):
    """A spectrum, each wave weighted by its frequency: ``irfft2(values / frequency ** decay) / 4``."""

    name = "fourier"

    def __init__(self, shape: tuple[int, int, int, int], *, correlated: bool = True, decay: float = 1.0) -> None:
        super().__init__(shape, correlated=correlated)
        self.scale = 1 / np.maximum(frequencies(*shape[2:]), 1 / max(shape[2:])) ** decay

    def values(self, random: Generator, spread: float) -> Tensor:
        """Return noise in real and imaginary parts, ``(N, C, h, w, 2)``."""
        return noise((*self.shape[:2], *self.scale.shape, 2), random, spread)

    def plain(self, values: Tensor) -> Tensor:
        """Return the waves added up."""
        import torch

        spectrum = torch.view_as_complex(values.contiguous()) * self._scale(values)
        waves: Tensor = torch.fft.irfft2(spectrum, s=self.shape[2:], norm="ortho")
        return waves / CALM

    def inverse(self, plain: Tensor) -> Tensor:
        """Return the spectrum; of an odd width the column that no picture depends on is 0."""
        import torch
        from torch.nn import functional

        spectrum = torch.fft.rfft2(plain * CALM, norm="ortho")
        spectrum = functional.pad(spectrum, (0, self.scale.shape[1] - spectrum.shape[-1]))
        return torch.view_as_real(spectrum / self._scale(plain)).contiguous()

    def _scale(self, like: Tensor) -> Tensor:
        import torch

        return torch.tensor(self.scale, dtype=like.dtype, device=like.device)


class Grid(Parameterization):
    """A coarse grid of ``cells`` × ``cells`` colors, enlarged bilinearly."""

    name = "grid"

    def __init__(self, shape: tuple[int, int, int, int], *, correlated: bool = True, cells: int = 32) -> None:
        super().__init__(shape, correlated=correlated)
        self.cells = (min(cells, shape[2]), min(cells, shape[3]))

    def values(self, random: Generator, spread: float) -> Tensor:
        """Return noise in each cell."""
        return noise((*self.shape[:2], *self.cells), random, spread)

    def plain(self, values: Tensor) -> Tensor:
        """Return the grid at full size."""
        return resized(values, self.shape[2:])

    def inverse(self, plain: Tensor) -> Tensor:
        """Return the mean color of each cell."""
        from torch.nn import functional

        return functional.adaptive_avg_pool2d(plain, self.cells)


class Pyramid(Parameterization):
    """A Laplacian pyramid: grids of the full size, half, a quarter, … of it, enlarged and added."""

    name = "pyramid"

    def __init__(self, shape: tuple[int, int, int, int], *, correlated: bool = True, least: int = 4) -> None:
        super().__init__(shape, correlated=correlated)
        self.sizes = [shape[2:]]
        while min(self.sizes[-1]) >= 2 * least:
            rows, columns = self.sizes[-1]
            self.sizes.append(((rows + 1) // 2, (columns + 1) // 2))

    def values(self, random: Generator, spread: float) -> Tensor:
        """Return noise in all cells of all levels, ``(N, cells)``."""
        return noise((self.shape[0], self.shape[1] * sum(h * w for h, w in self.sizes)), random, spread)

    def plain(self, values: Tensor) -> Tensor:
        """Return the levels added up."""
        import torch

        parts = torch.split(values, [self.shape[1] * h * w for h, w in self.sizes], dim=1)
        levels = [p.reshape(*self.shape[:2], *size) for p, size in zip(parts, self.sizes, strict=True)]
        return sum((resized(level, self.shape[2:]) for level in levels[1:]), levels[0])

    def inverse(self, plain: Tensor) -> Tensor:
        """Return each level's share: what is left of the picture when the coarser ones are taken off."""
        import torch
        from torch.nn import functional

        rest, found = plain, []
        for size in reversed(self.sizes[1:]):
            level = functional.adaptive_avg_pool2d(rest, size)
            found.append(level)
            rest = rest - resized(level, self.shape[2:])
        return torch.cat([one.flatten(1) for one in (rest, *reversed(found))], dim=1)


def frequencies(rows: int, columns: int) -> NDArray[np.float64]:
    """Return the frequency of each entry of a half spectrum, in cycles a pixel; an odd width has one column more."""
    kept = columns // 2 + (2 if columns % 2 else 1)
    found: NDArray[np.float64] = np.hypot(np.fft.fftfreq(rows)[:, None], np.fft.fftfreq(columns)[:kept][None, :])
    return found


def noise(shape: tuple[int, ...], random: Generator, spread: float) -> Tensor:
    """Return normal noise of a private generator."""
    import torch

    return torch.randn(shape, generator=random) * spread


def resized(values: Tensor, size: tuple[int, int]) -> Tensor:
    """Return ``(N, C, h, w)`` enlarged bilinearly, corners not aligned."""
    from torch.nn import functional

    if tuple(values.shape[2:]) == tuple(size):
        return values
    return functional.interpolate(values, size=size, mode="bilinear", align_corners=False)
