"""DeSaliNet: the eight reversed architectures, by what they are equal to and by explicit reversal."""

from __future__ import annotations

import nets
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import xaiwidgets as xw
from xaiwidgets import DeconvNet, DeSaliNet, GuidedBackprop, GuidedGradCam, Saliency, SmoothGrad, Target
from xaiwidgets.errors import NotApplicable

X = [[-1.0, 2, -3], [-5, -4, 6], [9, 8, -7]]
R = [[-5.0, 3, 8], [7, -6, -4], [-2, 1, 9]]
EIGHT = [(mask, switches, rectify) for mask in (1, 0) for switches in (1, 0) for rectify in (1, 0)]


class Vector(nn.Module):
    """Σ R ⊙ relu(x): the signal that reaches the ReLU is R."""

    def forward(self, x):
        return (x.relu() * x.new_tensor(R)).sum(dim=(1, 2, 3))[:, None]


@pytest.mark.parametrize(
    ("mask", "rectify", "wanted"),
    [
        (True, True, [[0, 3, 0], [0, 0, 0], [0, 1, 0]]),
        (True, False, [[0, 3, 0], [0, 0, -4], [-2, 1, 0]]),
        (False, True, [[0, 3, 8], [7, 0, 0], [0, 1, 9]]),
        (False, False, R),
    ],
)
def test_review_example(mask, rectify, wanted, wrap, run):
    model = wrap(Vector(), (3, 3), mean=(0.0,), std=(1.0,))
    found = run(DeSaliNet(relu_mask=mask, rectify=rectify), model, torch.tensor([[X]])).values
    np.testing.assert_array_equal(found[0], wanted)


#: (relu_mask, rectify) of the methods that the family holds.
SAME = {(True, True): GuidedBackprop, (True, False): Saliency, (False, True): DeconvNet}


@pytest.mark.parametrize("knobs", SAME)
@pytest.mark.parametrize("make", nets.GOOD, ids=lambda make: make.__name__)
def test_equals_its_members_to_the_last_bit(make, knobs, picture, run):
    """X8."""
    mask, rectify = knobs
    model = xw.Model(make(), size=nets.SIZE)
    image = picture(model)
    found = run(DeSaliNet(relu_mask=mask, rectify=rectify), model, image, 2).values
    np.testing.assert_array_equal(found, run(SAME[knobs](), model, image, 2).values)


def test_equals_them_on_the_bundled_network(lite0, run):
    model, image, target = lite0
    for (mask, rectify), method in SAME.items():
        found = run(DeSaliNet(relu_mask=mask, rectify=rectify), model, image, target).values
        np.testing.assert_array_equal(found, run(method(), model, image, target).values)


def reversed_by_hand(net, image, target, mask, switches, rectify):
    """Return the map of the small net of ``conftest``, layer by layer."""
    one = net.one(image)
    pooled, places = functional.max_pool2d(one.relu(), 2, return_indices=True)
    two = net.two(pooled)

    def relu(signal, values):
        signal = signal.clamp(min=0) if rectify else signal
        return signal * (values > 0) if mask else signal

    area = two.shape[2] * two.shape[3]
    signal = (net.head.weight[target] / area)[None, :, None, None].expand_as(two)
    signal = functional.conv_transpose2d(relu(signal, two), net.two.weight, padding=1)
    if switches:
        signal = functional.max_unpool2d(signal, places, 2, output_size=one.shape[2:])
    else:
        spread = torch.zeros_like(one)
        spread[:, :, : 2 * signal.shape[2] : 2, : 2 * signal.shape[3] : 2] = signal  # of four places, the first
        signal = spread
    return functional.conv_transpose2d(relu(signal, one), net.one.weight, padding=1)


@pytest.mark.parametrize("bits", EIGHT, ids=str)
@pytest.mark.parametrize("style", ["module", "functional", "reused"])
def test_is_the_reversed_network(style, bits, net, wrap, picture, run, close):
    mask, switches, rectify = map(bool, bits)
    module = net(style)
    model = wrap(module)
    image = picture(model)
    with torch.no_grad():
        wanted = reversed_by_hand(module, image, 3, mask, switches, rectify)
    found = run(DeSaliNet(relu_mask=mask, switches=switches, rectify=rectify), model, image, 3)
    close(found.values, wanted[0])


def test_without_switches_only_the_masks_tell_pictures_apart(net, wrap, picture, run):
    """Two pictures with equal ReLU masks give equal maps: the second is the first, brighter, and nothing has a bias."""
    model = wrap(net(bias=False))
    image = picture(model)
    other = image + 1e-6 * picture(model, 1)
    one, two = (run(DeSaliNet(switches=False), model, x, 1).values for x in (image, 1.5 * other))
    np.testing.assert_array_equal(one, two)
    assert (model.module.one(image) > 0).equal(model.module.one(1.5 * other) > 0)


def test_with_neither_masks_nor_switches_it_is_about_no_picture(net, wrap, picture, run):
    model = wrap(net())
    maps = [run(DeSaliNet(relu_mask=False, switches=False), model, picture(model, seed), 1) for seed in (0, 1)]
    np.testing.assert_array_equal(maps[0].values, maps[1].values)
    assert all(any("does not depend on the photo" in note for note in found.notes) for found in maps)
    switched = run(DeSaliNet(relu_mask=False), model, picture(model), 1)
    assert not any("does not depend on the photo" in note for note in switched.notes)


def test_local_response_normalization_is_left_out(wrap, picture, run, close):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        conv, head = nn.Conv2d(3, 4, 3), nn.Linear(480, 3)
    normed = nn.Sequential(conv, nn.ReLU(), nn.LocalResponseNorm(3, alpha=2.0), nn.Flatten(), head).double()
    plain = nn.Sequential(conv, nn.ReLU(), nn.Flatten(), head).double()
    one, two = wrap(normed), wrap(plain)
    close(run(DeSaliNet(), one, picture(one), 1).values, run(DeSaliNet(), two, picture(one), 1).values)


def test_a_hidden_unit(net, wrap, picture, run, close):
    model = wrap(net())
    image = picture(model)
    found = run(DeSaliNet(), model, image, Target.hidden("two", 3, "max"))
    close(found.values, run(GuidedBackprop(), model, image, Target.hidden("two", 3, "max")).values, 0)


def test_smoothgrad_around_it(net, wrap, picture, run, close):
    model = wrap(net())
    image = picture(model)
    found = run(SmoothGrad(base="desalinet", samples=3, noise=0.0), model, image, 1)
    close(found.values, run(DeSaliNet(), model, image, 1).values, 1e-5)


@pytest.mark.parametrize("method", [DeconvNet, GuidedBackprop, GuidedGradCam, DeSaliNet])
def test_the_receipt_names_every_operation(method, net, wrap, picture, run):
    model = wrap(net("module"))
    rows = run(method(), model, picture(model), 1).details["coverage"]
    rule = "deconv" if method is DeconvNet else "guided"
    assert {(row["layer"], row["kind"], row["rule"], row["count"]) for row in rows if row["layer"]} == {
        ("one", "conv", "gradient", 1), ("first", "ReLU", rule, 1), ("two", "conv", "gradient", 1),
        ("second", "ReLU", rule, 1), ("head", "linear", "gradient", 1),
    }  # fmt: skip
    assert ("max pool", "gradient") in {(row["kind"], row["rule"]) for row in rows}


@pytest.mark.parametrize("method", [DeconvNet, GuidedBackprop, GuidedGradCam, DeSaliNet])
@pytest.mark.parametrize(
    ("activation", "rule"),
    [(nn.ReLU6, True), (nn.LeakyReLU, True), (nn.PReLU, True), (nn.ELU, True), (nn.SiLU, False), (nn.GELU, False),
     (nn.Hardswish, False), (nn.Mish, False), (nn.Tanh, False), (nn.Softplus, False)],
)  # fmt: skip
def test_every_activation_has_a_declared_rule_or_is_refused(method, activation, rule, wrap, picture, run):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), activation(), nn.Flatten(), nn.Linear(320, 5)
        )
    model = wrap(module)
    image = picture(model)
    if rule:
        rows = run(method(), model, image, 1).details["coverage"]
        wanted = "deconv" if method is DeconvNet else "guided"
        assert [row["rule"] for row in rows if row["layer"] == "3"] == [wanted]
        return
    with pytest.raises(NotApplicable):
        run(method(), model, image, 1)
    with pytest.raises(NotApplicable, match="at 3"):
        method().raw(model, image, model.target(1))
