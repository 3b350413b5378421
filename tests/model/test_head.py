"""Heads of global average pooling, found by what networks do, and not found where there is none."""

from __future__ import annotations

import copy

import nets
import pytest
import torch
from torch import nn
from torch.nn import functional

import xaiwidgets as xw
from xaiwidgets.errors import NotApplicable
from xaiwidgets.model.meter import CURRENT, Meter
from xaiwidgets.surgery.smooth import Smoothing

SIZE, CLASSES, CHANNELS = nets.SIZE, nets.CLASSES, 7


class Ends(nn.Module):
    """Convolution and ReLU, then an end that is given as a function of the map and this module's layers."""

    def __init__(self, end, classes=CLASSES):
        super().__init__()
        self.conv = nn.Conv2d(3, CHANNELS, 3, padding=1, stride=2)
        self.relu = nn.ReLU()
        self.linear = nn.Linear(CHANNELS, classes)
        self.point = nn.Conv2d(CHANNELS, classes, 1)
        self.same = nn.Conv2d(CHANNELS, CHANNELS, 1)
        self.norm = nn.BatchNorm2d(classes)
        self.first = nn.Linear(CHANNELS, 6)
        self.second = nn.Linear(6, classes)
        self.layer_norm = nn.LayerNorm(CHANNELS)
        self.flat = nn.Linear(CHANNELS * (SIZE // 2) ** 2, classes)
        self.end = end

    def forward(self, x):
        return self.end(self, self.relu(self.conv(x)))


def mean(a):
    return a.mean(dim=(2, 3))


def always_on(net, a):
    with torch.no_grad():
        net.first.bias.fill_(1.0)
        net.first.weight.clamp_(-0.2, 0.2)
    return net.second(functional.relu(net.first(mean(a))))


#: Ends with a linear map from the mean of the map that the ReLU gives.
LINEAR = {
    "linear": lambda net, a: net.linear(mean(a)),
    "adaptive pooling": lambda net, a: net.linear(functional.adaptive_avg_pool2d(a, 1).flatten(1)),
    "window": lambda net, a: net.linear(functional.avg_pool2d(a, SIZE // 2).squeeze(-1).squeeze(-1)),
    "sum": lambda net, a: net.linear(a.sum(dim=3).sum(dim=2) / 64),
    "twice": lambda net, a: net.linear(functional.avg_pool2d(a, 2).mean((2, 3))),
    "dropout": lambda net, a: net.linear(
        functional.dropout(functional.dropout2d(a, training=False).mean((2, 3)), 0.5, False)
    ),
    "convolution after": lambda net, a: net.point(functional.adaptive_avg_pool2d(a, 1)).flatten(1),
    "convolution before": lambda net, a: mean(net.point(a)),
    "normalized convolution before": lambda net, a: mean(net.norm(net.point(a))),
    "two layers": lambda net, a: net.second(net.first(mean(a))),
    "scaled": lambda net, a: 3 - 2 * net.linear(mean(a)),
}
OTHERS = {
    "maximum": lambda net, a: net.linear(a.amax(dim=(2, 3))),
    "flattened": lambda net, a: net.flat(a.flatten(1)),
    "hidden ReLU": lambda net, a: net.second(functional.relu(net.first(mean(a)))),
    "hidden ReLU that is on for pictures": always_on,
    "normalized mean": lambda net, a: net.linear(functional.layer_norm(mean(a), (CHANNELS,))),
    "squares": lambda net, a: net.linear(mean(a)) ** 2,
    "norm": lambda net, a: net.linear(mean(a * a).sqrt()),
}


def make(end, classes=CLASSES):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nets.randomize_norms(Ends(end, classes)).eval()


def model_of(module, size=SIZE):
    return xw.Model(module, size=size, mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3))


def check(model, images):
    """The head gives the network's own scores, and its maps have them as their means."""
    head = model.gap_head()
    maps, scores = model.pooled(images)
    assert maps.shape[1:] == head.place.shape
    assert head.weight.shape == (model.classes, maps.shape[1])
    plain = model.module.eval()(images.clone())
    torch.testing.assert_close(scores, plain, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(head.scores(maps), plain, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(mean(head.class_maps(maps)) + head.bias, plain, rtol=1e-4, atol=1e-5)
    return head


@pytest.mark.parametrize("name", LINEAR)
def test_finds_the_map_and_the_weights_whatever_the_end_is_made_of(name):
    module = make(LINEAR[name])
    model = model_of(module)
    assert "gap_head" in model.offers
    head = check(model, nets.images(3))
    side = SIZE // 4 if name == "twice" else SIZE // 2
    assert head.place.shape == (CHANNELS, side, side)
    if name == "linear":
        torch.testing.assert_close(head.weight, module.linear.weight.detach())
        torch.testing.assert_close(head.bias, module.linear.bias.detach())
    if name == "convolution before":
        torch.testing.assert_close(head.weight, module.point.weight.detach().flatten(1))
    assert head.layer == ("" if name == "twice" else "relu")


@pytest.mark.parametrize("name", OTHERS)
def test_refuses_what_is_no_linear_map_of_a_mean(name):
    model = model_of(make(OTHERS[name]))
    assert "gap_head" not in model.offers
    assert model.gap_head() is None
    with pytest.raises(NotApplicable, match="a head of global average pooling"):
        model.pooled(nets.images())


def test_class_maps_that_only_an_activation_gives_are_pooled_themselves():
    model = model_of(make(lambda net, a: mean(functional.relu(net.point(a)))))
    head = check(model, nets.images(2))
    torch.testing.assert_close(head.weight, torch.eye(CLASSES))
    assert head.layer == ""


@pytest.mark.parametrize("build", [f for f in nets.GOOD if f.__name__ != "f4"], ids=lambda f: f.__name__)
def test_finds_it_in_networks_written_in_all_ways(build):
    check(model_of(build()), nets.images(2))


def test_a_map_that_is_only_an_operations_is_found_by_its_number():
    """As in densenet: the last ReLU is a function, and works in place on what a layer gave."""
    module = make(lambda net, a: net.linear(functional.relu(net.same(a), inplace=True).mean((2, 3))))
    model = model_of(module)
    head = check(model, nets.images(3))
    assert head.layer == ""
    with torch.no_grad():
        wanted = module.same(module.relu(module.conv(nets.images(3)))).relu()
    torch.testing.assert_close(model.pooled(nets.images(3))[0], wanted)


@pytest.mark.parametrize(("build", "there"), [("resnet18", True), ("vgg11", False), ("googlenet", True)])
def test_in_known_architectures(build, there):
    from torchvision import models

    more = {"init_weights": False} if build == "googlenet" else {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = models.get_model(build, weights=None, num_classes=6, **more).eval()
    model = model_of(module, 64)
    assert (model.gap_head() is not None) == there
    if there:
        assert check(model, nets.images(1, 64)).layer == model.stages[-1].name


def test_in_the_bundled_networks():
    lite0, gap = xw.load_model(), xw.load_model("digits_gap")
    assert lite0.gap_head().layer == lite0.stages[-1].name
    assert lite0.gap_head().place.shape == (1280, 7, 7)
    torch.testing.assert_close(lite0.gap_head().weight, lite0.module.classifier.weight.detach(), rtol=1e-4, atol=1e-6)
    assert gap.gap_head().layer == gap.stages[-1].name
    assert xw.load_model("digits_vgg").gap_head() is None


@pytest.mark.parametrize("softmax", [nn.Softmax(dim=1), nn.LogSoftmax(dim=1)], ids=lambda m: type(m).__name__)
def test_before_a_softmax_it_gives_the_scores_that_the_softmax_takes(softmax):
    module = make(lambda net, a: softmax(net.linear(mean(a))))
    model = model_of(module)
    head = model.gap_head()
    assert head.before_softmax
    torch.testing.assert_close(head.weight, module.linear.weight.detach(), rtol=1e-4, atol=1e-6)
    images = nets.images(2)
    maps, scores = model.pooled(images)
    torch.testing.assert_close(scores, module.linear(mean(maps)).detach(), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(scores, model.logits(images), atol=1e-2)


def test_other_weights_have_another_head_and_nothing_is_left_behind():
    module = make(LINEAR["linear"])
    model = model_of(module)
    before = model.gap_head()
    assert model.gap_head() is before
    other = model.with_weights(lambda name, value: value * 2 if name.startswith("linear") else value, quick=True)
    torch.testing.assert_close(other.gap_head().weight, 2 * before.weight)
    assert other.gap_head().layer == before.layer
    assert model.gap_head() is before
    with torch.no_grad():
        module.linear.weight.mul_(3)
    torch.testing.assert_close(model.gap_head().weight, 3 * before.weight)


def test_a_network_seen_through_a_mode_has_the_same_head_and_other_maps():
    for end in (LINEAR["linear"], lambda net, a: net.linear(mean(functional.relu(net.same(a))))):
        module = make(end)
        model = model_of(module)
        smooth = model.transformed(Smoothing(2.0, False), "with softplus")
        images = nets.images(2)
        maps, scores = smooth.pooled(images)
        assert (maps - model.pooled(images)[0]).abs().max() > 0.05
        assert smooth.gap_head().place == model.gap_head().place
        torch.testing.assert_close(smooth.gap_head().scores(maps), scores, rtol=1e-4, atol=1e-5)


def test_looking_for_it_costs_no_pass_and_leaves_no_mark():
    module = make(LINEAR["convolution before"])
    model = model_of(module)
    before, state = copy.deepcopy(module.state_dict()), torch.get_rng_state()
    meter = Meter()
    token = CURRENT.set(meter)
    try:
        model.gap_head()
        assert meter.passes == (0, 0)
        model.pooled(nets.images(2))
        assert meter.passes == (2, 0)
    finally:
        CURRENT.reset(token)
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert not any(m._forward_hooks or p.requires_grad is False for m in module.modules() for p in m.parameters())


def test_a_shared_model_keeps_the_maps_of_its_last_pictures():
    model = model_of(make(LINEAR["linear"])).sharing()
    image = nets.images()
    maps, scores = model.pooled(image)
    assert model.pooled(image)[0] is maps
    assert not torch.equal(model.pooled(image + 1)[0], maps)
    torch.testing.assert_close(scores, model.logits(image), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("build", [nets.one_at_a_time, nets.in_place_input, nets.telling], ids=lambda f: f.__name__)
def test_finds_it_in_networks_that_misbehave(build):
    model = model_of(build())
    maps, scores = model.pooled(nets.images())
    torch.testing.assert_close(model.gap_head().scores(maps), scores, rtol=1e-4, atol=1e-5)


def test_a_network_whose_scores_drift_has_none():
    assert model_of(nets.stateful()).gap_head() is None
