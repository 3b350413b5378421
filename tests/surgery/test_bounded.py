"""The gradient filter: its gradient by hand at every kind of activation, and what it refuses."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

import xaiwidgets as xw
from xaiwidgets.errors import NotApplicable, SurgeryError
from xaiwidgets.model.propagate import unit_start
from xaiwidgets.surgery.bounded import BoundsWatch, FilterPolicy
from xaiwidgets.surgery.mode import check

ACTIVATIONS = {
    "relu": torch.relu,
    "relu in place": lambda x: x.relu_(),
    "clamp": lambda x: x.clamp(min=0),
    "relu6": functional.relu6,
    "relu6 in place": lambda x: x.clamp_(0, 6),
    "leaky": lambda x: functional.leaky_relu(x, 0.2),
    "leaky in place": lambda x: functional.leaky_relu_(x, 0.2),
    "elu": functional.elu,
    "silu": functional.silu,
    "silu in place": lambda x: functional.silu(x, inplace=True),
    "gelu": functional.gelu,
    "tanh": torch.tanh,
}


class One(nn.Module):
    """A convolution, an activation that is handed on through ``seen``, and a head."""

    def __init__(self, act):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 3)
        self.act, self.seen = act, lambda a: a

    def forward(self, x):
        return self.head(self.seen(self.act(3 * self.conv(x))).mean(dim=(2, 3)))


def made(act):
    module = One(act).double().eval()
    model = xw.Model(module, size=8)
    generator = torch.Generator().manual_seed(3)
    photo, other = torch.randn((2, 3, 8, 8), generator=generator, dtype=torch.float64)[:, None]
    return module, model, photo, other


def bounds_of(model, photo):
    return model.propagate(photo, model.target(1), BoundsWatch, start=lambda *_: ())[1].bounds


def through(model, image, bounds):
    found, used = model.propagate(image, model.target(1), lambda: FilterPolicy(bounds), start=unit_start)
    check(used, found.coverage, "anything")
    return found


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_signal_passes_a_unit_only_inside_its_bounds(name):
    """The ordinary gradient, times 1[min(0, h(x)) ≤ h(e) ≤ max(0, h(x))]."""
    module, model, photo, other = made(ACTIVATIONS[name])
    bounds = bounds_of(model, photo)
    assert len(bounds) == 1
    kept = {}
    module.seen = lambda a: kept.setdefault("h", a.detach().clone()) * 0 + a
    with torch.no_grad():
        module(photo)
    limit = kept.pop("h")

    def stop(a):
        inside = (a >= limit.clamp(max=0)) & (a <= limit.clamp(min=0))
        kept["share"] = inside.double().mean()
        return torch.where(inside, a, a.detach())

    module.seen = stop
    leaf = other.clone().requires_grad_()
    (wanted,) = torch.autograd.grad(module(leaf.clone())[0, 1], leaf)
    assert 0.05 < kept["share"] < 0.95
    found = through(model, other, bounds)
    torch.testing.assert_close(found.inputs[0], wanted)
    assert [row["rule"] for row in found.coverage.rows()].count("filter") == 1


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_for_the_picture_of_the_bounds_the_gradient_is_the_ordinary_one(name):
    module, model, photo, _ = made(ACTIVATIONS[name])
    leaf = photo.clone().requires_grad_()
    (wanted,) = torch.autograd.grad(module(leaf.clone())[0, 1], leaf)
    torch.testing.assert_close(through(model, photo, bounds_of(model, photo)).inputs[0], wanted)


def test_other_activations_than_those_of_the_bounds_are_an_error():
    class Branching(One):
        def forward(self, x):
            y = self.act(self.conv(x))
            return self.head((self.act(y - 0.1) if bool(x.detach().mean() > 0) else y).mean(dim=(2, 3)))

    model = xw.Model(Branching(torch.relu).double().eval(), size=8)
    image = torch.rand(1, 3, 8, 8, dtype=torch.float64)
    two, one = bounds_of(model, image), bounds_of(model, -image)
    assert (len(two), len(one)) == (2, 1)
    for picture, bounds in ((-image, two), (image, one), (image, [(None, torch.zeros(1, 4, 2, 2)), *one])):
        with pytest.raises(SurgeryError, match="does its forward depend on the picture"):
            through(model, picture, bounds)


@pytest.mark.parametrize(
    ("act", "named"), [(lambda x: functional.glu(x.repeat(1, 2, 1, 1), dim=1), "glu"), (torch.sigmoid, "sigmoid")]
)
def test_what_has_no_feature_to_bound_is_refused(act, named):
    _, model, photo, _ = made(act)
    with pytest.raises(NotApplicable, match=named):
        through(model, photo, bounds_of(model, photo))


def test_a_hidden_unit_is_explained_with_what_lies_before_it():
    _, model, photo, other = made(torch.relu)
    target = model.target(xw.Target.hidden("conv", 2))
    watch = model.propagate(photo, target, BoundsWatch, start=lambda *_: ())[1]
    assert watch.bounds == []
    found = model.propagate(other, target, lambda: FilterPolicy([]), start=unit_start)[0]
    assert found.inputs[0].any()
