"""What a model sees of a photo, compared with timm's and torchvision's own transforms."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from xaiwidgets.errors import InvalidKnob
from xaiwidgets.model.pictures import read_picture
from xaiwidgets.model.preprocess import Preprocessing, to_uint8

SIZES = [(400, 600), (600, 400), (451, 300), (123, 124), (224, 224), (256, 256), (17, 900), (1000, 333)]


def photo_of(height, width, seed=0):
    return np.random.default_rng(seed).integers(256, size=(height, width, 3)).astype(np.uint8)


@pytest.mark.parametrize("name", ["coffee", "chelsea", "camera"])
@pytest.mark.parametrize(
    ("size", "crop", "interpolation"),
    [
        ((224, 224), 0.875, "bicubic"),
        ((240, 240), 0.9, "bilinear"),
        ((299, 299), 1.0, "lanczos"),
        ((288, 288), 0.95, "bicubic"),
        ((48, 48), 1.0, "bilinear"),
        ((160, 224), 0.875, "bicubic"),
        ((300, 100), 0.93, "nearest"),
    ],
)
def test_pixels_are_timms_to_the_bit(name, size, crop, interpolation):
    from timm.data import create_transform

    picture = read_picture(name)
    seen = Preprocessing(size=size, crop=crop, interpolation=interpolation)
    theirs = create_transform(
        (3, *size), crop_pct=crop, interpolation=interpolation, mean=(0.0,) * 3, std=(1.0,) * 3, is_training=False
    )(Image.fromarray(picture.pixels))
    pixels = seen.pixels(picture)
    assert pixels.dtype == np.float32
    assert pixels.shape == (*size, 3)
    assert np.array_equal(pixels, theirs.permute(1, 2, 0).numpy())


@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("short", [224, 225, 232, 256])
def test_pixels_are_torchvisions_to_the_bit(shape, short):
    from torchvision import transforms

    photo = photo_of(*shape)
    theirs = transforms.Compose([transforms.Resize(short), transforms.CenterCrop(224), transforms.ToTensor()])
    pixels = Preprocessing(crop=224 / short, interpolation="bilinear").pixels(photo)
    assert np.array_equal(pixels, theirs(Image.fromarray(photo)).permute(1, 2, 0).numpy())


def test_any_short_side_can_be_given_as_a_crop():
    for size in (96, 160, 224, 299, 300, 384, 456, 518, 600):
        for short in range(size, 2 * size):
            (rows, columns), _ = Preprocessing(size=(size, size), crop=size / short)._layout(1000, 1000)
            assert (rows, columns) == (short, short)


def test_every_8_bit_value_is_divided_as_torch_does():
    from torchvision.transforms.functional import to_tensor

    photo = np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, axis=2)
    pixels = Preprocessing(size=(16, 16), crop=1.0).pixels(photo)
    assert np.array_equal(pixels, to_tensor(photo).permute(1, 2, 0).numpy())


@pytest.mark.parametrize("name", ["coffee", "camera"])
def test_gray_is_pillows(name):
    from torchvision import transforms

    picture = read_picture(name)
    theirs = transforms.Compose(
        [transforms.Grayscale(), transforms.Resize(54), transforms.CenterCrop(48), transforms.ToTensor()]
    )
    seen = Preprocessing(size=(48, 48), mean=(0.25,), std=(0.3,), crop=48 / 54, interpolation="bilinear")
    assert seen.channels == 1
    pixels = seen.pixels(picture)
    assert pixels.shape == (48, 48, 1)
    assert np.array_equal(pixels[..., 0], theirs(Image.fromarray(picture.pixels))[0].numpy())


def test_a_gray_canvas_of_the_models_size_is_unchanged():
    canvas = np.random.default_rng(0).integers(256, size=(48, 48)).astype(np.uint8)
    seen = Preprocessing(size=(48, 48), mean=(0.25,), std=(0.3,), crop=1.0)
    assert np.array_equal(to_uint8(seen.pixels(canvas))[..., 0], canvas)
    assert np.array_equal(seen.view(canvas, 48)[..., 1], canvas)


@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("size", [(224, 224), (160, 224), (300, 100)])
def test_the_crop_box_is_what_the_model_sees(shape, size):
    height, width = shape
    seen = Preprocessing(size=size)
    top, left, high, wide = seen.crop_box(height, width)
    assert top >= 0
    assert left >= 0
    assert top + high <= height * (1 + 1e-12)
    assert left + wide <= width * (1 + 1e-12)
    # a ramp tells each seen pixel where in the photo it comes from
    rows, columns = np.mgrid[:height, :width]
    ramp = np.stack([rows / height * 255, columns / width * 255, rows * 0], axis=-1).astype(np.uint8)
    pixels = Preprocessing(size=size, interpolation="bilinear").pixels(ramp) * 255
    centers_down = (top + (np.arange(size[0]) + 0.5) * high / size[0] - 0.5) / height * 255
    centers_across = (left + (np.arange(size[1]) + 0.5) * wide / size[1] - 0.5) / width * 255
    step = 255 / min(height, width)  # truncation to 8 bits, and at the photo's edge half a pixel
    assert np.abs(pixels[..., 0] - np.clip(centers_down, 0, 255)[:, None]).max() < 2 + step
    assert np.abs(pixels[..., 1] - np.clip(centers_across, 0, 255)[None]).max() < 2 + step


def test_the_crop_of_a_known_photo():
    # the short side 400 becomes 256, of which 224 are kept: 350 px of the photo, centered
    assert Preprocessing().crop_box(400, 600) == (25.0, 125.0, 350.0, 350.0)
    assert Preprocessing(crop=1.0).crop_box(224, 224) == (0.0, 0.0, 224.0, 224.0)


def test_the_view_shows_the_same_region():
    picture = read_picture("coffee")
    seen = Preprocessing()
    view = seen.view(picture, 640)
    assert view.shape == (640, 640, 3)
    assert view.dtype == np.uint8
    small = np.asarray(Image.fromarray(view).resize((224, 224), Image.Resampling.BICUBIC)).astype(int)
    model = to_uint8(seen.pixels(picture)).astype(int)
    assert np.abs(small - model).mean() < 2
    for shift in ((3, 0), (0, 3), (-3, 0), (0, -3)):  # and no other region fits as well
        assert np.abs(np.roll(small, shift, axis=(0, 1)) - model).mean() > 4


def test_the_view_at_the_photos_own_resolution_is_the_photo():
    photo = photo_of(400, 600)
    assert np.array_equal(Preprocessing().view(photo, 350), photo[25:375, 125:475])


def test_the_view_keeps_the_models_proportions():
    seen = Preprocessing(size=(160, 224))
    assert seen.view(photo_of(300, 500), 448).shape == (320, 448, 3)
    assert seen.view(photo_of(300, 500), (100, 50)).shape == (100, 50, 3)
    gray = Preprocessing(mean=(0.5,), std=(0.5,)).view(photo_of(300, 500), 64)
    assert np.array_equal(gray[..., 0], gray[..., 2])


@pytest.mark.parametrize("constants", [((0.5,) * 3, (0.5,) * 3), ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))])
@pytest.mark.parametrize("axis", [-1, 0, 1])
def test_normalizing_is_undone_to_the_bit(constants, axis):
    seen = Preprocessing(mean=constants[0], std=constants[1])
    values = np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, axis=2)
    pixels = np.moveaxis(values, -1, axis).astype(np.float32) / np.float32(255)
    normal = seen.normalize(pixels, axis=axis)
    assert normal.dtype == np.float32
    assert np.array_equal(to_uint8(np.moveaxis(seen.denormalize(normal, axis=axis), axis, -1)), values)
    batch = seen.normalize(pixels[None], axis=axis if axis < 0 else axis + 1)
    assert np.array_equal(batch[0], normal)


def test_normalizing_is_torchvisions():
    import torch
    from torchvision.transforms.functional import normalize

    seen = Preprocessing(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    pixels = seen.pixels("chelsea").transpose(2, 0, 1)
    theirs = normalize(torch.tensor(pixels), seen.mean, seen.std).numpy()
    assert np.array_equal(seen.normalize(pixels, axis=0), theirs)
    assert seen.normalize(pixels.astype(np.float64), axis=0).dtype == np.float64


def test_bounds_are_black_and_white():
    seen = Preprocessing(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    low, high = (seen.normalize(np.full((1, 3), v, np.float64))[0] for v in (0, 1))
    assert np.allclose(np.array(seen.bounds()), np.stack([low, high], axis=1), rtol=0, atol=1e-15)


def test_what_is_outside_is_clipped_to_8_bits():
    assert to_uint8(np.array([-1.0, 0.0, 0.5, 1.0, 2.0])).tolist() == [0, 0, 128, 255, 255]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 224}, "size must be two whole numbers"),
        ({"size": (224,)}, "size must be two whole numbers"),
        ({"size": (224, 0)}, "size must be two whole numbers"),
        ({"size": (224.5, 224)}, "size must be two whole numbers"),
        ({"mean": (0.5, 0.5)}, r"mean must be one or three numbers; got \(0.5, 0.5\)"),
        ({"mean": 0.5}, "mean must be one or three numbers"),
        ({"mean": (float("nan"),) * 3}, "mean must be one or three numbers, all finite"),
        ({"std": (0.5, 0.5, 0.0)}, "std must be one or three numbers, above 0"),
        ({"std": (0.5,)}, "std must have as many numbers as mean, 3; got 1"),
        ({"crop": 0}, "crop must be a number above 0 and at most 1; got 0"),
        ({"crop": 1.2}, "crop must be a number above 0 and at most 1; got 1.2"),
        ({"crop": "no"}, "crop must be a number"),
        ({"interpolation": "bicubics"}, r"interpolation must be one of .*; got 'bicubics'. Did you mean bicubic"),
        ({"interpolation": ["bicubic"]}, "interpolation must be one of"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(InvalidKnob, match=message):
        Preprocessing(**arguments)


def test_wrong_calls_are_named():
    seen = Preprocessing()
    for size in (0, -3, 5000, (10, 0), "big", True, 2.5):
        with pytest.raises(InvalidKnob, match=r"size must be a long side or \(height, width\) from 1 to 4096"):
            seen.view(photo_of(40, 40), size)
    with pytest.raises(InvalidKnob, match=r"pixels must have 3 channels on axis -1; got shape \(3, 8, 8\)"):
        seen.normalize(np.zeros((3, 8, 8)))
    with pytest.raises(InvalidKnob, match="values must have 3 channels on axis 5"):
        seen.denormalize(np.zeros((3, 8, 8)), axis=5)
