"""Gates and filters at rectifiers: the forward is the network's own, and signals are what a slow pass finds."""

from __future__ import annotations

import nets
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from xaiwidgets.errors import NotApplicable
from xaiwidgets.surgery.units import Units


class Written(nn.Module):
    """ReLUs as a module in place, a function in place whose result is dropped, a method, a clamp, and ReLU6."""

    def __init__(self):
        super().__init__()
        self.one, self.two, self.three = (nn.Conv2d(c, 4, 3, padding=1) for c in (3, 4, 4))
        self.relu, self.six = nn.ReLU(inplace=True), nn.ReLU6()
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        x = self.relu(self.one(x))
        x = self.two(x)
        functional.relu_(x)
        x = self.three(x).clamp(min=0)
        x = self.six(3 * x).relu()
        return self.head(x.mean(dim=(2, 3)))


@pytest.fixture
def written():
    torch.manual_seed(0)
    return Written().double().eval()


@pytest.fixture
def image():
    return torch.randn(1, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()


def slow(net, x, gates):
    """Scores with gates by hand, and the gated outputs."""
    seen = []

    def gated(a):
        result = a * gates[len(seen)] if gates else a * 1
        seen.append(result)
        return result

    x = gated(net.one(x).relu())
    x = gated(net.two(x).relu())
    x = gated(net.three(x).relu())
    x = gated((3 * x).clamp(0, 6))
    x = gated(x.relu())
    return net.head(x.mean(dim=(2, 3))), seen


def gates_for(net, image):
    outputs = slow(net, image, [])[1]
    generator = torch.Generator().manual_seed(2)
    return [torch.randint(0, 2, o.shape, generator=generator).double() for o in outputs]


@pytest.mark.parametrize("gated", [False, True])
def test_scores_outputs_and_signals_are_those_of_gates_by_hand(gated, written, image):
    gates = gates_for(written, image) if gated else []
    wanted, seen = slow(written, image, gates)
    signals = torch.autograd.grad(wanted[0, 1], [*seen, image])
    units = Units(gates=gates)
    with units():
        scores = written(image)
    (found,) = torch.autograd.grad(scores[0, 1], image)
    torch.testing.assert_close(scores, wanted)
    torch.testing.assert_close(found, signals[-1])
    assert len(units.outputs) == len(units.signals) == 5
    for ours, theirs in zip(units.signals, signals[:-1], strict=True):
        torch.testing.assert_close(ours, theirs)


def test_without_a_graph_gates_act_and_nothing_is_written_down(written, image):
    gates = gates_for(written, image)
    units = Units(gates=gates)
    with torch.no_grad(), units():
        scores = written(image)
    torch.testing.assert_close(scores, slow(written, image, gates)[0].detach())
    assert units.outputs == units.signals == []


def test_a_filter_stops_signals_where_an_output_is_above_its_bound(written, image):
    units = Units()
    with units():
        written(image)
    bounds = [output * factor for output, factor in zip(units.outputs, (2, 0.5, 2, 2, 2), strict=True)]
    units = Units(bounds=bounds)
    with units():
        scores = written(image)
    (found,) = torch.autograd.grad(scores[0, 1], image)
    # the second rectifier lies above its bound wherever it is active: nothing comes through it
    assert not found.any()
    free = Units(bounds=[output + 1 for output in units.outputs])
    with free():
        scores = written(image)
    (found,) = torch.autograd.grad(scores[0, 1], image)
    torch.testing.assert_close(found, torch.autograd.grad(written(image)[0, 1], image)[0])


@pytest.mark.parametrize("make", nets.GOOD, ids=lambda make: make.__name__)
def test_the_forward_is_the_networks_own_however_it_is_written(make):
    net = make().double().eval()
    image = torch.randn(1, 3, nets.SIZE, nets.SIZE, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    leaf = image.clone().requires_grad_()
    units = Units()
    with units():
        scores = net(leaf.clone())
    torch.testing.assert_close(scores.detach(), net(image).detach())
    assert units.outputs


class Own(torch.autograd.Function):
    """A ReLU in a function of somebody's own."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.relu()

    @staticmethod
    def backward(ctx, *signal):
        return signal[0] * (ctx.saved_tensors[0] > 0)


@pytest.mark.parametrize(
    "hide",
    [
        Own.apply,
        lambda x: checkpoint(torch.relu, x, use_reentrant=False),
        lambda x: checkpoint(torch.relu, x, use_reentrant=True),
    ],
    ids=["own function", "checkpoint", "reentrant checkpoint"],
)
def test_a_rectifier_whose_gate_would_be_forgotten_is_refused(hide, image):
    with pytest.raises(NotApplicable, match=r"feedback_cnn needs every ReLU in the open.*hides a relu"), Units()():
        hide(image * 2)
    with torch.no_grad(), Units()():
        Own.apply(image * 2)  # without a graph there is nothing to forget
    assert torch._C._len_torch_function_stack() == 0
