"""DeepLIFT (RevealCancel): against plain loops and numbers worked out by hand."""

from __future__ import annotations

import nets
import numpy as np
import pytest
import slow_deeplift
import torch
import toys
from torch import nn
from torch.nn.utils import fuse_conv_bn_eval

import xaiwidgets as xw
from xaiwidgets import DeepLiftRescale, DeepLiftRevealCancel, Target
from xaiwidgets.engine.baselines import baseline
from xaiwidgets.errors import InvalidKnob


def model_of(module, size=nets.SIZE):
    return xw.Model(module.double(), size=size, mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3))


@pytest.mark.parametrize(("first", "second"), [(3.0, 5.0), (5.0, 3.0), (1.0, 4.0), (2.0, 2.0)])
def test_the_smaller_of_two_is_shared_in_half(first, second, run):
    model = xw.Model(toys.smaller(), size=(1, 2), mean=(0.0,), std=(1.0,))
    found = run(DeepLiftRevealCancel(), model, toys.pixels(first, second))
    np.testing.assert_allclose(found.values.ravel(), [min(first, second) / 2] * 2, rtol=1e-6)
    assert found.notes == ("1 of 1 activations are revealed.",)


def test_one_direction_alone_is_rescaled(run, close):
    """Where all terms are positive there is nothing to cancel."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = nn.Sequential(
            nn.Flatten(), nn.Linear(12, 6), nn.Softplus(), nn.Linear(6, 4), nn.SiLU(), nn.Linear(4, 2)
        )
    with torch.no_grad():
        for part in (module[1], module[3]):
            part.weight.abs_()
    model = xw.Model(module.double(), size=(3, 4), mean=(0.0,), std=(1.0,))
    image = torch.rand((1, 1, 3, 4), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    close(run(DeepLiftRevealCancel(), model, image).values, run(DeepLiftRescale(), model, image).values)


def chain():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = [
            nn.Conv2d(3, 4, 3, padding=1),
            nn.BatchNorm2d(4),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Conv2d(4, 4, 2),
            nn.SiLU(),
            nn.BatchNorm2d(4),
            nn.ReLU6(),
            nn.Flatten(),
            nn.Linear(16, 8),
            nn.ReLU(),
            nn.Linear(8, 6),
            nn.Tanh(),
            nn.Linear(6, 3),
        ]
        return nets.randomize_norms(nn.Sequential(*layers)).double().eval().requires_grad_(False)


@pytest.mark.parametrize(("where", "revealed"), [("dense", 2), ("all", 4)])
def test_equals_plain_loops(where, revealed, picture, run, close):
    """A normalization counts as part of the convolution before it; another one's activation is rescaled."""
    module = chain()
    model = model_of(module, 6)
    image = picture(model)
    start = baseline(model, image, "gray")
    layers = [fuse_conv_bn_eval(module[0], module[1]), *module[2:]]
    wanted = slow_deeplift.multipliers(layers, image[0], start[0], 1, where) * (image - start)[0].numpy()
    found = run(DeepLiftRevealCancel(where=where, baseline="gray"), model, image, 1)
    close(found.values, wanted)
    assert found.notes == (f"{revealed} of 5 activations are revealed; the other {5 - revealed} are rescaled.",)
    rules = {(row["layer"], row["rule"]) for row in found.details["coverage"]}
    assert {("7", "rescale"), ("10", "reveal-cancel"), ("12", "reveal-cancel")} <= rules
    assert (("2", "reveal-cancel") in rules) == (("5", "reveal-cancel") in rules) == (where == "all")


@pytest.mark.parametrize("where", ["dense", "all"])
@pytest.mark.parametrize("make", nets.GOOD, ids=lambda make: make.__name__)
def test_adds_up_however_the_network_is_written(make, where, picture, run):
    model = model_of(make())
    image = picture(model)
    for target in (1, Target.difference(3, 0)):
        result = run(DeepLiftRevealCancel(where=where), model, image, target)
        assert abs(result.gap / result.details["explained"]) < 1e-10


def test_adds_up_for_a_hidden_unit(picture, run):
    model = model_of(nets.f4())
    result = run(DeepLiftRevealCancel(where="all"), model, picture(model), Target.hidden("classifier.1", 2))
    assert abs(result.gap / result.details["explained"]) < 1e-10
    assert result.notes[0].startswith("2 of 2 ")


def test_without_fully_connected_units_it_says_that_it_is_rescale(picture, run):
    model = model_of(nets.f2())
    image = picture(model)
    result = run(DeepLiftRevealCancel(), model, image, 1)
    np.testing.assert_array_equal(result.values, run(DeepLiftRescale(), model, image, 1).values)
    assert result.notes[0].startswith("No activation follows a fully connected layer directly")
    all_of_them = run(DeepLiftRevealCancel(where="all"), model, image, 1)
    assert np.abs(all_of_them.values - result.values).max() > 0.05 * np.abs(result.values).max()


def test_a_network_without_activations_behind_weights_says_so(picture, run):
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.MaxPool2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 49, 3))
    model = model_of(module)
    result = run(DeepLiftRevealCancel(where="all"), model, picture(model))
    assert result.notes == ("No activation follows weights directly, so this is DeepLIFT (Rescale).",)


def test_adds_up_on_a_real_photo_in_single_precision():
    result = xw.explain(xw.load_model(), "coffee", DeepLiftRevealCancel(where="all"), target="espresso")
    assert abs(result.gap / result.details["explained"]) < 0.01
    assert result.notes == ("33 of 33 activations are revealed.",)


def test_bad_knobs_are_named():
    with pytest.raises(InvalidKnob, match=r"^where must be"):
        DeepLiftRevealCancel(where="conv")
