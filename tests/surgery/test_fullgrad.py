"""Full gradients: input and bias terms add up to the score, whatever the network is made of."""

from __future__ import annotations

import warnings

import nets
import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional

import xaiwidgets as xw
from xaiwidgets.errors import NotApplicable, SurgeryError
from xaiwidgets.model.propagate import unit_start
from xaiwidgets.model.targets import Target
from xaiwidgets.surgery.fullgrad import FullGradPolicy
from xaiwidgets.surgery.mode import check


def decompose(module, side=nets.SIZE, target=1, *, count=2, folded=False, **options):
    """Return scores, input terms, bias terms and what the pass met, in double precision."""
    model = xw.Model(module.double().eval(), size=side)
    model = model if folded else model.exactly()
    images = nets.images(count, side).double()
    found, policy = model.propagate(
        images,
        model.target(target),
        lambda: FullGradPolicy(options.pop("take", lambda maps: maps), **options),
        start=unit_start,
    )
    check(policy, found.coverage, "fullgrad")
    return found.score, (found.inputs[0] * images).flatten(1).sum(dim=1), policy.terms, found


def gap(*arguments, **options):
    """Return by how much all terms miss the scores, as a share of the sizes that are added."""
    scores, given, terms, _ = decompose(*arguments, **options)
    biases = [term.total for term in terms]
    sizes = sum((one.abs() for one in biases), given.abs())
    return float(((given + sum(biases) - scores).abs() / sizes).max())


@pytest.mark.parametrize("folded", [False, True])
@pytest.mark.parametrize("make", nets.GOOD, ids=lambda make: make.__name__)
def test_terms_add_up_however_the_network_is_written(make, folded):
    assert gap(make(), folded=folded) < 1e-12


@pytest.mark.parametrize(
    "name", ["resnet18", "densenet121", "mobilenet_v3_small", "efficientnet_b0", "convnext_tiny", "googlenet"]
)
def test_terms_add_up_on_known_networks(name):
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        more = {"init_weights": False, "transform_input": True} if name == "googlenet" else {}
        net = nets.randomize_norms(torchvision.models.get_model(name, weights=None, **more))
    assert gap(net, 32, count=1) < 1e-12


class Between(nn.Module):
    """A convolution, an operation, a convolution, and a head."""

    def __init__(self, operation, after=6):
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(after, 5, 3)
        self.operation = operation

    def forward(self, x):
        return self.two(self.operation(self.one(x))).mean((2, 3))


@pytest.fixture
def between():
    def make(operation, after=6):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return Between(operation, after)

    return make


def shifted_in_place(x):
    x.sub_(0.3)
    return x.mul_(2)


def part_in_place(x):
    x[:, :2].add_(0.7).sigmoid_()
    return x


def column_set(x):
    x[:, 0] = 0.5
    x[:, 1:3] = x[:, 3:5] * 2
    return x


def written_into_zeros(x):
    held = torch.full_like(x, 0.25)
    held[:, 2:] = x[:, :4].tanh()
    return held


def attention(x):
    tokens = x.flatten(2).transpose(1, 2)
    weights = (tokens @ tokens.transpose(1, 2) / 6).softmax(dim=-1)
    return (weights @ tokens).transpose(1, 2).reshape(x.shape)


def swapped_in_place(x):
    x.unsqueeze(0)[0].clamp_(-0.2, 0.4)
    return functional.hardswish(x, inplace=True)


RANDOM = torch.Generator().manual_seed(3)
FIXED = torch.randn(1, 6, nets.SIZE, nets.SIZE, dtype=torch.float64, generator=RANDOM)
MATRIX = torch.randn(6, 6, dtype=torch.float64, generator=RANDOM)
OPERATIONS = {
    "silu": functional.silu,
    "gelu in place of nothing": lambda x: functional.gelu(x, approximate="tanh"),
    "hardswish in place": lambda x: functional.hardswish(x, inplace=True),
    "elu in place": functional.elu_,
    "relu6 dropped": lambda x: (functional.relu6(x * 9, inplace=True), x)[1] * functional.relu6(9 * x),
    "clipped twice": lambda x: (
        (9 * functional.relu6(9 * x)).clamp(0, 54) + functional.hardtanh(functional.relu6(x), 0, 6)
    ),
    "clamped at what is clamped": lambda x: (3 * x).clamp(0, 1).clamp(0, 1) + functional.hardtanh(x.clamp(0, 1), 0, 1),
    "leaky": lambda x: functional.leaky_relu(x, 0.2),
    "glu": lambda x: torch.cat([functional.glu(x, 1), x[:, :3]], dim=1),
    "softmax": lambda x: x.softmax(dim=1),
    "square": lambda x: x * x,
    "product with itself in place": lambda x: x.mul_(x.mean((2, 3), keepdim=True)),
    "reciprocal": lambda x: 1 / (x.square() + 1),
    "quotient": lambda x: x / (x.exp() + 1),
    "constant over it": lambda x: FIXED / (x.abs() + 1),
    "rounded quotient": lambda x: torch.div(x, 0.3, rounding_mode="floor") + x,
    "power": lambda x: (x**2 + 0.1) ** 0.3,
    "difference from a number": lambda x: 1 - 2 * (x - 0.5),
    "sum with a scaled map": lambda x: torch.add(x, FIXED, alpha=0.3),
    "joined to a constant": lambda x: torch.cat([x[:, :3], FIXED[:, :3].expand(len(x), -1, -1, -1)], dim=1),
    "larger of it and a constant": lambda x: torch.maximum(x, FIXED),
    "larger of two": lambda x: torch.max(x, FIXED),
    "chosen": lambda x: torch.where(FIXED > 0, x, 0.2),
    "padded with a number": lambda x: functional.pad(x, (1, 1, 1, 1), value=0.7),
    "padded with minus infinity": lambda x: functional.max_pool2d(
        functional.pad(x, (1, 1, 1, 1), value=-float("inf")), 3, 1
    ),
    "reflected": lambda x: functional.pad(x, (1, 1, 1, 1), mode="reflect"),
    "group norm": lambda x: functional.group_norm(x, 2),
    "instance norm": functional.instance_norm,
    "layer norm": lambda x: functional.layer_norm(x, x.shape[1:]),
    "local response norm": lambda x: functional.local_response_norm(x, 3),
    "unit length": lambda x: functional.normalize(x, dim=1),
    "matrix from the left": lambda x: (MATRIX @ x.flatten(2)).reshape(x.shape),
    "einsum": lambda x: torch.einsum("ij,njhw->nihw", MATRIX, x).tanh(),
    "attention": attention,
    "detached": lambda x: x.sigmoid() * x.detach() + x.detach(),
    "resized": lambda x: functional.interpolate(x, scale_factor=2, mode="bilinear"),
    "shifted in place": shifted_in_place,
    "part in place": part_in_place,
    "column set": column_set,
    "written into zeros": written_into_zeros,
    "view in place": swapped_in_place,
    "rows flipped": lambda x: x.flip(2) + 0.1,
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_terms_add_up_through_every_kind_of_operation(name, between):
    assert gap(between(OPERATIONS[name])) < 1e-12


def kernel_of_each(x):
    return torch.cat([functional.conv2d(one[None], one[None, :, :3, :3].expand(6, -1, -1, -1)) for one in x])


def test_kernels_made_of_the_picture_count_as_input(between):
    assert gap(between(kernel_of_each), count=1) < 1e-12
    with pytest.raises(SurgeryError, match=r"conv at the model itself gives \(1, 6, 14, 14\) for 2 images"):
        gap(between(kernel_of_each))


@pytest.mark.parametrize(
    "target",
    [3, Target.difference(2, 0), Target.hidden("3", 2), Target.hidden("0", 1, "max"), Target.hidden("7", 4)],
    ids=str,
)
def test_terms_add_up_for_every_linear_target(target):
    assert gap(nets.f2(), target=target) < 1e-12


def test_without_biases_there_are_no_terms():
    _, _, terms, found = decompose(nets.f1())
    assert terms == []
    assert {row["rule"] for row in found.coverage.rows()} == {"gradient"}


def test_each_term_is_gradient_times_effective_bias():
    """By hand, with autograd at the outputs of convolution, BatchNorm and ReLU6."""
    net = nets.f5().double()
    image = nets.images(2).double().requires_grad_()
    held, x = [], image
    for layer in net:
        if type(layer).__name__ == "BatchNormAct2d":
            scale = layer.weight / (layer.running_var + layer.eps).sqrt()
            fixed = layer.running_mean, layer.running_var, layer.weight, layer.bias
            normed = functional.batch_norm(x, *fixed, eps=layer.eps)
            held.append((normed, (layer.bias - scale * layer.running_mean).reshape(1, -1, 1, 1)))
            x = normed.clamp(0, 6)
            held.append((x, 6.0 * (normed >= 6)))
            continue
        x = layer(x)
        if type(layer) is nn.BatchNorm2d:
            scale = layer.weight / (layer.running_var + layer.eps).sqrt()
            held.append((x, (layer.bias - scale * layer.running_mean).reshape(1, -1, 1, 1)))
        elif getattr(layer, "bias", None) is not None:
            held.append((x, layer.bias.reshape(1, -1, *[1] * (x.ndim - 2))))
    gradients = torch.autograd.grad(x[:, 1].sum(), [one for one, _ in held])
    wanted = [g * b for g, (_, b) in zip(gradients, held, strict=True)]
    _, _, terms, _ = decompose(net)
    assert [term.kind for term in terms] == [
        "batch_norm", "relu6", "batch_norm", "relu6", "conv", "batch_norm", "linear",
    ]  # fmt: skip
    for term, one in zip(terms, wanted, strict=True):
        torch.testing.assert_close(term.total, one.flatten(1).sum(dim=1), rtol=1e-12, atol=1e-15)
        if term.map is not None:
            torch.testing.assert_close(term.map, one.detach(), rtol=1e-12, atol=1e-15)
    assert terms[-1].map is None


class ChannelsLast(nn.Module):
    """ConvNeXt's way: layers over the last dimension of permuted maps."""

    def __init__(self):
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 6, 4, 2), nn.LayerNorm(6)
        self.mix, self.head = nn.Linear(6, 8), nn.Linear(8, 5)

    def forward(self, x):
        x = functional.gelu(self.mix(self.norm(self.stem(x).permute(0, 2, 3, 1)))).permute(0, 3, 1, 2)
        return self.head(x.mean((2, 3)))


def test_maps_have_rows_and_columns_last_in_either_layout():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = ChannelsLast()
    shapes = [None if term.map is None else tuple(term.map.shape) for term in decompose(net)[2]]
    assert shapes == [(2, 6, 7, 7), (2, 6, 7, 7), (2, 8, 7, 7), (2, 8, 7, 7), None]


def test_a_map_of_one_place_is_no_map():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = torchvision.ops.SqueezeExcitation(3, 2)
    net = nn.Sequential(net, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 5))
    found = {(t.layer, t.kind): t.map is not None for t in decompose(net)[2]}
    assert found == {
        ("0.fc1", "conv"): False,
        ("0.fc2", "conv"): False,
        ("0.scale_activation", "sigmoid"): False,
        ("0", "mul"): True,
        ("3", "linear"): False,
    }


def test_simple_keeps_gradients_of_layers_with_a_bias_of_their_own():
    _, _, full, _ = decompose(nets.f5())
    _, _, simple, _ = decompose(nets.f5(), simple=True)
    kept = [(t.kind, t.map is not None) for t in simple]
    assert kept == [(t.kind, t.map is not None and t.rule == "bias") for t in full]
    net = nets.f5().double()
    bias = net.conv_pw.bias.detach().reshape(1, -1, 1, 1)
    (one,), (other,) = ([t.map for t in terms if t.kind == "conv"] for terms in (full, simple))
    torch.testing.assert_close(other * bias, one)


class Own(torch.autograd.Function):
    """An operation that no mode sees."""

    @staticmethod
    def forward(ctx, x):
        return x + 1

    @staticmethod
    def backward(ctx, signal):
        return signal


def test_what_hides_is_named(between):
    with pytest.raises(NotApplicable, match=r"fullgrad needs .*OwnBackward"):
        decompose(between(Own.apply))
