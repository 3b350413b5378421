"""A network with something around its forward pass: the logarithm of its probabilities, or a mode."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from torch import Tensor


class LogScores(nn.Module):
    """A network that ends in a softmax, with the logarithm of its probabilities as its scores."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Return log probabilities ``(N, K)``."""
        outputs = self.network(images)
        return outputs.clamp_min(torch.finfo(outputs.dtype).tiny).log()  # type: ignore[no-any-return]


class Under(nn.Module):
    """A network whose forward passes run under a mode, such as a ``TorchFunctionMode``."""

    def __init__(self, network: nn.Module, mode: Callable[[], AbstractContextManager[Any]]) -> None:
        super().__init__()
        self.network, self.mode = network, mode

    def forward(self, images: Tensor) -> Tensor:
        """Return the scores ``(N, K)`` of the transformed network."""
        with self.mode():
            return self.network(images)  # type: ignore[no-any-return]


def without_logarithm(network: nn.Module) -> nn.Module:
    """Return what ``LogScores`` wraps, under the same modes."""
    if isinstance(network, Under):
        return Under(without_logarithm(network.network), network.mode)
    return network.network if isinstance(network, LogScores) else network
