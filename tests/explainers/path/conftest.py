"""What the tests of path methods share: closed-form nets, and PAIR's way of asking for a gradient."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from xaiwidgets.model import references


class Quadratic(nn.Module):
    """Σ wᵢ xᵢ² over a gray picture of 30 pixels."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(-1, 2, 30, dtype=torch.float64))

    def forward(self, x):
        return ((x.flatten(1) ** 2) @ self.weight)[:, None]


class Smooth(nn.Module):
    """A convolutional net without a kink: softplus and average pooling."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(5)
            self.net = nn.Sequential(
                nn.Conv2d(3, 8, 3, padding=1),
                nn.Softplus(),
                nn.AvgPool2d(2),
                nn.Conv2d(8, 8, 3, padding=1),
                nn.Softplus(),
                nn.AdaptiveAvgPool2d(1),
                nn.Flatten(),
                nn.Linear(8, 5),
            ).double()
        with torch.no_grad():
            for part in self.net:
                if hasattr(part, "weight"):
                    part.weight *= 3  # so that it is far from linear

    def forward(self, x):
        return self.net(x)


@pytest.fixture
def quadratic():
    return Quadratic()


@pytest.fixture
def smooth():
    return Smooth()


@pytest.fixture
def registry(monkeypatch):
    """Give the test a registry of reference sets of its own."""
    monkeypatch.setattr(references, "_SETS", {})


@pytest.fixture
def asked():
    """Return PAIR's ``call_model_function`` for a module and a class; PAIR leaves the channels where they are."""
    from saliency.core import INPUT_OUTPUT_GRADIENTS

    def make(module, target):
        def call(batch, call_model_args=None, expected_keys=None):
            leaf = torch.from_numpy(np.asarray(batch)).requires_grad_()
            return {INPUT_OUTPUT_GRADIENTS: torch.autograd.grad(module(leaf)[:, target].sum(), leaf)[0].numpy()}

        return call

    return make
