"""The one autograd function serves rules of every shape, not only activations."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from xaiwidgets.errors import SurgeryError
from xaiwidgets.surgery.mode import SurgeryMode
from xaiwidgets.surgery.recipes import GUIDED, recipe
from xaiwidgets.surgery.rules import RULES, rule


@pytest.fixture
def extra():
    before = dict(RULES)
    yield
    RULES.clear()
    RULES.update(before)


def run(made, call, *leaves):
    with SurgeryMode(made, lambda: ""):
        output = call(*leaves)
    return torch.autograd.grad(output, leaves, torch.ones_like(output))


@pytest.mark.usefixtures("extra")
def test_a_convolution_rule_gets_inputs_and_parameters():
    @rule("positive weights", inputs=True)
    def positive(op, kept, upstream):
        assert torch.equal(kept, F.conv2d(op.inputs[0], op.parameters["weight"], padding=op.parameters["padding"]))
        return (torch.nn.grad.conv2d_input(op.inputs[0].shape, op.parameters["weight"].clamp(min=0), upstream,
                                           padding=op.parameters["padding"]),)  # fmt: skip

    leaf, weight = torch.randn(1, 2, 5, 5).requires_grad_(), torch.randn(3, 2, 3, 3)
    (found,) = run(recipe("z", {"conv": "positive weights"}), lambda x: F.conv2d(x, weight, padding=1), leaf)
    (wanted,) = torch.autograd.grad(F.conv2d(leaf, weight.clamp(min=0), padding=1).sum(), leaf)
    assert torch.allclose(found, wanted, atol=1e-6)


@pytest.mark.usefixtures("extra")
@pytest.mark.parametrize(
    "call", [lambda a, b: a * 1 + b, lambda a, b: (a * 1).add_(b), lambda a, b: torch.cat([a * 1, b])]
)
def test_a_rule_for_two_inputs_sees_them_as_they_were(call):
    @rule("swap", inputs=True)
    def swap(op, kept, upstream):
        return op.inputs[1] * 1.0, op.inputs[0] * 1.0

    one, two = torch.tensor([1.0, 2.0]).requires_grad_(), torch.tensor([3.0, 4.0]).requires_grad_()
    found = run(recipe("s", {"add": "swap", "cat": "swap"}), call, one, two)
    assert [gradient.tolist() for gradient in found] == [[3.0, 4.0], [1.0, 2.0]]


@pytest.mark.usefixtures("extra")
def test_max_pool_with_indices_keeps_both_results():
    @rule("spread", keep=lambda op, output: None)
    def spread(op, kept, upstream):
        return (upstream.repeat_interleave(2, -1).repeat_interleave(2, -2),)

    leaf = torch.randn(1, 1, 4, 4).requires_grad_()
    (found,) = run(recipe("p", {"max_pool": "spread"}), lambda x: F.max_pool2d(x, 2, return_indices=True)[0], leaf)
    assert torch.equal(found, torch.ones(1, 1, 4, 4))


@pytest.mark.usefixtures("extra")
def test_a_rule_that_forgets_an_input_is_named():
    @rule("short")
    def short(op, kept, upstream):
        return (upstream,)

    leaf = torch.ones(2).requires_grad_()
    with pytest.raises(SurgeryError, match="rule for add returned 1 gradients"):
        run(recipe("s", {"add": "short"}), lambda x: x + x * 1, leaf)


@pytest.mark.parametrize("view", [lambda x: x[:, :2], lambda x: x.view(-1), lambda x: x.permute(0, 2, 3, 1)])
def test_in_place_on_a_view_changes_the_base_and_rules_only_the_view(view):
    values = torch.randn(1, 4, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    upstream = torch.randn(1, 4, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))

    def net(leaf):
        base = leaf * 1
        view(base).relu_()  # its result is dropped
        return base

    leaf = values.clone().requires_grad_()
    wanted = net(leaf)
    with SurgeryMode(GUIDED, lambda: "") as mode:
        output = net(leaf)
    assert torch.equal(output, wanted)
    assert mode.coverage.ruled == {"relu": 1}
    touched = torch.zeros_like(values)
    view(touched).fill_(1)
    guided = torch.where((values > 0) & (upstream > 0), upstream, 0.0)
    (gradient,) = torch.autograd.grad(output, leaf, upstream)
    assert torch.equal(gradient, torch.where(touched > 0, guided, upstream))


@pytest.mark.parametrize("call", [F.relu, torch.relu_, F.relu6, lambda x: x.clamp_(0, 6)])
def test_the_graph_is_freed_without_the_garbage_collector(call):
    gc.collect()
    gc.disable()
    try:
        leaf = torch.randn(8).requires_grad_()
        with SurgeryMode(GUIDED, lambda: ""):
            middle = leaf * 2
            output = call(middle)
        seen = weakref.ref(output.grad_fn)
        held = weakref.ref(middle)
        del output, middle
        assert seen() is None
        assert held() is None
    finally:
        gc.enable()


def test_rules_can_be_differentiated_again():
    leaf = torch.tensor([1.0, -1.0, 2.0], dtype=torch.float64).requires_grad_()
    with SurgeryMode(GUIDED, lambda: ""):
        output = (torch.relu(leaf) ** 3).sum()
    (first,) = torch.autograd.grad(output, leaf, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), leaf)
    assert second.tolist() == [6.0, 0.0, 12.0]
