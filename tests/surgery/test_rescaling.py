"""Multipliers that can be differentiated: those of DeepLIFT where ReLUs are nearly sharp, with a true derivative."""

from __future__ import annotations

import nets
import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - as users write it

from xaiwidgets.errors import NotApplicable
from xaiwidgets.surgery.deeplift import DeepLiftPolicy
from xaiwidgets.surgery.mode import SurgeryMode
from xaiwidgets.surgery.rescaling import multipliers


class Function(nn.Module):
    """A convolution, then something, then a mean and a linear head."""

    def __init__(self, between, channels=6):
        super().__init__()
        self.conv, self.head, self.between = nn.Conv2d(3, 6, 3), nn.Linear(channels, nets.CLASSES), between

    def forward(self, x):
        return self.head(self.between(self.conv(x)).mean((2, 3)))


def gate(x):
    return x * torch.sigmoid(x.mean((2, 3), keepdim=True))


def in_place(x):
    y = F.silu(x) - 0.2
    kept = y.relu_()
    kept *= 0.5
    return kept + x


BETWEEN = {
    "gate": gate,
    "square": lambda x: x * x,
    "silu": F.silu,
    "gelu": F.gelu,
    "clamp": lambda x: x.clamp(0, 0.5),
    "max pool": lambda x: F.max_pool2d(x, 2, return_indices=True)[0].tanh(),
    "in place": in_place,
    "inverse": lambda x: 1 / (x.sigmoid() + 1),
    "softmax": lambda x: x.softmax(1),
    "log softmax": lambda x: x.log_softmax(1),
    "attention": lambda x: (x.flatten(2).transpose(1, 2) @ x.flatten(2)).relu()[:, None].expand(-1, 6, -1, -1),
}
WHOLE = {
    made.__name__: made for made in (nets.f1, nets.f2, nets.f3, nets.f4, nets.f5, nets.reused, nets.in_place_input)
}


def network(name):
    return WHOLE[name]().double().requires_grad_(False) if name in WHOLE else small(BETWEEN[name])


def small(between):
    return nets.seeded(lambda: Function(between))().double().requires_grad_(False)


def pair(*, equal=True):
    """Pictures and references, which have some rows in common."""
    generator = torch.Generator().manual_seed(2)
    images, references = torch.randn((2, 2, 3, nets.SIZE, nets.SIZE), generator=generator, dtype=torch.float64)
    if equal:
        references[:, :, 2:5] = images[:, :, 2:5]
    return images, references


def scored(module):
    return lambda images: module(images.clone())[:, 1]


def of_policy(module, images, references):
    leaf = torch.cat([images, references]).requires_grad_()
    policy = DeepLiftPolicy()
    with SurgeryMode(policy, lambda: "") as mode:
        mode.start(leaf)
        scores = scored(module)(leaf)
    start = torch.cat([torch.ones(len(images)), torch.zeros(len(images))]).double()
    (found,) = torch.autograd.grad(scores, leaf, start)
    return found[: len(images)]


@pytest.mark.parametrize("name", [*WHOLE, *BETWEEN])
def test_of_a_sharp_softplus_they_are_those_of_the_rules(name):
    module, (images, references) = network(name), pair()
    found = multipliers(scored(module), images, references, 1e7).detach()
    wanted = of_policy(module, images, references)
    assert float((found - wanted).abs().max()) < 1e-5 * float(wanted.abs().max())


@pytest.mark.parametrize("name", [*WHOLE, *BETWEEN])
def test_the_values_sum_to_the_difference_of_the_smoothed_network(name):
    from xaiwidgets.surgery.smooth import Smoothing

    module, (images, references) = network(name), pair()
    found = multipliers(scored(module), images, references, 8.0).detach()
    with Smoothing(8.0)():
        change = scored(module)(images) - scored(module)(references)
    assert torch.allclose(((images - references) * found).sum((1, 2, 3)), change, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("name", [*WHOLE, *BETWEEN])
def test_their_derivative_is_that_of_differences(name):
    """Along a random direction; where picture and reference are equal, multipliers have one, too.

    But for those of a pool, which divide by what has moved, and have none there.
    """
    pools = name in {"f1", "f2", "f4", "in_place_input", "max pool"}
    module, (images, references) = network(name), pair(equal=not pools)
    generator = torch.Generator().manual_seed(4)
    weight, step = torch.randn((2, *images.shape), generator=generator, dtype=torch.float64)
    values = {}
    for size in (-1e-5, 0.0, 1e-5):
        leaf = (images + size * step).requires_grad_()
        found = (weight * multipliers(scored(module), leaf, references, 5.0)).sum()
        values[size] = float(found.detach())
        if size == 0:
            (slope,) = torch.autograd.grad(found, leaf)
    numeric = (values[1e-5] - values[-1e-5]) / 2e-5
    assert float((slope * step).sum()) == pytest.approx(numeric, rel=1e-4)


def test_the_network_stays_as_it_is():
    module, (images, references) = network("f3"), pair()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    scores = module(images.clone())
    multipliers(scored(module), images, references, 5.0)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert torch.equal(module(images.clone()), scores)
    assert not images.requires_grad


@pytest.mark.parametrize(
    ("between", "named"),
    [
        (lambda x: F.layer_norm(x, x.shape[1:]), "layer_norm"),
        (lambda x: torch.maximum(x, -x), "maximum"),
        (lambda x: F.glu(torch.cat([x, x], 1), 1), "glu"),
        (lambda x: x.cumsum(1), "cumsum"),
        (lambda x: x - x.detach(), "detach"),
        (lambda x: torch.utils.checkpoint.checkpoint(F.relu, x, use_reentrant=False), "relu inside a checkpoint"),
    ],
    ids=["layer norm", "maximum", "glu", "unknown", "detached", "checkpoint"],
)
def test_what_cannot_be_differentiated_is_refused_by_name(between, named):
    module, (images, references) = small(between), pair()
    with pytest.raises(NotApplicable, match=named):
        multipliers(scored(module), images, references, 5.0)


def test_a_forward_pass_that_depends_on_the_picture_is_refused():
    def branch(x):
        return x.tanh() if len(x) > 2 else x.relu()

    module, (images, references) = small(branch), pair()
    with pytest.raises(NotApplicable, match="another one for another picture"):
        multipliers(scored(module), images, references, 5.0)
