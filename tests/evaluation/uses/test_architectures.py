"""Two architectures side by side: the same filters at two strides, mirrored reports, and a trained pair (lab)."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import xaiwidgets as xw
from xaiwidgets.data.scenes import Scene
from xaiwidgets.data.shapes import SHAPES, shapes
from xaiwidgets.learned.recipes import train, untrained
from xaiwidgets.learned.stems import SIDE, stem_recipes

MIRROR = {"←": "→", "→": "←", "=": "="}


def model_of(stride, weights):
    from xaiwidgets.data.stem_nets import stem7s2

    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = stem7s2()
    net.features[0].stride = (stride, stride)
    with torch.no_grad():
        net.features[0].weight.copy_(weights)
    colors = {"mean": (0.5,) * 3, "std": (0.25,) * 3}
    return xw.Model(net.eval(), labels=list(SHAPES), size=SIDE, crop=1.0, name=f"stride {stride}", **colors)


@pytest.fixture(scope="module")
def pair():
    weights = torch.randn((16, 3, 7, 7), generator=torch.Generator().manual_seed(1))
    return model_of(4, weights), model_of(2, weights)


@pytest.fixture(scope="module")
def scenes():
    images = np.repeat(np.repeat(shapes("test", 12).images, 2, axis=1), 2, axis=2)
    return [Scene(image, SHAPES[label]) for image, label in zip(images, shapes("test", 12).labels, strict=True)]


def test_equal_filters_alias_more_at_the_larger_stride(pair):
    found = xw.diagnose_architectures(*pair)
    rows = {row[0]: row for row in found.rows}
    assert rows["aliasing"][1] > rows["aliasing"][2]
    assert rows["aliasing"][3] == "←"
    assert rows["high frequencies"][3] == "="
    assert found.value == pytest.approx(rows["aliasing"][1] - rows["aliasing"][2])
    assert "at stride 4" in found.notes[0]
    assert all(curve.y.sum() == pytest.approx(1) for curve in found.curves)


def test_swapping_the_networks_mirrors_the_report(pair, scenes):
    one, other = xw.diagnose_architectures(*pair, scenes), xw.diagnose_architectures(*reversed(pair), scenes)
    assert one.value == -other.value
    for first, second in zip(one.rows, other.rows, strict=True):
        assert first == (second[0], second[2], second[1], MIRROR[second[3]])
    assert one.notes[:2] == other.notes[1::-1]


def test_accuracy_and_dead_units_are_counted(pair, scenes):
    found = xw.diagnose_architectures(*pair, scenes)
    rows = {row[0]: row for row in found.rows}
    for column, model in zip((1, 2), pair, strict=True):
        inputs = torch.cat([model.from_pixels(one.pixels) for one in scenes])
        labels = torch.tensor([SHAPES.index(one.label) for one in scenes])
        assert rows["accuracy"][column] == int((model.logits(inputs).argmax(1) == labels).sum()) / 12
        acts = model.activations(inputs, [stage.name for stage in model.stages]).values()
        dead = torch.cat([values.amax(dim=(0, 2, 3)) <= 0 for values in acts])
        assert rows["dead units"][column] == pytest.approx(float(dead.float().mean()))
    assert rows["parameters"][1] == rows["parameters"][2]


def test_the_pair_differs_in_its_stem_alone():
    one, other = (untrained(recipe) for recipe in stem_recipes())
    shapes_of = [{k: tuple(v.shape) for k, v in m.module.state_dict().items()} for m in (one, other)]
    different = {k for k in shapes_of[0] if shapes_of[0][k] != shapes_of[1][k]}
    assert different == {"features.0.weight"}
    assert one.input_shape == other.input_shape == (3, SIDE, SIDE)


@pytest.mark.lab
def test_a_trained_pair():
    """Nothing is said about which is more accurate: both learn, and the coarse stem loses more."""
    recipes = stem_recipes()
    models = [train(recipe) for recipe in recipes]
    images, labels = recipes[0].load("test")
    scenes = [Scene(image, SHAPES[label]) for image, label in zip(images[:100], labels[:100], strict=True)]
    found = xw.diagnose_architectures(*models, scenes)
    rows = {row[0]: row for row in found.rows}
    assert rows["aliasing"][1] > rows["aliasing"][2]
    assert min(rows["accuracy"][1:3]) > 0.8
