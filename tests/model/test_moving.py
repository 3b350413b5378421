"""Weights that are set in place: the passes of a Model made for them, and a user's network that stays as it was."""

from __future__ import annotations

import copy

import nets
import pytest
import torch
from torch import nn

import xaiwidgets as xw
from xaiwidgets.errors import InvalidModel
from xaiwidgets.model.model import Model
from xaiwidgets.model.moving import MovingModel
from xaiwidgets.model.skeleton import stamp


def drawn(module, seed):
    """Return new weights and statistics for a whole network, of the size of the old ones."""
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for name, value in [*module.named_parameters(), *module.named_buffers()]:
        if not value.is_floating_point():
            continue
        noise = torch.rand(value.shape, generator=generator)
        found[name] = value.detach() * (0.5 + noise) + (0.1 * noise if name.endswith("running_mean") else 0)
    return found


def bundled(name):
    model = xw.load_model(name)
    return model, model.input("coffee" if name.startswith("eff") else nets_picture(model))


def nets_picture(model):
    import numpy as np

    height, width = model.preprocessing.size
    return np.random.default_rng(0).random((height, width, 3)).astype("float32")


def small(make):
    return lambda: (Model(make(), size=nets.SIZE), nets.images())


CASES = {
    "efficientnet_lite0": lambda: bundled("efficientnet_lite0"),
    "digits_gap": lambda: bundled("digits_gap"),
    "digits_vgg": lambda: bundled("digits_vgg"),
    "f3": small(nets.f3),
    "in_place_input": small(nets.in_place_input),
}


@pytest.mark.parametrize("name", CASES)
def test_it_answers_like_a_model_made_for_these_weights(name):
    model, image = CASES[name]()
    target = model.target(1)
    layer = model.stages[-1].name
    before = copy.deepcopy(model.module.state_dict())
    whole = model.logits(image)
    moving = MovingModel(model)
    for seed in range(3):
        moving.model.logits(image), moving.model.gradient(image, target, layers=[layer])  # the fast copies are there
        weights = drawn(model.module, seed)
        moving.set(weights)
        other = model.with_weights(weights)
        torch.testing.assert_close(moving.model.logits(image), other.logits(image), rtol=1e-4, atol=1e-4)
        one, two = moving.model.gradient(image, target, layers=[layer]), other.gradient(image, target, layers=[layer])
        scale = float(two.input.abs().max())
        assert float((one.input - two.input).abs().max()) <= 2e-3 * scale
        torch.testing.assert_close(one.layers[layer][0], two.layers[layer][0], rtol=1e-3, atol=1e-3)
        exact = moving.model.exactly().gradient(image, target).input
        assert torch.equal(exact, other.exactly().gradient(image, target).input)
    assert torch.equal(model.logits(image), whole)
    assert all(torch.equal(value, before[key]) for key, value in model.module.state_dict().items())


def test_nothing_is_written_to_or_counted_on_the_users_weights():
    """A graph of theirs stays usable, and their Model does not take them for changed."""
    model, image = CASES["digits_gap"]()
    moving = MovingModel(model)
    moving.model.logits(image)
    before, made = stamp(model.module), model.prepared
    loss = model.module(image).sum()
    moving.set(drawn(model.module, 1))
    moving.moved()
    assert stamp(model.module) == before
    assert model.prepared is made
    loss.backward()
    for parameter in model.module.parameters():
        parameter.grad = None


def test_the_fast_copies_are_made_once(monkeypatch):
    from xaiwidgets.model import model as module

    model, image = CASES["digits_gap"]()
    moving = MovingModel(model)
    made, real = [], module.prepare
    monkeypatch.setattr(module, "prepare", lambda *a, **k: made.append(1) or real(*a, **k))
    for seed in range(3):
        moving.set(drawn(model.module, seed))
        moving.model.logits(image), moving.model.gradient(image, model.target(0))
    assert len(made) == 1


def test_methods_with_rules_see_the_new_weights():
    model, image = CASES["digits_gap"]()
    moving = MovingModel(model)
    target = model.target(1)
    weights = drawn(model.module, 1)
    other = model.with_weights(weights)
    for name in ("guided_backprop", "lrp", "grad_cam", "fullgrad"):
        method = xw.methods()[[c.id for c in xw.methods()].index(name)].make()
        list(method.steps(moving.model, image, target))
    moving.set(weights)
    for name in ("guided_backprop", "lrp", "grad_cam", "fullgrad"):
        method = xw.methods()[[c.id for c in xw.methods()].index(name)].make()
        one, two = (list(method.steps(m, image, target))[-1].values for m in (moving.model, other))
        assert abs(one - two).max() <= 2e-3 * abs(two).max(), name


def test_what_shares_passes_forgets_them():
    model, image = CASES["digits_gap"]()
    moving = MovingModel(model.sharing(whole=True))
    target = model.target(1)
    before = moving.model.gradient(image, target).input.clone()
    moving.set(drawn(model.module, 2))
    assert not torch.equal(moving.model.gradient(image, target).input, before)


def test_parts_can_be_set_and_tied_weights_stay_tied():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.one = nn.Conv2d(3, 3, 3, padding=1)
            self.two = self.one
            self.head = nn.Linear(3, 4)

        def forward(self, x):
            return self.head(torch.relu(self.two(torch.relu(self.one(x)))).mean((2, 3)))

    model, image = Model(Tied(), size=nets.SIZE), nets.images()
    moving = MovingModel(model)
    moving.model.logits(image)
    new = torch.randn(3, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    moving.set({"one.weight": new})
    torch.testing.assert_close(moving.model.logits(image), model.with_weights({"one.weight": new}).logits(image))


def test_one_tensor_of_two_layers_is_set_by_either_name():
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)
            self.two.weight = self.one.weight
            self.norm, self.head = nn.BatchNorm2d(3), nn.Linear(3, 4)

        def forward(self, x):
            return self.head(torch.relu(self.two(torch.relu(self.norm(self.one(x))))).mean((2, 3)))

    net, image = Shared().eval(), nets.images()
    moving = MovingModel(Model(net, size=nets.SIZE))
    before = moving.model.logits(image).clone()
    new = torch.randn(3, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    moving.set({"two.weight": new})  # the first is folded with its normalization, which no name says
    assert not torch.allclose(moving.model.logits(image), before)
    with torch.no_grad():
        net.one.weight.copy_(new)
        torch.testing.assert_close(moving.model.logits(image), net(image), rtol=1e-4, atol=1e-4)


def test_wrong_weights_are_refused_and_nothing_is_written():
    model, image = CASES["digits_gap"]()
    moving = MovingModel(model)
    whole = moving.model.logits(image)
    good = torch.zeros_like(moving.module.classifier.bias)
    with pytest.raises(InvalidModel, match="Did you mean classifier"):
        moving.set({"classifier.bias": good, "clasifier.weight": good})
    with pytest.raises(InvalidModel, match="must have shape"):
        moving.set({"classifier.bias": torch.zeros(3)})
    assert torch.equal(moving.model.logits(image), whole)
