"""Feature visualization by waves: what its parts gain, and how a run goes on."""

from __future__ import annotations

import dataclasses
import pickle

import numpy as np
import pytest
import torch

import xaiwidgets as xw
from tests import nets
from tests.synthesis.conftest import make_conv_net, make_gated_net, make_linear_net
from xaiwidgets import objectives
from xaiwidgets.errors import InvalidImage, InvalidKnob
from xaiwidgets.synthesis.painting_knobs import PARAMETERIZATIONS
from xaiwidgets.synthesis.transforms import PRESETS, look

VIEWS = ("none", "standard")


def make(model, target, **knobs):
    return xw.synthesize(model, "fourier_feature_visualization", target=target, **knobs)


@pytest.mark.parametrize("kind", PARAMETERIZATIONS)
@pytest.mark.parametrize("net", [make_conv_net, lambda: xw.Model(nets.f3(), size=32, name="residual")])
def test_every_kind_of_picture_rises(net, kind):
    model = net()
    steps = 30 if kind != "cppn" else 60
    found = make(model, model.target(1), parameterization=kind, iterations=steps, transforms="none")
    assert found.step == steps
    assert found.curve[-1] > found.curve[0]
    assert np.isfinite(found.terms["contrast"])
    seen = model.gradient(model.from_pixels(found.image), model.target(1)).score
    assert float(seen[0]) == pytest.approx(found.score, rel=1e-3, abs=1e-3)


def test_gray_networks_have_no_colors():
    model = make_linear_net()
    mixed, plain = (make(model, 1, decorrelate=flag, iterations=5, transforms="none") for flag in (True, False))
    assert np.array_equal(mixed.image, plain.image)
    assert (mixed.image[..., 0] == mixed.image[..., 2]).all()


def test_the_first_step_is_lucents(conv_net):
    """One step of Adam from the same spectrum, with the slope by automatic differentiation of Lucent's picture."""
    param = pytest.importorskip("lucent.optvis.param", exc_type=ImportError)
    method = xw.FourierFeatureVisualization(iterations=1, transforms="none")
    (found,) = list(xw.synthesize_steps(conv_net, method, target=2))
    (spectrum,), image = param.image(16)
    start = torch.randn(spectrum.shape, generator=torch.Generator().manual_seed(0)) * 0.01
    spectrum.data.copy_(start)
    optimizer = torch.optim.Adam([spectrum], lr=0.05)
    mean, std = (torch.tensor(v).reshape(1, 3, 1, 1) for v in ((0.4, 0.5, 0.6), (0.2, 0.25, 0.3)))
    (-conv_net.module((image() - mean) / std)[0, 2]).backward()
    optimizer.step()
    assert np.abs(found.image - image().detach()[0].permute(1, 2, 0).numpy()).max() < 1e-4


@pytest.mark.parametrize("kind", PARAMETERIZATIONS)
def test_a_saved_run_goes_on_bit_for_bit(conv_net, kind):
    method = xw.FourierFeatureVisualization(iterations=6, transforms="standard", parameterization=kind)
    whole = list(xw.synthesize_steps(conv_net, method, target=1))
    state = pickle.loads(pickle.dumps(whole[2].state))
    rest = list(xw.synthesize_steps(conv_net, method.resume(state), target=1))
    assert np.array_equal(rest[-1].image, whole[-1].image)
    assert np.array_equal(rest[-1].curve, whole[-1].curve)


def test_views_change_while_it_runs(conv_net):
    method = xw.FourierFeatureVisualization(iterations=6)
    steps = xw.synthesize_steps(conv_net, method, target=1)
    next(steps)
    for name, value in [("transforms", "none"), ("step_size", 0.2), ("strength", 2.0)]:
        method = dataclasses.replace(method, **{name: value})
        found = steps.send(method)
    assert [event[1] for event in found.events] == ["transforms", "step_size", "strength"]


def test_a_dream_starts_from_the_photo(conv_net):
    photo = np.random.default_rng(1).random((16, 16, 3)).astype(np.float32) * 0.8 + 0.1
    knobs = {"start": "photo", "image": photo, "iterations": 3, "step_size": 0.001, "transforms": "none"}
    found = make(conv_net, objectives.dream("second"), **knobs)
    seen = conv_net.to_pixels(conv_net.input(photo))
    assert np.abs(found.image - seen).max() < 0.1
    assert found.curve[-1] > found.curve[0]
    assert found.unit == "squared activation"
    with pytest.raises(InvalidKnob, match="photo"):
        make(conv_net, 1, start="photo")
    with pytest.raises(InvalidKnob, match="cppn"):
        make(conv_net, 1, start="photo", image=photo, parameterization="cppn")
    with pytest.raises(InvalidImage, match="shape"):
        list(xw.FourierFeatureVisualization(start="photo").steps(conv_net, torch.zeros(1, 3, 8, 8), conv_net.target(1)))


def test_a_unit_that_is_off_is_said_to_be():
    found = make(make_gated_net(1e6), 1, iterations=20)
    assert found.step < 20
    assert found.progress == 1
    assert "zero" in found.notes[-1]


def test_what_is_wrong_is_named(conv_net):
    with pytest.raises(InvalidKnob, match="parameterization"):
        xw.FourierFeatureVisualization(parameterization="wave")
    with pytest.raises(InvalidKnob, match="transforms"):
        xw.FourierFeatureVisualization(transforms="all")
    (state,) = [
        one.state for one in xw.synthesize_steps(conv_net, "fourier_feature_visualization", target=1, iterations=1)
    ]
    with pytest.raises(InvalidKnob, match="parameterization must stay"):
        other = xw.FourierFeatureVisualization(parameterization="pixel", iterations=2)
        list(xw.synthesize_steps(conv_net, other.resume(state), target=1))


@pytest.fixture(scope="module")
def lite0():
    return xw.load_model()


def logits(model, found, label):
    index = model.labels.index(label)
    image = model.from_pixels(found.image)
    return float(model.logits(image)[0, index]), float(model.probabilities(image)[0, index])


@pytest.mark.slow
def test_waves_rise_faster_than_pixels_on_the_bundled_network(lite0):
    waves, pixels = (
        logits(lite0, make(lite0, "espresso", parameterization=kind, iterations=16, transforms="none"), "espresso")
        for kind in ("fourier", "pixel")
    )
    assert waves[0] > 1.2 * pixels[0]


@pytest.mark.lab
@pytest.mark.parametrize("views", VIEWS)
def test_waves_go_higher_than_pixels_within_64_steps(lite0, views):
    waves, pixels = (
        logits(lite0, make(lite0, "espresso", parameterization=kind, iterations=64, transforms=views), "espresso")
        for kind in ("fourier", "pixel")
    )
    print(f"{views}: waves {waves[0]:.1f} ({waves[1]:.2f}), pixels {pixels[0]:.1f} ({pixels[1]:.2f})")
    assert waves[0] > 1.2 * pixels[0]
    assert waves[1] > 0.95


@pytest.mark.lab
def test_views_make_a_picture_robust_to_views(lite0):
    found = {views: make(lite0, "espresso", iterations=64, transforms=views) for views in VIEWS}
    index, random = lite0.labels.index("espresso"), torch.Generator().manual_seed(7)
    drawn = [PRESETS["standard"].draw(random) for _ in range(32)]
    mean = {}
    for views, made in found.items():
        picture = torch.tensor(made.image).permute(2, 0, 1)[None]
        seen = [look(picture, view, 12)[0].permute(1, 2, 0).numpy() for view in drawn]
        mean[views] = np.mean([float(lite0.logits(lite0.from_pixels(one))[0, index]) for one in seen])
    print(f"mean logit over 32 views: without {mean['none']:.2f}, with {mean['standard']:.2f}")
    assert mean["standard"] > 1.2 * mean["none"]
