"""Activation maximization on the network that comes with the package."""

from __future__ import annotations

import numpy as np
import pytest

from xaiwidgets.model.zoo import load_model
from xaiwidgets.synthesis.activation_maximization import ActivationMaximization
from xaiwidgets.synthesis.presets import PRESETS


@pytest.fixture(scope="module")
def model():
    return load_model()


def high_share(picture):
    """Return the share of spectral energy above 0.25 cycles a pixel, of ``(C, H, W)``."""
    energy = np.abs(np.fft.fft2(picture - picture.mean(axis=(1, 2), keepdims=True))) ** 2
    rows, columns = np.fft.fftfreq(picture.shape[1]), np.fft.fftfreq(picture.shape[2])
    high = np.hypot(rows[:, None], columns[None, :]) > 0.25
    return float(energy[:, high].sum() / energy.sum())


def run(model, wanted, **knobs):
    return list(ActivationMaximization(**knobs).steps(model, None, model.target(wanted)))[-1]


@pytest.mark.slow
def test_espresso_is_certain_with_the_default(model):
    found = run(model, "espresso")
    espresso = model.labels.index("espresso")
    assert found.step == 128
    assert float(model.probabilities(model.from_pixels(found.image))[0, espresso]) >= 0.95


@pytest.mark.lab
def test_regularizers_take_away_fine_noise(model):
    bare = run(model, "espresso", **PRESETS["none"].knobs, iterations=32)
    blurred = run(model, "espresso", **{**PRESETS["none"].knobs, "blur_width": 1.0}, iterations=32)
    yosinski = run(model, "espresso", **PRESETS["yosinski_3"].knobs, iterations=32)
    limit = 0.7 * high_share(bare.state.arrays["picture"][0])
    assert high_share(blurred.state.arrays["picture"][0]) < limit
    assert high_share(yosinski.state.arrays["picture"][0]) < limit


def test_hidden_unit_of_a_middle_layer_is_excited(model):
    layer = model.stages[len(model.stages) // 2].name
    target = model.unit(layer, 5, "center")
    found = list(ActivationMaximization(iterations=12).steps(model, None, target))[-1]
    assert found.unit == "activation"
    assert found.curve[-1] > found.curve[0] + 1
