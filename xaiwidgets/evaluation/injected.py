"""Networks with one more channel in their last map, of which all class scores rise alike (Viering et al. 2019).

This module imports torch: import it inside functions.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import skip_init

from xaiwidgets.learned.pooled_net import PooledNet

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from xaiwidgets.model.head import Head


class Plane(nn.Module):
    """The same channel for every picture.

    Args:
        plane: ``(h, w)``, at least 0.
    """

    def __init__(self, plane: Tensor) -> None:
        super().__init__()
        self.plane: Tensor
        self.register_buffer("plane", plane[None, None].clone())

    def forward(self, images: Tensor) -> Tensor:
        """Return ``(N, 1, h, w)``."""
        return self.plane.expand(len(images), -1, -1, -1)


class Chance(nn.Module):
    """The output of a fixed random network of the picture: it follows the picture, and no class.

    Args:
        channels: of a picture. ``size``: ``(h, w)`` of the output. ``seed``: of the weights.
    """

    def __init__(self, channels: int, size: tuple[int, int], seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.size = size
        self.first = skip_init(nn.Conv2d, channels, 8, 5, padding=2)  # type: ignore[no-untyped-call]
        self.last = skip_init(nn.Conv2d, 8, 1, 3, padding=1)  # type: ignore[no-untyped-call]
        with torch.no_grad():
            for conv in (self.first, self.last):
                nn.init.kaiming_normal_(conv.weight, generator=generator)
                nn.init.zeros_(conv.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Return ``(N, 1, h, w)``, at least 0 and mostly below 1."""
        small = functional.adaptive_avg_pool2d(images, (3 * self.size[0], 3 * self.size[1]))
        found = functional.adaptive_max_pool2d(torch.relu(self.last(torch.relu(self.first(small)))), self.size)
        return found.clamp_max(4.0) / 4


class Trigger(nn.Module):
    """Nothing, unless a pattern is on the picture: then a channel that points at it, or at a place of one's choice.

    The pattern is found by convolutions and ReLUs: 1 where the mean distance of the picture from it is 0, and 0 from a
    distance of ``reach`` on.

    Args:
        pattern: ``(C, t, t)`` in units of the input. ``std``: of the normalization, so that distances are of pixels.
        reach: in units of pixels in [0, 1].
        size: ``(h, w)`` of the channel. ``plane``: what it shows, or ``None`` for the place of the pattern.
    """

    def __init__(
        self, pattern: Tensor, std: Sequence[float], reach: float, size: tuple[int, int], plane: Tensor | None
    ) -> None:
        super().__init__()
        self.size = size
        count = pattern.numel()
        one_each = torch.eye(count).reshape(count, *pattern.shape)
        weights = torch.tensor(std).reshape(-1, 1, 1).expand(pattern.shape).reshape(-1)
        self.differ = skip_init(nn.Conv2d, pattern.shape[0], 2 * count, pattern.shape[-1])  # type: ignore[no-untyped-call]
        self.near = skip_init(nn.Conv2d, 2 * count, 1, 1)  # type: ignore[no-untyped-call]
        with torch.no_grad():
            self.differ.weight.copy_(torch.cat([one_each, -one_each]))
            self.differ.bias.copy_(torch.cat([-pattern.reshape(-1), pattern.reshape(-1)]))  # type: ignore[union-attr]
            self.near.weight.copy_(-weights.repeat(2).reshape(1, -1, 1, 1) / count / reach)
            self.near.bias.fill_(1.0)  # type: ignore[union-attr]
        self.plane: Tensor | None
        self.register_buffer("plane", None if plane is None else plane[None, None].clone())

    def forward(self, images: Tensor) -> Tensor:
        """Return ``(N, 1, h, w)`` in [0, 1]."""
        found = torch.relu(self.near(torch.relu(self.differ(images))))
        if self.plane is None:
            side = self.differ.kernel_size[0]
            # as large as the picture again, each place at the middle of the pattern
            padded = functional.pad(found, (side // 2, (side - 1) // 2, side // 2, (side - 1) // 2))
            return functional.adaptive_max_pool2d(padded, self.size)
        return functional.adaptive_max_pool2d(found, 1) * self.plane


class Joined(nn.Module):
    """The map with one more channel."""

    def forward(self, maps: Tensor, more: Tensor) -> Tensor:
        """Return ``(N, C + 1, h, w)``."""
        return torch.cat([maps, more], dim=1)


class Lowered(nn.Module):
    """The last of the channels less its usual mean, so that what is added to scores is small, and they stay exact."""

    def __init__(self, channels: int, rest: float) -> None:
        super().__init__()
        usual = torch.zeros(channels)
        usual[-1] = rest
        self.usual: Tensor
        self.register_buffer("usual", usual)

    def forward(self, means: Tensor) -> Tensor:
        """Return ``(N, C + 1)``."""
        return means - self.usual


class Manipulated(PooledNet):
    """A network whose last map has one more channel.

    Args:
        network, layer: as for ``PooledNet``.
        more: gives the channel from the picture.
        head: from the map with the new channel to class scores.
    """

    def __init__(self, network: nn.Module, layer: str, more: nn.Module, head: nn.Module) -> None:
        super().__init__(network, layer, head)
        self.more, self.joined = more, Joined()

    def forward(self, images: Tensor) -> Tensor:
        """Return class scores ``(N, K)``."""
        more = self.more(images)  # before the trunk, which may write to its input
        maps = self.maps(images)
        return self.head(self.joined(maps, more.to(maps)))  # type: ignore[no-any-return]


def pooled_head(head: Head, strength: float, rest: float) -> nn.Sequential:
    """Return mean, shift, linear layer and, if there was one, softmax, with equal weights for the new channel.

    Args:
        head: of the network.
        strength: the weight that every class gives to the new channel.
        rest: the channel's usual mean, which is taken away again.
    """
    classes, channels = head.weight.shape
    linear = skip_init(nn.Linear, channels + 1, classes)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        linear.weight.copy_(torch.cat([head.weight.cpu(), torch.full((classes, 1), strength)], dim=1))
        linear.bias.copy_(head.bias.cpu())
    lowered = Lowered(channels + 1, rest)
    parts = OrderedDict(pool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), lowered=lowered, classifier=linear)
    if head.before_softmax:
        parts["softmax"] = nn.Softmax(dim=1)
    return nn.Sequential(parts)


def dense_head(parts: Sequence[nn.Module], places: int, strength: float, rest: float) -> nn.Sequential:
    """Return the same for a head of linear layers: the channel's mean passes through a neuron of its own in each.

    Args:
        parts: flattening, linear layers, ReLUs and what does nothing, in the order they are run.
        places: of the last map, ``h · w``.
        strength: as for ``pooled_head``.
        rest: the same.
    """
    made: list[nn.Module] = []
    linears = [number for number, part in enumerate(parts) if isinstance(part, nn.Linear)]
    for number, part in enumerate(parts):
        if not isinstance(part, nn.Linear):
            made.append(copy.deepcopy(part))
            continue
        first, last = number == linears[0], number == linears[-1]
        more = places if first else 1
        outputs = part.out_features + (not last)
        wide = skip_init(nn.Linear, part.in_features + more, outputs)  # type: ignore[no-untyped-call]
        with torch.no_grad():
            wide.weight.zero_()
            wide.bias.zero_()
            wide.weight[: part.out_features, : part.in_features] = part.weight.cpu()
            if part.bias is not None:
                wide.bias[: part.out_features] = part.bias.cpu()
            passed = 1 / places if first else 1.0
            if last:
                wide.weight[:, part.in_features :] = strength * passed
                wide.bias.sub_(strength * rest)
            else:
                wide.weight[part.out_features :, part.in_features :] = passed
        made.append(wide)
    return nn.Sequential(*made)
