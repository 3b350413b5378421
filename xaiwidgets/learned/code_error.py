"""The loss that makes a generator of a decoder: what it makes must have the code that it was made of."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from xaiwidgets.learned.decoders import as_inputs

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from torch import Tensor

    from xaiwidgets.model.model import Model

#: Pixels of network inputs in one pass: a whole batch of photos at once would hold up whoever pauses or cancels.
PIXELS = 16 * 224 * 224


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


def code_errors(
    model: Model,
    layer: str,
    scale: Tensor,
    made: Tensor,
    codes: Tensor,
    pause: Callable[[], Generator[None, Any, None]],
) -> Generator[None, Any, tuple[float, Tensor]]:
    """Return the mean error of the codes of pictures, and the gradient of each one's error by its network input.

    Args:
        model: gives the codes.
        layer: that does.
        scale: what a unit of error is, ``(D,)``.
        made: the pictures ``(N, C, h, w)``, without a graph.
        codes: that they must have, ``(N, D)``.
        pause: runs between passes, where there are several.
    """
    import torch

    few = max(1, PIXELS // math.prod(model.input_shape[1:]))
    scores, slopes = [], []
    for some, wanted in zip(torch.split(made, few), torch.split(codes, few), strict=True):
        inputs = as_inputs(model, some)
        found = model.gradient(inputs.to(model.like), CodeError(layer, wanted, scale), early=True)
        scores.append(found.score)
        slopes.append(found.input.to(inputs))
        if len(some) < len(made):
            yield from pause()
    with torch.inference_mode(False):
        return float(torch.cat(scores).mean()), torch.cat(slopes).clone()
