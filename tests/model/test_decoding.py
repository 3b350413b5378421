"""Formats, color modes, rotation and damage: what becomes of a file's bytes."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from xaiwidgets.errors import InvalidImage
from xaiwidgets.model.pictures import read_picture


@pytest.fixture
def photo():
    """A smooth color picture, 40 × 60."""
    rows, columns = np.mgrid[:40, :60]
    return np.stack([rows * 6, columns * 4, (rows + columns) * 2], axis=-1).astype(np.uint8)


def encode(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@pytest.mark.parametrize("kind", ["BMP", "TIFF", "GIF"])
def test_uploads_of_other_formats_are_refused(photo, kind):
    with pytest.raises(InvalidImage, match="expected a JPEG, PNG or WebP picture of at most 8 MB; got something else"):
        read_picture(encode(Image.fromarray(photo), kind))


def test_a_large_webp_is_refused_before_its_canvas_is_made(photo, monkeypatch):
    from xaiwidgets.model import decoding

    extended = bytearray(encode(Image.fromarray(photo), "WEBP", exif=b"Exif\0\0II*\0\x08\0\0\0\0\0"))
    assert extended[12:16] == b"VP8X"
    extended[24:30] = (16_000).to_bytes(3, "little") * 2
    lossless = bytearray(encode(Image.fromarray(photo), "WEBP", lossless=True))
    assert lossless[12:16] == b"VP8L"
    assert decoding._webp_size(bytes(lossless)) == (60, 40)
    lossless[21:25] = (0x3FFF | 0x3FFF << 14).to_bytes(4, "little")
    lossy = bytearray(encode(Image.fromarray(photo), "WEBP"))
    assert lossy[12:16] == b"VP8 "
    assert decoding._webp_size(bytes(lossy)) == (60, 40)
    lossy[26:30] = struct.pack("<HH", 16_000, 16_000)

    def opened(_):
        raise AssertionError("the reader was called")

    monkeypatch.setattr(decoding, "READERS", (("WebP", (b"RIFF",), opened),))
    for data in (extended, lossless, lossy):
        with pytest.raises(InvalidImage, match="at most 40 million pixels"):
            read_picture(data)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF"])
@pytest.mark.parametrize("part", [0.02, 0.3, 0.6, 0.95])
def test_truncated_files_are_refused(photo, kind, part, tmp_path):
    noisy = np.random.default_rng(0).integers(256, size=(200, 300, 3)).astype(np.uint8)
    data = encode(Image.fromarray(noisy), kind)
    path = tmp_path / "photo"
    path.write_bytes(data[: int(len(data) * part)])
    with pytest.raises(InvalidImage, match=r"photo: expected .* got "):
        read_picture(path)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF"])
def test_damaged_files_never_raise_anything_else(photo, kind, tmp_path):
    rng = np.random.default_rng(1)
    image = Image.fromarray(photo)
    clean = encode(image, kind, **({"exif": image.getexif().tobytes()} if kind in ("JPEG", "PNG", "WEBP") else {}))
    path = tmp_path / "photo"
    refused = 0
    for _ in range(150):
        data = bytearray(clean)
        for place in rng.integers(len(data) if rng.random() < 0.5 else 120, size=rng.integers(1, 12)):
            data[place % len(data)] = rng.integers(256)
        path.write_bytes(data)
        try:
            assert read_picture(path).pixels.ndim == 3
        except InvalidImage:
            refused += 1
    assert refused > 5


def test_cmyk_is_converted_and_noted(tmp_path):
    path = tmp_path / "print.jpg"
    Image.new("RGB", (32, 32), (200, 40, 90)).convert("CMYK").save(path, quality=95)
    picture = read_picture(path)
    assert np.abs(picture.pixels.astype(int) - (200, 40, 90)).max() <= 3
    assert picture.notes == ("CMYK colors were converted to RGB without a color profile, so they may look different.",)


def test_16_bit_gray_is_scaled_and_not_clipped(tmp_path):
    values = np.linspace(0, 65535, 32 * 32).round().astype(np.uint16).reshape(32, 32)
    expected = np.rint(values / 257).astype(np.uint8)
    for name in ("deep.png", "deep.tif"):
        path = tmp_path / name
        Image.fromarray(values).save(path)
        picture = read_picture(path)
        assert np.array_equal(picture.pixels, np.repeat(expected[..., None], 3, axis=2))
        assert "The gray values were rounded to 8 bits." in picture.notes
    assert np.array_equal(read_picture(Image.fromarray(values.astype(np.int32))).pixels[..., 0], expected)


def test_float_images_are_scaled_or_refused(tmp_path):
    path = tmp_path / "float.tif"
    Image.fromarray(np.linspace(0, 1, 1024, dtype=np.float32).reshape(32, 32)).save(path)
    assert read_picture(path).pixels[-1, -1].tolist() == [255, 255, 255]
    for bad in (np.float32(2), np.float32("nan"), np.int32(-1), np.int32(70000)):
        with pytest.raises(InvalidImage, match="expected gray values from 0 to"):
            read_picture(Image.fromarray(np.full((32, 32), bad)))


def test_16_bit_color_is_noted():
    rows = [b"\0" + struct.pack(">3H", 0x1234, 0xABCD, 0xFFFF) * 16 for _ in range(16)]

    header = struct.pack(">IIBBBBB", 16, 16, 16, 2, 0, 0, 0)
    body = zlib.compress(b"".join(rows))
    picture = read_picture(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b""))
    assert picture.pixels[3, 3].tolist() == [0x12, 0xAB, 0xFF]
    assert picture.notes == ("The picture has 16 bits a channel; the upper 8 are used.",)


def test_transparency_is_shown_on_white(photo, tmp_path):
    alpha = np.full((40, 60, 1), 255, np.uint8)
    assert read_picture(encode(Image.fromarray(np.concatenate([photo, alpha], axis=2)), "PNG")).notes == ()
    alpha[:20] = 0
    alpha[20] = 51
    picture = read_picture(encode(Image.fromarray(np.concatenate([photo, alpha], axis=2)), "PNG"))
    assert np.all(picture.pixels[:20] == 255)
    assert np.abs(picture.pixels[20] - (photo[20] * 0.2 + 255 * 0.8)).max() <= 1
    assert np.array_equal(picture.pixels[21:], photo[21:])
    assert picture.notes == ("Transparent parts are shown on white.",)
    gray = Image.fromarray(np.concatenate([photo[..., :1], alpha], axis=2))
    assert gray.mode == "LA"
    assert len(read_picture(encode(gray, "PNG")).notes) == 2


@pytest.mark.parametrize("mode", ["1", "L"])
def test_gray_files_are_noted(mode, tmp_path):
    path = tmp_path / "gray.png"
    Image.fromarray(np.tile(np.array([0, 255], np.uint8), (32, 16))).convert(mode).save(path)
    picture = read_picture(path)
    assert picture.pixels[0, :2].tolist() == [[0, 0, 0], [255, 255, 255]]
    assert picture.notes == ("The picture is gray: its three color channels are the same.",)


def test_palettes_and_their_transparent_color(tmp_path):
    image = Image.new("P", (32, 32), 1)
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.paste(0, (0, 0, 16, 32))
    plain = read_picture(encode(image, "PNG"))
    assert plain.pixels[0, 0].tolist() == [10, 20, 30]
    assert plain.pixels[0, 31].tolist() == [200, 100, 50]
    assert plain.notes == ("The palette was replaced by the colors it stands for.",)
    clear = read_picture(encode(image, "PNG", transparency=0))
    assert clear.pixels[0, 0].tolist() == [255, 255, 255]
    assert clear.pixels[0, 31].tolist() == [200, 100, 50]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_camera_rotation_is_undone(photo, kind, orientation):
    undo = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}[orientation]  # the stored from the upright picture
    upright = Image.fromarray(photo)
    stored = upright if undo is None else upright.transpose(undo)
    exif = stored.getexif()
    exif[0x0112] = orientation
    picture = read_picture(encode(stored, kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {})))
    assert np.array_equal(picture.pixels, photo)
    assert picture.notes == (() if orientation == 1 else ("The picture was turned upright, as its camera says.",))


def test_nonsense_in_the_metadata_is_no_reason_to_refuse(photo):
    image = Image.fromarray(photo)
    assert read_picture(encode(image, "JPEG", exif=b"Exif\0\0nonsense")).pixels.shape == (40, 60, 3)
    with pytest.warns(UserWarning, match="Corrupt EXIF data"):  # Pillow's own
        assert read_picture(encode(image, "JPEG", exif=b"Exif\0\0II*\0" + b"\xff" * 4)).pixels.shape == (40, 60, 3)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_the_first_picture_of_an_animation_is_used(kind, tmp_path):
    frames = [Image.new("RGB", (32, 32), color) for color in ("red", "lime", "blue")]
    path = tmp_path / "film"
    frames[0].save(
        path, kind, save_all=True, append_images=frames[1:], **({"lossless": True} if kind == "WEBP" else {})
    )
    picture = read_picture(path)
    assert np.all(picture.pixels == (255, 0, 0))
    assert "Only the first picture of the file is used." in picture.notes
