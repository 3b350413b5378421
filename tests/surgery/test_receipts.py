"""What a pass under rules reports and what it refuses, on whole nets."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional as F  # noqa: N812

from xaiwidgets.errors import NotApplicable, SurgeryError
from xaiwidgets.surgery.mode import SurgeryMode, check
from xaiwidgets.surgery.recipes import GUIDED


@pytest.fixture
def small_picture():
    return torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (F.silu, "SiLU"),
        (F.gelu, "GELU"),
        (torch.tanh, "tanh"),
        (F.softplus, "softplus"),
        (F.hardswish, "hard swish"),
        (F.mish, "Mish"),
        (torch.sigmoid, "sigmoid"),
        (lambda x: x * torch.sigmoid(x), "sigmoid"),
        (lambda x: x * F.relu6(x + 3) / 6, "relu6"),
    ],
)
def test_other_main_activations_are_refused_by_name_and_path(ruled, picture, call, word):
    class Part(nn.Module):
        def forward(self, x):
            return call(x)

    module = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.Sequential(nn.ReLU(), Part()), nn.Flatten(), nn.Linear(320, 3)
    ).double()
    coverage = ruled(module, picture, GUIDED).coverage
    if word == "relu6":  # (x · relu6) / 6 scales the product, not the clipped map: a legitimate use
        check(GUIDED, coverage, "guided_backprop")
        return
    with pytest.raises(NotApplicable, match=rf"{word} at 1\.1.*saliency, integrated_gradients, grad_cam"):
        check(GUIDED, coverage, "guided_backprop")


def test_hand_made_hard_swish_is_refused(ruled, small_net, picture):
    coverage = ruled(small_net(lambda x: x * (F.relu6(x + 3) / 6)), picture, GUIDED).coverage
    with pytest.raises(NotApplicable, match="hard sigmoid"):
        check(GUIDED, coverage, "guided_backprop")


def test_mobilenet_v3_names_hard_swish_and_counts_its_gates(ruled, small_picture):
    torch.manual_seed(0)
    module = torchvision.models.mobilenet_v3_small(weights=None).eval()
    coverage = ruled(module, small_picture, GUIDED).coverage
    kinds = [kind for kind, _ in coverage.plain]
    assert (kinds.count("hardswish"), kinds.count("hardsigmoid gate"), coverage.ruled) == (19, 9, {"relu": 14})
    with pytest.raises(NotApplicable, match=r"hard swish at features\.0\.2"):
        check(GUIDED, coverage, "guided_backprop")


def test_gates_pass_as_plain_gradient(ruled, small_picture):
    torch.manual_seed(0)
    module = torchvision.models.regnet_y_400mf(weights=None).eval()
    coverage = ruled(module, small_picture, GUIDED).coverage
    check(GUIDED, coverage, "guided_backprop")
    assert coverage.sentence().startswith("65 of 65 ReLU ruled; 16 sigmoid gates as plain gradient at ")


def test_no_needed_operation_is_an_error(ruled, small_net, picture):
    coverage = ruled(small_net(lambda x: x), picture, GUIDED).coverage
    with pytest.raises(
        NotApplicable, match="at least one ELU or PReLU or ReLU or ReLU6 or leaky ReLU; the model has none"
    ):
        check(GUIDED, coverage, "guided_backprop")


def test_a_picture_without_gradient_is_an_error(small_net, picture):
    for module in (small_net(F.relu), small_net(F.relu).requires_grad_(False)):
        with torch.no_grad(), SurgeryMode(GUIDED, lambda: "") as mode:
            module(picture)
        with pytest.raises(SurgeryError, match="requires_grad=True"):
            check(GUIDED, mode.coverage, "guided_backprop")


def test_what_runs_past_the_mode_is_reported(ruled, small_net, picture):
    class Hidden(torch.autograd.Function):
        @staticmethod
        def forward(ctx, data):
            ctx.save_for_backward(data)
            return data * torch.sigmoid(data)

        @staticmethod
        def backward(ctx, upstream):
            return upstream

    coverage = ruled(small_net(lambda x: Hidden.apply(torch.relu(x))), picture, GUIDED).coverage
    assert coverage.unruled == (("sigmoid", ""), ("sigmoid", ""))
    with pytest.raises(NotApplicable, match=r"no own autograd\.Function"):
        check(GUIDED, coverage, "guided_backprop")


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_scripted_function_is_reported(ruled, small_net, picture):
    scripted = torch.jit.script(doubled_relu)
    coverage = ruled(small_net(lambda x: scripted(torch.relu(x))), picture, GUIDED).coverage
    assert coverage.ruled == {"relu": 2}
    assert [path for kind, path in coverage.plain if kind.startswith("unseen")] == ["two", ""]


def doubled_relu(x: torch.Tensor) -> torch.Tensor:
    return torch.relu(x) * 2


def test_a_picture_made_by_autograd_is_no_stranger(small_net, picture):
    made, module = picture.clone().requires_grad_() * 0.5, small_net(F.relu)
    with SurgeryMode(GUIDED, lambda: "") as mode:
        module(made)
    assert mode.coverage.plain == ()


def test_constant_branches_do_not_count(small_net, picture):
    constant = torch.randn(2, 6, 10, 12, dtype=torch.float64)
    leaf, module = picture.clone().requires_grad_(), small_net(lambda x: torch.relu(x) + torch.relu(constant))
    with SurgeryMode(GUIDED, lambda: "") as mode:
        module(leaf)
    assert mode.coverage.ruled == {"relu": 2}
