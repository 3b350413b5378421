"""Baselines: each is what its name says, in the network's own units."""

from __future__ import annotations

import nets
import numpy as np
import pytest
import torch
from scipy import ndimage

from xaiwidgets.engine.baselines import BASELINES, BLUR, FILLS, HELP, baseline, cover, gaussian_blur
from xaiwidgets.errors import InvalidKnob
from xaiwidgets.model.model import Model

MEAN, STD = (0.1, 0.2, 0.3), (0.5, 0.6, 0.7)


@pytest.fixture(scope="module")
def model():
    return Model(nets.f1(), size=(16, 24), mean=MEAN, std=STD)


@pytest.fixture(scope="module")
def photo():
    return np.random.default_rng(0).random((16, 24, 3), dtype=np.float32)


def border(photo):
    """The mean color over the outermost pixels, each counted once."""
    rows, columns, _ = photo.shape
    edge = [photo[r, c] for r in range(rows) for c in range(columns) if r in (0, rows - 1) or c in (0, columns - 1)]
    assert len(edge) == 2 * (rows + columns) - 4
    return np.mean(edge, axis=0)


EXPECTED = {
    "black": lambda photo: 0,
    "white": lambda photo: 1,
    "gray": lambda photo: 0.5,
    "mean": lambda photo: np.array(MEAN),
    "border": border,
    "blur": lambda photo: ndimage.gaussian_filter(
        photo.astype(np.float64), (BLUR * 16 if BLUR * 16 > 1 else 1, 1, 0), mode="nearest", truncate=3
    ),
}


@pytest.mark.parametrize("name", BASELINES.options)
def test_baselines_by_definition(name, model, photo):
    image = model.from_pixels(photo)
    before = image.clone()
    found = baseline(model, image, name)
    assert (found.shape, found.dtype) == (image.shape, image.dtype)
    expected = np.broadcast_to(EXPECTED[name](photo), photo.shape)
    np.testing.assert_allclose(model.to_pixels(found), expected, atol=2e-6)
    found += 1
    assert torch.equal(image, before), "a baseline is the caller's own"


def test_all_names_are_explained():
    assert set(EXPECTED) == set(BASELINES.options)
    for word in ("black", "white", "gray", "mean", "blur", "border"):
        assert word in HELP


def test_the_type_of_the_input_is_kept(photo):
    model = Model(nets.f1().double(), size=(16, 24), mean=MEAN, std=STD)
    for name in BASELINES.options:
        assert baseline(model, model.from_pixels(photo), name).dtype == torch.float64


def test_an_unknown_baseline_lists_the_known(model):
    with pytest.raises(InvalidKnob, match=r"baseline must be one of black, white, .*; got 'blue'. Did you mean blur"):
        baseline(model, torch.zeros(1, 3, 16, 24), "blue")


@pytest.mark.parametrize("sigma", [0.5, 1.0, 2.7, 6.0, 30.0])
@pytest.mark.parametrize("shape", [(2, 3, 16, 24), (1, 1, 5, 3), (1, 3, 1, 1)], ids=str)
def test_blur_is_that_of_scipy(sigma, shape):
    image = torch.rand(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = ndimage.gaussian_filter(image.numpy(), (0, 0, sigma, sigma), mode="nearest", truncate=3)
    np.testing.assert_allclose(gaussian_blur(image, sigma).numpy(), expected, atol=1e-12)


def test_no_width_no_blur():
    image = nets.images()
    assert torch.equal(gaussian_blur(image, 0), image)


def test_blur_keeps_a_constant():
    image = torch.full((1, 3, 9, 9), 2.5)
    torch.testing.assert_close(gaussian_blur(image, 4.0), image)


@pytest.mark.parametrize("fill", FILLS.options)
def test_a_window_is_hidden_by_its_part_of_the_baseline(fill, model, photo):
    image = model.from_pixels(photo)
    hide = cover(model, image, fill)
    for box in ((0, 0, 3, 5), (4, 6, 9, 7), (13, 20, 16, 24), (0, 3, 16, 24)):
        top, left, bottom, right = box
        if fill == "inpaint":
            around = [
                photo[r, c]
                for r in range(max(top - 1, 0), min(bottom + 1, 16))
                for c in range(max(left - 1, 0), min(right + 1, 24))
                if not (top <= r < bottom and left <= c < right)
            ]
            wanted = np.broadcast_to(np.mean(around, axis=0), (bottom - top, right - left, 3))
        else:
            wanted = np.broadcast_to(EXPECTED[fill](photo), photo.shape)[top:bottom, left:right]
        found = model.preprocessing.denormalize(hide(box).numpy().transpose(1, 2, 0))
        np.testing.assert_allclose(found, wanted, atol=2e-6)


def test_a_window_without_an_outside_gets_the_color_of_the_border(model, photo):
    image = model.from_pixels(photo)
    assert torch.equal(cover(model, image, "inpaint")((0, 0, 16, 24)), baseline(model, image, "border")[0])


def test_unknown_fills_are_named(model, photo):
    with pytest.raises(InvalidKnob, match=r"^fill must be one of .*inpaint; got 'noise'"):
        cover(model, model.from_pixels(photo), "noise")
