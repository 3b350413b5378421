"""The first layer's frequencies: sinusoids, Gaussians and checkerboards, whose spectra are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from nets import f3, reused
from torch import nn

import xaiwidgets as xw
from xaiwidgets.model.first_layer import aliasing, filter_facts, first_filters, first_layer, frequency_centers


def wave(down, across, side=32):
    rows, columns = np.mgrid[:side, :side]
    return np.cos(2 * np.pi * (down * rows + across * columns))[None, None]


@pytest.mark.parametrize("pair", [(0, 4), (3, 4), (8, 0), (0, 0)])
def test_the_center_of_a_wave_is_its_frequency(pair):
    down, across = (k / 32 for k in pair)
    assert frequency_centers(wave(down, across))[0] == pytest.approx(np.hypot(down, across), abs=1e-9)


def test_a_smooth_filter_survives_a_stride_and_a_checkerboard_does_not():
    rows, columns = np.mgrid[-5:6, -5:6]
    smooth = np.exp(-(rows**2 + columns**2) / (2 * 2.0**2))[None, None]
    board = np.where((rows + columns) % 2, 1.0, -1.0)[None, None]
    assert aliasing(smooth, (2, 2)) < 0.02
    assert aliasing(board, (2, 2)) > 0.9
    assert aliasing(board, (1, 1)) == 0


def test_aliasing_never_falls_with_the_stride():
    weights = np.random.default_rng(0).normal(size=(16, 3, 7, 7))
    found = [aliasing(weights, (s, s)) for s in (1, 2, 3, 4, 8)]
    assert found == sorted(found)
    assert found[3] > found[1] > 0
    assert aliasing(weights, (4, 1)) < aliasing(weights, (4, 4))
    assert found[1] == pytest.approx(0.75, abs=0.06)  # white: all but a quarter of the square


def test_aliasing_weights_filters_by_their_energy():
    slow, fast = wave(0, 1 / 32), wave(0, 14 / 32)
    both = np.concatenate([slow, 3 * fast])
    assert aliasing(both, (2, 2)) == pytest.approx(9 / 10)


def test_shares_dead_filters_and_duplicates():
    bank = np.concatenate([wave(0, 1 / 32), wave(0, 4 / 32), wave(0, 10 / 32), -wave(0, 10 / 32), 1e-9 * wave(0, 0.25)])
    facts = filter_facts(bank, (2, 2))
    assert (facts.low, facts.mid, facts.high) == pytest.approx((0.25, 0.25, 0.5))
    assert facts.dead == pytest.approx(0.2)
    assert facts.duplicates == pytest.approx(0.5)
    assert not facts.extremes
    assert np.isnan(facts.centers[-1])
    assert filter_facts(bank[[0, 0, 2, 2]], (2, 2)).extremes


@pytest.mark.parametrize("make", [f3, reused], ids=["functional", "reused"])
def test_the_first_convolution_that_is_run_is_found(make):
    """In ``f3`` it is declared after another one."""
    net = make().eval()
    model = xw.Model(net, mean=(0.5,) * 3, std=(0.5,) * 3, size=16, crop=1.0)
    name, weights, stride = first_filters(model)
    assert name == ("conv1" if make is f3 else "stem")
    assert weights.shape[1] == 3
    assert stride == (1, 1)
    assert first_layer(model).aliasing == 0


def test_a_network_without_convolutions_is_refused():
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 4))
    with torch.no_grad():
        net[1].weight.normal_(generator=torch.Generator().manual_seed(0))
    model = xw.Model(net, mean=(0.5,) * 3, std=(0.5,) * 3, size=8, crop=1.0)
    with pytest.raises(xw.errors.InvalidLayer, match="a convolution must come first"):
        first_layer(model)
