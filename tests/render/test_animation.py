from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from xaiwidgets.errors import InvalidImage
from xaiwidgets.render.animation import animate, png_bytes, strip


def frames(count):
    result = np.zeros((count, 20, 30, 3), np.uint8)
    for number in range(count):
        result[number, :, : 3 * number + 3] = (200, 40 * number, 10)
    return list(result)


@pytest.mark.parametrize("format", ["webp", "gif"])
@pytest.mark.parametrize("fps", [3, 10, 24])
def test_round_trip(format, fps):
    made = frames(6)
    with Image.open(io.BytesIO(animate(made, fps, format))) as read:
        assert (read.format.lower(), read.n_frames, read.size, read.info["loop"]) == (format, 6, (30, 20), 0)
        total = 0
        for number in range(6):
            read.seek(number)
            read.load()
            total += read.info["duration"]
            pixels = np.asarray(read.convert("RGB")).astype(int)
            assert np.abs(pixels - made[number]).mean() < 6
        assert total == pytest.approx(6000 / fps, abs=10 if format == "gif" else 1)


def test_equal_neighbors_last_longer_in_a_gif():
    one, two = frames(2)
    with Image.open(io.BytesIO(animate([one, one, two], 10, "gif"))) as read:
        assert read.n_frames == 2
        assert read.info["duration"] == 200


def test_what_cannot_be_animated():
    one, two = frames(2)
    with pytest.raises(InvalidImage, match="got none"):
        animate([], 10)
    with pytest.raises(InvalidImage, match=r"frame 1 is \(10, 30\)"):
        animate([one, two[:10]], 10)
    with pytest.raises(InvalidImage, match="frame 0 is float64"):
        animate([one / 255], 10)
    for fps in (0, -1, 51, float("nan")):
        with pytest.raises(ValueError, match="fps must be"):
            animate([one], fps)
    with pytest.raises(ValueError, match="webp, gif; got 'mp4'"):
        animate([one], 10, "mp4")


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3), (5, 7, 4)])
def test_png_is_lossless_and_carries_text(shape):
    array = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    code = 'xw.explain(model, "coffee", "grad_cam")  # −2.3 × é'
    with Image.open(io.BytesIO(png_bytes(array, {"code": code}))) as read:
        np.testing.assert_array_equal(np.asarray(read), array)
        assert read.text["code"] == code


def test_png_refuses_floats():
    with pytest.raises(InvalidImage, match="float64"):
        png_bytes(np.zeros((2, 2)))


def test_contact_sheet():
    made = [np.full((2, 3, 3), value, np.uint8) for value in (10, 20, 30)]
    sheet = strip(made, columns=2, gap=1)[..., 0]
    g = 127
    assert sheet.tolist() == [
        [10, 10, 10, g, 20, 20, 20],
        [10, 10, 10, g, 20, 20, 20],
        [g, g, g, g, g, g, g],
        [30, 30, 30, g, g, g, g],
        [30, 30, 30, g, g, g, g],
    ]
    assert strip(made, columns=9, gap=0).shape == (2, 9, 3)
    with pytest.raises(ValueError, match="columns must be"):
        strip(made, 0)
