"""A network that is a weighted sum of pixels: what every test of faithfulness knows the answer for."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

import xaiwidgets as xw

SIDE = 8


def linear_model(weights=None, side=SIDE, channels=1, mean=0.0):
    """Return a Model whose first logit is Σ wx, whose second is 0, and the weights ``(C, H, W)``."""
    if weights is None:
        weights = np.random.default_rng(0).normal(size=(channels, side, side)).astype(np.float32)
    layer = nn.Linear(weights.size, 2)
    with torch.no_grad():
        layer.weight.zero_()
        layer.bias.zero_()
        layer.weight[0] = torch.as_tensor(weights.ravel())
    net = nn.Sequential(nn.Flatten(), layer)
    colors = len(weights)
    return xw.Model(net, mean=(mean,) * colors, std=(1.0,) * colors, size=side, crop=1.0, name="linear"), weights


def bright(side=SIDE, channels=1, seed=1):
    """Return pixels ``(H, W, C)`` of which none is black."""
    return np.random.default_rng(seed).uniform(0.2, 1, (side, side, channels)).astype(np.float32)
