"""Every way to write an operation comes out as one canonical record."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812
from torch.overrides import TorchFunctionMode

from xaiwidgets.surgery.ops import Op, classify


class Collect(TorchFunctionMode):
    def __init__(self):
        super().__init__()
        self.ops: list[Op] = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        op = classify(func, args, kwargs or {})
        if op is not None:
            self.ops.append(op)
        return func(*args, **(kwargs or {}))


def met(call):
    data = torch.rand(1, 4, 6, 6)
    with Collect() as mode:
        call(data)
    return mode.ops


def test_the_larger_of_two_is_no_reduction():
    other = torch.rand(1, 4, 6, 6)
    for call in (lambda x: torch.max(x, other), lambda x: x.max(other=other), lambda x: torch.maximum(x, other)):
        (op,) = met(call)
        assert op.kind == "pointwise"
        assert len(op.inputs) == 2
    for call in (lambda x: x.max(), lambda x: x.max(dim=1), lambda x: x.amax((2, 3))):
        (op,) = met(call)
        assert op.kind == "max"
        assert len(op.inputs) == 1


@pytest.mark.parametrize(
    ("call", "inplace"),
    [
        (F.relu, False),
        (torch.relu, False),
        (lambda x: x.relu(), False),
        (lambda x: x.clamp(min=0), False),
        (lambda x: x.clamp_min(0), False),
        (lambda x: torch.clamp(x, 0), False),
        (lambda x: torch.clip(x, min=0.0), False),
        (lambda x: F.threshold(x, 0, 0), False),
        (nn.ReLU(), False),
        (torch.ops.aten.relu.default, False),
        (torch.relu_, True),
        (F.relu_, True),
        (lambda x: x.relu_(), True),
        (lambda x: F.relu(x, True), True),
        (lambda x: F.relu(x, inplace=True), True),
        (lambda x: x.clamp_(min=0), True),
        (lambda x: x.clamp_min_(0), True),
        (lambda x: F.threshold(x, 0, 0, inplace=True), True),
        (nn.Threshold(0, 0, inplace=True), True),
        (nn.ReLU(inplace=True), True),
    ],
)
def test_relu_in_all_its_forms(call, inplace):
    (op,) = met(call)
    assert (op.kind, op.inplace) == ("relu", inplace)


@pytest.mark.parametrize(
    ("call", "high", "inplace"),
    [
        (F.relu6, 6, False),
        (nn.ReLU6(inplace=True), 6, True),
        (lambda x: F.hardtanh(x, 0, 6), 6, False),
        (lambda x: F.hardtanh_(x, 0, 6), 6, True),
        (nn.Hardtanh(0, 4, inplace=True), 4, True),
        (lambda x: x.clamp(0, 6), 6, False),
        (lambda x: x.clamp_(0, max=6), 6, True),
    ],
)
def test_relu6_carries_its_bounds(call, high, inplace):
    (op,) = met(call)
    assert (op.kind, op.inplace, op.parameters["low"], op.parameters["high"]) == ("relu6", inplace, 0, high)


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        (lambda x: F.threshold(x, 1, 0), "threshold"),
        (F.hardtanh, "hardtanh"),
        (lambda x: x.clamp(min=1e-6), "clamp"),
        (lambda x: x.clamp(min=torch.zeros(1)), "clamp"),
        (lambda x: x.clamp(max=1), "clamp"),
        (lambda x: F.rrelu(x, training=True), "unknown"),
    ],
)
def test_other_bounds_are_not_relu(call, kind):
    assert met(call)[-1].kind == kind


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        (nn.LeakyReLU(0.2), "leaky_relu"),
        (nn.RReLU().eval(), "leaky_relu"),
        (lambda x: F.prelu(x, torch.ones(1)), "prelu"),
        (nn.ELU(), "elu"),
        (nn.SELU(), "elu"),
        (nn.CELU(2.0), "elu"),
        (nn.SiLU(), "silu"),
        (nn.GELU(), "gelu"),
        (nn.Mish(), "mish"),
        (nn.Hardswish(), "hardswish"),
        (nn.Hardsigmoid(), "hardsigmoid"),
        (torch.sigmoid, "sigmoid"),
        (lambda x: x.sigmoid_(), "sigmoid"),
        (nn.Tanh(), "tanh"),
        (nn.Softplus(), "softplus"),
        (nn.Softmax(1), "softmax"),
        (lambda x: x.log_softmax(1), "log_softmax"),
        (lambda x: F.conv2d(x, torch.ones(2, 4, 1, 1)), "conv"),
        (lambda x: F.conv_transpose2d(x, torch.ones(4, 2, 2, 2)), "conv_transpose"),
        (lambda x: F.linear(x, torch.ones(2, 6)), "linear"),
        (lambda x: x @ x, "matmul"),
        (lambda x: F.batch_norm(x, torch.zeros(4), torch.ones(4)), "batch_norm"),
        (nn.InstanceNorm2d(4), "instance_norm"),
        (lambda x: F.group_norm(x, 2), "group_norm"),
        (lambda x: F.layer_norm(x, (6,)), "layer_norm"),
        (lambda x: F.local_response_norm(x, 2), "local_response_norm"),
        (lambda x: F.max_pool2d(x, 2), "max_pool"),
        (lambda x: F.max_pool2d(x, 2, return_indices=True), "max_pool"),
        (lambda x: torch.max_pool2d(x, 2), "max_pool"),
        (nn.AvgPool2d(2), "avg_pool"),
        (nn.AdaptiveAvgPool2d(1), "adaptive_avg_pool"),
        (nn.AdaptiveMaxPool2d(1), "adaptive_max_pool"),
        (lambda x: x.mean((2, 3)), "mean"),
        (lambda x: x.sum(1), "sum"),
        (lambda x: x + x, "add"),
        (lambda x: 1 + x, "add"),
        (lambda x: x.add_(1), "add"),
        (lambda x: 1 - x, "sub"),
        (lambda x: 2 * x, "mul"),
        (lambda x: 1 / x, "div"),
        (lambda x: torch.cat([x, x], 1), "cat"),
        (lambda x: torch.stack([x, x]), "stack"),
        (lambda x: F.pad(x, (1, 1)), "pad"),
        (lambda x: x.flatten(1), "reshape"),
        (lambda x: x.permute(0, 2, 3, 1), "permute"),
        (lambda x: x.mT, "transpose"),
        (lambda x: x.contiguous(), "identity"),
        (lambda x: F.channel_shuffle(x, 2), "channel_shuffle"),
        (nn.Dropout2d().eval(), "dropout"),
        (lambda x: F.interpolate(x, scale_factor=2), "interpolate"),
        (lambda x: x[:, :2], "getitem"),
        (lambda x: x.chunk(2, 1), "chunk"),
        (lambda x: x.split(2, 1), "chunk"),
        (lambda x: x.exp(), "pointwise"),
    ],
)
def test_kinds(call, kind):
    assert met(call)[-1].kind == kind


def test_in_place_operators():
    def call(x):
        x += 1
        x *= x
        x[:, :2] = 0.0

    assert [(op.kind, op.inplace) for op in met(call)] == [("add", True), ("mul", True), ("setitem", True)]


def test_sizes_flags_and_constants_are_of_no_known_kind():
    ops = met(lambda x: (x.shape, x.ndim, x.dtype, x.size(), torch.zeros(3), torch.is_grad_enabled()))
    assert {op.kind for op in ops} == {"unknown"}  # and what they return carries no signal
    assert "zeros" not in {op.name for op in ops}


def test_a_function_that_is_not_in_the_table_is_unknown_by_name():
    ops = met(lambda x: (x.size(), torch.cumsum(x, 1)))
    assert [(op.kind, op.name) for op in ops if op.name != "size"] == [("unknown", "cumsum")]


def test_parameters_are_bound_by_position_and_by_name():
    weight, bias = torch.ones(8, 2, 3, 3), torch.zeros(8)
    (positional,) = met(lambda x: torch.conv2d(x, weight, bias, 2, 1, 1, 2))
    (named,) = met(lambda x: F.conv2d(input=x, weight=weight, bias=bias, stride=2, padding=1, dilation=1, groups=2))
    for op in (positional, named):
        assert op.parameters["weight"] is weight
        assert op.parameters["bias"] is bias
        assert [op.parameters[name] for name in ("stride", "padding", "dilation", "groups")] == [2, 1, 1, 2]
        assert len(op.inputs) == 1


def test_the_two_batch_norms_of_torch_have_another_order_of_arguments():
    mean, var, gamma, beta = (torch.full((4,), float(n)) for n in range(4))
    (low,) = met(lambda x: torch.batch_norm(x, gamma, beta, mean, var, False, 0.1, 1e-5, False))
    (high,) = met(lambda x: F.batch_norm(x, mean, var, gamma, beta))
    for op in (low, high):
        assert op.parameters["running_mean"] is mean
        assert op.parameters["bias"] is beta


def test_every_activation_inside_cat_is_an_input():
    (op,) = met(lambda x: torch.cat([x, x, x], dim=1))
    assert (len(op.inputs), op.parameters["dim"]) == (3, 1)


def test_relu_has_no_upper_bound():
    assert met(F.relu)[0].parameters["high"] == math.inf
