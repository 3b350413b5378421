from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

import xaiwidgets as xw
from xaiwidgets.core.cards import resolve
from xaiwidgets.errors import InvalidImage, InvalidKnob
from xaiwidgets.synthesis.canvas import NOISE, Canvas


def random() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def test_starts_are_the_colors_they_name(conv_net):
    canvas = Canvas(conv_net)
    mean = canvas.pixels(canvas.start("mean", None, random()))
    np.testing.assert_allclose(mean, np.broadcast_to(np.float32([0.4, 0.5, 0.6]), (16, 16, 3)), atol=1e-6)
    np.testing.assert_allclose(canvas.pixels(canvas.start("zero", None, random())), 0, atol=1e-6)
    noise = canvas.start("noise", None, random())
    assert float(noise.std()) == pytest.approx(NOISE, rel=0.1)
    assert torch.equal(noise, canvas.start("noise", None, random()))


def test_a_photo_comes_back_as_its_pixels(conv_net):
    pixels = np.random.default_rng(0).random((16, 16, 3), np.float32)
    canvas = Canvas(conv_net)
    picture = canvas.start("photo", conv_net.from_pixels(pixels), random())
    np.testing.assert_allclose(canvas.pixels(picture), pixels, atol=1e-6)
    np.testing.assert_allclose(picture[0].permute(1, 2, 0), (pixels - [0.4, 0.5, 0.6]) * 255, atol=1e-4)
    torch.testing.assert_close(canvas.inputs(picture), conv_net.from_pixels(pixels))


def test_start_photo_needs_a_photo_of_the_right_shape(conv_net):
    canvas = Canvas(conv_net)
    with pytest.raises(InvalidKnob, match=r"start='photo' needs a photo.*image="):
        canvas.start("photo", None, random())
    with pytest.raises(InvalidImage, match=r"\(1, 3, 16, 16\); got \(1, 3, 8, 8\)"):
        canvas.start("photo", torch.zeros(1, 3, 8, 8), random())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_pictures_are_finer_than_the_numbers_of_a_network(conv_net, dtype):
    """A network with short numbers is shown such, and its picture is kept, saved and changed in float32."""
    short = xw.Model(copy.deepcopy(conv_net.module).to(dtype), size=16, mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3))
    canvas, fine = Canvas(short), Canvas(conv_net)
    picture = fine.start("noise", None, random())
    assert torch.equal(canvas.start("noise", None, random()), picture)
    assert canvas.inputs(picture).dtype == dtype
    assert canvas.per_gray_level(torch.ones(1, 3, 16, 16, dtype=dtype)).dtype == torch.float32
    photo = canvas.start("photo", short.from_pixels(fine.pixels(picture)), random())
    torch.testing.assert_close(photo, picture, atol=2.0, rtol=0)
    for method in ("activation_maximization", "class_model_visualization", "regularized_optimization"):
        steps = list(xw.synthesize_steps(short, method, target=1, iterations=4))
        assert steps[-1].state.arrays["picture"].dtype == np.float32
        made = resolve(method, iterations=4).resume(steps[1].state)
        assert np.array_equal(xw.synthesize(short, made, target=1).image, steps[-1].image)


def test_double_precision_is_not_lost_in_the_mean_color():
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 2)).double()
    canvas = Canvas(xw.Model(net, size=4, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)))
    assert canvas.mean.flatten().tolist() == [0.485 * 255, 0.456 * 255, 0.406 * 255]


def test_clip_keeps_to_colors_that_a_screen_shows(conv_net):
    canvas = Canvas(conv_net)
    wild = torch.linspace(-900, 900, 768).reshape(1, 3, 16, 16)
    clipped = (canvas.clip(wild) + canvas.mean) / 255
    assert float(clipped.min()) >= -1e-6 and float(clipped.max()) <= 1 + 1e-6
    calm = canvas.start("noise", None, random())
    assert torch.equal(canvas.clip(calm), calm)


def test_gray_becomes_three_equal_channels(linear_net):
    canvas = Canvas(linear_net)
    pixels = canvas.pixels(canvas.start("noise", None, random()))
    assert pixels.shape == (6, 6, 3) and pixels.dtype == np.float32
    assert np.ptp(pixels, axis=2).max() == 0 and np.ptp(pixels) > 0


def test_gradients_are_by_gray_levels_and_in_plain_order(conv_net):
    canvas = Canvas(conv_net)
    gradient = torch.ones(1, 3, 16, 16).contiguous(memory_format=torch.channels_last)
    found = canvas.per_gray_level(gradient)
    assert found.is_contiguous()
    torch.testing.assert_close(found[0, :, 0, 0], 1 / (255 * torch.tensor([0.2, 0.25, 0.3])))


def test_arrays_are_read_only_and_come_back(conv_net):
    canvas = Canvas(conv_net)
    picture = canvas.start("noise", None, random())
    array = canvas.array(picture)
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 0
    assert torch.equal(canvas.tensor(array), picture)
