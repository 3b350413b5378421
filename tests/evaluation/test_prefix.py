"""Passes that skip what has not changed: the same last bit, fewer modules run, and what must never be skipped."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torchvision.models import resnet18

import xaiwidgets as xw
from xaiwidgets.evaluation import prefix
from xaiwidgets.evaluation.cascade import chosen_steps
from xaiwidgets.evaluation.prefix import Prefix
from xaiwidgets.evaluation.weights import Randomizer, stages_of
from xaiwidgets.model.model import Model


def probe(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(5))


class Tied(nn.Module):
    """Its first and its last layer share weights, one layer runs twice, and an activation writes into its input."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 3, 3, padding=1)
        self.norm = nn.BatchNorm2d(3)
        self.twice = nn.Conv2d(3, 3, 1)
        self.inside = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.ReLU(inplace=True))
        self.middle = nn.Conv2d(3, 3, 1)
        self.last = nn.Conv2d(3, 3, 3, padding=1)
        self.last.weight = self.first.weight
        self.end = nn.BatchNorm2d(3)

    def forward(self, x):
        x = self.inside(torch.relu_(self.norm(self.first(x))) + x)
        x = self.twice(self.middle(x.mul_(2)))
        return self.end(self.last(self.twice(torch.relu_(x)))).mean((2, 3))


@pytest.mark.parametrize("order", ["cascading", "bottom_up", "independent"])
@pytest.mark.parametrize("name", ["lite0", "resnet18", "tied"])
def test_statistics_are_those_of_whole_passes_to_the_last_bit(name, order):
    torch.manual_seed(0)
    made = {
        "lite0": xw.load_model,
        "resnet18": lambda: Model(resnet18(), size=64),
        "tied": lambda: Model(Tied(), size=8),
    }
    model = made[name]()
    images = probe(2, *model.input_shape)
    stages = stages_of(model, blocks=name == "lite0")
    fast, whole = (Randomizer(model, stages, 1, "recalibrate", images) for _ in range(2))
    whole._prefix.whole = True
    for step in chosen_steps(order, len(stages)):
        fast.set(step), whole.set(step)
        one, two = fast.moving.module.state_dict(), whole.moving.module.state_dict()
        assert all(torch.equal(one[key], two[key]) for key in one), step


def counting(network):
    """Return what counts the calls of each module of a network, by name."""
    counts = dict.fromkeys(dict(network.named_modules()), 0)

    def count(name):
        def hook(*given):
            counts[name] += 1

        return hook

    for name, module in network.named_modules():
        module.register_forward_hook(count(name))
    return counts


def test_what_comes_before_runs_once_and_is_handed_out_untouched():
    network = Tied().eval()
    counts, passes = counting(network), Prefix(network, probe(1, 3, 8, 8))
    inner = []
    network.inside[0].register_forward_hook(lambda *given: inner.append(1))
    for _ in range(5):
        passes.run(["middle"])
    assert len(inner) == 2  # one to see the order, one to keep the output
    kept = {name: output.clone() for name, output in passes._kept.items()}
    assert sorted(kept) == ["first", "inside", "norm"]
    passes.run(["middle"])
    assert all(torch.equal(passes._kept[name], output) for name, output in kept.items())
    assert counts["middle"] == 6
    assert counts["twice"] == 12
    assert all("forward" not in module.__dict__ for module in network.modules())


def test_a_change_of_shared_weights_reaches_both_places():
    network = Tied().eval()
    passes = Prefix(network, probe(1, 3, 8, 8))
    counts = counting(network)
    for _ in range(3):
        passes.run(["last"])
    assert counts["first"] == 3  # begins before, and is the same tensor


class Early(nn.Module):
    """Its forward reads the weights of its last layer, or a view of them, long before that layer begins."""

    def __init__(self, how):
        super().__init__()
        self.how = how
        self.first, self.middle = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)
        self.last = nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 3, 1)) if how == "made" else nn.Conv2d(3, 3, 1)
        self.seen = self.last.weight.detach()[:1]

    def forward(self, x):
        x = self.first(x)
        early = self.seen if self.how == "view" else self.last.weight
        x = self.middle(x * early.square().mean())
        return self.last(x).mean((2, 3))


@pytest.mark.parametrize("how", ["parameter", "view", "made"])
def test_who_reads_weights_before_their_layer_begins_runs_again(how):
    network, images = Early(how).eval(), probe(1, 3, 8, 8)
    passes, given = Prefix(network, images), []
    network.middle.register_forward_hook(lambda module, inputs, output: given.append(inputs[0].clone()))
    changed = ["last.parametrizations.weight"] if how == "made" else ["last"]
    for factor in (1, 2, 3):
        with torch.no_grad():
            next(
                network.last.parametrizations.weight.parameters() if how == "made" else network.last.parameters()
            ).mul_(factor)
        passes.run(changed)
    assert list(passes._kept) == ["first"]  # nothing before it depends on the weights
    assert torch.allclose(given[1], 4 * given[0]) and torch.allclose(given[2], 36 * given[0])


def test_modules_whose_weights_a_pass_was_not_seen_to_read_let_nothing_be_skipped():
    network = Tied().eval()
    network.idle = nn.Conv2d(3, 3, 1)
    passes = Prefix(network, probe(1, 3, 8, 8))
    for _ in range(3):
        passes.run(["last", "idle"])
    assert not passes._kept


def test_outputs_are_kept_up_to_a_bound(monkeypatch):
    network = nn.Sequential(*(nn.Conv2d(3, 3, 1) for _ in range(5))).eval()
    monkeypatch.setattr(prefix, "MOST_KEPT", 2 * 4 * 3 * 8 * 8)
    passes = Prefix(network, probe(1, 3, 8, 8))
    for _ in range(3):
        passes.run(["4"])
    assert sorted(passes._kept) == ["0", "1"]


def test_an_error_leaves_the_network_as_it_was():
    network = Tied().eval()
    passes = Prefix(network, probe(1, 3, 8, 8))
    for _ in range(2):
        passes.run(["middle"])
    before, last = copy.copy(network.inside.__dict__), network.last
    network.last = None
    with pytest.raises(TypeError):
        passes.run(["middle"])
    network.last = last
    assert network.inside.__dict__.keys() == before.keys()
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


def test_a_network_that_keeps_something_between_passes_runs_whole():
    network = Tied().eval()
    counts, passes = counting(network), Prefix(network, probe(1, 3, 8, 8), whole=True)
    for _ in range(3):
        passes.run(["middle"])
    assert counts["inside"] == 3
