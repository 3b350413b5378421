"""Two classifiers of shapes at 96 px that differ in their first convolution alone: large and coarse, small and fine.

This module imports torch: import it inside functions.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import nn


def stem11s4() -> nn.Sequential:
    """Return an untrained net with 11 × 11 filters at stride 4 first: (N, 3, 96, 96) to four logits."""
    return _net(nn.Conv2d(3, 16, 11, stride=4, padding=5))


def stem7s2() -> nn.Sequential:
    """Return an untrained net with 7 × 7 filters at stride 2 first: (N, 3, 96, 96) to four logits."""
    return _net(nn.Conv2d(3, 16, 7, stride=2, padding=3))


NETS = {"stem11s4": stem11s4, "stem7s2": stem7s2}


def _net(stem: nn.Conv2d) -> nn.Sequential:
    trunk = (
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1),
        nn.ReLU(),
    )
    head = OrderedDict(pool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), classifier=nn.Linear(64, 4))
    return nn.Sequential(OrderedDict(features=nn.Sequential(stem, *trunk), **head))
