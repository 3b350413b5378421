"""Weighted operations as linear maps: run again with other weights, and transposed as autograd has it."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from xaiwidgets.surgery.linear import LinearMap, is_weighted
from xaiwidgets.surgery.ops import classify

X = torch.randn(2, 4, 7, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def randn(*shape, seed=1):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


CASES = {
    "conv2d": (F.conv2d, (X, randn(6, 4, 3, 3), randn(6), 2, 1), {}),
    "conv2d by keywords": (F.conv2d, (X, randn(6, 2, 3, 2)), {"groups": 2, "dilation": (2, 1), "padding": (1, 0)}),
    "conv2d same": (F.conv2d, (X, randn(6, 4, 3, 3)), {"padding": "same"}),
    "conv2d valid": (F.conv2d, (X, randn(6, 4, 3, 3), randn(6)), {"padding": "valid"}),
    "conv2d of one picture": (F.conv2d, (X[0], randn(6, 4, 3, 3), randn(6)), {"padding": 1}),
    "conv1d": (F.conv1d, (X[:, :, 0], randn(5, 4, 3), randn(5)), {"stride": 2}),
    "conv3d": (F.conv3d, (X[:, None], randn(2, 1, 2, 3, 3), randn(2)), {}),
    "conv_transpose2d": (F.conv_transpose2d, (X, randn(4, 3, 3, 3), randn(3), 2, 1, 1), {}),
    "convolution": (
        torch.convolution, (X, randn(6, 4, 3, 3), randn(6), [1, 1], [1, 1], [1, 1], False, [0, 0], 1), {}
    ),
    "transposed convolution": (
        torch.convolution, (X, randn(4, 3, 2, 2), None, [2, 2], [0, 0], [1, 1], True, [1, 0], 1), {}
    ),
    "linear": (F.linear, (X, randn(5, 6), randn(5)), {}),
    "linear without bias": (F.linear, (X[:, 0, 0], randn(5, 6)), {}),
    "matmul": (torch.matmul, (X, randn(6, 5)), {}),
    "mm": (torch.mm, (X[:, 0, 0], randn(6, 5)), {}),
    "addmm": (torch.addmm, (randn(5), X[:, 0, 0], randn(6, 5)), {"alpha": 3.0, "beta": 0.5}),
}  # fmt: skip


def op_of(function, arguments, options):
    op = classify(function, arguments, options)
    op.inputs[0].requires_grad_(False)
    return op


@pytest.mark.parametrize("name", CASES)
def test_runs_as_the_operation_does(name):
    function, arguments, options = CASES[name]
    op = op_of(function, arguments, options)
    made = LinearMap(op)
    output = made.forward(op.inputs[0], made.weight)
    if made.bias is not None:
        output = output + made.bias
    torch.testing.assert_close(output, function(*arguments, **options), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_is_transposed_as_autograd_does(name):
    function, arguments, options = CASES[name]
    op = op_of(function, arguments, options)
    made = LinearMap(op)
    leaf = op.inputs[0].clone().requires_grad_()
    for weight in (made.weight, made.weight.clamp(max=0)):
        output = made.forward(leaf, weight)
        signal = randn(*output.shape, seed=2)
        (wanted,) = torch.autograd.grad(output, leaf, signal)
        torch.testing.assert_close(made.transposed(signal, weight, op.inputs[0]), wanted, rtol=1e-12, atol=1e-12)


def test_only_fixed_weights_count():
    live = X.clone().requires_grad_()
    weight = randn(6, 5)
    assert is_weighted(classify(torch.matmul, (live, weight), {}))
    assert not is_weighted(classify(torch.matmul, (weight.T, live.transpose(2, 3)), {})), "weights from the left"
    assert not is_weighted(classify(torch.matmul, (live, live.transpose(2, 3)), {})), "attention"
    assert not is_weighted(classify(torch.bmm, (live[0], randn(4, 6, 5)), {})), "other weights for each picture"
    assert is_weighted(classify(F.conv2d, (live, randn(6, 4, 3, 3)), {}))
    assert not is_weighted(classify(F.conv2d, (live, randn(6, 4, 3, 3).requires_grad_()), {})), "dynamic filters"
    assert not is_weighted(classify(F.relu, (live,), {}))
