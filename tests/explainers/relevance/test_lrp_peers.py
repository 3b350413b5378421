"""Relevance against Zennit, where its rules reach every operation, and where they and Captum's do not.

Zennit's settings are those of the catalogue: ``zero_params=None`` keeps biases, ``'bias'`` ignores them; w2 always goes
with ``'bias'``, for Zennit squares biases into the denominator.
"""

from __future__ import annotations

import copy
import warnings

import nets
import numpy as np
import pytest
import torch
from captum import attr
from torch import nn
from torch.nn import functional
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet
from zennit import rules as peer
from zennit.attribution import Gradient
from zennit.composites import (
    EpsilonAlpha2Beta1,
    EpsilonAlpha2Beta1Flat,
    EpsilonGammaBox,
    EpsilonPlus,
    EpsilonPlusFlat,
    LayerMapComposite,
    SpecialFirstLayerMapComposite,
)
from zennit.composites import GuidedBackprop as PeerGuided
from zennit.layer import Sum
from zennit.torchvision import ResNetCanonizer, SequentialMergeBatchNorm
from zennit.types import Activation, AvgPool, Convolution, Linear

import xaiwidgets as xw
from xaiwidgets import GuidedBackprop, Lrp

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
EPSILON = 1e-4


def box():
    mean, std = (torch.tensor(v, dtype=torch.float64).reshape(1, 3, 1, 1) for v in (MEAN, STD))
    return {"low": -mean / std, "high": (1 - mean) / std}


def layers(weighted, dense, bias):
    """Return a layer map with one rule for convolutions and one for dense layers, as Zennit's own composites have."""
    numbers = {"zero_params": "bias" if bias == "ignore" else None}
    made = {
        "epsilon": lambda: peer.Epsilon(EPSILON, **numbers),
        "gamma": lambda: peer.Gamma(0.25, EPSILON, **numbers),
        "zplus": lambda: peer.ZPlus(EPSILON, **numbers),
        "alpha_beta": lambda: peer.AlphaBeta(2.0, 1.0, EPSILON, **numbers),
        "w2": lambda: peer.WSquare(EPSILON, zero_params="bias"),
        "flat": lambda: peer.Flat(EPSILON, **numbers),
        "zbox": lambda: peer.ZBox(**box(), stabilizer=EPSILON, **numbers),
    }
    norm = peer.Norm(EPSILON)
    return [
        (Activation, peer.Pass()), (AvgPool, norm), (Sum, norm),
        *([(Convolution, made[weighted]())] if weighted else []), *([(Linear, made[dense]())] if dense else []),
    ]  # fmt: skip


def zennit_composite(name, bias, canonizers):
    """Return Zennit's composite of the same name, or one that is put together of its rules."""
    numbers = {"zero_params": "bias" if bias == "ignore" else None, "stabilizer": EPSILON, "canonizers": canonizers}
    own = {
        "epsilon_plus": EpsilonPlus,
        "epsilon_alpha2_beta1": EpsilonAlpha2Beta1,
        "epsilon_plus_flat": EpsilonPlusFlat,
        "epsilon_alpha2_beta1_flat": EpsilonAlpha2Beta1Flat,
    }
    if name in own:
        return own[name](epsilon=EPSILON, **numbers)
    if name == "epsilon_gamma_box":
        return EpsilonGammaBox(**box(), epsilon=EPSILON, gamma=0.25, **numbers)
    conv, _, first = name.partition("_")
    if first:
        special = [(Convolution, layers(first.replace("box", "zbox"), "", bias)[-1][1])]
        return SpecialFirstLayerMapComposite(layers(conv, conv, bias), special, canonizers=canonizers)
    return LayerMapComposite(layers(conv, conv, bias), canonizers=canonizers)


def zennit(module, image, target, composite, start=None):
    """Return Zennit's relevance; the start is the value of the score unless given."""

    def value(output):
        return output.detach() * torch.eye(output.shape[1], dtype=output.dtype)[[target]] if start is None else start

    with Gradient(copy.deepcopy(module), composite) as attributor:
        _, found = attributor(image.clone(), value)
    return found.detach()


class Vgg(nn.Module):
    """Modules only, none reused, as Zennit wants it."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(6, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1, groups=2), nn.ReLU(), nn.AvgPool2d(2),
        )  # fmt: skip
        self.classifier = nn.Sequential(nn.Linear(8 * 3 * 3, 10), nn.ReLU(), nn.Dropout(), nn.Linear(10, nets.CLASSES))

    def forward(self, x):
        return self.classifier(self.features(x).flatten(1))


@nets.seeded
def vgg():
    return Vgg()


@nets.seeded
def vgg_bn():
    net = Vgg()
    old = list(net.features)
    net.features = nn.Sequential(old[0], nn.BatchNorm2d(6), *old[1:4], nn.BatchNorm2d(8), *old[4:])
    return net


@nets.seeded
def residual():
    """Torchvision's own blocks, few and narrow: those are what Zennit's canonizer knows."""
    shortcut = nn.Sequential(nn.Conv2d(8, 12, 1, 2, bias=False), nn.BatchNorm2d(12))
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(3, 2, 1),
        BasicBlock(8, 8), BasicBlock(8, 12, 2, shortcut), BasicBlock(12, 12),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, nets.CLASSES),
    )  # fmt: skip


def without_epsilon(module):
    """Zennit leaves the epsilon of a merged normalization in place, which scales every layer by 1 − 5e-6."""
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.eps = 0.0
    return module


def wrapped(module):
    return xw.Model(module.double(), size=nets.SIZE, mean=MEAN, std=STD)


def pixels():
    values = torch.rand((1, 3, nets.SIZE, nets.SIZE), generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    mean, std = (torch.tensor(v, dtype=torch.float64).reshape(1, 3, 1, 1) for v in (MEAN, STD))
    return (values - mean) / std


NETS = {
    "vgg": (vgg, lambda: None),
    "vgg_bn": (vgg_bn, lambda: [SequentialMergeBatchNorm()]),
    "resnet": (residual, lambda: [ResNetCanonizer()]),
}
COMPARED = (
    "epsilon", "epsilon_plus", "epsilon_alpha2_beta1", "epsilon_gamma_box", "epsilon_plus_flat",
    "epsilon_alpha2_beta1_flat", "gamma", "zplus", "zplus_box", "zplus_w2", "w2", "flat",
)  # fmt: skip
#: Ours keep relevance positive through residual additions, which Zennit shares with signs.
OTHERWISE = {("resnet", name) for name in ("zplus", "zplus_box", "zplus_w2")}


@pytest.mark.parametrize("bias", ["keep", "ignore"])
@pytest.mark.parametrize("name", COMPARED)
@pytest.mark.parametrize("net", NETS)
def test_equals_zennit(net, name, bias):
    make, canonizers = NETS[net]
    module, image = without_epsilon(make()).double(), pixels()
    model = wrapped(module)
    found = Lrp(composite=name, epsilon=EPSILON, bias=bias).raw(model, image, model.target(2)).values
    wanted = zennit(module, image, 2, zennit_composite(name, bias, canonizers()))
    largest = float(wanted.abs().max())
    assert largest > 0
    error = float((found - wanted).abs().max())
    if (net, name) in OTHERWISE:
        assert error > 1e-3 * largest, "should they agree, the exception is no longer one"
    else:
        assert error <= 1e-9 * largest


def test_a_start_of_one_equals_zennits():
    module, image = vgg().double(), pixels()
    model = wrapped(module)
    found = Lrp(composite="epsilon_plus", epsilon=EPSILON, start="one").raw(model, image, model.target(3)).values
    start = torch.eye(nets.CLASSES, dtype=torch.float64)[[3]]
    wanted = zennit(module, image, 3, zennit_composite("epsilon_plus", "keep", None), start)
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-12)


# -- where the peers are silently wrong -----------------------------------------------------------------------------


def gradient_times_input(module, image, target):
    leaf = image.clone().requires_grad_()
    return (torch.autograd.grad(module(leaf.clone())[0, target], leaf)[0] * leaf).detach()


def off(found, wanted):
    """Return the relative L2 error; infinity for what is not finite."""
    error = float((found - wanted).norm() / wanted.norm())
    return error if np.isfinite(error) else float("inf")


def ours(module, image, target=1):
    model = wrapped(module)
    return Lrp(composite="epsilon", epsilon=0.0).raw(model, image, model.target(target)).values


def zennit_epsilon(module, image, canonizers=None, target=1):
    made = [(Activation, peer.Pass()), (AvgPool, peer.Norm(1e-12)), (Sum, peer.Norm(1e-12)),
            (Convolution, peer.Epsilon(1e-12)), (Linear, peer.Epsilon(1e-12))]  # fmt: skip
    return zennit(module, image, target, LayerMapComposite(made, canonizers=canonizers))


def captum_epsilon(module, image, target=1):
    module = copy.deepcopy(module)
    explainer = attr.LRP(module)
    for part in module.modules():
        if isinstance(part, (nn.Conv2d, nn.Linear)):
            part.rule = attr._utils.lrp_rules.EpsilonRule(1e-12)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return explainer.attribute(image.clone().requires_grad_(), target=target).detach()


class Small(nn.Module):
    """Two convolutions; how the rest is written is up to the subclass."""

    def __init__(self, bias=True):
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 6, 3, padding=1, bias=bias), nn.Conv2d(6, 6, 3, padding=1, bias=bias)
        self.first, self.second = nn.ReLU(), nn.ReLU()
        self.pool, self.average, self.head = nn.MaxPool2d(2), nn.AvgPool2d(4), nn.Linear(6 * 4, nets.CLASSES)

    def flat(self, x):
        return x.reshape(len(x), -1)


class Straight(Small):
    def forward(self, x):
        x = self.pool(self.first(self.one(x)))
        return self.head(self.flat(self.average(self.second(self.two(x)))))


class Functional(Small):
    def forward(self, x):
        x = self.pool(functional.relu(self.one(x)))
        return self.head(self.flat(self.average(functional.relu(self.two(x)))))


class Added(Small):
    def forward(self, x):
        x = self.pool(self.first(self.one(x)))
        return self.head(self.flat(self.average(self.second(self.two(x) + x))))


class Repooled(Small):
    def __init__(self):
        super().__init__()
        self.average = nn.AvgPool2d(2)

    def forward(self, x):
        x = self.pool(self.first(self.one(x)))
        return self.head(self.flat(self.average(self.pool(self.second(self.two(x))))))


class Disordered(Small):
    """The second normalization is declared before the first."""

    def __init__(self):
        super().__init__(bias=False)
        self.norms = nn.ModuleDict()
        self.one_, self.norm_two, self.two_, self.norm_one = self.one, nn.BatchNorm2d(6), self.two, nn.BatchNorm2d(6)

    def forward(self, x):
        x = self.pool(self.first(self.norm_one(self.one(x))))
        return self.head(self.flat(self.average(self.second(self.norm_two(self.two(x))))))


def make(kind):
    return nets.seeded(kind)().double()


def test_all_agree_on_a_straight_network():
    module, image = make(Straight), pixels()
    wanted = gradient_times_input(module, image, 1)
    assert off(ours(module, image), wanted) < 1e-9
    assert off(zennit_epsilon(module, image), wanted) < 1e-6
    assert off(captum_epsilon(module, image), wanted) < 1e-6


def test_a_residual_addition():
    module, image = make(Added), pixels()
    wanted = gradient_times_input(module, image, 1)
    assert off(ours(module, image), wanted) < 1e-9
    assert off(zennit_epsilon(module, image), wanted) > 0.5
    assert off(captum_epsilon(module, image), wanted) > 0.5


def test_a_reused_pooling():
    module, image = make(Repooled), pixels()
    wanted = gradient_times_input(module, image, 1)
    assert off(ours(module, image), wanted) < 1e-9
    with pytest.raises(RuntimeError, match="used more than once in the network"):
        captum_epsilon(module, image)


def test_normalization_declared_out_of_order():
    module, image = make(Disordered), pixels()
    wanted = gradient_times_input(module, image, 1)
    assert off(ours(module, image), wanted) < 1e-9
    merged = zennit_epsilon(module, image, [SequentialMergeBatchNorm()])
    assert off(merged, wanted) > 0.5


def test_a_residual_network_that_is_not_torchvisions():
    """Zennit's canonizer knows torchvision's classes only; without ``Sum`` modules nothing shares the additions."""
    module, image = nets.f3().double(), pixels()
    wanted = gradient_times_input(module, image, 1)
    assert off(ours(module, image), wanted) < 1e-9
    assert off(zennit_epsilon(module, image, [ResNetCanonizer()]), wanted) > 0.5


def test_functional_relus():
    """Relevance of units that are off must pass, which module hooks miss; guided backpropagation misses all ReLUs."""
    module, twin, image = make(Functional), make(Straight), pixels()
    twin.load_state_dict(module.state_dict())
    wanted = zennit(twin, image, 1, zennit_composite("w2", "ignore", None))
    model = wrapped(module)
    found = Lrp(composite="w2", epsilon=EPSILON).raw(model, image, model.target(1)).values
    assert off(found, wanted) < 1e-9
    assert off(zennit(module, image, 1, zennit_composite("w2", "ignore", None)), wanted) > 0.05

    leaf = image.clone().requires_grad_()
    plain = torch.autograd.grad(module(leaf)[0, 1], leaf)[0]
    one = torch.eye(nets.CLASSES, dtype=torch.float64)[[1]]
    assert torch.equal(zennit(module, image, 1, PeerGuided(), one), plain)
    guided = GuidedBackprop().raw(model, image, model.target(1)).values
    assert off(guided, zennit(twin, image, 1, PeerGuided(), one)) < 1e-12
    assert off(plain, guided) > 0.1


@pytest.mark.parametrize("block", [BasicBlock, Bottleneck])
def test_torchvisions_resnets_without_any_canonizer(block):
    with torch.random.fork_rng():
        torch.manual_seed(1)
        module = nets.randomize_norms(ResNet(block, [1, 1, 1, 1], num_classes=nets.CLASSES)).double().eval()
    image = pixels()
    wanted = gradient_times_input(module, image, 1)
    assert off(ours(module, image), wanted) < 1e-8
    assert off(captum_epsilon(module, image), wanted) > 0.5
