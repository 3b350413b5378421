"""Stages: the few layers that a slider scrubs through stand for the whole depth."""

from __future__ import annotations

import nets
import pytest

from xaiwidgets.model.layers import MOST_STAGES, Layer, stages
from xaiwidgets.model.model import Model
from xaiwidgets.model.zoo import load_model

EXPECTED = {
    "efficientnet_lite0": ["bn1", *(f"blocks.{i}" for i in range(7)), "bn2"],
    "torchvision:resnet18": ["relu", "maxpool", *(f"layer{i}.{j}" for i in (1, 2, 3, 4) for j in (0, 1))],
    "timm:resnet18": ["act1", "maxpool", *(f"layer{i}.{j}" for i in (1, 2, 3, 4) for j in (0, 1))],
    "torchvision:vgg16": [f"features.{i}" for i in (1, 3, 6, 8, 11, 13, 15, 18, 20, 22, 25, 27, 29)],
    "torchvision:densenet121": [
        "features.relu0",
        "features.pool0",
        *(f"features.{name}{i}" for i in (1, 2, 3) for name in ("denseblock", "transition")),
        "features.denseblock4",
        "features.norm5",
    ],
    "torchvision:convnext_tiny": [f"features.{i}" for i in range(8)],
    "digits_gap": [f"features.{i}" for i in (2, 3, 6, 7, 10, 13)],
    "digits_vgg": [f"features.{i}" for i in (1, 2, 4, 5, 7, 9, 10)],
}
#: Where exact names matter less than that there are not too many, and the last is there.
LAST = {
    "torchvision:mobilenet_v3_large": "features.16",
    "torchvision:googlenet": "inception5b",
    "torchvision:resnet50": "layer4.2",
}


def small(name):
    """Return a network of few classes with random weights at 64 px, or a bundled one at its own size."""
    source, _, rest = name.partition(":")
    if source.startswith("digits"):
        return load_model(name)
    if source == "torchvision":
        import torchvision

        extra = {"init_weights": False} if rest == "googlenet" else {}
        return Model(torchvision.models.get_model(rest, weights=None, num_classes=5, **extra).eval(), size=64)
    import timm

    return Model(timm.create_model(rest or "tf_efficientnet_lite0", num_classes=5).eval(), size=64)


def check(model):
    assert 6 <= len(model.stages) <= MOST_STAGES
    assert [s.order for s in model.stages] == sorted({s.order for s in model.stages})
    assert all(s.spatial for s in model.stages)
    assert all(model.layers[s.order] is s for s in model.stages)


@pytest.mark.parametrize("name", EXPECTED)
def test_stages_of_known_networks(name):
    model = small(name) if name != "torchvision:vgg16" else tiny_vgg16()
    assert [s.name for s in model.stages] == EXPECTED[name]
    check(model)


@pytest.mark.parametrize("name", LAST)
def test_many_blocks_are_thinned(name):
    model = small(name)
    check(model)
    assert model.stages[-1].name == LAST[name]
    assert len(model.stages) == MOST_STAGES


def tiny_vgg16():
    """torchvision's VGG-16 with its convolutions only: 138 million weights of the head take seconds to draw."""
    from torch import nn
    from torchvision.models import VGG
    from torchvision.models.vgg import cfgs, make_layers

    net = VGG(make_layers(cfgs["D"]), num_classes=2, init_weights=False)
    net.classifier = nn.Sequential(nn.Linear(512 * 49, 4), nn.ReLU(), nn.Dropout(), nn.Linear(4, 2))
    return Model(net.eval(), size=64)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (nets.f1, ["1", "2", "4"]),
        (nets.f3, ["relu", "bn2", "bn3"]),
        (nets.f4, ["features.2", "features.3"]),
        (nets.f5, ["bn1", "bn2", "bn3"]),
        (nets.new_weight_norm, ["1.1", "2", "4"]),
        (nets.no_convolution, []),
    ],
    ids=lambda v: getattr(v, "__name__", ""),
)
def test_stages_of_small_networks(make, expected):
    assert [s.name for s in Model(make(), size=nets.SIZE).stages] == expected


def layer(name, kind, shape, order, leaf=True):
    return Layer(name, kind, shape, None, leaf, order)


def test_one_position_is_no_map():
    assert layer("a", "ReLU", (3, 1, 2), 0).spatial
    assert not layer("a", "ReLU", (3, 1, 1), 0).spatial
    assert not layer("a", "ReLU", (3, 4), 0).spatial
    assert stages([layer("pool", "AdaptiveAvgPool2d", (8, 1, 1), 0), layer("fc", "Linear", (5,), 1)]) == ()


def test_the_thinned_list_keeps_the_end_and_drops_pooling_first():
    blocks = [layer(f"b{i}", "Block", (i + 1, 9, 9), i, leaf=False) for i in range(40)]
    found = stages([*blocks, layer("pool", "MaxPool2d", (40, 4, 4), 40)])
    assert len(found) == MOST_STAGES
    assert found[-1].name == "b39"
    assert stages(blocks[:16]) == tuple(blocks[:16])


def test_words():
    assert layer("blocks.4", "Sequential", (112, 14, 15), 0).words == "blocks.4 · 14×15×112"
    assert layer("fc", "Linear", (10,), 0).words == "fc · 10"
