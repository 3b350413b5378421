"""Running mean, mean square, variance and standard error over samples, without keeping the samples."""

from __future__ import annotations

from typing import Any

import numpy as np


class Moments:
    """Sums of samples ``(N, ...)`` in float64."""

    def __init__(self) -> None:
        self.count = 0
        self._mean: Any = 0.0
        self._spread: Any = 0.0

    def add(self, samples: Any) -> None:
        """Add a batch of samples (Chan, Golub, LeVeque 1979: a pairwise update that does not cancel)."""
        batch = np.asarray(samples, dtype=np.float64)
        count = len(batch)
        mean = batch.mean(axis=0)
        spread = ((batch - mean) ** 2).sum(axis=0)
        total = self.count + count
        shift = mean - self._mean
        self._spread = self._spread + spread + shift**2 * (self.count * count / total)
        self._mean = self._mean + shift * (count / total)
        self.count = total

    def of(self, moment: str) -> Any:
        """Return the ``mean``, mean ``square`` or ``variance`` as float32."""
        variance = self._spread / self.count
        found = {"mean": self._mean, "square": self._mean**2 + variance, "variance": variance}[moment]
        return np.asarray(found, dtype=np.float32)

    def standard_error(self) -> Any:
        """Return the standard error of the mean; zero for a single sample."""
        if self.count < 2:
            return np.zeros_like(self._mean, dtype=np.float32)
        return np.sqrt(self._spread / (self.count - 1) / self.count).astype(np.float32)
