"""Pictures whose waves have the strength of those of photos: only where each wave stands is free."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xaiwidgets.synthesis.parameterizations import Parameterization, noise

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Generator, Tensor

#: Keeps divisions by a standard deviation from zero.
TINY = 1e-5


class Phases(Parameterization):
    """``standardized(irfft2(r * exp(i * standardized(phase))))`` with fixed amplitudes ``r`` (Fel et al. 2023, MACO).

    Waves along the two columns of a half spectrum that are their own mirror image are given opposite phases, and a
    wave that is its own mirror image phase 0; so the amplitudes of the real picture are exactly ``r``. (In Xplique and
    Horama those columns come out weaker than ``r``.)
    """

    name = "phase"

    def __init__(self, shape: tuple[int, int, int, int], magnitude: NDArray[np.float64]) -> None:
        super().__init__(shape)
        self.magnitude = magnitude

    def values(self, random: Generator, spread: float = 1.0) -> Tensor:
        """Return random phases ``(N, C, h, w // 2 + 1)``, normal as in Horama."""
        return noise((self.shape[0], *self.magnitude.shape), random, spread)

    def plain(self, values: Tensor) -> Tensor:
        """Return the picture with mean 0 and standard deviation 1."""
        import torch

        phase = self.mirrored(standardized(values))
        strength = torch.tensor(self.magnitude, dtype=values.dtype, device=values.device)
        waves: Tensor = torch.fft.irfft2(torch.polar(strength.expand_as(phase).contiguous(), phase), s=self.shape[2:])
        return standardized(waves)

    def mirrored(self, phase: Tensor) -> Tensor:
        """Return phases of a real picture: in columns that mirror onto themselves, lower rows are minus upper ones."""
        import torch

        rows, columns = self.shape[2:]
        half = (rows - 1) // 2

        def column(at: int) -> Tensor:
            upper = phase[:, :, 1 : half + 1, at]
            alone = phase.new_zeros(*phase.shape[:2], 1)
            middle = alone if rows % 2 == 0 else alone[..., :0]
            return torch.cat([alone, upper, middle, -upper.flip(2)], dim=2)[..., None]

        last = [column(columns // 2)] if columns % 2 == 0 else []
        inner = phase[..., 1 : columns // 2] if last else phase[..., 1:]
        return torch.cat([column(0), inner, *last], dim=3)


def standardized(values: Tensor) -> Tensor:
    """Return each of a batch with mean 0 and standard deviation 1."""
    flat = values.flatten(1)
    mean, deviation = flat.mean(dim=1), flat.std(dim=1)
    shape = (-1, *[1] * (values.ndim - 1))
    return (values - mean.reshape(shape)) / (deviation.reshape(shape) + TINY)
