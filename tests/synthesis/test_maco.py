"""Pictures by phases alone: amplitudes that stay, phases that rise, and the opacity beside them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

import xaiwidgets as xw
from tests import nets
from tests.synthesis.conftest import make_conv_net, make_gated_net, make_linear_net
from xaiwidgets.errors import InvalidImage, InvalidKnob
from xaiwidgets.model.pictures import read_picture
from xaiwidgets.model.samples import samples
from xaiwidgets.synthesis import spectrum
from xaiwidgets.synthesis.phases import Phases, standardized
from xaiwidgets.synthesis.phasing import crops, draw_boxes
from xaiwidgets.synthesis.spectrum import magnitude

SIZES = [(16, 16), (15, 21), (20, 15), (15, 16)]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def make(model, target, **knobs):
    return xw.synthesize(model, "maco", target=target, **knobs)


@pytest.mark.parametrize("size", SIZES)
def test_amplitudes_are_exactly_those_that_were_given(size):
    given = magnitude(*size, 3)
    made = Phases((1, 3, *size), given)
    plain = made.plain(made.values(generator()).double())
    found = np.abs(np.fft.rfft2(plain[0].numpy()))
    factor = found[given > 0] / given[given > 0]
    assert np.ptp(factor) < 1e-3 * factor.mean()
    assert found[:, 0, 0].max() < 1e-6 * found.max()
    assert plain.std() == pytest.approx(1, rel=1e-3)
    assert plain.mean() == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("size", SIZES)
def test_phases_are_those_of_the_paper_but_for_columns_that_are_their_own_mirror(size):
    given = magnitude(*size, 3)
    made = Phases((1, 3, *size), given)
    values = made.values(generator()).double()
    phase = (values - values.mean()) / values.std()
    strength = torch.tensor(given)
    theirs = torch.fft.irfft2(torch.complex(phase.cos() * strength, phase.sin() * strength), s=size)
    theirs = (theirs - theirs.mean()) / theirs.std()
    mine, other = (np.fft.rfft2(one[0].numpy()) for one in (made.plain(values), theirs))
    inner = slice(1, size[1] // 2 if size[1] % 2 == 0 else None)
    ratio = mine[..., inner] / other[..., inner]
    assert np.abs(ratio - ratio.real.mean()).max() < 1e-4
    # the amplitudes of theirs are not the given ones in the first column
    assert np.ptp(np.abs(other[:, 1:, 0]) / given[:, 1:, 0]) > 0.1 * (np.abs(other[:, 1:, 0]) / given[:, 1:, 0]).mean()


def radial_slope(amplitude, columns):
    """Return the slope of log amplitude over log frequency between 4 cycles a picture and 0.25 cycles a pixel."""
    radius = np.hypot(np.fft.fftfreq(len(amplitude))[:, None], np.fft.rfftfreq(columns)[None, :])
    edges = np.geomspace(4 / columns, 0.25, 10)
    rings = [(radius >= low) & (radius < high) for low, high in pairwise(edges)]
    return np.polyfit([np.log(radius[r]).mean() for r in rings], [np.log(amplitude[r].mean()) for r in rings], 1)[0]


def test_waves_are_as_strong_as_in_the_photos():
    """Against crops that are drawn and measured here, in gray."""
    random, total = np.random.default_rng(5), 0.0
    window = np.outer(*[np.hanning(130)[1:-1]] * 2)
    photos = [np.asarray(read_picture(one.name).pixels).mean(axis=2) / 255 for one in samples()]
    for index in range(160):
        photo = photos[index % len(photos)]
        top, left = (random.integers(0, side - 256 + 1) for side in photo.shape)
        crop = photo[top : top + 256, left : left + 256].reshape(128, 2, 128, 2).mean(axis=(1, 3))
        total = total + np.abs(np.fft.rfft2((crop - crop.mean()) * window))
    made = Phases((1, 1, 128, 128), magnitude(128, 128, 1))
    picture = made.plain(made.values(generator()))[0, 0].numpy()
    assert radial_slope(np.abs(np.fft.rfft2(picture)), 128) == pytest.approx(radial_slope(total, 128), abs=0.1)


def test_a_crop_is_a_part_of_the_picture():
    picture = torch.rand(1, 3, 16, 24, generator=generator())
    whole = crops(picture, torch.tensor([[0.5, 0.5, 1.0]]), (16, 24))
    assert torch.allclose(whole, picture, atol=1e-5)
    half = crops(picture, torch.tensor([[0.25, 0.75, 0.5]]), (8, 12))
    assert torch.allclose(half, picture[..., :8, 12:], atol=1e-5)
    beyond = crops(picture, torch.tensor([[0.0, 0.5, 1.0]]), (16, 24))
    assert torch.allclose(beyond[..., :8, :], picture[..., :8, :].flip(2), atol=1e-5)
    boxes = draw_boxes(4000, 0.5, generator())
    assert boxes[:, :2].mean() == pytest.approx(0.5, abs=0.01)
    assert boxes[:, :2].std() == pytest.approx(0.15, abs=0.01)
    assert boxes[:, 2].std() == pytest.approx(0.05, abs=0.005)
    assert draw_boxes(400, 0.05, generator())[:, 2].min() == pytest.approx(0.05)


@pytest.mark.parametrize("net", [make_conv_net, lambda: xw.Model(nets.f3(), size=32, name="residual"), make_linear_net])
def test_phases_rise_and_amplitudes_stay(net):
    model = net()
    steps = list(xw.synthesize_steps(model, "maco", target=1, iterations=40, crops=2, noise=0.0))
    curve = steps[-1].curve
    assert curve[-10:].mean() > curve[:5].mean()
    channels, rows, columns = model.input_shape
    size = round(rows * 1.5), round(columns * 1.5)
    made = Phases((1, channels, *size), magnitude(*size, channels))
    for step in (steps[0], steps[-1]):
        plain = made.plain(torch.tensor(step.state.arrays["values"]))
        found = np.abs(np.fft.rfft2(plain[0].double().numpy()))
        factor = found[made.magnitude > 0] / made.magnitude[made.magnitude > 0]
        assert np.ptp(factor) < 1e-3 * factor.mean()
        assert step.image.shape == (*size, 3)
    opacity = [step.state.arrays["opacity"] for step in steps]
    assert all((one <= other).all() for one, other in pairwise(opacity))
    assert opacity[0].min() >= 0
    assert np.isfinite(opacity[-1]).all()
    assert opacity[-1].sum() > 0
    assert steps[-1].beside[0].image.shape == (*size, 3)


def test_what_cannot_be_is_said(conv_net, monkeypatch):
    with pytest.raises(InvalidKnob, match="crops"):
        make(conv_net, 1, crops=0)
    found = make(make_gated_net(1e6), 1, iterations=20)
    assert found.step < 20
    assert "zero" in found.notes[-1]
    assert (found.beside[0].image == 0.5).all()
    spectrum.measured.cache_clear()
    monkeypatch.setattr("xaiwidgets.model.samples.samples", tuple)
    with pytest.raises(InvalidImage, match="scikit-image"):
        make(conv_net, 1)


def test_standard_values_have_mean_0_and_deviation_1():
    values = 3 + 5 * torch.randn(2, 3, 9, 7, generator=generator(), dtype=torch.float64)
    found = standardized(values).flatten(1)
    assert torch.allclose(found.mean(1), torch.zeros(2, dtype=torch.float64), atol=1e-9)
    assert torch.allclose(found.std(1), torch.ones(2, dtype=torch.float64), atol=1e-4)


@pytest.mark.slow
def test_the_bundled_network_is_soon_sure(request):
    found = make(xw.load_model(), "espresso", iterations=16, crops=2, canvas=1.0, crop_first=0.9, crop_last=0.8)
    assert found.curve[-4:].mean() > found.curve[0] + 5


@pytest.mark.lab
def test_the_bundled_network_is_sure_of_64_steps():
    found = make(xw.load_model(), "espresso", iterations=64)
    print(found.curve[::8], found.terms["probability"])
    smooth = np.convolve(found.curve, np.ones(16) / 16, "valid")
    assert smooth[-1] > smooth[0]
    assert found.curve[-8:].mean() > found.curve[0] + 5
