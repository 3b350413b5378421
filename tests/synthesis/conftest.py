"""Small networks whose best picture is known, or that misbehave on purpose."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from xaiwidgets.model.model import Model


def make_conv_net(dtype: torch.dtype = torch.float32) -> Model:
    """A seeded convolutional network on 3 × 16 × 16 with four classes and a functional ReLU."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(3, 6, 5, padding=2)
            self.second = nn.Conv2d(6, 8, 3, padding=1, stride=2)
            self.head = nn.Linear(8, 4)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            hidden = torch.relu(self.second(torch.relu(self.first(images))))
            return self.head(hidden.mean((2, 3)))

    net = seeded(Net())
    return Model(net.to(dtype), size=16, mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3), name="conv")


def make_linear_net(scale: float = 0.02) -> Model:
    """Scores that are linear in a gray picture of 6 × 6, in float64."""
    net = seeded(nn.Sequential(nn.Flatten(), nn.Linear(36, 2, bias=False))).double()
    with torch.no_grad():
        net[1].weight.mul_(scale / net[1].weight.abs().max())
    return Model(net, size=6, mean=(0.5,), std=(0.25,), name="linear")


def make_gated_net(threshold: float) -> Model:
    """Scores that are zero, with zero slope, until a linear score passes ``threshold``."""

    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(36, 2, bias=False)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.relu(self.linear(images.flatten(1)).abs() - threshold)

    return Model(seeded(Gated()), size=6, mean=(0.5,), std=(0.25,), name="gated")


def make_cliff_net() -> Model:
    """A score that rises until it is not a number."""

    class Cliff(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(36, 2, bias=False)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            score = self.linear(images.flatten(1))
            return score + 0.0 * torch.sqrt(4.0 - score)

    return Model(seeded(Cliff()), size=6, mean=(0.5,), std=(0.25,), name="cliff")


def seeded(net: nn.Module) -> nn.Module:
    """Fill all weights from a private generator."""
    random = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for weight in net.parameters():
            weight.copy_(torch.randn(weight.shape, generator=random) / max(1, weight[0].numel()) ** 0.5)
    return net.eval()


@pytest.fixture(scope="session")
def conv_net() -> Model:
    return make_conv_net()


@pytest.fixture(scope="session")
def precise_net() -> Model:
    """The convolutional network in double precision."""
    return make_conv_net(torch.float64)


@pytest.fixture(scope="session")
def linear_net() -> Model:
    return make_linear_net()


@pytest.fixture(scope="session")
def dead_net() -> Model:
    return make_gated_net(1e6)


@pytest.fixture(scope="session")
def sleeping_net() -> Model:
    return make_gated_net(0.01)


@pytest.fixture(scope="session")
def cliff_net() -> Model:
    return make_cliff_net()
