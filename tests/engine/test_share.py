"""What comes after a layer, as a share of a pass."""

from __future__ import annotations

import pytest
from torch import nn

import xaiwidgets as xw
from xaiwidgets.core.cards import resolve
from xaiwidgets.engine.cost import pace, predict
from xaiwidgets.engine.share import HEAVIER, LEAST, NUMBER, WEIGHT, share_after


def test_it_is_counted_in_the_order_of_the_pass():
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)
    ).eval()
    model = xw.Model(net, size=(8, 8))
    conv = 4 * 64 * 27 + NUMBER * 4 * 64 + WEIGHT * 4 * 27
    dense = 5 * 4 + NUMBER * 5 + WEIGHT * 20
    after_conv = NUMBER * (4 * 64 + 4 + 4) + dense
    first, second = (layer.name for layer in model.layers[:2])
    assert share_after(model, first) == pytest.approx(LEAST + HEAVIER * after_conv / (conv + after_conv))
    rest = after_conv - NUMBER * 4 * 64
    assert share_after(model, second) == pytest.approx(LEAST + HEAVIER * rest / (conv + after_conv))


def test_it_falls_from_stage_to_stage():
    model = xw.load_model()
    shares = [share_after(model, stage.name) for stage in model.stages]
    assert shares == sorted(shares, reverse=True)
    assert 0.8 < shares[0] < LEAST + HEAVIER
    assert LEAST < shares[-1] < 0.1


def test_ablation_cam_is_priced_by_what_follows_its_layer():
    model = xw.load_model()
    found = pace(model)
    late, early = (predict(model, resolve("ablation_cam", layer=name, channels=24), found) for name in ("", "blocks.1"))
    assert late.forward == early.forward
    assert early.seconds / late.seconds == pytest.approx(
        share_after(model, "blocks.1") / share_after(model, model.layer("", spatial=True).name)
    )
