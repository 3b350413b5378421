"""Recovery by random networks: the closed form, what is recovered by which rule, and a trained network beside it."""

from __future__ import annotations

import math

import nets
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import xaiwidgets as xw
from xaiwidgets.data.shapes import shapes
from xaiwidgets.evaluation.random_cnn import RULES, RandomCnn, apart, closed_form, cosine
from xaiwidgets.model.model import Model

METRIC = "random_cnn_recovery"


@pytest.fixture(scope="module")
def model():
    return xw.load_model("shapes_gap")


@pytest.fixture(scope="module")
def wide():
    """A photo of 64 px and 1024 filters, as in the measured prototype."""
    return xw.evaluate(xw.load_model(), "chelsea", "saliency", METRIC, filters=1024, trained=False)


def row(score, rule, pooling):
    return next(r for r in score.rows if r[:2] == (rule, pooling))


def test_the_closed_form_of_one_patch_is_that_patch_of_length_one():
    image = torch.randn(1, 3, 7, 7, generator=torch.Generator().manual_seed(0))
    expected = image[0] / image.norm() / (2 * math.pi) * 5
    torch.testing.assert_close(closed_form(image, 7, 5), expected)
    plain = torch.ones(1, 1, 5, 5)
    torch.testing.assert_close(closed_form(plain, 3)[0, 2, 2], torch.tensor(9 / 3 / (2 * math.pi)))
    assert float(closed_form(torch.zeros(1, 3, 9, 9), 3).abs().max()) == 0


@pytest.mark.parametrize("pool", [0, 3])
@pytest.mark.parametrize("rule", RULES)
def test_the_rules_are_those_of_the_text(rule, pool):
    """Filters that are run by hand, with what arrives at the ReLU cut by hand."""
    image = torch.randn(1, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    net = RandomCnn((3, 12, 12), 5, pool, 3)
    net.draw()
    module = net._moving.module
    before = functional.conv2d(image, module.get_parameter("0.weight")).requires_grad_()
    after = before.relu().detach().requires_grad_()
    seen = functional.max_pool2d(after, pool, 1) if pool else after * 1
    (signal,) = torch.autograd.grad(seen, after, module.get_parameter(net._names[1])[1].reshape(seen.shape))
    signal = signal.clamp(min=0) if rule != "gradient" else signal
    signal = signal * (before > 0) if rule != "DeconvNet" else signal
    expected = functional.conv_transpose2d(signal, module.get_parameter("0.weight"))[0]
    torch.testing.assert_close(net.reversed(image, rule, 1), expected.detach(), rtol=1e-4, atol=1e-3)


def test_guided_backprop_tends_to_the_closed_form(wide):
    """Measured: 0.980 at 1024 filters, 0.69 at 16, its length 1.005 of what is expected; 0.98 between logits (0.56)."""
    assert wide.value > 0.97
    assert wide.details["scale"] == pytest.approx(1, abs=0.05)
    both, logits = wide.curves[:2]
    assert both.x.tolist() == list(range(16, 1025, 16))
    assert both.y[0] < 0.8
    wider = both.y[[0, 3, 15, 63]]
    assert (np.diff(wider) > 0).all()
    assert logits.y[-1] > 0.95
    assert logits.y[0] < 0.8
    assert row(wide, "guided backpropagation", "no pooling")[2] == wide.value


def test_the_gradient_is_noise_and_deconvnet_needs_pooling(wide):
    """Measured correlations with the photo: gradient 0.00, DeconvNet −0.01 without and 0.48 with pooling (0.57 of
    pixels from 0 to 1 in place of the network's input).

    The mean of each channel is taken off: DeconvNet adds the sum of all filters at every place, a constant that has
    nothing to do with the picture.
    """
    for pooling in ("no pooling", "max-pooling"):
        assert max(abs(value) for value in row(wide, "gradient", pooling)[2:]) < 0.05
    plain, pooled = (row(wide, "DeconvNet", pooling)[3] for pooling in ("no pooling", "max-pooling"))
    assert abs(plain) < 0.05
    assert pooled - plain > 0.4
    assert abs(wide.controls["random"]) < 0.05


def test_a_narrow_network_is_the_beginning_of_a_wide_one(wide):
    found = xw.evaluate(xw.load_model(), "chelsea", "saliency", METRIC, filters=64, trained=False)
    assert found.value == pytest.approx(wide.curves[0].y[3], abs=1e-6)
    assert found.details["filters"] == 64


def test_a_trained_network_is_asked_the_same(model):
    """Distances of maps, 0 for equal ones, 1.41 for unrelated ones; means over 5 shapes."""
    scores = [xw.evaluate(model, one, "saliency", METRIC, filters=16) for one in shapes("test").scenes(5)]
    far = {rule: np.mean([s.details["forced"][rule] for s in scores]) for rule in RULES}
    hit = {rule: np.mean([s.details["attacked"][rule] for s in scores if s.details["attacked"]]) for rule in RULES}
    print({rule: (round(far[rule], 2), round(hit[rule], 2)) for rule in RULES})
    assert far["guided backpropagation"] < far["gradient"] - 0.2
    assert far["DeconvNet"] < far["gradient"] - 0.2
    assert hit["guided backpropagation"] < hit["gradient"] - 0.2
    assert len(scores[0].details["classes"]) == 3
    assert [s.progress for s in scores] == [1.0] * 5


def test_distances():
    one = torch.randn(50, 50, generator=torch.Generator().manual_seed(0))
    assert apart(one, one) == 0
    assert apart(one, -one) == pytest.approx(2)
    assert apart(one * 0, one * 0) == 0
    other = torch.randn(50, 50, generator=torch.Generator().manual_seed(1))
    assert apart(one, other) == pytest.approx(2**0.5, abs=0.05)
    assert math.isnan(cosine(one, one * 0))


def test_a_network_without_relus_is_asked_for_its_gradient_only():
    net = nn.Sequential(nn.Conv2d(3, 6, 3), nn.SiLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3)).eval()
    model = Model(net, size=nets.SIZE)
    picture = np.random.default_rng(0).random((nets.SIZE, nets.SIZE, 3)).astype(np.float32)
    found = xw.evaluate(model, picture, "saliency", METRIC, filters=16, side=24)
    assert list(found.details["forced"]) == ["gradient"]
    assert any("other activations" in note for note in found.notes)


@pytest.mark.parametrize("make", [nets.f3, nets.f5], ids=lambda f: f.__name__)
def test_odd_networks_work_and_stay_as_they_were(make):
    model = Model(make(), size=nets.SIZE)
    before = {key: value.clone() for key, value in model.module.state_dict().items()}
    picture = np.random.default_rng(0).random((nets.SIZE, nets.SIZE, 3)).astype(np.float32)
    found = xw.evaluate(model, picture, "saliency", METRIC, filters=16, side=24)
    assert list(found.details["forced"]) == list(RULES)
    assert all(torch.equal(value, before[key]) for key, value in model.module.state_dict().items())


def test_a_photo_that_is_smaller_than_its_filters_is_refused(model):
    with pytest.raises(xw.errors.InvalidKnob, match="side must be at least kernel"):
        xw.evaluate(model, shapes("test", 1).scene(0), "saliency", METRIC, side=16, kernel=15)
