"""Rules of what has no weights, each against its definition."""

from __future__ import annotations

import numpy as np
import pytest
import slow_relevance as slow
import torch
from torch.nn import functional as F  # noqa: N812

from xaiwidgets.surgery.composites import Composite
from xaiwidgets.surgery.mode import SurgeryMode
from xaiwidgets.surgery.ops import classify
from xaiwidgets.surgery.propagation import RelevancePolicy
from xaiwidgets.surgery.structure import keeps_order

EPSILON = 1e-3


def randn(*shape, seed=0):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def through(call, relevance, *values, **fields):
    """Send relevance back through a call; return what arrives at each value, the policy and the coverage."""
    policy = RelevancePolicy(Composite("test", **{"epsilon": EPSILON, **fields}))
    leaves = [value.clone().requires_grad_() for value in values]
    with SurgeryMode(policy, lambda: "here") as mode:
        mode.start(leaves[0])
        output = call(*(leaf * 1 for leaf in leaves))
    found = torch.autograd.grad(output, leaves, relevance, allow_unused=True)
    return found, policy, mode.coverage


def only(policy):
    (entry,) = policy.ledger.entries
    return entry


A, B, R = randn(2, 3, 4), randn(2, 3, 4, seed=1), randn(2, 3, 4, seed=2)
CONSTANT = randn(3, 4, seed=3)


def quotient(relevance, total):
    return relevance / torch.where(total < 0, total - EPSILON, total + EPSILON)


SUMS = {
    "a + b": (lambda a, b: a + b, lambda a, b: (a, b)),
    "in place": (lambda a, b: a.add_(b), lambda a, b: (a, b)),
    "+=": (lambda a, b: a.__iadd__(b), lambda a, b: (a, b)),
    "alpha": (lambda a, b: torch.add(a, b, alpha=2.5), lambda a, b: (a, 2.5 * b)),
    "a - b": (lambda a, b: a - b, lambda a, b: (a, -b)),
    "alpha of sub": (lambda a, b: torch.sub(a, b, alpha=2.0), lambda a, b: (a, -2 * b)),
    "rsub": (torch.rsub, lambda a, b: (-a, b)),
}


@pytest.mark.parametrize("name", SUMS)
def test_a_sum_shares_by_what_is_added(name):
    call, parts = SUMS[name]
    found, policy, _ = through(call, R, A, B)
    first, second = parts(A, B)
    total = first + second
    for arrived, part in zip(found, (first, second), strict=True):
        torch.testing.assert_close(arrived, part * quotient(R, total), rtol=1e-12, atol=1e-13)
    lost = (EPSILON * torch.sign(total) * quotient(R, total)).sum((1, 2))
    torch.testing.assert_close(only(policy).epsilon, lost, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("bias", ["keep", "ignore"])
@pytest.mark.parametrize(
    ("call", "sign", "constant"),
    [
        (lambda a: a + CONSTANT, 1, CONSTANT),
        (lambda a: CONSTANT + a, 1, CONSTANT),
        (lambda a: a - 0.7, 1, torch.tensor(-0.7, dtype=torch.float64)),
        (lambda a: 0.7 - a, -1, torch.tensor(0.7, dtype=torch.float64)),
        (lambda a: CONSTANT - a, -1, CONSTANT),
        (lambda a: a.sub_(0.7), 1, torch.tensor(-0.7, dtype=torch.float64)),
        (lambda a: torch.add(a, 2, alpha=3), 1, torch.tensor(6.0)),
    ],
)
def test_a_constant_takes_the_share_of_a_bias(call, sign, constant, bias):
    (arrived,), policy, _ = through(call, R, A, bias=bias)
    constant = constant.double().expand(2, 3, 4) * (bias == "keep")
    total = sign * A + constant
    torch.testing.assert_close(arrived, sign * A * quotient(R, total), rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(only(policy).bias, (constant * quotient(R, total)).sum((1, 2)), rtol=1e-12, atol=1e-13)


def test_what_is_broadcast_collects_its_shares():
    scale = randn(2, 1, 4, seed=4)
    found, _, _ = through(lambda a, b: a + b, R, A, scale)
    wanted = (scale * quotient(R, A + scale)).sum(1, keepdim=True)
    torch.testing.assert_close(found[1], wanted, rtol=1e-12, atol=1e-13)


def test_positive_sums_share_only_what_has_the_sign_of_the_result():
    a, b, r = (torch.tensor([row], dtype=torch.float64) for row in ([3.0, 3, -3, 2], [1.0, -1, -1, -2], [8.0, 8, 8, 8]))
    (first, second), _, _ = through(lambda a, b: a + b, r, a, b, positive=True, epsilon=0.0)
    assert first.tolist() == [[6, 8, 6, 8]]
    assert second.tolist() == [[2, 0, 2, 0]]
    (first,), policy, _ = through(lambda a: a - 1, r, a, positive=True, epsilon=0.0)
    assert first.tolist() == [[8, 8, 6, 8]], "3 − 1: only the 3 has the sign of the 2; −3 − 1: three of four parts"
    assert only(policy).bias.tolist() == [2]
    (first,), _, _ = through(lambda a: a - 1, r, a, positive=True, epsilon=0.0, bias="ignore")
    assert first.tolist() == r.tolist()


MAP = randn(2, 3, 6, 6, seed=5)
AVERAGES = {
    "avg_pool2d": lambda x: F.avg_pool2d(x, 2),
    "overlapping, padded": lambda x: F.avg_pool2d(x, 3, 2, 1),
    "padding not counted": lambda x: F.avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=False),
    "adaptive": lambda x: F.adaptive_avg_pool2d(x, (4, 1)),
    "mean": lambda x: x.mean((2, 3)),
    "mean method by keywords": lambda x: x.mean(dim=(-2, -1), keepdim=True),
    "mean of channels": lambda x: torch.mean(x, 1),
    "sum": lambda x: x.sum(dim=3),
    "nearest": lambda x: F.interpolate(x, scale_factor=2.0),
    "bilinear": lambda x: F.interpolate(x, size=(4, 9), mode="bilinear", align_corners=False),
}


@pytest.mark.parametrize("positive", [False, True], ids=["signed", "positive"])
@pytest.mark.parametrize("name", AVERAGES)
def test_an_average_shares_like_a_layer_of_equal_weights(name, positive):
    call = AVERAGES[name]
    relevance = randn(*call(MAP).shape, seed=6)
    (arrived,), policy, coverage = through(call, relevance, MAP, positive=positive)
    assert coverage.places["here", next(k for k in coverage.met if k != "mul"), "average"] == 1
    weights, _ = slow.matrix(call, MAP.shape[1:])
    for picture in range(2):
        inputs, start = MAP[picture].numpy().ravel(), relevance[picture].numpy().ravel()
        if positive:
            above = weights @ inputs >= 0
            nothing = np.zeros(len(weights))
            wanted, *_ = slow.send("zplus", weights, nothing, inputs, start * above, epsilon=EPSILON)
            below, *_ = slow.send("zplus", -weights, nothing, inputs, start * ~above, epsilon=EPSILON)
            wanted = wanted + below
        else:
            wanted, _, lost = slow.send("epsilon", weights, np.zeros(len(weights)), inputs, start, epsilon=EPSILON)
            assert float(only(policy).epsilon[picture]) == pytest.approx(lost)
        np.testing.assert_allclose(arrived[picture].numpy().ravel(), wanted, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("bias", ["keep", "ignore"])
def test_a_batch_norm_shares_with_its_shift(bias):
    mean, variance, weight, shift = randn(3), randn(3, seed=1).abs() + 0.5, randn(3, seed=2), randn(3, seed=3)
    relevance = randn(2, 3, 6, 6, seed=6)

    def call(x):
        return F.batch_norm(x, mean, variance, weight, shift, eps=0.1)

    (arrived,), policy, coverage = through(call, relevance, MAP, bias=bias)
    scale = weight / (variance + 0.1).sqrt()
    part = MAP * scale[:, None, None]
    rest = (shift - mean * scale)[:, None, None].expand_as(MAP) * (bias == "keep")
    torch.testing.assert_close(arrived, part * quotient(relevance, part + rest), rtol=1e-11, atol=1e-12)
    if bias == "keep":
        taken = (rest * quotient(relevance, part + rest)).sum((1, 2, 3))
        torch.testing.assert_close(only(policy).bias, taken, rtol=1e-11, atol=1e-12)
    assert coverage.places["here", "batch_norm", "epsilon" if bias == "keep" else "pass"] == 1


def test_a_batch_norm_without_its_shift_passes_relevance_of_either_sign():
    one = torch.ones(3, dtype=torch.float64)
    relevance = randn(2, 3, 6, 6, seed=6)
    (arrived,), _, _ = through(
        lambda x: F.batch_norm(x, one, one, -one, one), relevance, MAP, bias="ignore", positive=True, epsilon=0.0
    )
    torch.testing.assert_close(arrived, relevance, rtol=1e-12, atol=1e-12)


def test_a_batch_norm_of_the_batch_is_refused():
    policy = RelevancePolicy(Composite("test"))
    leaf = MAP.clone().requires_grad_()
    with SurgeryMode(policy, lambda: "norm") as mode:
        F.batch_norm(leaf, None, None, training=True)
    assert mode.coverage.refused == (("batch_norm", "norm"),)


def test_gradients_of_running_statistics_do_not_matter():
    """The same layer as a module has buffers, and weights that want gradients."""
    norm = torch.nn.BatchNorm2d(3).double().eval()
    (arrived,), _, _ = through(norm, MAP, MAP)
    assert not arrived.requires_grad


@pytest.mark.parametrize("bias", ["keep", "ignore"])
@pytest.mark.parametrize(
    ("call", "dims", "channels"),
    [
        (lambda x, w, b: F.layer_norm(x, (3, 6, 6), w.expand(3, 6, 6), b.expand(3, 6, 6), eps=0.1), (1, 2, 3), 3),
        (lambda x, w, b: F.group_norm(x, 1, w.flatten(), b.flatten(), eps=0.1), (1, 2, 3), 3),
        (lambda x, w, b: F.group_norm(x, 3, w.flatten(), b.flatten(), eps=0.1), (2, 3), 3),
    ],
)
def test_a_normalization_by_its_own_spread_takes_it_as_constant(call, dims, channels, bias):
    weight, shift = randn(3, 1, 1, seed=2), randn(3, 1, 1, seed=3)
    relevance = randn(2, 3, 6, 6, seed=6)
    (arrived,), policy, _ = through(lambda x: call(x, weight, shift), relevance, MAP, bias=bias)
    spread = (MAP.var(dims, unbiased=False, keepdim=True) + 0.1).sqrt()
    leaf = MAP.clone().requires_grad_()
    made = (leaf - leaf.mean(dims, keepdim=True)) / spread * weight
    rest = shift.expand_as(MAP) * (bias == "keep")
    (wanted,) = torch.autograd.grad(made, leaf, quotient(relevance, made.detach() + rest))
    torch.testing.assert_close(arrived, MAP * wanted, rtol=1e-10, atol=1e-11)
    taken = (rest * quotient(relevance, made.detach() + rest)).sum((1, 2, 3))
    torch.testing.assert_close(only(policy).bias, taken, rtol=1e-10, atol=1e-11)


PASSING = [
    F.relu, F.relu6, F.leaky_relu, F.elu, F.silu, F.gelu, F.mish, F.hardswish, F.hardsigmoid, torch.sigmoid, torch.tanh,
    F.softplus, F.logsigmoid, F.softsign, F.hardshrink, F.hardtanh, lambda x: F.threshold(x, 0.5, 0.2),
    lambda x: x.clamp(-1, 1), torch.neg, lambda x: F.prelu(x, torch.tensor([0.2], dtype=torch.float64)),
    lambda x: F.relu(x, inplace=True), lambda x: x.clamp_(0, 6), lambda x: F.local_response_norm(x, 2),
]  # fmt: skip


@pytest.mark.parametrize("call", PASSING)
def test_an_activation_passes_relevance(call):
    """Also ReLU6, leaky ReLU, SiLU, GELU and hard swish: a declared rule each."""
    relevance = randn(2, 3, 6, 6, seed=6)
    (arrived,), policy, coverage = through(call, relevance, 3 * MAP)
    assert torch.equal(arrived, relevance)
    assert policy.ledger.entries == []
    assert "pass" in {rule for (_, kind, rule) in coverage.places if kind != "mul"}
    assert coverage.refused == ()


ROUTING = [
    lambda x: F.max_pool2d(x, 2), lambda x: F.max_pool2d(x, 3, 2, 1), lambda x: F.adaptive_max_pool2d(x, 2),
    lambda x: x.amax((2, 3)), lambda x: x.max(dim=1).values, lambda x: torch.cat([x, x[:, :1]], 1),
    lambda x: torch.stack([x, x]), lambda x: x.chunk(3, 1)[1], lambda x: x[:, 1:, ::2], lambda x: x.flatten(1),
    lambda x: F.pad(x, (1, 2, 0, 1)), lambda x: F.pad(x, (1, 1, 1, 1), mode="reflect"), lambda x: x.permute(0, 2, 3, 1),
    lambda x: F.dropout(x, 0.5, training=False), lambda x: x.contiguous(), lambda x: x.flip(2), lambda x: x.roll(1, 3),
    lambda x: x.repeat(1, 2, 1, 1), lambda x: x.movedim(1, 3), lambda x: x.index_select(1, torch.tensor([2, 0])),
    lambda x: torch.maximum(x, x.flip(3)),
]  # fmt: skip


@pytest.mark.parametrize("call", ROUTING)
def test_what_only_moves_values_routes_relevance_like_a_gradient(call):
    relevance = randn(*call(MAP).shape, seed=6)
    (arrived,), policy, coverage = through(call, relevance, MAP)
    leaf = MAP.clone().requires_grad_()
    assert torch.equal(arrived, torch.autograd.grad(call(leaf), leaf, relevance)[0])
    assert policy.ledger.entries == []
    assert {rule for (_, kind, rule) in coverage.places if kind != "mul"} == {"route"}


def test_writing_into_a_map_routes_relevance():
    def call(a, b):
        a[:, 0] = b
        return a

    other = randn(2, 4, seed=7)
    found, _, coverage = through(call, R, A, other)
    assert torch.equal(found[1], R[:, 0])
    assert torch.equal(found[0], torch.cat([torch.zeros_like(R[:, :1]), R[:, 1:]], 1))
    assert coverage.refused == ()


def test_constants_and_gates_only_scale():
    relevance = randn(2, 3, 6, 6, seed=6)
    for call in (
        lambda x: x * 2, lambda x: -0.5 * x, lambda x: x / 3, lambda x: x * CONSTANT[:, :1, None], lambda x: x.mul_(2),
        lambda x: x.div_(CONSTANT[:, :1, None]),
    ):  # fmt: skip
        (arrived,), _, coverage = through(call, relevance, MAP)
        assert torch.equal(arrived, relevance)
        assert {rule for (_, _, rule) in coverage.places} == {"pass"}


@pytest.mark.parametrize(
    "call",
    [
        lambda x: x * x.mean((2, 3), keepdim=True).sigmoid(),
        lambda x: F.hardsigmoid(x.mean((2, 3), keepdim=True)) * x,
        lambda x: x * torch.sigmoid(x),
        lambda x: torch.sigmoid(x) * x,
        lambda x: x * (F.relu6(x + 3) / 6),
        lambda x: x * torch.tanh(F.softplus(x)),
        lambda x: x.clone().mul_(x.mean(1, keepdim=True).sigmoid().expand_as(x)),
    ],
)
def test_of_a_product_the_map_gets_all_and_the_gate_nothing(call):
    relevance = randn(2, 3, 6, 6, seed=6)
    (arrived,), _, coverage = through(call, relevance, MAP)
    torch.testing.assert_close(arrived, relevance, rtol=0, atol=0)
    assert "gate constant" in {rule for (_, _, rule) in coverage.places}


def test_relevance_of_a_broadcast_map_is_added_up():
    small = randn(2, 3, 1, 1, seed=8)
    relevance = randn(2, 3, 6, 6, seed=6)
    (arrived,), _, _ = through(lambda x: x * CONSTANT[0, 0].expand(6, 6), relevance, small)
    torch.testing.assert_close(arrived, relevance.sum((2, 3), keepdim=True))


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda x: x * x.flip(3), "mul of two maps"),
        (lambda x: torch.sigmoid(x) * torch.tanh(x), "mul of two maps"),
        (lambda x: x / x.mean((2, 3), keepdim=True), "div"),
        (lambda x: 1 / x, "div"),
        (lambda x: x @ x.transpose(2, 3), "matmul"),
        (lambda x: x.flatten(2).softmax(-1), "softmax"),
        (lambda x: x.abs(), "abs"),
        (lambda x: x**2, "pow"),
        (lambda x: x.exp(), "exp"),
        (lambda x: x.std(), "std"),
        (lambda x: torch.where(x > 0, x, 0.0), "where"),
        (lambda x: torch.einsum("ncij,nkij->nck", x, x), "einsum"),
        (F.instance_norm, "instance_norm"),
        (lambda x: F.rms_norm(x, (6,)), "layer_norm"),
        (F.normalize, "normalize"),
        (lambda x: F.glu(x, 2), "glu"),
        (lambda x: x.cumsum(1), "cumsum"),
        (lambda x: F.scaled_dot_product_attention(x, x, x), "scaled_dot_product_attention"),
    ],
)
def test_everything_else_is_refused_by_name(call, name):
    leaf = MAP.clone().requires_grad_()
    policy = RelevancePolicy(Composite("test"))
    with SurgeryMode(policy, lambda: "block.attention") as mode:
        call(leaf * 1)
    assert (name, "block.attention") in mode.coverage.refused


def test_what_does_not_carry_the_signal_is_not_refused():
    def call(x):
        torch.isnan(x).any()
        noise = torch.zeros_like(x).exp() + x.new_ones(1).cumsum(0)
        return x * (x > 0) + 0 * noise + x.detach().abs() * 0

    (arrived,), _, coverage = through(call, R, A, epsilon=0.0)
    assert coverage.refused == ()
    # what is zero because of its mask has nothing to share
    torch.testing.assert_close(arrived, torch.where(A > 0, R, 0.0), rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    ("call", "live", "wanted"),
    [
        (lambda x: classify(torch.mul, (x, CONSTANT), {}), (True, False), True),
        (lambda x: classify(torch.mul, (x, x), {}), (True, True), False),
        (lambda x: classify(torch.relu, (x,), {}), (True,), True),
        (lambda x: classify(F.silu, (x,), {}), (True,), False),
        (lambda x: classify(F.avg_pool2d, (x, 2), {}), (True,), True),
        (lambda x: classify(torch.cat, ([x, x],), {}), (True, True), True),
        (lambda x: classify(F.interpolate, (x, 4), {"mode": "bicubic"}), (True,), False),
        (lambda x: classify(F.interpolate, (x, 4), {"mode": "bilinear"}), (True,), True),
        (lambda x: classify(torch.Tensor.add_, (CONSTANT, x), {}), (False, True), False),
        (lambda x: classify(torch.Tensor.copy_, (CONSTANT, x), {}), (False, True), True),
    ],
)
def test_bounds_survive_what_rises_or_falls(call, live, wanted):
    assert keeps_order(call(A), live) is wanted
