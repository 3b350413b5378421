"""A network cut off at a layer, with a head of global average pooling in place of the rest.

This module imports torch: import it inside functions.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.utils import skip_init

from xaiwidgets.errors import InvalidModel

if TYPE_CHECKING:
    from torch import Tensor


class _Reached(BaseException):
    """Carries a layer's output out of a forward pass; no ``except Exception`` of a network is in its way."""

    def __init__(self, maps: Tensor) -> None:
        super().__init__()
        self.maps = maps


class Until(nn.Module):
    """The last layer of a trunk: what comes after it is not run."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        """Run the layer and leave the network."""
        raise _Reached(self.layer(x))


class PooledNet(nn.Module):
    """The trunk of a network, and a head that averages (Zhou et al. 2016, section 3).

    Args:
        network: a copy of the network, of which the named submodule is wrapped here.
        layer: name of the submodule where the trunk ends.
        head: from its output ``(N, C, h, w)`` to class scores ``(N, K)``.
    """

    def __init__(self, network: nn.Module, layer: str, head: nn.Module) -> None:
        super().__init__()
        parent, _, name = layer.rpartition(".")
        setattr(network.get_submodule(parent), name, Until(network.get_submodule(layer)))
        self.trunk, self.head = network, head

    def maps(self, images: Tensor) -> Tensor:
        """Return what the trunk's last layer gives, ``(N, C, h, w)``."""
        try:
            self.trunk(images)
        except _Reached as end:
            return end.maps
        raise InvalidModel("the trunk must run the layer that it ends in; for these images it did not.")

    def forward(self, images: Tensor) -> Tensor:
        """Return class scores ``(N, K)``."""
        return self.head(self.maps(images))  # type: ignore[no-any-return]


def pooling_head(inputs: int, channels: int, classes: int, seed: int) -> nn.Sequential:
    """Return an untrained head: 3×3 convolution, ReLU, mean over all places, linear layer.

    The global random state is not used.
    """
    conv = skip_init(nn.Conv2d, inputs, channels, 3, padding=1)  # type: ignore[no-untyped-call]
    linear = skip_init(nn.Linear, channels, classes)  # type: ignore[no-untyped-call]
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        nn.init.kaiming_normal_(conv.weight, nonlinearity="relu", generator=generator)
        nn.init.kaiming_normal_(linear.weight, nonlinearity="linear", generator=generator)
        nn.init.zeros_(conv.bias)
        nn.init.zeros_(linear.bias)
    parts = {"conv": conv, "relu": nn.ReLU(), "pool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten()}
    return nn.Sequential(OrderedDict(**parts, linear=linear))
