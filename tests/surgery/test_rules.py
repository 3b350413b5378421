"""The rules against the review's figure 4 and against autograd."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from xaiwidgets.surgery.mode import SurgeryMode
from xaiwidgets.surgery.recipes import DECONV, GUIDED, LEAKY, recipe
from xaiwidgets.surgery.rules import RULES

INPUT = [[-1, 2, -3], [-5, -4, 6], [9, 8, -7]]
UPSTREAM = [[-5, 3, 8], [7, -6, -4], [-2, 1, 9]]
PLAIN = recipe("plain", dict.fromkeys(("relu", "relu6", "leaky_relu", "prelu", "elu"), "plain"))


def through(call, made, values, upstream):
    leaf = values.clone().requires_grad_()
    with SurgeryMode(made, lambda: "") as mode:
        output = call(leaf * 1)
    (gradient,) = torch.autograd.grad(output, leaf, upstream)
    return gradient, output.detach(), mode.coverage


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("made", "wanted"),
    [
        (PLAIN, [[0, 3, 0], [0, 0, -4], [-2, 1, 0]]),
        (DECONV, [[0, 3, 8], [7, 0, 0], [0, 1, 9]]),
        (GUIDED, [[0, 3, 0], [0, 0, 0], [0, 1, 0]]),
    ],
)
@pytest.mark.parametrize("call", [F.relu, torch.relu_, lambda x: x.clamp(min=0), lambda x: F.threshold(x, 0, 0, True)])
def test_figure_4_of_the_review(dtype, made, wanted, call):
    gradient, _, coverage = through(call, made, torch.tensor(INPUT, dtype=dtype), torch.tensor(UPSTREAM, dtype=dtype))
    assert gradient.tolist() == wanted
    assert coverage.ruled == {"relu": 1}


@pytest.mark.parametrize(
    "call",
    [
        F.relu6, lambda x: F.relu6(x, inplace=True), lambda x: x.clamp_(0, 6), lambda x: F.hardtanh(x, 0, 2.5),
        lambda x: F.leaky_relu(x, 0.3), lambda x: F.leaky_relu_(x, 0.3), lambda x: F.leaky_relu(x, -0.3),
        lambda x: F.rrelu(x, 0.1, 0.3), F.elu, lambda x: F.elu(x, 0.7, inplace=True), F.selu,
        lambda x: F.celu(x, 0.5), lambda x: F.celu_(x, 0.5),  # autograd rounds 1/alpha to float32: take an exact one
        lambda x: F.prelu(x, torch.tensor([0.2, -0.4, 0.0], dtype=torch.float64)),
        lambda x: F.prelu(x, torch.tensor([-0.4], dtype=torch.float64)),
    ],
)  # fmt: skip
def test_slopes_equal_those_of_autograd(call):
    generator = torch.Generator().manual_seed(3)
    values = 5 * torch.randn(2, 3, 8, 8, dtype=torch.float64, generator=generator)
    upstream = torch.randn(2, 3, 8, 8, dtype=torch.float64, generator=generator)
    leaf = values.clone().requires_grad_()
    output = call(leaf * 1)
    (wanted,) = torch.autograd.grad(output, leaf, upstream)
    plain, same, _ = through(call, PLAIN, values, upstream)
    assert torch.equal(same, output)
    assert torch.allclose(plain, wanted, rtol=1e-12, atol=1e-14)
    guided, _, _ = through(call, GUIDED, values, upstream)
    assert torch.allclose(guided, torch.where(upstream > 0, wanted, 0.0), rtol=1e-12, atol=1e-14)
    deconv, _, _ = through(call, DECONV, values, upstream)
    assert torch.equal(deconv, upstream.clamp(min=0))


def test_relu6_gate_is_closed_at_both_bounds():
    values = torch.tensor([-1.0, 0.0, 3.0, 6.0, 7.0])
    gradient, _, _ = through(F.relu6, GUIDED, values, torch.ones(5))
    assert gradient.tolist() == [0, 0, 1, 0, 0]


def test_a_clamp_whose_result_is_overwritten_keeps_its_gate():
    values = torch.tensor([-1.0, 3.0, 7.0])
    gradient, _, _ = through(lambda x: x.clamp_(0, 6).mul_(-2), GUIDED, values, torch.tensor([-1.0, -1.0, -1.0]))
    assert gradient.tolist() == [0, 2, 0]


def test_the_leaky_rule_lets_a_little_through_where_a_rectifier_is_off():
    values, upstream = torch.tensor([-1.0, 0.0, 3.0, 6.0, 7.0]), torch.tensor([2.0, -2.0, -2.0, 2.0, 2.0])
    for call, wanted in (
        (torch.relu, [0.1, -0.1, -2, 2, 2]),
        (lambda x: F.relu(x + 0, inplace=True), [0.1, -0.1, -2, 2, 2]),
        (F.relu6, [0.1, -0.1, -2, 0.1, 0.1]),
        (lambda x: F.relu6(x + 0, inplace=True), [0.1, -0.1, -2, 0.1, 0.1]),
        (lambda x: x.clamp_(0, 6).mul_(2), [0.2, -0.2, -4, 0.2, 0.2]),
        (lambda x: F.leaky_relu(x, 0.3), [0.6, -0.6, -2, 2, 2]),
    ):
        found, output, _ = through(call, LEAKY, values, upstream)
        assert torch.equal(output, call(values.clone()))
        torch.testing.assert_close(found, torch.tensor(wanted))


def test_guided_and_deconv_are_registered():
    assert {"plain", "guided", "deconv"} <= set(RULES)


CENTERS = recipe("unpooled to the center", {"max_pool": "center", "adaptive_max_pool": "center"})
POOLS = {
    "2": (lambda x: F.max_pool2d(x, 2), lambda i, n: range(2 * i, 2 * i + 2)),
    "3, 2, 1": (lambda x: F.max_pool2d(x, 3, 2, 1), lambda i, n: range(max(2 * i - 1, 0), min(2 * i + 2, n))),
    "overhanging": (lambda x: F.max_pool2d(x, 3, 2, ceil_mode=True), lambda i, n: range(2 * i, min(2 * i + 3, n))),
    "dilated": (lambda x: F.max_pool2d(x, 2, 1, dilation=3), lambda i, n: range(i, i + 4)),
    "one number in a list": (lambda x: F.max_pool2d(x, [3], stride=[3]), lambda i, n: range(3 * i, 3 * i + 3)),
    "indices": (lambda x: F.max_pool2d(x, 4, return_indices=True)[0], lambda i, n: range(4 * i, 4 * i + 4)),
    "adaptive": (lambda x: F.adaptive_max_pool2d(x, 3), lambda i, n: range(i * n // 3, -(-(i + 1) * n // 3))),
}


@pytest.mark.parametrize("name", POOLS)
def test_unpooling_without_switches_goes_to_the_center_of_each_window(name):
    call, window = POOLS[name]
    values = torch.randn(2, 3, 8, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    upstream = torch.randn(call(values).shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    found, output, _ = through(call, CENTERS, values, upstream)
    assert torch.equal(output, call(values))
    wanted = torch.zeros_like(values)
    for row in range(upstream.shape[2]):
        for column in range(upstream.shape[3]):
            rows, columns = window(row, 8), window(column, 10)
            # of an even count the first of the two in the middle
            place = rows[(len(rows) - 1) // 2], columns[(len(columns) - 1) // 2]
            wanted[:, :, place[0], place[1]] += upstream[:, :, row, column]
    assert torch.equal(found, wanted)


def test_unpooling_of_lines_and_volumes():
    line = torch.arange(6.0).reshape(1, 1, 6)
    found, _, _ = through(lambda x: F.max_pool1d(x, 3), CENTERS, line, torch.tensor([[[5.0, 7.0]]]))
    assert found.tolist() == [[[0, 5, 0, 0, 7, 0]]]
    found, _, _ = through(
        lambda x: F.max_pool3d(x, (1, 3, 2)), CENTERS, torch.zeros(1, 1, 2, 3, 4), torch.ones(1, 1, 2, 1, 2)
    )
    assert found[0, 0, :, 1].tolist() == [[1, 0, 1, 0]] * 2
    assert found.sum() == 4


def test_identity_lets_everything_through():
    made = recipe("nothing", {"relu": "identity"})
    found, _, _ = through(F.relu, made, torch.tensor(INPUT, dtype=torch.float64), torch.tensor(UPSTREAM).double())
    assert found.tolist() == UPSTREAM


def test_the_center_rule_must_know_the_size():
    with pytest.raises(TypeError, match="shape of its input"):
        RULES["center"].backward(None, None, torch.ones(1))
