"""The digits that stand for a network's weights."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import xaiwidgets as xw
from xaiwidgets.model.digest import weights_digest


def make_net() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    ).eval()


def digest(net: nn.Module) -> str:
    return weights_digest(xw.Model(net, size=8, name="net"))


def test_the_same_weights_have_the_same_digits():
    net = make_net()
    assert digest(net) == digest(copy.deepcopy(net)) == digest(make_net())
    assert len(digest(net)) == 16


@pytest.mark.parametrize("name", ["0.weight", "1.running_mean", "1.num_batches_tracked", "5.bias"])
def test_every_weight_and_buffer_counts(name):
    net, other = make_net(), make_net()
    other.state_dict()[name].view(-1)[-1:].add_(1)
    assert digest(net) != digest(other)


def test_weights_that_change_later_have_other_digits():
    net = make_net()
    model = xw.Model(net, size=8, name="net")
    before = weights_digest(model)
    with torch.no_grad():
        net[5].bias.add_(1.0)
    assert weights_digest(model) != before


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_every_number_type_has_digits(dtype):
    assert digest(make_net().to(dtype)) != digest(make_net())


def test_digests_of_different_rooms_do_not_take_each_others_place():
    from xaiwidgets.learned import features

    model = xw.Model(nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 2)), size=8)
    first = weights_digest(model)
    assert isinstance(features.weights_digest(model), bytes)
    assert weights_digest(model) == first
