"""One pass: outputs, gradients and layers of a batch, counted, and the same whatever surrounds it."""

from __future__ import annotations

import nets
import pytest
import torch

from xaiwidgets.errors import SurgeryError
from xaiwidgets.model import passes
from xaiwidgets.model.meter import CURRENT, Meter
from xaiwidgets.model.skeleton import make_skeleton
from xaiwidgets.model.tape import install
from xaiwidgets.model.targets import Target
from xaiwidgets.surgery.recipes import GUIDED


@pytest.fixture
def meter():
    token = CURRENT.set(Meter())
    yield CURRENT.get()
    CURRENT.reset(token)


def private(make):
    install(skeleton := make_skeleton(make()))
    return skeleton


CLASS, UNIT = Target(classes=(1,)), Target(layer="3", channel=2, position=(1, 1))


def test_forward_gives_outputs_and_layers_without_a_graph(meter):
    net, x = private(nets.f2), nets.images(3)
    outputs, records = passes.forward(net, x, ("0", "4"))
    assert torch.equal(outputs, net(x))
    assert torch.equal(records["4"], net[:5](x))
    assert not outputs.requires_grad
    assert not records["0"].requires_grad
    assert meter.passes == (3, 0)


@pytest.mark.parametrize("target", [CLASS, UNIT], ids=["class", "unit"])
def test_gradients_are_those_of_autograd(target, meter):
    net, x = private(nets.f2), nets.images(3)
    found = passes.gradient(net, x, target, layers=("1", "3"))
    leaf = x.clone().requires_grad_()
    relu = net[:2](leaf)
    conv = net[2:4](relu)
    scores = net[4:](conv)[:, 1] if target is CLASS else conv[:, 2, 1, 1]
    by_input, by_relu, by_conv = torch.autograd.grad(scores.sum(), [leaf, relu, conv])
    torch.testing.assert_close(found.score, scores.detach())
    torch.testing.assert_close(found.input, by_input)
    for name, value, gradient in (("1", relu, by_relu), ("3", conv, by_conv)):
        torch.testing.assert_close(found.layers[name][0], value.detach())
        torch.testing.assert_close(found.layers[name][1], gradient)
    tensors = (found.score, found.outputs, found.input, *(t for pair in found.layers.values() for t in pair))
    assert not any(t.requires_grad for t in tensors)
    assert meter.passes == (3, 3)
    assert found.coverage is None


def test_without_the_input_the_graph_starts_at_the_first_layer():
    net, x = private(nets.f2), nets.images(2)
    whole = passes.gradient(net, x, CLASS, layers=("3", "1"))
    part = passes.gradient(net, x, CLASS, layers=("3", "1"), wrt_input=False)
    assert list(part.layers) == ["3", "1"]
    for name in part.layers:
        assert torch.equal(part.layers[name][1], whole.layers[name][1])
    with pytest.raises(ValueError, match="wrt_input=False"):
        part.input


def test_layers_behind_the_unit_get_zero():
    found = passes.gradient(private(nets.f2), nets.images(), UNIT, layers=("1", "4"))
    assert found.layers["1"][1].any()
    assert not found.layers["4"][1].any()
    blind = passes.gradient(private(nets.f2), nets.images(), UNIT, layers=("4",), wrt_input=False)
    assert not blind.layers["4"][1].any()


def test_nothing_is_left_on_what_was_given():
    net, x = private(nets.in_place_input), nets.images(2)
    before = x.clone()
    passes.gradient(net, x, CLASS)
    assert torch.equal(x, before)
    assert not x.requires_grad
    assert x.grad is None
    assert all(p.grad is None for p in net.parameters())


@pytest.mark.parametrize("around", [torch.no_grad, torch.inference_mode], ids=lambda f: f.__name__)
def test_a_caller_without_gradients_gets_them(around):
    net = private(nets.f3)
    target = Target(classes=(0,))
    expected = passes.gradient(net, nets.images(), target, layers=("bn1",), recipe=GUIDED)
    with around():
        found = passes.gradient(net, nets.images(), target, layers=("bn1",), recipe=GUIDED)
    assert torch.equal(found.input, expected.input)
    assert torch.equal(found.layers["bn1"][1], expected.layers["bn1"][1])


def test_rules_are_reported():
    found = passes.gradient(private(nets.f3), nets.images(), CLASS, recipe=GUIDED)
    assert found.coverage.ruled == {"relu": 4}
    plain = passes.gradient(private(nets.f3), nets.images(), CLASS)
    assert torch.equal(found.outputs, plain.outputs)
    assert not torch.equal(found.input, plain.input)


@pytest.mark.parametrize("make", [nets.f1, nets.f3, nets.f5, nets.in_place_input], ids=lambda f: f.__name__)
def test_the_ruled_forward_is_the_plain_one(make):
    x = nets.images()
    before = x.clone()
    passes.check_forward(private(make), x, GUIDED)
    assert torch.equal(x, before)


def test_the_check_runs_the_rules_themselves(monkeypatch):
    from xaiwidgets.surgery import ruled

    wrong = ruled.Ruled.forward
    monkeypatch.setattr(ruled.Ruled, "forward", staticmethod(lambda *args: wrong(*args) + 1))
    with pytest.raises(SurgeryError, match="guided backpropagation the network gives other scores than without"):
        passes.check_forward(private(nets.f1), nets.images(), GUIDED)


@pytest.mark.parametrize("make", [nets.random_forward, nets.stateful], ids=lambda f: f.__name__)
def test_a_forward_that_varies_cannot_be_ruled(make):
    with torch.random.fork_rng(devices=[]), pytest.raises(SurgeryError, match="is its forward random, or does it keep"):
        passes.check_forward(private(make), nets.images(), GUIDED)
