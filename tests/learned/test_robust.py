"""Training against an adversary: it stays within its bounds, raises the loss, and makes a network robust."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_recipe import SIDE, halves, tiny
from torch import nn
from torch.nn import functional

import xaiwidgets as xw
from xaiwidgets.learned.recipes import recipe, train, train_steps
from xaiwidgets.learned.robust import Adversary

#: One linear layer.
TINY = replace(tiny(), make=lambda: nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, 2)))


def given():
    images, labels = halves("test")
    inputs = torch.from_numpy((images.transpose(0, 3, 1, 2) - 0.5) / 0.5).float()
    return images, inputs, torch.from_numpy(labels)


def changed(net, adversary, seed=0):
    _, inputs, labels = given()
    return adversary.changed(net, inputs, labels, TINY, torch.Generator().manual_seed(seed))


def test_of_a_linear_network_it_finds_the_worst_picture():
    """Of two classes: every pixel as far as it may against the difference of the weights."""
    net = train(TINY, epochs=1).module
    images, _, labels = given()
    weight = (net[1].weight[1] - net[1].weight[0]).detach().numpy().reshape(3, SIDE, SIDE).transpose(1, 2, 0)
    sides = np.where(labels.numpy() == 1, -1, 1)[:, None, None, None]
    worst = (images + 8 / 255 * np.sign(weight) * sides).clip(0, 1).transpose(0, 3, 1, 2)
    found = (changed(net, Adversary(epsilon=8)) * 0.5 + 0.5).numpy()
    assert np.abs(found - worst).max() < 1e-6


def test_it_stays_within_its_bounds_and_leaves_the_network():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, 30), nn.Tanh(), nn.Linear(30, 2))
    before = [p.clone() for p in net.parameters()]
    _, inputs, labels = given()
    plain = functional.cross_entropy(net(inputs), labels).detach()
    losses = []
    for steps in (0, 1, 10):
        found = changed(net, Adversary(epsilon=16, steps=steps))
        assert float((found - inputs).abs().max()) <= 16 / 255 / 0.5 + 1e-6
        assert float(found.min()) >= -1
        assert float(found.max()) <= 1
        losses.append(float(functional.cross_entropy(net(found), labels).detach()))
    assert float(plain) < losses[1]
    assert losses[0] < losses[1] <= losses[2]
    assert all(torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))
    assert all(p.grad is None for p in net.parameters())
    assert torch.equal(changed(net, Adversary()), changed(net, Adversary()))
    assert not torch.equal(changed(net, Adversary()), changed(net, Adversary(), seed=1))


def test_an_adversary_that_may_change_nothing_changes_nothing():
    """The same pictures in the same order give the same weights as the ordinary training."""
    plain, still, moved = (
        train(replace(TINY, adversary=a)).module for a in (None, Adversary(epsilon=0), Adversary(32))
    )
    assert torch.equal(plain[1].weight, still[1].weight)
    assert not torch.equal(plain[1].weight, moved[1].weight)


@pytest.fixture(scope="module")
def robust():
    """The robust teaching network, two minutes on one core."""
    *_, last = train_steps("shapes_robust")
    assert last.test_accuracy > 0.97
    return last.model


@pytest.mark.lab
def test_the_robust_network_holds_where_the_ordinary_one_falls(robust):
    made = recipe("shapes_robust")
    images, labels = made.load("test")
    inputs = torch.from_numpy(((images - 0.5) / 0.25).transpose(0, 3, 1, 2).copy())
    right = {}
    for model in (xw.load_model("shapes_gap"), robust):
        worse = Adversary(steps=10).changed(
            model.module, inputs, torch.from_numpy(labels.copy()), made, torch.Generator().manual_seed(0)
        )
        right[model.name] = float((model.logits(worse).argmax(1).numpy() == labels).mean())
    print(right)
    ordinary, hardened = right.values()
    assert ordinary < 0.2
    assert hardened > 0.9
