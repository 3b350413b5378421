"""Neuron discriminativeness: seeds that are sent back, maps that cannot know the unit, and rules that hardly do."""

from __future__ import annotations

import nets
import numpy as np
import pytest
import torch
from scenes import MadeMap, fixed
from torch import nn

import xaiwidgets as xw
from xaiwidgets.data.shapes import shapes
from xaiwidgets.evaluation.random_cnn import RULES
from xaiwidgets.evaluation.seeded import Seeded, pictures, seeds
from xaiwidgets.model.model import Model

METRIC = "neuron_discriminativeness"
COLUMNS = ("beside", "elsewhere", "Gaussian", "positive", "own picture", "its picture")


@pytest.fixture(scope="module")
def model():
    return xw.load_model("shapes_gap")


@pytest.fixture(scope="module")
def means(model):
    """The table's means over 12 shapes, by rule and column."""
    scores = [xw.evaluate(model, one, "saliency", METRIC, seed=n) for n, one in enumerate(shapes("test").scenes(12))]
    rows = [np.nanmean([np.array(s.rows[number][1:], float) for s in scores], axis=0) for number in range(3)]
    found = {rule: dict(zip(COLUMNS, row.round(3), strict=True)) for rule, row in zip(RULES, rows, strict=True)}
    print(found)
    return found


def test_a_seed_is_what_is_sent_back(model):
    image = model.from_pixels(shapes("test", 1).images[0])
    seed = torch.randn(1, 64, 12, 12, generator=torch.Generator().manual_seed(0))
    found = model.gradient(image, Seeded("features.7", seed), layers=["features.7"])
    torch.testing.assert_close(found.layers["features.7"][1], seed)
    leaf = image.clone().requires_grad_()
    (expected,) = torch.autograd.grad((model.module.features(leaf) * seed).sum(), leaf)
    torch.testing.assert_close(found.input, expected, rtol=1e-4, atol=1e-5)
    unit = seeds(found.layers["features.7"][0], {"one": (3, 4, 5)}, torch.Generator())["one"]
    own = model.gradient(image, model.unit("features.7", 3, (4, 5))).input
    torch.testing.assert_close(model.gradient(image, Seeded("features.7", unit)).input, own)


def test_the_gradient_follows_the_seed_and_the_other_rules_follow_the_photo(means):
    """Measured: Gaussian seeds 0.02, DeconvNet 0.76, guided backpropagation 0.98; positive ones all over 0.95."""
    assert means["gradient"]["Gaussian"] < 0.3
    assert means["DeconvNet"]["Gaussian"] > 0.7
    assert means["guided backpropagation"]["Gaussian"] > 0.7
    assert min(row["positive"] for row in means.values()) > 0.95


def test_another_photos_bottleneck_makes_another_picture_of_the_same_seed(means):
    """Guided backpropagation sends little of a photo through another one's masks; DeconvNet has switches only."""
    assert means["guided backpropagation"]["own picture"] < 0.3
    assert means["DeconvNet"]["own picture"] > means["guided backpropagation"]["own picture"] + 0.2
    assert means["guided backpropagation"]["its picture"] > means["guided backpropagation"]["own picture"]


def test_channels_at_one_place_look_alike_to_guided_backprop(model):
    """Means over 6 shapes; measured: saliency 0.15, guided backpropagation 0.82, DeconvNet 0.67."""
    found = {
        method: np.mean(
            [xw.evaluate(model, one, method, METRIC, seed=n).value for n, one in enumerate(shapes("test").scenes(6))]
        )
        for method in ("saliency", "guided_backprop", "deconvnet")
    }
    print(found)
    assert found["guided_backprop"] > found["saliency"] + 0.4
    assert found["deconvnet"] > found["saliency"] + 0.3


def test_units_are_active_share_a_place_and_come_from_the_seed(model):
    scene = shapes("test", 1).scene(0)
    found = xw.evaluate(model, scene, "saliency", METRIC, units=5, seed=3)
    units = found.details["units"]
    assert tuple(units) == ("strongest unit", *(f"same place {n}" for n in range(1, 5)), "elsewhere")
    activation = model.activations(model.from_pixels(scene.pixels), ["features.7"])["features.7"][0]
    assert all(float(activation[unit]) > 0 for unit in units.values())
    place = units.pop("elsewhere")[1:]
    assert {unit[1:] for unit in units.values()} == {units["strongest unit"][1:]}
    assert place != units["strongest unit"][1:]
    assert float(activation[units["strongest unit"]]) == float(activation.max())
    assert len(set(units.values())) == 5
    assert len(found.items) == 10
    assert found.value == pytest.approx(np.mean(found.items))
    other = xw.evaluate(model, scene, "saliency", METRIC, units=5, seed=4).details["units"]
    assert other["same place 1"] != units["same place 1"]


def test_the_matrix_is_that_of_the_pictures(model):
    scene = shapes("test", 1).scene(0)
    found = xw.evaluate(model, scene, "saliency", METRIC)
    matrix = np.array(found.details["matrix"]["DeconvNet"])
    assert matrix.shape == (len(found.details["seeds"]),) * 2
    assert np.diag(matrix) == pytest.approx(1)
    assert matrix == pytest.approx(matrix.T)
    names = found.details["seeds"]
    assert found.rows[1][3] == matrix[names.index("Gaussian A"), names.index("Gaussian B")]
    image = model.from_pixels(scene.pixels)
    activation = model.activations(image, ["features.7"])["features.7"]
    steps = pictures(model, image, "features.7", {"all": activation})
    with pytest.raises(StopIteration) as end:
        while True:
            next(steps)
    expected = end.value.value["DeconvNet"]["all"].sum(0).numpy()
    assert found.maps["DeconvNet: the layer itself"] == pytest.approx(expected, abs=1e-4)


def test_a_map_of_the_photo_knows_no_unit(model):
    scene = shapes("test", 1).scene(0)
    edges = xw.evaluate(model, scene, fixed(np.eye(48)), METRIC)
    assert edges.value == pytest.approx(1)
    assert edges.controls["edges"] == 1
    assert abs(edges.controls["random"]) < 0.1
    blank = xw.evaluate(model, scene, fixed(np.zeros((48, 48))), METRIC)
    assert np.isnan(blank.value)
    assert blank.warnings == ("W_DEGENERATE",)
    noise = MadeMap(lambda m, image, target: np.random.default_rng(target.channel).standard_normal((48, 48)))
    assert abs(xw.evaluate(model, scene, noise, METRIC).value) < 0.1


def test_a_second_photo_can_be_given(model):
    one, other = shapes("test").scenes(2)
    found = xw.evaluate(model, one, "saliency", METRIC, data=[one, other])
    upside_down = xw.evaluate(model, one, "saliency", METRIC)
    assert found.rows[2][1:5] == upside_down.rows[2][1:5]
    assert found.rows[2][5] != upside_down.rows[2][5]


def test_what_is_missing_is_named(model):
    scene = shapes("test", 1).scene(0)
    with pytest.raises(xw.errors.InvalidLayer, match="must give a spatial map"):
        xw.evaluate(model, scene, "saliency", METRIC, layer="classifier")
    dead = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)).eval()
    nn.init.constant_(dead[0].bias, -1e3)
    picture = np.random.default_rng(0).random((nets.SIZE, nets.SIZE, 3)).astype(np.float32)
    with pytest.raises(xw.errors.NotApplicable, match="two active units at one place"):
        xw.evaluate(Model(dead, size=nets.SIZE), picture, "saliency", METRIC)


def test_saturated_units_are_left_out():
    """At the end of a ReLU6 the gradient is 0, whatever the unit; the bundled network has many such units."""
    model = xw.load_model()
    found = xw.evaluate(model, "chelsea", "saliency", METRIC)
    activation = model.activations(model.input("chelsea"), [model.layer("").name])[model.layer("").name][0]
    assert int((activation == 6).sum()) > 1
    assert all(0 < float(activation[unit]) < 6 for unit in found.details["units"].values())
    assert found.notes == ()


def test_a_network_without_relus_is_reversed_by_its_gradient_only():
    net = nn.Sequential(nn.Conv2d(3, 6, 3), nn.SiLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3)).eval()
    picture = np.random.default_rng(0).random((nets.SIZE, nets.SIZE, 3)).astype(np.float32)
    found = xw.evaluate(Model(net, size=nets.SIZE), picture, "saliency", METRIC)
    assert [row[0] for row in found.rows] == ["gradient"]
    assert any("other activations" in note for note in found.notes)


@pytest.mark.parametrize("make", [nets.f3, nets.f5, nets.in_place_input], ids=lambda f: f.__name__)
def test_odd_networks_work_and_stay_as_they_were(make):
    model = Model(make(), size=nets.SIZE)
    before = {key: value.clone() for key, value in model.module.state_dict().items()}
    picture = np.random.default_rng(0).random((nets.SIZE, nets.SIZE, 3)).astype(np.float32)
    found = xw.evaluate(model, picture, "saliency", METRIC, units=3)
    assert len(found.rows) == 3
    assert all(torch.equal(value, before[key]) for key, value in model.module.state_dict().items())
