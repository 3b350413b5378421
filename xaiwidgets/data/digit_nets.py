"""Two small classifiers of digit canvases, trained by ``train_digits`` and shipped with their weights.

This module imports torch: import it inside functions.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

#: What a canvas in [0, 1] is normalized with.
MEAN, STD = 0.25, 0.3


def digits_gap() -> nn.Sequential:
    """Return an untrained conv–BN–ReLU–max-pool net with a global-average-pooling head: (N, 1, 48, 48) to ten logits.

    The last map is ``(48, 12, 12)``. The linear layer after the average equals a 1×1 convolution before it.
    """
    features = nn.Sequential(
        *_normed(1, 12),
        nn.MaxPool2d(2),
        *_normed(12, 24),
        nn.MaxPool2d(2),
        *_normed(24, 48),
        *_normed(48, 48),
    )
    return _classifier(features, pool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), classifier=nn.Linear(48, 10))


def digits_vgg() -> nn.Sequential:
    """Return an untrained conv–ReLU–max-pool net with two fully connected layers: ``(N, 1, 48, 48)`` to ten logits.

    It has biases everywhere and no normalization; the last map is ``(48, 6, 6)``.
    """
    features = nn.Sequential(
        *_plain(1, 16),
        nn.MaxPool2d(2),
        *_plain(16, 32),
        nn.MaxPool2d(2),
        *_plain(32, 48),
        *_plain(48, 48),
        nn.MaxPool2d(2),
    )
    head = nn.Sequential(nn.Linear(48 * 6 * 6, 96), nn.ReLU(), nn.Linear(96, 10))
    return _classifier(features, flatten=nn.Flatten(), classifier=head)


NETS = {"digits_gap": digits_gap, "digits_vgg": digits_vgg}


def _normed(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    # batch normalization has the bias
    return nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()


def _plain(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()


def _classifier(features: nn.Module, **rest: nn.Module) -> nn.Sequential:
    return nn.Sequential(OrderedDict(features=features, **rest))
