"""What pictures are made of: the same pictures as Lucent's, their starts, their inverses and their slopes."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from xaiwidgets.errors import InvalidKnob
from xaiwidgets.synthesis import colors
from xaiwidgets.synthesis.cppn import Network
from xaiwidgets.synthesis.parameterizations import Grid, Pixels, Pyramid, Waves, frequencies

KINDS = [Pixels, Waves, Grid, Pyramid, Network]
SIZES = [(16, 16), (15, 21), (14, 20)]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def slope(picture):
    """Return the slope of log amplitude over log frequency, from 2 cycles a picture to a quarter cycle a pixel."""
    amplitude = np.abs(np.fft.fft2(picture - picture.mean()))
    radius = np.hypot(np.fft.fftfreq(picture.shape[0])[:, None], np.fft.fftfreq(picture.shape[1])[None, :])
    edges = np.geomspace(2 / max(picture.shape), 0.25, 9)
    points = [
        (np.log((low * high) ** 0.5), np.log(amplitude[(radius >= low) & (radius < high)].mean()))
        for low, high in pairwise(edges)
        if ((radius >= low) & (radius < high)).any()
    ]
    return np.polyfit(*np.transpose(points), 1)[0]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_are_pictures_and_every_value_has_a_slope(kind, size, channels):
    made = kind((2, channels, *size))
    values = made.values(generator(), 0.1).double()
    if kind is Network:  # its last layer starts at 0, where no other layer matters
        values = values + 0.1 * torch.randn(values.shape, generator=generator(1), dtype=values.dtype)
    values.requires_grad_()
    image = made.image(values)
    assert image.shape == (2, channels, *size)
    assert image.min() > 0
    assert image.max() < 1
    way = torch.randn(image.shape, generator=generator(2), dtype=image.dtype)
    (found,) = torch.autograd.grad((image * way).sum(), values)
    step = 1e-6 * torch.randn(values.shape, generator=generator(3), dtype=values.dtype)
    change = ((made.image(values + step) - made.image(values - step)) * way).sum()
    assert float((found * step).sum().detach() * 2) == pytest.approx(float(change.detach()), rel=1e-4)
    twins = made.image(values[1:].expand_as(values))
    assert torch.allclose(twins[0], twins[1], atol=1e-12)


@pytest.mark.parametrize("size", SIZES)
def test_waves_are_those_of_lucent(size):
    spatial = pytest.importorskip("lucent.optvis.param.spatial", exc_type=ImportError)
    color = pytest.importorskip("lucent.optvis.param.color", exc_type=ImportError)
    made = Waves((2, 3, *size))
    (spectrum,), plain = spatial.fft_image((2, 3, *size))
    assert spectrum.shape == made.values(generator(), 0.01).shape
    theirs = color.to_valid_rgb(plain, decorrelate=True)().detach()
    assert (made.image(spectrum.detach()) - theirs).abs().max() < 1e-5
    (spectrum,), plain = spatial.fft_image((2, 3, *size), decay_power=2)
    theirs = color.to_valid_rgb(plain, decorrelate=False)().detach()
    assert (Waves((2, 3, *size), correlated=False, decay=2).image(spectrum.detach()) - theirs).abs().max() < 1e-5


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", [Pixels, Waves, Pyramid])
def test_a_photo_is_found_again(kind, size):
    made = kind((1, 3, *size))
    photo = 0.1 + 0.8 * torch.rand(1, 3, *size, generator=generator(), dtype=torch.float64)
    assert (made.image(made.written(photo)) - photo).abs().max() < 1e-6
    spectrum = Waves((1, 3, *size)).written(photo)
    again = Waves((1, 3, *size)).written(Waves((1, 3, *size)).image(spectrum))
    assert torch.allclose(spectrum, again, atol=1e-6)


def test_a_grid_keeps_the_colors_of_its_cells():
    made = Grid((1, 3, 32, 32), cells=4)
    flat = torch.full((1, 3, 32, 32), 0.7)
    assert (made.image(made.written(flat)) - 0.7).abs().max() < 1e-5
    assert made.written(flat).shape == (1, 3, 4, 4)
    assert Grid((1, 3, 8, 8), cells=32).cells == (8, 8)


def test_a_network_has_no_values_for_a_photo():
    with pytest.raises(InvalidKnob, match="cppn"):
        Network((1, 3, 8, 8)).written(torch.full((1, 3, 8, 8), 0.5))


@pytest.mark.parametrize("kind", KINDS)
def test_the_start_is_nearly_gray(kind):
    made = kind((1, 3, 96, 96))
    image = made.image(made.values(generator(), 0.01))
    assert image.std() < 0.1
    assert image.mean() == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("seed", range(3))
def test_waves_start_with_the_spectrum_of_photos(seed):
    start = Waves((1, 3, 224, 224))
    image = start.image(start.values(generator(seed), 0.01))[0].mean(0).numpy()
    assert -1.6 <= slope(image) <= -0.6
    pixels = Pixels((1, 3, 224, 224))
    assert slope(pixels.image(pixels.values(generator(seed), 0.01))[0].mean(0).numpy()) > -0.2


def test_colors_have_the_correlations_of_photos():
    values = torch.randn(1, 3, 200, 200, generator=generator(), dtype=torch.float64)
    mixed = colors.correlate(values)[0].flatten(1)
    root = np.array([[0.26, 0.09, 0.02], [0.27, 0.0, -0.05], [0.27, -0.09, 0.03]])
    root /= np.linalg.norm(root, axis=0).max()
    assert np.allclose(np.cov(mixed.numpy()), root @ root.T, atol=0.02)
    assert torch.allclose(colors.decorrelate(colors.correlate(values)), values, atol=1e-9)
    gray = values[:, :1]
    assert colors.correlate(gray) is gray


def test_a_spectrum_has_the_frequencies_of_numpy():
    assert np.allclose(frequencies(6, 8)[0, :5], np.arange(5) / 8)
    assert frequencies(6, 7).shape == (6, 5)
    assert frequencies(6, 8)[3, 0] == 0.5
