"""Softplus in place of ReLU: every way to write one, closed forms, and what must not be smoothed by half."""

from __future__ import annotations

import math
import threading

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from xaiwidgets.errors import NotApplicable
from xaiwidgets.surgery.smooth import Smoothing, slope, smooth

FORMS = {
    "function": functional.relu,
    "torch function": torch.relu,
    "module": nn.ReLU(),
    "method": lambda u: u.relu(),
    "in place function": lambda u: functional.relu(u.clone(), inplace=True),
    "in place torch function": lambda u: torch.relu_(u.clone()),
    "in place module": lambda u: nn.ReLU(inplace=True)(u.clone()),
    "in place method": lambda u: u.clone().relu_(),
    "clamp": lambda u: u.clamp(min=0),
    "positional clamp": lambda u: torch.clamp(u, 0),
    "clamp_min": lambda u: u.clamp_min(0.0),
    "in place clamp": lambda u: u.clone().clamp_(min=0),
    "threshold": lambda u: functional.threshold(u, 0.0, 0.0),
    "hardtanh": lambda u: functional.hardtanh(u, 0.0, math.inf),
    "dropped result": lambda u: _dropped(u, torch.relu_),
    "dropped clamp": lambda u: _dropped(u, lambda v: v.clamp_(0)),
}
CLIPPED = {
    "function": functional.relu6,
    "module": nn.ReLU6(),
    "in place module": lambda u: nn.ReLU6(inplace=True)(u.clone()),
    "clamp": lambda u: u.clamp(0, 6),
    "hardtanh": lambda u: functional.hardtanh(u, 0.0, 6.0),
    "in place clamp": lambda u: u.clone().clamp_(0, 6),
}


def _dropped(data, change):
    own = data.clone()
    change(own)
    return own


def inputs(requires_grad=True):
    values = torch.cat([torch.linspace(-8, 8, 41, dtype=torch.float64), torch.tensor([0.0, 6.0], dtype=torch.float64)])
    return values.requires_grad_(requires_grad)


def under(smoothing, function, data):
    with smoothing():
        return function(data)


def softplus(u, beta):
    """The definition, without any care for large numbers; ours are small."""
    return (1 + (beta * u).exp()).log() / beta


@pytest.mark.parametrize("beta", [0.5, 10.0])
@pytest.mark.parametrize("form", FORMS)
def test_relu_becomes_softplus_however_it_is_written(form, beta):
    data = inputs()
    result = under(Smoothing(beta), FORMS[form], data)
    torch.testing.assert_close(result, softplus(data, beta))
    (gradient,) = torch.autograd.grad(result.sum(), data)
    torch.testing.assert_close(gradient, 1 / (1 + (-beta * data.detach()).exp()))


@pytest.mark.parametrize("beta", [0.5, 10.0])
@pytest.mark.parametrize("form", CLIPPED)
def test_relu6_becomes_a_difference_of_two(form, beta):
    data = inputs()
    result = under(Smoothing(beta), CLIPPED[form], data)
    torch.testing.assert_close(result, softplus(data, beta) - softplus(data - 6, beta))
    (gradient,) = torch.autograd.grad(result.sum(), data)
    wanted = torch.sigmoid(beta * data.detach()) - torch.sigmoid(beta * (data.detach() - 6))
    torch.testing.assert_close(gradient, wanted)


@pytest.mark.parametrize("forms", [FORMS, CLIPPED], ids=["relu", "relu6"])
def test_the_gradient_alone_can_be_smoothed(forms):
    high = 6.0 if forms is CLIPPED else math.inf
    for form in forms.values():
        data = inputs()
        result = under(Smoothing(10.0, gradient_only=True), form, data)
        assert torch.equal(result, data.detach().clamp(0, high))
        (gradient,) = torch.autograd.grad(result.sum(), data)
        torch.testing.assert_close(gradient, slope(data.detach(), 10.0, high))


@pytest.mark.parametrize("high", [math.inf, 6.0])
def test_the_slope_is_the_derivative(high):
    data = inputs()
    assert torch.autograd.gradcheck(lambda u: smooth(u, 3.0, high), data)
    (gradient,) = torch.autograd.grad(smooth(data, 3.0, high).sum(), data)
    torch.testing.assert_close(slope(data.detach(), 3.0, high), gradient)


@pytest.mark.parametrize("gradient_only", [False, True])
def test_a_second_derivative_exists(gradient_only):
    """A ReLU network has none to speak of; attacks and Hessians need it."""
    data = inputs()
    result = under(Smoothing(2.0, gradient_only), functional.relu, data)
    (first,) = torch.autograd.grad((result**2 / 2 if gradient_only else result).sum(), data, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), data)
    assert bool((second > 0).any())


def test_at_the_kink_the_slope_is_a_half():
    for smoothing in (Smoothing(7.0), Smoothing(7.0, gradient_only=True)):
        data = torch.zeros(1, requires_grad=True)
        assert float(torch.autograd.grad(under(smoothing, functional.relu, data), data)[0]) == 0.5


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_large_inputs_stay_exact(dtype):
    data = torch.tensor([-1e4, -50.0, 50.0, 1e4], dtype=dtype, requires_grad=True)
    for high in (math.inf, 6.0):
        result = smooth(data, 1000.0, high)
        torch.testing.assert_close(result, data.detach().clamp(0, high), rtol=1e-6, atol=1e-3 if high == 6 else 1e-6)
        assert bool(torch.autograd.grad(result.sum(), data)[0].isfinite().all())


def test_an_output_that_was_given_is_written_to():
    data, out = inputs(requires_grad=False), torch.empty(43, dtype=torch.float64)
    with Smoothing(3.0)():
        result = torch.clamp(data, min=0, out=out)
    assert result is out
    torch.testing.assert_close(out, softplus(data, 3.0))


def test_what_is_no_rectifier_is_left_alone():
    data = inputs()
    others = (
        functional.silu,
        functional.leaky_relu,
        functional.elu,
        lambda u: u.clamp(max=0),
        lambda u: u.clamp(-1, 1),
        lambda u: u.clamp_min(0.1),
        lambda u: functional.threshold(u, 1.0, 0.0),
        lambda u: torch.arange(-3, 3).clamp(min=0) + u.sum(),
    )
    for other in others:
        assert torch.equal(under(Smoothing(1.0), other, data), other(data))


def test_in_place_is_in_place():
    data = inputs(requires_grad=False)
    for smoothing in (Smoothing(3.0), Smoothing(3.0, gradient_only=True)):
        own = data.clone()
        assert under(smoothing, torch.relu_, own) is own


# -- what would be smoothed by half ---------------------------------------------------------------------------------


class Own(torch.autograd.Function):
    """A ReLU with a backward of its own, which stays as it is whatever happens to its forward."""

    @staticmethod
    def forward(ctx, data):
        ctx.save_for_backward(data)
        return data.relu()

    @staticmethod
    def backward(ctx, upstream):
        return upstream * (ctx.saved_tensors[0] > 0)


def without_grad(data):
    with torch.no_grad():
        shift = data.relu()
    return data + shift


HIDDEN = {
    "own function": Own.apply,
    "checkpoint": lambda u: checkpoint(torch.relu, u, use_reentrant=False),
    "reentrant checkpoint": lambda u: checkpoint(torch.relu, u, use_reentrant=True),
    "no_grad": without_grad,
}


@pytest.mark.parametrize("gradient_only", [False, True])
@pytest.mark.parametrize("how", HIDDEN)
def test_a_relu_whose_backward_is_out_of_reach_is_refused(how, gradient_only):
    with pytest.raises(NotApplicable, match="softplus_smoothing needs every ReLU in the open"):
        under(Smoothing(3.0, gradient_only), HIDDEN[how], inputs())
    assert torch._C._len_torch_function_stack() == 0


def test_without_gradients_there_is_nothing_to_miss():
    data = inputs(requires_grad=False)
    with torch.no_grad():
        torch.testing.assert_close(under(Smoothing(3.0), torch.relu, data), softplus(data, 3.0))
        torch.testing.assert_close(under(Smoothing(3.0), Own.apply, data), softplus(data, 3.0))


def test_a_context_that_keeps_tensors_elsewhere_is_no_checkpoint():
    data = inputs()
    with torch.autograd.graph.save_on_cpu():
        result = under(Smoothing(3.0), torch.relu, data)
    torch.testing.assert_close(result, softplus(data, 3.0))


def test_only_this_thread_is_smoothed():
    data, found = inputs(requires_grad=False), []
    with Smoothing(1.0)():
        thread = threading.Thread(target=lambda: found.append(torch.relu(data)))
        thread.start()
        thread.join()
    assert torch.equal(found[0], data.clamp(min=0))


def test_equal_settings_are_equal():
    assert Smoothing(10.0) == Smoothing(10.0)
    assert hash(Smoothing(10.0)) == hash(Smoothing(10.0))
    assert Smoothing(10.0) != Smoothing(10.0, gradient_only=True)
