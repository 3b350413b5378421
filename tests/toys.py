"""Functions of two numbers as networks of two-pixel pictures, whose shares can be worked out by hand."""

from __future__ import annotations

import torch
from torch import nn


class Two(nn.Module):
    """A function of two pixels as the only class score."""

    def __init__(self, layers):
        super().__init__()
        self.layers = layers.double()

    def forward(self, x):
        return self.layers(x.flatten(1))


def dense(weights, bias=0.0):
    layer = nn.Linear(len(weights[0]), len(weights))
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(weights))
        layer.bias.fill_(bias)
    return layer


def smaller():
    """``min(a, b) = a − relu(a − b)`` for positive numbers, every unit directly behind weights."""
    return Two(nn.Sequential(dense([[1.0, 0.0], [1.0, -1.0]]), nn.ReLU(), dense([[1.0, -1.0]])))


def saturating():
    """``1 − relu(1 − a − b)``."""
    return Two(nn.Sequential(dense([[-1.0, -1.0]], 1.0), nn.ReLU(), dense([[-1.0]], 1.0)))


def pixels(first, second):
    """The picture of two numbers."""
    return torch.tensor([[[[first, second]]]], dtype=torch.float64)
