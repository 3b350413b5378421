"""Networks that tests train for themselves in seconds, once a process, and the pictures that they learn from."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from xaiwidgets.learned.recipes import recipe, train_steps


@functools.cache
def digits8(seed=0):
    """Return a network on scikit-learn's digits of 8 × 8 that is right on about 98 in 100."""
    *_, end = train_steps("digits8", seed=seed, epochs=15)
    assert end.test_accuracy > 0.96
    return end.model


def digits(split="test"):
    """Return pictures ``(N, 8, 8, 1)`` in [0, 1] and labels ``(N,)``."""
    return recipe("digits8").load(split)


def nearest(pictures, known):
    """Return the distance of each picture to the nearest known one."""
    one, other = (np.reshape(p, (len(p), -1)) for p in (pictures, known))
    return np.sqrt(((one[:, None] - other[None]) ** 2).sum(axis=2)).min(axis=1)


@functools.cache
def digits16(seed=0):
    """Return a network on the same digits, enlarged to 16 × 16."""
    from torch import nn

    from xaiwidgets.data.shape_nets import digits8 as make8

    def make():
        return nn.Sequential(nn.MaxPool2d(2), make8())

    made = dataclasses.replace(recipe("digits8"), id="digits16", make=make, load=enlarged)
    *_, end = train_steps(made, seed=seed, epochs=15)
    assert end.test_accuracy > 0.95
    return end.model


@functools.cache
def enlarged(split):
    """Return the digits at 16 × 16, bilinear."""
    from xaiwidgets.render.resize import bilinear

    images, labels = digits(split)
    return np.stack([bilinear(image[..., 0], (16, 16))[..., None] for image in images]), labels
