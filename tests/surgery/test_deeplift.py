"""DeepLIFT rules operation by operation: shares add up to the difference, or the operation is refused by name."""

from __future__ import annotations

import gc
import weakref

import nets
import pytest
import slow_deeplift
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - as users write it

from xaiwidgets.errors import NotApplicable
from xaiwidgets.surgery.deeplift import DeepLiftPolicy, difference_start, refuse_reached
from xaiwidgets.surgery.mode import SurgeryMode, check

ROWS = 3


class Found:
    """Multipliers, scores and receipt of one pass over pictures and references."""

    def __init__(self, module, images, references, where="", gates="split", score=None):
        leaf = torch.cat([images, references]).requires_grad_()
        self.leaf = weakref.ref(leaf)
        self.policy = DeepLiftPolicy(where, gates)
        with SurgeryMode(self.policy, lambda: "") as mode:
            mode.start(leaf)
            outputs = module(leaf.clone())
        self.coverage = mode.coverage
        check(self.policy, self.coverage, "deeplift")
        score = score or (lambda o: (o * weights_like(o)).flatten(1).sum(1))
        (start,) = difference_start(score, "deeplift")(outputs, None)
        (signal,) = torch.autograd.grad(outputs, leaf, start, allow_unused=True)
        refuse_reached(self.policy, "deeplift")
        self.multipliers, self.rest = signal.chunk(2)
        scores = score(outputs.detach())
        self.change = scores[: len(images)] - scores[len(images) :]
        self.values = (images - references) * self.multipliers

    @property
    def rules(self):
        return {(kind, rule) for _, kind, rule in self.coverage.places}

    @property
    def gap(self):
        """Largest relative error of a sum."""
        return float(((self.values.flatten(1).sum(1) - self.change) / self.change).abs().max())


def weights_like(outputs):
    """The same weights for every row."""
    generator = torch.Generator().manual_seed(5)
    return torch.randn((1, *outputs.shape[1:]), generator=generator, dtype=torch.float64)


def maps(seed, channels=8, size=7):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((ROWS, channels, size, size), generator=generator, dtype=torch.float64)


PLAIN = maps(9)[:1]
STATISTICS = (PLAIN.mean((0, 2, 3)), PLAIN.var((0, 2, 3)))
MATRIX = torch.randn((7, 5), generator=torch.Generator().manual_seed(6), dtype=torch.float64)
KERNEL = torch.randn((4, 8, 3, 3), generator=torch.Generator().manual_seed(8), dtype=torch.float64)


def overwritten(x):
    y = torch.zeros_like(x)
    y[:, ::2] = x[:, 1::2]
    y[:, 1] += 2 * x[:, 0]
    return y


def attended(x):
    rows = x.flatten(2)
    return (rows.transpose(1, 2) @ rows).softmax(-1) @ rows.transpose(1, 2)


EXACT = {
    "relu": F.relu,
    "relu_": lambda x: (x + 0).relu_(),
    "relu6": lambda x: F.relu6(9 * x),
    "leaky": F.leaky_relu,
    "prelu": lambda x: F.prelu(x, STATISTICS[0]),
    "elu_": lambda x: F.elu(x + 0, inplace=True),
    "selu": F.selu,
    "celu": F.celu,
    "silu": F.silu,
    "gelu": F.gelu,
    "mish": F.mish,
    "hardswish": F.hardswish,
    "sigmoid": torch.sigmoid,
    "hardsigmoid": F.hardsigmoid,
    "tanh": lambda x: x.tanh(),
    "softplus": F.softplus,
    "logsigmoid": F.logsigmoid,
    "softsign": F.softsign,
    "softshrink": F.softshrink,
    "hardtanh": F.hardtanh,
    "threshold": lambda x: F.threshold(x, 0.1, 3.0),
    "clamp": lambda x: x.clamp(-0.5, 0.7),
    "abs": abs,
    "exp": torch.exp,
    "power": lambda x: x**3,
    "root": lambda x: (x * x + 1).sqrt(),
    "base": lambda x: 2**x,
    "inverse": lambda x: 2 / (x.abs() + 1),
    "erf": torch.erf,
    "where": lambda x: torch.where(x > 0, x, 0.0),
    "glu": lambda x: F.glu(x, 1),
    "by hand": lambda x: x * torch.sigmoid(x),
    "square": lambda x: x * x,
    "gate": lambda x: x * x.mean((2, 3), keepdim=True).sigmoid(),
    "ratio": lambda x: x / (1 + x * x),
    "constant over map": lambda x: PLAIN / (1 + x * x),
    "softmax": lambda x: x.softmax(1),
    "log-softmax": lambda x: F.log_softmax(x, -1),
    "layer norm": lambda x: F.layer_norm(x, (7, 7), PLAIN[0, 0], PLAIN[0, 1]),
    "channel norm": lambda x: F.layer_norm(x.permute(0, 2, 3, 1), [8]).permute(0, 3, 1, 2),
    "group norm": lambda x: F.group_norm(x, 4, *STATISTICS),
    "instance norm": lambda x: F.instance_norm(x, weight=STATISTICS[0]),
    "batch norm": lambda x: F.batch_norm(x, *STATISTICS, STATISTICS[1], STATISTICS[0]),
    "larger": lambda x: torch.maximum(x, x.flip(-1)),
    "largest": lambda x: torch.max(x, x.roll(1, 1)),
    "smaller": lambda x: torch.minimum(x, x.rot90(1, (2, 3))),
    "at least": lambda x: torch.maximum(x, torch.zeros_like(x)),
    "pool": lambda x: F.max_pool2d(x, 2),
    "overlap": lambda x: F.max_pool2d(x, 3, 1, 1),
    "dilated": lambda x: F.max_pool2d(x, 2, 2, dilation=2, ceil_mode=True),
    "indices": lambda x: F.max_pool2d(x, 3, return_indices=True)[0],
    "adaptive": lambda x: F.adaptive_max_pool2d(x, 2),
    "amax": lambda x: x.amax((2, 3)),
    "max": lambda x: x.max(dim=1).values,
    "after relu": lambda x: F.max_pool2d(F.relu(x), 3, 2),
    "average": lambda x: F.avg_pool2d(x, 3),
    "up": lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"),
    "shuffle": lambda x: F.pixel_shuffle(x, 2),
    "parts": lambda x: torch.cat([x[:, 4:], *x[:, :4].split(2, 1)], 1),
    "stack": lambda x: torch.stack([x, x.repeat(1, 1, 1, 1)], 2).flatten(1, 2),
    "setitem": overwritten,
    "pad": lambda x: F.pad(x, (1, 2, 0, 1), mode="reflect"),
    "detached": lambda x: x.relu() + x.detach(),
    "detached in place": lambda x: x.relu() + x.exp().detach_(),
    "data": lambda x: x.relu() + x.data,
    "attention": attended,
    "matrix": lambda x: x @ MATRIX,
    "left matrix": lambda x: MATRIX.T @ x,
    "conv": lambda x: F.conv2d(x, KERNEL, padding="same"),
    "transposed": lambda x: F.conv_transpose2d(x[:, :4], KERNEL, stride=2),
    "sums": lambda x: (3 - x) + x.sum((2, 3), keepdim=True) / 7 - 2,
    "dropout": lambda x: F.dropout(x, 0.5, training=False),
}


@pytest.mark.parametrize("name", EXACT)
def test_shares_add_up(name):
    found = Found(EXACT[name], maps(1), maps(2))
    assert found.gap < 1e-12
    assert not found.rest.any()
    assert found.multipliers.any()


@pytest.mark.parametrize("name", [name for name in EXACT if not name.startswith(("detached", "data"))])
def test_a_picture_near_its_reference_gets_the_gradient(name):
    reference = maps(2)
    image = reference + 1e-5 * maps(1)
    leaf = reference.clone().requires_grad_()
    outputs = EXACT[name](leaf)
    (wanted,) = torch.autograd.grad((outputs * weights_like(outputs)).sum(), leaf)
    found = Found(EXACT[name], image, reference).multipliers
    assert (found - wanted).abs().max() < 2e-4 * wanted.abs().max()


SMOOTH = ("silu", "gelu", "tanh", "exp", "gate", "ratio", "softmax", "layer norm", "group norm", "attention", "glu")


@pytest.mark.parametrize("name", SMOOTH)
def test_a_change_lost_in_rounding_takes_the_slope_at_the_reference(name):
    reference = maps(2)
    image = reference * (1 + 1e-15)
    leaf = reference.clone().requires_grad_()
    outputs = EXACT[name](leaf)
    (wanted,) = torch.autograd.grad((outputs * weights_like(outputs)).sum(), leaf)
    found = Found(EXACT[name], image, reference).multipliers
    assert (found - wanted).abs().max() < 1e-10 * wanted.abs().max()


def test_an_infinite_slope_is_no_share():
    image, reference = maps(1).clamp(min=0), maps(2).clamp(min=0)
    assert ((image == 0) & (reference == 0)).any()
    found = Found(torch.sqrt, image, reference)
    assert found.multipliers.isfinite().all()
    assert found.gap < 1e-12


def test_the_rules_have_names():
    found = Found(lambda x: F.max_pool2d(F.relu(x * x.mean(1, True).sigmoid()), 2).flatten(1), maps(1), maps(2))
    assert found.rules == {
        ("mean", "linear"), ("sigmoid", "rescale"), ("mul", "split"), ("relu", "rescale"),
        ("max_pool", "cross-maximum"), ("reshape", "route"), ("identity", "linear"),
    }  # fmt: skip


def test_products_are_split_in_half():
    image, reference = maps(1), maps(2)
    found = Found(lambda x: x[:, :4] * x[:, 4:], image, reference)
    weight = weights_like(image[:, :4])
    wanted = [weight * (image[:, part] + reference[:, part]) / 2 for part in (slice(4, 8), slice(0, 4))]
    torch.testing.assert_close(found.multipliers, torch.cat(wanted, 1), rtol=1e-12, atol=1e-12)


def test_a_constant_gate_gets_nothing():
    def module(x):
        return x * x.mean((2, 3), keepdim=True).sigmoid()

    image, reference = maps(1), maps(2)
    found = Found(module, image, reference, gates="constant")
    gate = (image.mean((2, 3), keepdim=True).sigmoid() + reference.mean((2, 3), keepdim=True).sigmoid()) / 2
    torch.testing.assert_close(found.multipliers, weights_like(image) * gate, rtol=1e-12, atol=1e-12)
    assert ("mul", "gate constant") in found.rules
    assert found.gap > 1e-6


def test_two_maps_that_are_both_no_gate_are_split_all_the_same():
    found = Found(lambda x: x * x.flip(1), maps(1), maps(2), gates="constant")
    assert found.gap < 1e-12


class Dynamic(nn.Module):
    def forward(self, x):
        return F.conv2d(x, KERNEL * x.mean())


REFUSED = {
    "std": lambda x: x.std((2, 3)),
    "norm": lambda x: torch.linalg.vector_norm(x, dim=1),
    "cumsum": lambda x: x.cumsum(1),
    "einsum": lambda x: torch.einsum("nchw,ncij->nhj", x, x),
    "batch norm by statistics of the batch": lambda x: F.batch_norm(x, None, None, training=True),
    "rms norm": lambda x: F.rms_norm(x, (7,)),
    "local response norm": lambda x: F.local_response_norm(x, 3),
    "dropout": lambda x: F.dropout(x, 0.5, training=True),
    "lerp": lambda x: torch.lerp(x, x.flip(1), 0.3),
    "where": lambda x: torch.where(x > 0, x, x.exp()),
    "pow": lambda x: x.abs() ** x,
    "mean across pictures": lambda x: x - x.mean(),
    "sum across pictures": lambda x: x * x.sum(0),
    "amax across pictures": lambda x: x - x.amax(),
    "softmax across pictures": lambda x: x.softmax(0),
    "flip that moves the batch axis": lambda x: x.flip(0),
    "permute that moves the batch axis": lambda x: x.permute(1, 0, 2, 3).mean(0),
    "flatten that moves the batch axis": lambda x: x.flatten(0, 1).unflatten(0, (2 * ROWS, 8)),
    "unsqueeze that moves the batch axis": lambda x: x.unsqueeze(0)[0],
    "split that moves the batch axis": lambda x: torch.cat(x.split(ROWS)[::-1]),
    "by a computed index": lambda x: x[:, x.mean((0, 2, 3)).argsort()],
    "conv2d with settings that depend": Dynamic(),
    "matmul across pictures": lambda x: (x.flatten(1) @ x.flatten(1).T)[:, :3],
    "div": lambda x: torch.div(x, x.exp(), rounding_mode="floor"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_rule_is_refused_by_name(name):
    with pytest.raises(NotApplicable, match=f"^deeplift needs a rule for every operation under DeepLIFT.*{name}"):
        Found(REFUSED[name], maps(1), maps(2))


def test_a_network_may_look_at_its_pictures_to_branch():
    def module(x):
        assert x.mean().item() < 50
        assert x[0, 0, 0, 0].item() < 50
        assert x.max() < 50
        return x.relu()

    with torch.no_grad():
        module(maps(1))
    found = Found(module, maps(1), maps(2))
    assert found.gap < 1e-12


def test_an_odd_batch_is_no_pair():
    with pytest.raises(ValueError, match="as many references; got 3 rows"):
        DeepLiftPolicy().start(maps(1))


@pytest.mark.parametrize("where", ["", "dense", "all"])
def test_nothing_is_left_behind(where):
    """A rule that held an operation's own result would keep the graph, and so the pictures, in a circle for ever."""
    layers = [nn.Conv2d(8, 4, 3), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16, 5), nn.SiLU(True)]
    found = Found(frozen(nn.Sequential(*layers)), maps(1), maps(2), where)
    gc.collect()
    assert found.leaf() is None


def frozen(module):
    return module.double().eval().requires_grad_(False)


# -- whole chains against loops ---------------------------------------------------------------------------------------


def chain(activation=nn.ReLU):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        layers = [
            nn.Conv2d(2, 3, 3, padding=1), activation(), nn.MaxPool2d(3, 2, 1), nn.Conv2d(3, 4, 2), nn.BatchNorm2d(4),
            activation(), nn.Flatten(), nn.Linear(16, 6), activation(), nn.Linear(6, 3), nn.Tanh(),
        ]  # fmt: skip
        return frozen(nets.randomize_norms(nn.Sequential(*layers)))


@pytest.mark.parametrize("where", ["", "dense", "all"])
@pytest.mark.parametrize("activation", [nn.ReLU, nn.SiLU, nn.ReLU6])
def test_equals_plain_loops(activation, where):
    module = chain(activation)
    image, reference = maps(1, 2, 6)[:1], maps(2, 2, 6)[:1]
    reference[:, :, :3] = image[:, :, :3]  # what has not changed has a share of half of both
    wanted = slow_deeplift.multipliers(list(module), image[0], reference[0], 1, where)
    found = Found(module, image, reference, where, score=lambda o: o[:, 1])
    assert abs(found.multipliers[0].numpy() - wanted).max() < 1e-12 * abs(wanted).max()
    assert found.gap < 1e-12
    assert found.policy.revealed == {"": 0, "dense": 2, "all": 3}[where]


def test_signals_of_several_consumers_add_up_whether_they_are_pairs_or_not():
    conv, dense = frozen(nn.Conv2d(8, 8, 1)), frozen(nn.Linear(7, 7))

    def module(x):
        u = conv(x)
        v = dense(u.relu() + u)
        return v.relu() * v.sigmoid() + v

    found = Found(module, maps(1), maps(2), "all")
    assert found.policy.revealed == 3
    assert found.gap < 1e-11


def test_weights_changed_on_the_way_are_not_revealed():
    conv = frozen(nn.Conv2d(8, 8, 1))

    def module(x):
        u = conv(x)
        u += x
        v = conv(u.relu_())
        u.mul_(0.5)  # what the second convolution has read is gone
        return v.relu() + u

    found = Found(module, maps(1), maps(2), "all")
    assert found.policy.revealed == 0
    assert ("relu", "rescale") in found.rules


# -- real architectures -----------------------------------------------------------------------------------------------


def trained(name):
    """A torchvision net with random weights whose normalizations have seen pictures, so that signals get through."""
    import torchvision

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        module = torchvision.models.get_model(name)
        for part in module.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.momentum = 1.0
        with torch.no_grad():
            module.train()(torch.randn(4, 3, 64, 64))
    return frozen(module)


@pytest.mark.parametrize(
    ("name", "where"),
    [
        ("resnet18", ""), ("densenet121", ""), ("squeezenet1_0", "all"), ("mobilenet_v3_small", "all"),
        ("efficientnet_b0", ""), ("convnext_tiny", ""),
    ],
)  # fmt: skip
def test_shares_add_up_in_networks_from_torchvision(name, where):
    module = trained(name)
    image, reference = (maps(seed, 3, 64)[:1] for seed in (1, 2))
    with torch.no_grad():
        change = module(image) - module(reference)
    best = int(change.abs().argmax())
    found = Found(module, image, reference, where, score=lambda o: o[:, best])
    assert change.abs().max() > 1e-3
    assert found.gap < 1e-10
    assert not found.rest.any()
