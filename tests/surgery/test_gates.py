"""A sigmoid is a gate by what is done with its result."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from xaiwidgets.surgery.mode import SurgeryMode
from xaiwidgets.surgery.recipes import GUIDED


def verdicts(call):
    leaf = torch.randn(1, 4, 6, 6).requires_grad_()
    with SurgeryMode(GUIDED, lambda: "se") as mode:
        call(leaf * 1)
    return [kind for kind, path in mode.coverage.plain if "sigmoid" in kind]


def squeezed(x):
    return x.mean((2, 3), keepdim=True)


@pytest.mark.parametrize(
    "call",
    [
        lambda x: x * torch.sigmoid(squeezed(x)),
        lambda x: torch.sigmoid(squeezed(x)) * x,
        lambda x: x.mul_(squeezed(x).sigmoid()),
        lambda x: x * torch.sigmoid(squeezed(x)).expand_as(x),
        lambda x: x * torch.sigmoid(x.mean((2, 3))).view(1, 4, 1, 1),
        lambda x: x * (2 * torch.sigmoid(squeezed(x))),
        lambda x: x * (1 + torch.sigmoid(squeezed(x))),
        lambda x: x * torch.sigmoid(x.mean(1, keepdim=True)),
        lambda x: x * F.interpolate(torch.sigmoid(F.avg_pool2d(x, 2)), scale_factor=2),
    ],
)
def test_gates(call):
    assert verdicts(call) == ["sigmoid gate"]


@pytest.mark.parametrize(
    "call",
    [
        lambda x: x * torch.sigmoid(x),
        lambda x: torch.sigmoid(x) + x,
        lambda x: F.conv2d(torch.sigmoid(x), torch.ones(2, 4, 1, 1)),
        lambda x: torch.sigmoid(squeezed(x)) * squeezed(x),
    ],
)
def test_main_activations(call):
    assert verdicts(call) == ["sigmoid"]


def test_a_gate_that_is_also_used_otherwise_is_a_main_activation():
    def call(x):
        gate = torch.sigmoid(squeezed(x))
        return x * gate, gate + squeezed(x)

    assert verdicts(call) == ["sigmoid"]


def test_what_nobody_reads_is_the_output():
    assert verdicts(lambda x: torch.sigmoid(x.mean((2, 3)))) == ["sigmoid output"]


def test_hard_sigmoids_are_told_apart():
    assert verdicts(lambda x: x * F.hardsigmoid(squeezed(x))) == ["hardsigmoid gate"]
    assert verdicts(lambda x: x * (F.relu6(x + 3) / 6)) == ["hardsigmoid"]
    assert verdicts(lambda x: x * (F.relu6(x + 3) * (1 / 6))) == ["hardsigmoid"]
    assert verdicts(lambda x: F.relu6(x) * 2) == []
