"""Up-convolutional networks from features to pictures.

This module imports torch: import it inside functions.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

#: Slope of the leaky activations (Dosovitskiy and Brox 2016). ``WIDTH``: channels of the last maps.
SLOPE, WIDTH = 0.2, 32
#: Units of the first fully connected layer, and the side of the map that the second gives.
UNITS, SEED_SIDE = 256, 4


class UpConv(nn.Module):
    """Features ``(N, *shape)`` to pixels ``(N, C, H, W)`` around [0, 1].

    A vector goes through two fully connected layers to a small map; a map through a convolution. Then maps are doubled
    until they are about as large as the picture, brought to its size, and convolved to colors. Features are centered
    and scaled first, and what is learned is added to the mean picture: so features that say nothing give it from the
    start.
    """

    center: Tensor
    scale: Tensor
    mean: Tensor

    def __init__(self, shape: tuple[int, ...], mean: Tensor, center: Tensor, scale: Tensor) -> None:
        super().__init__()
        channels, height, width = mean.shape
        self.register_buffer("mean", mean.clone())
        self.register_buffer("center", center.clone())
        self.register_buffer("scale", scale.clone())
        self.size = height, width
        if len(shape) == 3:
            wide = min(4 * WIDTH, max(WIDTH, shape[0]))
            self.first: nn.Module = nn.Sequential(
                nn.Conv2d(shape[0], wide, 3, padding=1),
                nn.LeakyReLU(SLOPE),
                nn.Conv2d(wide, WIDTH, 3, padding=1),
                nn.LeakyReLU(SLOPE),
            )
            side = min(shape[1:])
        else:
            self.first = nn.Sequential(
                nn.Flatten(),
                nn.Linear(math.prod(shape), UNITS),
                nn.LeakyReLU(SLOPE),
                nn.Linear(UNITS, WIDTH * SEED_SIDE**2),
                nn.LeakyReLU(SLOPE),
                nn.Unflatten(1, (WIDTH, SEED_SIDE, SEED_SIDE)),
            )
            side = SEED_SIDE
        doublings = max(0, round(math.log2(min(height, width) / side)))
        ups: list[nn.Module] = []
        for _ in range(doublings):
            ups += [nn.ConvTranspose2d(WIDTH, WIDTH, 4, stride=2, padding=1), nn.LeakyReLU(SLOPE)]
        self.ups = nn.Sequential(*ups)
        self.last = nn.Conv2d(WIDTH, channels, 3, padding=1)
        for parameter in self.last.parameters():
            nn.init.zeros_(parameter)

    def forward(self, features: Tensor) -> Tensor:
        """Return pixels, not yet clipped to [0, 1]."""
        maps: Tensor = self.ups(self.first((features - self.center) / self.scale))
        if maps.shape[-2:] != self.size:
            maps = nn.functional.interpolate(maps, size=self.size, mode="bilinear", align_corners=False)
        colors: Tensor = self.last(maps)
        return self.mean + colors


def fresh(shape: tuple[int, ...], mean: Tensor, center: Tensor, scale: Tensor, seed: int) -> UpConv:
    """Return an untrained network; the global random state stays as it is."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return UpConv(shape, mean, center, scale)
