"""Tiny networks that the whole suite explains: well-behaved ones, and ones that misbehave in a known way.

Each function returns a seeded module in eval mode from ``(N, 3, 16, 16)`` to class scores, unless it says otherwise;
the global random state stays as it was.
"""

from __future__ import annotations

import functools

import torch
from torch import nn
from torch.nn import functional

SIZE = 16
CLASSES = 5


def seeded(make):
    """Make a module with reproducible weights in eval mode, normalizations with statistics of their own included."""

    @functools.wraps(make)
    def build():
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return randomize_norms(make()).eval()

    return build


def randomize_norms(net):
    """Give every batch normalization scale, shift and statistics that matter."""
    for part in net.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm) and part.running_mean is not None:
            part.running_mean.normal_(0, 0.3)
            part.running_var.uniform_(0.5, 2)
            with torch.no_grad():
                part.weight.uniform_(0.5, 1.5)
                part.bias.normal_(0, 0.2)
    return net


def images(count=1, size=SIZE, channels=3):
    """Return reproducible inputs ``(N, C, H, W)``."""
    return torch.randn((count, channels, size, size), generator=torch.Generator().manual_seed(7))


# -- well-behaved ---------------------------------------------------------------------------------------------------


def _f1(bias):
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1, bias=bias),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 8, 3, padding=1, bias=bias),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, CLASSES, bias=bias),
    )


@seeded
def f1():
    """Conv, ReLU, max-pool, conv, ReLU, GAP, linear, without any bias: piecewise linear through the origin."""
    return _f1(bias=False)


@seeded
def f2():
    """The same with biases."""
    return _f1(bias=True)


class Residual(nn.Module):
    """BatchNorm, residual additions, and ReLUs as a function, in place, reused, and as a tensor method."""

    def __init__(self):
        super().__init__()
        # declared in another order than they run in
        self.bn2 = nn.BatchNorm2d(8)
        self.bn1 = nn.BatchNorm2d(8)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1)
        self.conv3 = nn.Conv2d(8, 12, 3, stride=2, padding=1)
        self.bn3 = nn.BatchNorm2d(12)
        self.head = nn.Linear(12, CLASSES)

    def forward(self, x):
        x = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(x))
        y += x
        y = functional.relu(self.bn3(self.conv3(self.relu(y))), inplace=True)
        y = (y - 0.1).relu()
        return self.head(y.mean(dim=(2, 3)))


@seeded
def f3():
    """BatchNorm and residual adds with functional, reused and in-place ReLUs."""
    return Residual()


class FlatHead(nn.Module):
    """Convolutions, then fully connected layers after `view`, which refuses channels-last maps."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(inplace=True), nn.MaxPool2d(4)
        )
        self.classifier = nn.Sequential(
            nn.Linear(6 * 16, 10), nn.ReLU(inplace=True), nn.Dropout(), nn.Linear(10, CLASSES)
        )

    def forward(self, x):
        x = self.features(x)
        return self.classifier(x.view(x.size(0), -1))


@seeded
def f4():
    """A flattened, fully connected head."""
    return FlatHead()


@seeded
def f5():
    """ReLU6, a depth-wise convolution, and timm's normalization with the activation inside."""
    from collections import OrderedDict

    from timm.layers import BatchNormAct2d

    return nn.Sequential(
        OrderedDict(
            conv_stem=nn.Conv2d(3, 8, 3, padding=1, bias=False),
            bn1=BatchNormAct2d(8, act_layer=nn.ReLU6),
            conv_dw=nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False),
            bn2=BatchNormAct2d(8, act_layer=nn.ReLU6),
            conv_pw=nn.Conv2d(8, 12, 1),
            bn3=nn.BatchNorm2d(12),
            pool=nn.AdaptiveAvgPool2d(1),
            flat=nn.Flatten(),
            head=nn.Linear(12, CLASSES),
        )
    )


class Reused(nn.Module):
    """One convolution with its normalization run twice, and a second one whose convolution alone is reused."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.conv = nn.Conv2d(6, 6, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(6)
        self.bn2 = nn.BatchNorm2d(6)
        self.act = nn.ReLU(inplace=True)
        self.head = nn.Linear(6, CLASSES)

    def forward(self, x):
        x = self.act(self.stem(x))
        x = self.act(self.bn1(self.conv(x)))
        x = self.act(self.bn2(self.conv(x)))
        return self.head(x.mean((2, 3)))


@seeded
def reused():
    """One convolution before two normalizations: neither may be folded into it."""
    return Reused()


class Wrapped(nn.Module):
    """A convolution in a module of its own, its normalization outside: both modules give what is to be folded."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.Identity())
        self.bn = nn.BatchNorm2d(6)
        self.head = nn.Linear(6, CLASSES)

    def forward(self, x):
        return self.head(self.bn(self.inner(x)).relu().mean((2, 3)))


@seeded
def wrapped():
    """A convolution whose output other modules hand on before it is normalized."""
    return Wrapped()


@seeded
def old_weight_norm():
    """Old-style weight normalization: a hook computes the weight anew in every pass."""
    import warnings

    net = _f1(bias=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nn.utils.weight_norm(net[0])
    return net


@seeded
def new_weight_norm():
    """Weight normalization as a parametrization, before a BatchNorm."""
    net = _f1(bias=True)
    nn.utils.parametrizations.weight_norm(net[0])
    nn.utils.parametrizations.weight_norm(net[3])
    net[1] = nn.Sequential(nn.BatchNorm2d(6), nn.ReLU())
    return net


@seeded
def hooked():
    """User hooks that change what flows: a layer's output is doubled, another one's input is shifted."""
    net = _f1(bias=True)
    net[1] = nn.Sequential(nn.BatchNorm2d(6), nn.ReLU())
    net[1][0].register_forward_hook(lambda _module, _inputs, output: output * 2)
    net[3].register_forward_pre_hook(lambda _module, inputs: (inputs[0] + 0.5,))
    return net


# -- misbehaving ----------------------------------------------------------------------------------------------------


class Around(nn.Module):
    """A well-behaved net with something done before or after it."""

    def __init__(self, before=lambda x: x, after=lambda y: y):
        super().__init__()
        self.net = _f1(bias=True)
        self.before, self.after = before, after

    def forward(self, x):
        return self.after(self.net(self.before(x)))


@seeded
def returns_tuple():
    """Scores and something else."""
    return Around(after=lambda y: (y, y))


@seeded
def returns_nan():
    """NaN for every picture."""
    return Around(after=lambda y: y * float("nan"))


@seeded
def returns_map():
    """One score a class and position."""
    return nn.Conv2d(3, CLASSES, 3)


@seeded
def one_at_a_time():
    """A batch size fixed to one."""
    return Around(before=lambda x: x.reshape(1, 3, SIZE, SIZE))


@seeded
def two_at_least():
    """Statistics of the batch, which one picture does not have."""
    return nn.Sequential(_f1(bias=True), nn.BatchNorm1d(CLASSES, track_running_stats=False))


@seeded
def no_convolution():
    """Fully connected layers only."""
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * SIZE * SIZE, 8), nn.ReLU(), nn.Linear(8, CLASSES))


@seeded
def softmax_head():
    """Ends in a softmax."""
    return nn.Sequential(_f1(bias=True), nn.Softmax(dim=1))


@seeded
def in_place_input():
    """Normalizes its input in place, as the first thing."""
    return Around(before=lambda x: x.sub_(0.5).div_(0.25))


@seeded
def random_forward():
    """Dropout that is on even in eval mode."""
    return Around(before=lambda x: functional.dropout(x, 0.5, training=True))


class Stateful(nn.Module):
    """Counts its calls in a buffer and in an attribute, keeps its last map, and gives scores that drift."""

    def __init__(self):
        super().__init__()
        self.net = _f1(bias=True)
        self.register_buffer("count", torch.zeros(()))
        self.calls = 0
        self.kept = {"maps": []}

    def forward(self, x):
        self.count += 1
        self.calls += 1
        x = self.net[:3](x)
        self.kept["maps"] = [x]
        return self.net[3:](x) + 0.1 * self.count


@seeded
def stateful():
    """State between calls."""
    return Stateful()


class RaisesOnDemand(nn.Module):
    """Raises in the middle of the forward for a picture that is bright on the mean."""

    def __init__(self):
        super().__init__()
        self.net = _f1(bias=True)
        self.bn = nn.BatchNorm2d(6)

    def forward(self, x):
        y = self.bn(self.net[0](x))
        if x.mean() > 50:
            raise RuntimeError("too bright")
        return self.net[1:](y)


@seeded
def raises_on_demand():
    """Raises inside forward for inputs whose mean is above 50."""
    return RaisesOnDemand()


class Telling(nn.Module):
    """Parts that give a tuple, a list, a fixed table and a map without channels; one of them raises and is caught."""

    def __init__(self):
        super().__init__()
        self.pair = Apply(lambda x: (x, x + 1))
        self.table = Apply(lambda x: torch.ones(1, 4, 3, 3))
        self.flat = Apply(lambda x: x.mean(1))
        self.broken = Apply(lambda x: 1 / 0)
        self.net = _f1(bias=True)

    def forward(self, x):
        x, _ = self.pair(x)
        try:
            self.broken(x)
        except ZeroDivisionError:
            x = x + self.table(x).mean()
        return self.net(x + self.flat(x)[:, None])


class Apply(nn.Module):
    """A function as a module."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


@seeded
def telling():
    """Submodules with outputs that are no maps of the pictures."""
    return Telling()


GOOD = (f1, f2, f3, f4, f5, reused, wrapped, old_weight_norm, new_weight_norm, hooked)
