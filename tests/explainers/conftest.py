"""What the tests of explainers share: one small net written in five ways, closed-form nets, and how a method is run."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import xaiwidgets as xw
from xaiwidgets.engine.run import drive, last


class Net(nn.Module):
    """Convolution, ReLU, max-pooling, convolution, ReLU, global mean, linear; ``style``: how the ReLUs are written."""

    def __init__(self, style="module", *, bias=True, pool=True, channels=3):
        super().__init__()
        self.style, self.pool = style, pool
        with torch.random.fork_rng():
            torch.manual_seed(1)
            self.one = nn.Conv2d(channels, 6, 3, padding=1, bias=bias)
            self.two = nn.Conv2d(6, 8, 3, padding=1, bias=bias)
            self.head = nn.Linear(8, 5, bias=bias)
        if style in ("module", "inplace"):
            self.first, self.second = nn.ReLU(style == "inplace"), nn.ReLU(style == "inplace")
        if style == "reused":
            self.relu = nn.ReLU()

    def rectify(self, x, name):
        if self.style == "functional":
            return functional.relu(x)
        if self.style == "method":
            return x.relu_()
        return self.relu(x) if self.style == "reused" else getattr(self, name)(x)

    def forward(self, x):
        x = self.rectify(self.one(x), "first")
        if self.pool:
            x = functional.max_pool2d(x, 2)
        x = self.rectify(self.two(x), "second")
        return self.head(x.mean(dim=(2, 3)))


@pytest.fixture
def net():
    """Return the small net in float64."""
    return lambda style="module", **options: Net(style, **options).double().eval()


@pytest.fixture
def linear():
    """Return a linear net over (3, H, W) in float64, and its weights (5, 3, H, W)."""

    def make(height, width):
        with torch.random.fork_rng():
            torch.manual_seed(2)
            layer = nn.Linear(3 * height * width, 5)
        module = nn.Sequential(nn.Flatten(), layer).double()
        return module, layer.weight.detach().reshape(5, 3, height, width)

    return make


@pytest.fixture
def wrap():
    """Return a Model of a module that takes (3, 12, 14) unless said otherwise."""

    def make(module, size=(12, 14), mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3)):
        return xw.Model(module, size=size, mean=mean, std=std)

    return make


@pytest.fixture
def picture():
    """Return a random input of a Model, in its number type."""

    def make(model, seed=0):
        generator = torch.Generator().manual_seed(seed)
        return torch.randn((1, *model.input_shape), generator=generator, dtype=torch.float64).to(model.like)

    return make


@pytest.fixture
def run():
    """Run a method on an input tensor, and return its last result with provenance."""

    def make(method, model, image, target=0):
        return last(drive(method, model, image, model.target(target)))

    return make


@pytest.fixture
def close():
    """Assert that arrays differ by at most ``tolerance`` of the maximum of the second, which must not be all zero."""

    def check(ours, theirs, tolerance=1e-6):
        ours, theirs = (np.asarray(x.detach() if isinstance(x, torch.Tensor) else x, float) for x in (ours, theirs))
        assert ours.shape == theirs.shape
        largest = np.abs(theirs).max()
        assert largest > 0
        assert np.abs(ours - theirs).max() <= tolerance * largest

    return check


@pytest.fixture(scope="session")
def lite0():
    """The bundled network as it is loaded, the coffee photo as its input, and the espresso class."""
    model = xw.load_model()
    return model, model.input("coffee").contiguous(), model.target("espresso").classes[0]


@pytest.fixture(scope="session")
def lite0_double(lite0):
    """The same in float64.

    A derivative jumps where a ReLU's input crosses zero, and float32 rounding alone moves single values of the gradient
    on the coffee photo by 1e-3 to 2e-2 of the maximum, in PyTorch's own pass as in ours. In float64 it does not.
    """
    model, image, target = lite0
    module = copy.deepcopy(model.module).double()
    return xw.Model(module, mean=(0.5,) * 3, std=(0.5,) * 3), image.double(), target


@pytest.fixture(scope="session")
def digits_vgg():
    """The bundled net with max-pooling and fully connected layers, in float64, and an input."""
    loaded = xw.load_model("digits_vgg")
    model = xw.Model(loaded.module.double(), size=loaded.input_shape[1:], mean=(0.25,), std=(0.3,))
    generator = torch.Generator().manual_seed(0)
    return model, torch.randn((1, *model.input_shape), generator=generator, dtype=torch.float64), 3
