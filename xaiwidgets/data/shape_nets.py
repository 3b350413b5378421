"""Small classifiers for the teaching data: of shapes on textures, and of scikit-learn's digits as they are.

This module imports torch: import it inside functions.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

#: What a picture of a shape is normalized with.
MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)


def shapes_gap() -> nn.Sequential:
    """Return an untrained conv–ReLU–max-pool net with a global-average-pooling head: (N, 3, 48, 48) to four logits.

    The last map is ``(64, 12, 12)``.
    """
    features = nn.Sequential(
        nn.Conv2d(3, 16, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1),
        nn.ReLU(),
    )
    head = OrderedDict(pool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), classifier=nn.Linear(64, 4))
    return nn.Sequential(OrderedDict(features=features, **head))


def digits8() -> nn.Sequential:
    """Return an untrained conv–ReLU net with two fully connected layers: (N, 1, 8, 8) to ten logits."""
    features = nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
    )
    head = nn.Sequential(nn.Linear(64 * 4 * 4, 128), nn.ReLU(), nn.Linear(128, 10))
    return nn.Sequential(OrderedDict(features=features, flatten=nn.Flatten(), classifier=head))


def digits16() -> nn.Sequential:
    """Return an untrained conv–ReLU net with a code of 64 numbers: (N, 1, 16, 16) to ten logits."""
    features = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
    )
    head = nn.Sequential(nn.Linear(32 * 4 * 4, 64), nn.ReLU(), nn.Linear(64, 10))
    return nn.Sequential(OrderedDict(features=features, flatten=nn.Flatten(), classifier=head))


NETS = {"shapes_gap": shapes_gap, "digits8": digits8}
