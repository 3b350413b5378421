"""The loss that makes a generator of a decoder: what it makes must have the code that it was made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor


@dataclass(frozen=True)
class CodeError:
    """What a pass scores for a generator: the squared error of a code, one wanted code an image.

    Attributes:
        layer: that gives the code. ``wanted``: codes ``(N, D)``. ``scale``: what a unit of error is, ``(D,)``.
    """

    layer: str
    wanted: Tensor
    scale: Tensor

    @property
    def layers(self) -> tuple[str, ...]:
        """The layer that gives the code."""
        return (self.layer,)

    def score(self, outputs: Tensor, records: Mapping[str, Tensor] | None = None) -> Tensor:
        """Return the mean squared error ``(N,)``."""
        code = (records or {})[self.layer]
        return ((code - self.wanted.to(code)) / self.scale.to(code)).square().mean(dim=1)
