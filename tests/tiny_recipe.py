"""A recipe that trains in a fraction of a second: pictures of two classes, and room to learn them by heart."""

from __future__ import annotations

import numpy as np
from torch import nn

from xaiwidgets.learned.recipes import Recipe

SIDE = 16


def halves(split):
    """Noise whose label says which half is bright, ``(N, 16, 16, 3)``."""
    rng = np.random.default_rng(["train", "test"].index(split))
    labels = rng.integers(2, size=48 if split == "train" else 12)
    images = rng.uniform(0, 0.6, (len(labels), SIDE, SIDE, 3)).astype(np.float32)
    for image, label in zip(images, labels, strict=True):
        image[:, 8 * label : 8 * label + 8] += 0.4
    return images, labels


def net():
    """Return an untrained network with more weights than there are pixels."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8 * 64, 32), nn.ReLU(),
        nn.Linear(32, 2),
    )  # fmt: skip


def tiny():
    """Return the recipe; a new one each time, so that nothing is known of it."""
    return Recipe(
        "halves", "Halves", net, halves, ("left", "right"), mean=(0.5,) * 3, std=(0.5,) * 3, epochs=6, rate=0.01,
        batch=16,
    )  # fmt: skip
