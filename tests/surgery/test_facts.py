"""Foldable batch norms and the shape of a net's end, by data flow."""

from __future__ import annotations

import pytest
import timm
import torch
import torchvision
from torch import nn

from xaiwidgets.surgery.trace import TraceMode


def trace(module, watching, side=64):
    with watching(module) as watch, torch.no_grad(), TraceMode(torch.rand(1, 3, side, side), watch.where) as mode:
        module(next(iter(mode._tensors.values())))
    return mode


class OutOfOrder(nn.Module):
    """Declares its batch norms in another order than it uses them."""

    def __init__(self):
        super().__init__()
        self.norm_b, self.norm_a = nn.BatchNorm2d(4), nn.BatchNorm2d(4)
        self.conv_a, self.conv_b = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)

    def forward(self, x):
        return self.norm_b(self.conv_b(torch.relu(self.norm_a(self.conv_a(x)))))


class Reusing(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.last = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 1)
        self.norms = nn.ModuleList(nn.BatchNorm2d(3) for _ in range(3))

    def forward(self, x):
        x = self.norms[1](self.conv(self.norms[0](self.conv(x))))
        return self.norms[2](self.last(x))


class Escaping(nn.Module):
    """The convolution's result is also read by something else."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.other = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.BatchNorm2d(3)

    def forward(self, x):
        made = self.conv(x)
        return self.norm(made) + made.relu() + self.other(x)


def test_pairs_follow_the_data(watching):
    module = OutOfOrder().eval()
    assert trace(module, watching).pairs == [
        (id(module.conv_a.weight), id(module.norm_a.running_mean)),
        (id(module.conv_b.weight), id(module.norm_b.running_mean)),
    ]


def test_reused_weights_are_left_out(watching):
    module = Reusing().eval()
    assert trace(module, watching).pairs == [(id(module.last.weight), id(module.norms[2].running_mean))]


def test_results_that_are_read_twice_are_left_out(watching):
    assert trace(Escaping().eval(), watching).pairs == []


@pytest.mark.parametrize("between", [nn.ReLU(), nn.MaxPool2d(2), nn.ReLU(inplace=True)])
def test_only_direct_neighbors(watching, between):
    module = nn.Sequential(nn.Conv2d(3, 4, 3), between, nn.BatchNorm2d(4)).eval()
    assert trace(module, watching).pairs == []


def test_training_mode_and_missing_statistics_are_left_out(watching):
    assert trace(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).train(), watching).pairs == []
    bare = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False))
    assert trace(bare.eval(), watching).pairs == []


@pytest.mark.parametrize(
    ("name", "count"), [("resnet18", 20), ("googlenet", 57), ("densenet121", 59), ("mobilenet_v2", 52)]
)
def test_counts_on_real_nets(name, count, watching):
    options = {"init_weights": False, "aux_logits": False} if name == "googlenet" else {}
    module = getattr(torchvision.models, name)(weights=None, **options).eval()
    pairs = trace(module, watching).pairs
    weights = {id(part.weight) for part in module.modules() if isinstance(part, nn.Conv2d)}
    means = {id(part.running_mean) for part in module.modules() if isinstance(part, nn.BatchNorm2d)}
    assert len(pairs) == count
    assert {weight for weight, _ in pairs} <= weights
    assert {mean for _, mean in pairs} <= means


def test_fused_norm_and_activation_modules(watching):
    module = timm.create_model("tf_efficientnet_lite0").eval()
    mode = trace(module, watching)
    facts = mode.facts
    assert len(mode.pairs) == 49
    assert (facts.relu_like, facts.max_pool, facts.convolutions, facts.softmax) == (33, 0, 17, False)
    assert (facts.gap_path, facts.head_path, facts.map_path) == ("global_pool.pool", "classifier", "bn2.act")


def conv_net(*end):
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2), *end).eval()


def test_ends(watching):
    gap = nn.AdaptiveAvgPool2d(1)
    linear = trace(conv_net(gap, nn.Flatten(), nn.Dropout(), nn.Linear(4, 3), nn.Softmax(1)), watching).facts
    assert (linear.softmax, linear.gap_path, linear.head_path, linear.map_path) == (True, "3", "6", "2")
    assert (linear.relu_like, linear.max_pool, linear.convolutions) == (1, 1, 1)
    before = trace(conv_net(nn.Conv2d(4, 3, 1), gap, nn.Flatten()), watching).facts
    assert (before.softmax, before.gap_path, before.head_path, before.map_path) == (False, "4", "3", "2")
    after = trace(conv_net(gap, nn.Conv2d(4, 3, 1), nn.Flatten(), nn.LogSoftmax(1)), watching).facts
    assert (after.softmax, after.gap_path, after.head_path) == (True, "3", "4")


@pytest.mark.parametrize(
    "end",
    [
        [nn.Flatten(), nn.Linear(4 * 31 * 31, 3)],
        [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 3)],
        [nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(4, 3)],
        [nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 3)],
        [nn.Conv2d(4, 3, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()],
    ],
)
def test_other_ends_have_no_linear_head(end, watching):
    facts = trace(conv_net(*end), watching).facts
    assert (facts.gap_path, facts.head_path, facts.map_path) == (None, None, None)
