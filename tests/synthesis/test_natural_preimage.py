"""Inversion, maximization and caricature under one energy: formula, bound, jitter, and the bundled network."""

from __future__ import annotations

import dataclasses
import pickle
from collections import OrderedDict

import nets
import numpy as np
import pytest
import torch
from torch import nn

import xaiwidgets as xw
from xaiwidgets.engine.run import drive, synthesize
from xaiwidgets.errors import InvalidImage, InvalidKnob, InvalidTarget
from xaiwidgets.model.targets import NOTHING
from xaiwidgets.model.zoo import load_model
from xaiwidgets.synthesis import priors
from xaiwidgets.synthesis.preimage import Preimage


def given(model, photo):
    return None if photo is None else model.input(photo) if isinstance(photo, str) else model.from_pixels(photo)


def run(model, photo=None, target=NOTHING, **knobs):
    return list(drive(xw.NaturalPreimage(**knobs), model, given(model, photo), target))


def scene(side=16):
    rows, columns = np.mgrid[0:side, 0:side] / side
    return np.stack([rows, columns, 0.5 + 0.4 * np.sin(9 * rows * columns)], axis=2).astype(np.float32)


def net_with(first, size=16):
    parts = OrderedDict(first=first, pool=nn.AdaptiveAvgPool2d(1), flat=nn.Flatten(), head=nn.LazyLinear(3))
    net = nn.Sequential(parts).eval()
    net(torch.zeros(1, 3, size, size))
    return xw.Model(net, size=size, mean=(0.5,) * 3, std=(0.25,) * 3, name="one layer")


def one_filter():
    conv = nn.Conv2d(3, 2, 5, padding=2)
    with torch.no_grad():
        conv.weight.copy_(torch.randn(2, 3, 5, 5, generator=torch.Generator().manual_seed(1)))
    return conv


# -- the energy --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["inversion", "maximization", "caricature"])
def test_a_run_is_the_formula_written_out(conv_net, loss):
    knobs = {"loss": loss, "jitter": 1, "iterations": 6, "settle": 2, "tv_weight": 0.7, "alpha_weight": 1.3, "seed": 2}
    knobs |= {
        "typical_color": 70.0,
        "typical_edge": 11.0,
        "beta": 1.5,
        "weight": 0.4,
        "leaky": "off",
        "layer": "second",
    }
    maximizing = loss == "maximization"
    target = conv_net.unit("second", 3, "center") if maximizing else NOTHING
    steps = run(conv_net, None if maximizing else scene(), target, **knobs)
    mean = torch.tensor([0.4, 0.5, 0.6])[:, None, None] * 255
    std = torch.tensor([0.2, 0.25, 0.3])[:, None, None] * 255
    look = lambda x: conv_net.module.second(torch.relu(conv_net.module.first(x / std)))
    photo = torch.from_numpy(scene()).permute(2, 0, 1)[None] * 255 - mean
    wanted = look(photo).detach()
    rising = wanted.clamp_min(0)
    question = {
        "inversion": lambda found: 30 * (found - wanted).square().sum() / wanted.square().sum(),
        "maximization": lambda found: -1e4 / (7 * 7) * found[0, 3, 4, 4],  # sees 7 × 7 pixels; too few photos
        "caricature": lambda found: -100 * (found * rising).sum() / rising.square().sum(),
    }[loss]

    def parts(x):
        down, right = torch.zeros_like(x), torch.zeros_like(x)
        down[:, :, :-1], right[..., :-1] = x[:, :, 1:] - x[:, :, :-1], x[..., 1:] - x[..., :-1]
        edges = (down.square() + right.square() + 1e-30).sqrt() / 11
        colors = x.square().sum(dim=1).sqrt() / 70
        return 0.4 * question(look(x)), 1.3 * colors.pow(6).mean(), 0.7 * edges.pow(1.5).sum() / 256

    x = 10 * torch.randn((1, 3, 16, 16), generator=torch.Generator().manual_seed(2))
    x = priors.bounded(photo if loss == "caricature" else x, 160)
    growth, motion = 0.0, 0.0
    rate = 0.05 * 70**2 / 6 * 256
    for number, found in enumerate(steps):
        x = x.detach().requires_grad_()
        (slope,) = torch.autograd.grad(sum(parts(x)), x)
        growth = 0.9 * growth + slope.square()
        motion = 0.9 * motion - slope / (1 / rate + growth.sqrt()) * (0.1 if number >= 6 else 1)
        x = (x + motion).detach()
        x = x * (160 / x.square().sum(dim=1, keepdim=True).sqrt()).clamp(max=1)
        np.testing.assert_allclose(found.state.arrays["picture"], x, atol=0.05)
        energies = [float(part.detach()) for part in parts(x)]
        assert found.terms["loss"] == pytest.approx(energies[0], rel=1e-2, abs=1e-3)
        assert found.terms["alpha_prior"] == pytest.approx(energies[1], rel=1e-2)
        assert found.terms["tv_prior"] == pytest.approx(energies[2], rel=1e-2)
        assert found.score == pytest.approx(sum(energies), rel=1e-2, abs=1e-3)
    assert len(steps) == (8 if loss == "inversion" else 6)


def test_the_layer_that_loses_nothing_gives_the_photo_back():
    model = net_with(nn.Identity())
    found = run(model, scene(), layer="first", jitter=1, weight=1000.0, iterations=300, settle=50)[-1]
    assert found.terms["error"] < 0.05
    assert np.linalg.norm(found.image - scene()) < 0.05 * np.linalg.norm(scene() - 0.5)


@pytest.mark.parametrize("loss", ["inversion", "maximization", "caricature"])
@pytest.mark.parametrize("net", [nets.f3, nets.reused], ids=lambda made: made.__name__)
def test_the_energy_falls_and_colors_keep_their_bound(loss, net):
    model = xw.Model(net(), size=nets.SIZE, name="net")
    layer = model.stages[-1].name
    target = model.unit(layer, 1, "center") if loss == "maximization" else NOTHING
    steps = run(model, scene(), target, loss=loss, layer=layer, color_bound=60.0, weight=3.0)
    for found in steps:
        assert float(priors.lengths(torch.tensor(found.state.arrays["picture"])).max()) <= 60 * (1 + 1e-6)
        assert np.isfinite([*found.terms.values()]).all()
        total = found.terms["loss"] + found.terms["alpha_prior"] + found.terms["tv_prior"]
        assert found.score == pytest.approx(total, rel=1e-5)
    smooth, curve = [], steps[-1].curve
    for value in curve:
        smooth.append(value if not smooth else 0.9 * smooth[-1] + 0.1 * value)
    slack = 0.02 * (max(smooth) - min(smooth))
    assert smooth[-1] <= smooth[len(curve) // 2] + slack and smooth[len(curve) // 2] <= smooth[len(curve) // 5] + slack
    assert smooth[-1] < smooth[0]


# -- the jitter --------------------------------------------------------------------------------------------------


def test_what_is_seen_of_the_canvas_gets_the_slope(conv_net):
    method = xw.NaturalPreimage(layer="second", jitter=6, iterations=3)
    made = Preimage(method, conv_net, NOTHING, given(conv_net, scene()))
    made.begin()
    assert made.picture.shape == (1, 3, 21, 21)
    places = set()
    for _ in range(12):
        before = made.random.get_state()
        made._look(made.picture)
        rows, columns = np.flatnonzero(made.slope[0].abs().sum((0, 2))), np.flatnonzero(made.slope[0].abs().sum((0, 1)))
        row, column = int(rows[0]), int(columns[0])
        places.add((row, column))
        assert rows[-1] - row == columns[-1] - column == 15
        moved = torch.zeros_like(made.picture)
        moved[0, 1, row + 4, column + 9] = 2.0
        slope, scores = float(made.slope[0, 1, row + 4, column + 9]), []
        for sign in (1, -1):
            made.random.set_state(before)  # the same place again
            made._look(made.picture + sign * moved)
            scores.append(made.score)
        made._look(made.picture)
        assert (scores[0] - scores[1]) / 4 == pytest.approx(slope, rel=1e-2, abs=1e-6)
    assert len(places) > 6


def test_the_jitter_is_a_quarter_of_the_stride_and_can_be_moved(conv_net):
    model = load_model("shapes_gap")
    last = model.stages[-1]
    wanted = max(1, round(last.field.stride[0] / 4))
    found = run(model, scene(48), layer=last.name, iterations=2)[-1]
    assert found.state.arrays["picture"].shape[2] == 48 + wanted - 1
    method = xw.NaturalPreimage(layer="second", jitter=5, iterations=9, settle=0)
    steps = drive(method, conv_net, given(conv_net, scene()), NOTHING)
    next(steps)
    second = next(steps)
    wider = dataclasses.replace(method, jitter=8)
    third = steps.send(wider)
    assert third.state.arrays["picture"].shape[2:] == (23, 23)
    last = [third, *steps][-1]
    resumed = list(
        drive(wider.resume(pickle.loads(pickle.dumps(second.state))), conv_net, given(conv_net, scene()), NOTHING)
    )
    assert np.array_equal(resumed[-1].image, last.image) and np.array_equal(resumed[-1].curve, last.curve)
    steps = drive(method, conv_net, given(conv_net, scene()), NOTHING)
    next(steps)
    assert steps.send(dataclasses.replace(method, jitter=1)).state.arrays["picture"].shape[2:] == (16, 16)


def test_no_jitter_while_it_settles(conv_net):
    steps = run(conv_net, scene(), layer="second", jitter=5, iterations=6, settle=12)
    pictures = [one.state.arrays["slope"] for one in steps]
    tops = [int(np.flatnonzero(np.abs(slope[0]).sum((0, 2)))[0]) for slope in pictures]
    assert len(set(tops[:6])) > 1
    assert set(tops[6:]) == {2}


# -- maximization ------------------------------------------------------------------------------------------------


def alike(found, conv):
    """Return the cosine of a filter with what its unit at (8, 8) sees, and the share of the rest of the picture."""
    picture = torch.tensor(found.state.arrays["picture"])
    seen = picture[0, :, 6:11, 6:11].flatten()
    rest = picture.clone()
    rest[..., 6:11, 6:11] = 0
    cosine = torch.cosine_similarity(seen, conv.weight[1].detach().flatten(), dim=0)
    return float(cosine), float(rest.norm() / picture.norm())


def test_a_unit_of_the_first_layer_gives_its_filter():
    conv = one_filter()
    model = net_with(conv)
    target = model.unit("first", 1, (8, 8))
    # a quadratic prior within the bound: the minimum is a multiple of the filter
    quadratic = {"alpha": 2.0, "alpha_weight": 50.0, "typical_color": 10.0, "tv_weight": 0.0, "weight": 0.02}
    found = run(model, None, target, loss="maximization", jitter=1, iterations=300, **quadratic)[-1]
    cosine, rest = alike(found, conv)
    assert cosine > 0.99 and rest < 0.05 and found.terms["longest_color"] < 160


def test_units_that_are_off_are_found_by_the_leaky_backward_pass():
    shifted = nn.Conv2d(3, 2, 5, padding=2)
    with torch.no_grad():
        shifted.weight.copy_(one_filter().weight)
        shifted.bias.fill_(-8.0)
    model = net_with(nn.Sequential(shifted, nn.ReLU()))
    target = model.unit("first", 0, "center")
    knobs = {"loss": "maximization", "alpha_weight": 0.0, "tv_weight": 0.0}
    found = run(model, None, target, iterations=60, **knobs)[-1]
    assert found.curves["activation"][0] == 0 < found.curves["activation"][-1]
    off = run(model, None, target, iterations=60, leaky="off", **knobs)[-1]
    assert off.progress == 1 and "exactly zero" in off.notes[-1]


def test_the_weight_of_a_unit_is_that_of_the_paper(conv_net):
    photos = [np.roll(scene(), 3 * number, axis=(0, 1)) for number in range(16)]
    xw.reference_set("sixteen rolled", [(255 * photo).astype(np.uint8) for photo in photos])
    target = conv_net.unit("second", 3, "center")
    knobs = {"loss": "maximization", "iterations": 2}
    few = run(conv_net, None, target, **knobs)[-1]
    assert few.terms["weight"] == pytest.approx(1e4 / 49)
    assert "photos of 'photos' are too few" in few.notes[0]
    enough = run(conv_net, None, target, references="sixteen rolled", **knobs)[-1]
    best = max(float(conv_net.scores(conv_net.input((255 * p).astype(np.uint8)), target)) for p in photos)
    if best > 0:
        assert enough.terms["weight"] == pytest.approx(1e4 / 49 / best, rel=1e-3)
        assert not enough.notes
    else:
        assert "excites the target" in enough.notes[0]
    whole = run(conv_net, None, conv_net.target(1), **knobs)[-1]
    assert whole.terms["weight"] == pytest.approx(1e4 / 256)
    assert 0 <= whole.terms["probability"] <= 1


# -- caricature --------------------------------------------------------------------------------------------------


def test_a_caricature_shows_what_was_added(conv_net):
    steps = run(conv_net, scene(), loss="caricature", layer="second", iterations=10)
    assert [one.caption.split(",")[0] for one in steps[-1].beside] == ["The photo", "What was added"]
    np.testing.assert_allclose(steps[-1].beside[0].image, scene(), atol=1e-5)
    assert steps[-1].curves["agreement"][-1] > steps[0].curves["agreement"][0] > 0.9
    other = run(conv_net, scene(), loss="caricature", layer="second", iterations=10, start="noise")
    assert other[0].curves["likeness"][0] < 0.5 < steps[0].curves["likeness"][0]


# -- what is missing ---------------------------------------------------------------------------------------------


def test_what_is_missing_is_named(conv_net):
    for loss in ("inversion", "caricature"):
        with pytest.raises(InvalidImage, match=f"image must be given for loss='{loss}'; without a photo"):
            synthesize(conv_net, "natural_preimage", loss=loss)
    with pytest.raises(InvalidTarget, match=r"target, or layer with unit, must be given for loss='maximization'"):
        synthesize(conv_net, "natural_preimage", loss="maximization")
    with pytest.raises(InvalidImage, match="image must be given for start='photo'"):
        synthesize(conv_net, "natural_preimage", loss="maximization", target=1, start="photo")
    assert synthesize(conv_net, "natural_preimage", loss="maximization", target=1, iterations=2).step == 2


def test_the_photo_and_the_question_of_a_saved_run_stay(conv_net):
    method = xw.NaturalPreimage(layer="second", iterations=4)
    state = next(drive(method, conv_net, given(conv_net, scene()), NOTHING)).state
    with pytest.raises(InvalidImage, match="image must be the photo of the saved run"):
        next(drive(method.resume(state), conv_net, given(conv_net, scene()[::-1].copy()), NOTHING))
    caricature = dataclasses.replace(method, loss="caricature").resume(state)
    with pytest.raises(InvalidKnob, match="loss must stay 'inversion' while a run goes on"):
        next(drive(caricature, conv_net, given(conv_net, scene()), NOTHING))


@pytest.mark.parametrize("loss", ["inversion", "maximization", "caricature"])
def test_a_saved_run_goes_on_bit_for_bit(conv_net, loss):
    target = conv_net.unit("second", 3, "center") if loss == "maximization" else NOTHING
    knobs = {"loss": loss, "layer": "second", "jitter": 4, "iterations": 6, "settle": 3}
    whole = run(conv_net, scene(), target, **knobs)
    state = pickle.loads(pickle.dumps(whole[3].state))
    rest = list(drive(xw.NaturalPreimage(**knobs).resume(state), conv_net, given(conv_net, scene()), target))
    assert len(rest) == len(whole) - 4
    assert np.array_equal(rest[-1].image, whole[-1].image) and rest[-1].notes == whole[-1].notes
    assert all(np.array_equal(rest[-1].curves[name], curve) for name, curve in whole[-1].curves.items())


# -- the network that comes with the package --------------------------------------------------------------------


@pytest.fixture(scope="module")
def bundled():
    return load_model()


def test_a_caricature_of_the_bundled_network(bundled):
    layer = "blocks.1"
    found = run(bundled, "chelsea", loss="caricature", layer=layer, iterations=60)[-1]
    assert found.terms["agreement"] >= 1.5
    assert found.terms["likeness"] > 0.6


@pytest.mark.lab
@pytest.mark.parametrize("layer", ["blocks.1", "blocks.2", "blocks.3", "blocks.4", "blocks.5", "blocks.6"])
def test_all_questions_to_all_stages_of_the_bundled_network(bundled, layer):
    knobs = {"layer": layer, "iterations": 60, "jitter": 1}
    exaggerated = run(bundled, "chelsea", loss="caricature", **knobs)[-1]
    print(layer, "caricature", exaggerated.terms)
    assert exaggerated.terms["agreement"] >= 1.5 and exaggerated.terms["likeness"] > 0.6
    inverted = run(bundled, "chelsea", layer=layer)[-1]
    print(layer, "inversion", inverted.terms)
    assert inverted.terms["squared_error"] < 0.15
    target = bundled.unit(layer, 5, "center")
    excited = run(bundled, None, target, loss="maximization")[-1]
    photos = [float(bundled.scores(bundled.input(one.name), target)) for one in xw.samples()]
    print(layer, "maximization", excited.terms, max(photos))
    assert excited.terms["activation"] > 3 * max(photos)
