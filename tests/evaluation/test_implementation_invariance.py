"""Implementation invariance: rewrites that change no score, methods that follow the function, and some that do not."""

from __future__ import annotations

import copy

import nets
import numpy as np
import pytest
import torch
from scenes import MadeMap, fixed
from torch import nn

import xaiwidgets as xw
from xaiwidgets.data.shapes import shapes
from xaiwidgets.evaluation.channels import Flow
from xaiwidgets.evaluation.rewrites import REWRITES, Doubled, precise, rewrite
from xaiwidgets.model.model import Model

METRIC = "implementation_invariance"


@pytest.fixture(scope="module")
def model():
    return xw.load_model("shapes_gap")


def scene():
    return shapes("test", 1).scene(0)


def picture():
    return np.random.default_rng(0).random((nets.SIZE, nets.SIZE, 3)).astype(np.float32)


#: In how many places each network can be rewritten, in the order of ``REWRITES``; counted by hand.
PLACES = {
    nets.f1: (2, 2, 2, 0, 2, 2),
    nets.f2: (2, 2, 2, 0, 2, 2),
    nets.f3: (0, 0, 0, 3, 3, 3),
    nets.f4: (2, 2, 2, 1, 2, 2),
    nets.f5: (2, 1, 2, 3, 3, 2),
    nets.reused: (0, 1, 0, 0, 1, 1),
}


@pytest.mark.parametrize("make", PLACES, ids=lambda f: f.__name__)
@pytest.mark.parametrize("name", REWRITES)
def test_rewritten_networks_give_the_same_scores(make, name):
    model = Model(make(), size=nets.SIZE)
    before = copy.deepcopy(model.module.state_dict())
    found = rewrite(model, name, nets.images(32), np.random.default_rng(0))
    assert found.places == PLACES[make][list(REWRITES).index(name)]
    assert found.error < 1e-5
    if found.places:
        assert found.model.module is not model.module
        state = found.model.module.state_dict()
        assert state.keys() != before.keys() or any(
            value.shape != before[key].shape or not torch.equal(value, before[key]) for key, value in state.items()
        )
    assert all(torch.equal(value, before[key]) for key, value in model.module.state_dict().items())


def test_every_channel_moves_and_is_scaled_and_one_is_halved(model):
    weights = {}
    for name in ("permuted channels", "scaled channels", "split channels"):
        weights[name] = rewrite(model, name, nets.images(size=48), np.random.default_rng(1)).model.module.features[3]
    own = model.module.features[3]
    moved = weights["permuted channels"].weight
    assert sorted(moved.sum((1, 2, 3)).tolist()) == pytest.approx(sorted(own.weight.sum((1, 2, 3)).tolist()), abs=1e-5)
    assert not torch.allclose(moved, own.weight)
    ratios = (weights["scaled channels"].weight / own.weight).detach()
    assert float(ratios.min()) >= 1 / 16 - 1e-4
    assert float(ratios.max()) <= 16 + 1e-4
    assert weights["split channels"].weight.shape == (33, 17, 3, 3)
    assert (weights["split channels"].out_channels, weights["split channels"].in_channels) == (33, 17)


def test_what_is_doubled_is_a_difference_of_two_rectified_maps():
    conv = nn.Conv2d(3, 4, 3)
    images = nets.images()
    with torch.no_grad():
        torch.testing.assert_close(Doubled(conv)(images), conv(images))


def test_weights_that_run_twice_or_are_computed_stay_as_they_are():
    flow = Flow(nets.reused(), (3, 16, 16), torch.empty(0))
    assert set(flow.owners.values()) == {"stem", "bn1", "bn2", "head"}
    flow = Flow(nets.new_weight_norm(), (3, 16, 16), torch.empty(0))
    assert "0" not in flow.owners.values()


@pytest.mark.parametrize("method", ["saliency", "gradient_x_input", "integrated_gradients", "smoothgrad", "grad_cam"])
def test_methods_that_follow_the_function_pass(model, method):
    """Measured: at most 2e-9, by the single precision of the maps themselves."""
    found = xw.evaluate(model, scene(), method, METRIC)
    assert found.value < 1e-6
    assert found.verdict == "pass"
    assert set(found.details["differences"]) == set(REWRITES) - {"folded BatchNorm"}
    assert max(found.details["errors"].values()) < 1e-12
    assert [row[-1] for row in found.rows].count("same") == 5


def test_guided_backprop_cuts_the_negative_branch(model):
    """Measured: 0.92 where the picture itself is doubled.

    Behind a layer whose ReLU follows, doubling changes nothing: the signal is not negative there, and 0 where z < 0.
    """
    found = xw.evaluate(model, scene(), "guided_backprop", METRIC)
    assert found.verdict == "fail"
    assert found.details["differences"].pop("doubled ReLU") > 0.1
    assert max(found.details["differences"].values()) < 1e-6


def test_deconvnet_passes_both_branches_and_fails_at_residual_sums(model):
    """DeconvNet sends max(R, 0) through ReLU(z) and −max(−R, 0) through −ReLU(−z), together R: nothing is cut.

    It differs where a ReLU's result is read in two places and one of them gets a further ReLU: both signals are
    rectified, not their sum. Measured on a residual net: 0.39, guided backpropagation 0.15.
    """
    found = xw.evaluate(model, scene(), "deconvnet", METRIC)
    assert found.details["differences"]["doubled ReLU"] < 1e-6
    residual = Model(nets.f3(), size=nets.SIZE)
    for method in ("deconvnet", "guided_backprop"):
        found = xw.evaluate(residual, picture(), method, METRIC)
        assert found.details["differences"]["inserted identity"] > 0.1


def test_grad_cam_looks_at_the_layer_of_the_given_network(model):
    found = xw.evaluate(model, scene(), ("grad_cam", {"layer": "features.3"}), METRIC)
    assert found.verdict == "pass"
    assert found.maps["split channels"].shape == (24, 24)


def test_methods_that_look_at_channels_fail(model):
    """Scaled channels have another first principal component."""
    found = xw.evaluate(model, scene(), "eigen_cam", METRIC)
    assert found.details["differences"]["scaled channels"] > 0.1
    assert found.verdict == "fail"


def test_a_map_of_the_photo_is_the_same_and_a_map_of_the_weights_is_not(model):
    assert xw.evaluate(model, scene(), fixed(np.eye(48)), METRIC).value == 0
    weights = MadeMap(lambda m, image, target: next(m.module.parameters())[0, 0])
    found = xw.evaluate(model, scene(), weights, METRIC)
    assert found.details["differences"]["scaled channels"] > 0.1
    assert found.controls["edges"] == 0
    assert found.controls["random"] > 0.5


def test_a_blank_map_has_no_difference(model):
    found = xw.evaluate(model, scene(), fixed(np.zeros((48, 48))), METRIC)
    assert np.isnan(found.value)
    assert found.warnings == ("W_DEGENERATE",)


def test_one_rewrite_can_be_asked_for_and_none_is_refused(model):
    found = xw.evaluate(model, scene(), "saliency", METRIC, rewrite="split channels")
    assert list(found.details["differences"]) == ["split channels"]
    with pytest.raises(xw.errors.NotApplicable, match="runs once"):
        xw.evaluate(model, scene(), "saliency", METRIC, rewrite="folded BatchNorm")
    with pytest.raises(xw.errors.InvalidKnob, match="rewrite must be"):
        xw.ImplementationInvariance(rewrite="rotated")


def test_code_that_counts_on_its_channels_is_told_apart():
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Conv2d(3, 6, 3, padding=1), nn.Linear(6, 5)

        def forward(self, x):
            return self.two(torch.relu(self.one(x)).mean((2, 3)).view(-1, 6))

    found = xw.evaluate(Model(Counting(), size=nets.SIZE), picture(), "saliency", METRIC)
    assert found.details["places"]["split channels"] == 0
    assert any(note.startswith("split channels: ") for note in found.notes)
    assert found.verdict == "pass"


def test_rounding_of_32_bits_would_look_like_a_difference():
    """The gradient of the bundled network of 50 layers, folded: units that switch by rounding make 0.016 of it."""
    model = xw.load_model()
    found = xw.evaluate(model, "coffee", "saliency", METRIC, rewrite="folded BatchNorm", probes=1)
    assert found.details["places"]["folded BatchNorm"] == 49
    assert found.value < 1e-6
    double, note = precise(model)
    assert double.like.dtype == torch.float64
    assert note == ""
