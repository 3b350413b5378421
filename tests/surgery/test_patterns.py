"""Signal directions in place of weights: by hand on small networks, however they are written, and what is refused."""

from __future__ import annotations

import nets
import pytest
import torch
from torch import nn
from torch.nn import functional

import xaiwidgets as xw
from xaiwidgets.errors import NotApplicable, SurgeryError
from xaiwidgets.model.propagate import unit_start, value_start
from xaiwidgets.surgery.mode import SurgeryMode, check
from xaiwidgets.surgery.ops import Op
from xaiwidgets.surgery.patches import chosen, patches
from xaiwidgets.surgery.patterns import PatternPolicy
from xaiwidgets.surgery.watch import PatternWatch


def directions(module, seed=0):
    """Return a random direction for each weighted layer of a module, by name."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(part.weight.shape, generator=generator, dtype=part.weight.dtype)
        for name, part in module.named_modules()
        if isinstance(part, (nn.Conv2d, nn.Linear))
    }


def normed(pattern, weight):
    """Return the pattern with ``wᵀa = 1`` for each unit."""
    return pattern / (pattern * weight).flatten(1).sum(dim=1).reshape(-1, *[1] * (pattern.ndim - 1))


def back(module, images, patterns, *, attribution=False, target=1, start=unit_start):
    model = xw.Model(module, size=tuple(images.shape[2:]))
    found, policy = model.propagate(
        images, model.target(target), lambda: PatternPolicy(patterns, attribution=attribution), start=start
    )
    check(policy, found.coverage, "patternnet")
    return found.inputs[0], found


class Chain(nn.Module):
    """Strides, padding, groups, a depth-wise convolution, pooling, ReLU6, a residual addition; ReLUs in any style."""

    def __init__(self, style="module"):
        super().__init__()
        self.style = style
        self.one = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.two = nn.Conv2d(8, 8, 3, padding="same", groups=4, dilation=2)
        self.three = nn.Conv2d(8, 8, 3, padding=(1, 0), groups=8)
        self.head = nn.Linear(8, 5)
        self.relu = nn.ReLU(style == "inplace")

    def rectify(self, x):
        if self.style == "functional":
            return functional.relu(x)
        return x.clamp_(min=0) if self.style == "method" else self.relu(x)

    def forward(self, x):
        x = self.rectify(self.one(x))
        x = x + functional.relu6(self.two(x) * 3)
        x = functional.max_pool2d(self.rectify(self.three(x)), 2)
        return self.head(functional.avg_pool2d(x, 2).mean((2, 3)))


def chain(style="module"):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return Chain(style).double().eval()


def by_hand(net, x, patterns, *, attribution, start):
    """Gates and switches of the true pass, weights replaced, one class: autograd through the linear rest."""

    def replaced(name):
        layer = getattr(net, name)
        pattern = normed(patterns[name], layer.weight.detach())
        return layer.weight.detach() * pattern if attribution else pattern

    with torch.no_grad():
        first = net.one(x)
        second = net.two(first.relu()) * 3
        joined = first.relu() + second.clamp(0, 6)
        third = net.three(joined)
        _, switches = functional.max_pool2d(third.relu(), 2, return_indices=True)
        score = net(x)[:, 1]
    leaf = torch.zeros_like(x).requires_grad_()
    y = functional.conv2d(leaf, replaced("one"), stride=2, padding=1) * (first > 0)
    scale = 1.0 if attribution else 1 / 3
    z = functional.conv2d(y, replaced("two"), padding="same", groups=4, dilation=2) * scale
    y = y + z * ((second > 0) & (second < 6))
    y = functional.conv2d(y, replaced("three"), padding=(1, 0), groups=8) * (third > 0)
    y = y.flatten(2).gather(2, switches.flatten(2)).reshape(switches.shape)
    y = functional.avg_pool2d(y, 2).mean((2, 3)) @ replaced("head").T
    (found,) = torch.autograd.grad((y[:, 1] * (score if start == "value" else 1.0)).sum(), leaf)
    return found


@pytest.mark.parametrize("style", ["module", "functional", "inplace", "method"])
@pytest.mark.parametrize("attribution", [False, True])
def test_equals_the_definition_by_hand(attribution, style):
    net, images = chain(style), nets.images(2).double()
    patterns = directions(net)
    start = value_start if attribution else unit_start
    found, _ = back(net, images, patterns, attribution=attribution, start=start)
    wanted = by_hand(net, images, patterns, attribution=attribution, start="value" if attribution else "one")
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-12 * float(wanted.abs().max()))


def test_weights_as_directions_of_one_layer_give_the_gradient_over_its_length():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16, 5)).double()
    images = nets.images(1, 4).double()
    weight = net[1].weight.detach()
    found, _ = back(net, images, {"1": weight})
    torch.testing.assert_close(found.flatten(), weight[1] / weight[1].square().sum())


def test_attribution_of_one_layer_sums_to_the_score():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16, 5)).double()
    images = nets.images(3, 4).double()
    found, passed = back(net, images, directions(net), attribution=True, start=value_start)
    torch.testing.assert_close(found.flatten(1).sum(dim=1), passed.score)


class Normed(nn.Module):
    """A convolution, its normalization, a ReLU; where the convolution is run twice, nothing can be folded."""

    def __init__(self, *, twice):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)
        self.head, self.twice = nn.Linear(3, 5), twice

    def forward(self, x):
        if self.twice:
            self.conv(x)  # for nothing: but now its weights are used twice
        return self.head(self.norm(self.conv(x)).relu().mean((2, 3)))


@pytest.mark.parametrize("attribution", [False, True])
def test_a_normalization_counts_the_same_folded_or_not(attribution):
    found = []
    for twice in (False, True):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            net = nets.randomize_norms(Normed(twice=twice)).double().eval()
        net.norm.weight.data[1] *= -1
        patterns = directions(net)
        if twice:
            patterns["conv#2"] = patterns["conv"]
        values, passed = back(net, nets.images().double(), patterns, attribution=attribution)
        kinds = {row["kind"] for row in passed.coverage.rows()}
        assert ("batch norm" in kinds) == twice or ("batch_norm" in kinds) == twice
        found.append(values)
    torch.testing.assert_close(found[0], found[1], rtol=1e-9, atol=0)


class Scaled(nn.Module):
    """One linear layer on a picture that is shifted, scaled and turned around, in numbers and by channel."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(3, 5)
        self.register_buffer("scale", torch.tensor([2.0, 0.0, -4.0]).reshape(1, 3, 1, 1))

    def forward(self, x):
        x = -((2 - (x - 0.5) / 0.25) * self.scale + 1)
        return self.head(x.mean((2, 3)))


def test_a_scale_is_a_unit_with_one_input():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = Scaled().double()
    images, patterns = nets.images(1, 4).double(), directions(net)
    direction = normed(patterns["head"], net.head.weight.detach())[1].reshape(1, 3, 1, 1) / 16
    signals, _ = back(net, images, patterns)
    inverse = torch.tensor([1 / 8, 0, -1 / 16], dtype=torch.float64).reshape(1, 3, 1, 1)
    torch.testing.assert_close(signals, (direction * inverse).expand(1, 3, 4, 4))
    shares, passed = back(net, images, patterns, attribution=True, start=value_start)
    torch.testing.assert_close(shares.sum(), passed.score[0])


REFUSED = {
    "SiLU": functional.silu,
    "leaky ReLU": lambda x: functional.leaky_relu(x, 0.1),
    "sigmoid": lambda x: x * torch.sigmoid(x.mean((2, 3), keepdim=True)),
    "mul": lambda x: x * x.mean((2, 3), keepdim=True),
    "softmax": lambda x: x.softmax(dim=1),
    "layer norm": lambda x: functional.layer_norm(x, x.shape[1:]),
    "hard swish": functional.hardswish,
    "exp": torch.exp,
    "div": lambda x: 1 / (x.square() + 1),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_signal_direction_is_named(name):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.head = nn.Conv2d(3, 6, 3), nn.Linear(6, 5)

        def forward(self, x):
            return self.head(REFUSED[name](self.conv(x)).relu().mean((2, 3)))

    net = Net().double()
    with pytest.raises(NotApplicable, match=rf"there is none for .*{name}"):
        back(net, nets.images().double(), directions(net))


def test_a_transposed_convolution_is_named():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.up, self.head = nn.ConvTranspose2d(3, 6, 3), nn.Linear(6, 5)

        def forward(self, x):
            return self.head(self.up(x).relu().mean((2, 3)))

    with pytest.raises(NotApplicable, match=r"conv.transpose2d at up"):
        back(net := Net().double(), nets.images().double(), directions(net))


def test_a_missing_or_misshapen_direction_is_named():
    net, images = nets.f2().double(), nets.images().double()
    patterns = directions(net)
    del patterns["3"]
    with pytest.raises(SurgeryError, match=r"\(8, 6, 3, 3\) for 3; there is none"):
        back(net, images, patterns)
    patterns["3"] = torch.ones(8, 6, 5, 5, dtype=torch.float64)
    with pytest.raises(SurgeryError, match=r"for 3; there is shape \(8, 6, 5, 5\)"):
        back(net, images, patterns)


@pytest.mark.parametrize(
    "options",
    [
        {"padding": 1},
        {"stride": 2},
        {"stride": (1, 3), "padding": (0, 2)},
        {"dilation": (2, 1), "padding": "same"},
        {"padding": "valid", "groups": 2},
        {"padding": 1, "groups": 4, "stride": 2},
    ],
    ids=str,
)
def test_patches_are_what_units_read(options):
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(3, 4, 11, 9, generator=generator, dtype=torch.float64)
    groups = options.get("groups", 1)
    weight = torch.randn(8, 4 // groups, 4, 3, generator=generator, dtype=torch.float64)
    if options.get("padding") == "same":
        weight = weight[:, :, :3]
    output = functional.conv2d(values, weight, None, **options)
    op = Op("conv", "conv2d", (values,), {"weight": weight, **options})
    count = output[0, 0].numel()
    places = torch.stack([torch.randperm(count, generator=generator)[:7] for _ in range(3)])
    read = patches(op, places, output.shape[3])
    given = chosen(output, places, groups, spatial=True)
    by_tap = weight.unflatten(0, (groups, -1)).flatten(3)  # groups, units, channels, taps
    torch.testing.assert_close(torch.einsum("ntgc,guct->ngu", read, by_tap), given)


def watched(module, places=1000):
    """Return what was told of each weighted operation: name, samples, and whether a gate was found."""
    told = {}

    def tell(name, weight, inputs, outputs, positive):
        told[name] = (outputs, positive)

    module.requires_grad_(requires_grad=False)
    leaf = nets.images(2).double().requires_grad_()
    where = []
    handles = [
        part.register_forward_pre_hook(lambda _m, _i, name=name: where.append(name))
        for name, part in module.named_modules()
    ]
    policy = PatternWatch(tell, lambda count: torch.arange(min(count, places)).expand(2, -1))
    with SurgeryMode(policy, lambda: where[-1]) as mode:
        module(leaf)
    for handle in handles:
        handle.remove()
    check(policy, mode.coverage, "patternnet")
    return told


class Gated(nn.Module):
    """One convolution and what comes between it and the head."""

    def __init__(self, between):
        super().__init__()
        self.conv, self.head, self.norm = nn.Conv2d(3, 6, 3, padding=1), nn.Linear(6, 5), nn.BatchNorm2d(6)
        self.between = between

    def forward(self, x):
        return self.head(self.between(self, self.conv(x)).mean((2, 3)))


CASES = {
    "relu": (lambda net, x: x.relu(), 0.0),
    "relu6 in place": (lambda net, x: functional.relu6(x, inplace=True), 0.0),
    "dropout, then relu": (lambda net, x: functional.dropout(x, training=False).clone().relu(), 0.0),
    "shifted": (lambda net, x: (2 * x - 0.3).relu(), 0.15),
    "pooled": (lambda net, x: functional.max_pool2d(x, 2).relu(), 0.0),
    "no relu": (lambda net, x: x, None),
    "pooled on the mean": (lambda net, x: functional.avg_pool2d(x, 2).relu(), None),
    "shifted and pooled": (lambda net, x: functional.max_pool2d(x + 0.1, 2).relu(), None),
    "added to another": (lambda net, x: (x + x.flip(2)).relu(), None),
    "read twice": (lambda net, x: x.relu() + x, 0.0),
}


@pytest.mark.parametrize("name", CASES)
def test_a_gate_is_found_where_a_relu_decides_about_the_unit(name):
    between, threshold = CASES[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = Gated(between).double().eval()
    told = watched(net)
    outputs, positive = told["conv"]
    assert told["head"][1] is None
    assert outputs.shape == (2 * 256, 1, 6)
    if threshold is None:
        assert positive is None
    else:
        assert torch.equal(positive, outputs > threshold)
        assert 0 < positive.double().mean() < 1


def test_the_gate_of_a_normalized_unit_is_that_of_the_normalized_value():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nets.randomize_norms(Gated(lambda net, x: net.norm(x).relu())).double().eval()
    net.norm.weight.data[2] *= -1
    outputs, positive = watched(net)["conv"]
    wanted = net.norm(outputs.reshape(2, 256, 6).permute(0, 2, 1)[..., None])[..., 0].permute(0, 2, 1).reshape(-1, 1, 6)
    assert torch.equal(positive, wanted > 0)


def test_dense_layers_and_second_calls_have_names_of_their_own():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.mix, self.head = nn.Conv2d(3, 3, 1), nn.Linear(3, 3), nn.Linear(3, 5)

        def forward(self, x):
            x = self.conv(self.conv(x).relu()).permute(0, 2, 3, 1)
            return self.head(self.mix(x).relu().mean((1, 2)))

    told = watched(Twice().double())
    assert {name: (tuple(y.shape), p is None) for name, (y, p) in told.items()} == {
        "conv": ((512, 1, 3), False),
        "conv#2": ((512, 1, 3), True),
        "mix": ((512, 1, 3), False),
        "head": ((2, 1, 5), True),
    }
