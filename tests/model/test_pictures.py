"""What may come as a picture, from the good to the hostile."""

from __future__ import annotations

import hashlib
import io
import os
import struct
import threading
import zlib

import numpy as np
import pytest
from PIL import Image, ImageFile

from xaiwidgets.errors import InvalidImage
from xaiwidgets.model.pictures import MAX_BYTES, MAX_PIXELS, Picture, read_picture


@pytest.fixture
def photo():
    """A smooth color picture, 40 × 60."""
    rows, columns = np.mgrid[:40, :60]
    return np.stack([rows * 6, columns * 4, (rows + columns) * 2], axis=-1).astype(np.uint8)


def encode(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png_of_zeros(width, height):
    """A valid gray PNG of any size, compressed row by row so that the test needs no memory for it."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(9)
    row = bytes(width + 1)
    body = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def test_a_picture_is_immutable_and_equal_by_name_and_pixels(photo):
    picture = Picture(photo, "a")
    assert picture.pixels.flags.writeable is False
    assert not np.shares_memory(picture.pixels, photo)
    assert (picture.height, picture.width) == (40, 60)
    assert picture == Picture(photo.copy(), "a", ("a note",))
    assert hash(picture) == hash(Picture(photo.copy(), "a"))
    assert picture != Picture(photo, "b")
    assert picture != Picture(255 - photo, "a")
    assert picture.digest == hashlib.sha256(b"(40, 60, 3)" + photo.tobytes()).hexdigest()[:16]
    assert Picture(np.zeros((20, 30, 3), np.uint8)).digest != Picture(np.zeros((30, 20, 3), np.uint8)).digest
    with pytest.raises(InvalidImage, match=r"pixels must be uint8 \(height, width, 3\); got float64"):
        Picture(photo / 255)


def test_a_picture_is_returned_as_it_is(photo):
    picture = Picture(photo, "a")
    assert read_picture(picture) is picture


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "BMP", "TIFF"])
def test_lossless_files_give_their_pixels(photo, kind, tmp_path):
    path = tmp_path / f"photo.{kind.lower()}"
    Image.fromarray(photo).save(path, kind, **({"lossless": True} if kind == "WEBP" else {}))
    for source in (path, str(path), os.fspath(path)):
        picture = read_picture(source)
        assert np.array_equal(picture.pixels, photo)
        assert picture.name == path.name
        assert picture.notes == ()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("container", [bytes, bytearray, memoryview])
def test_uploads_are_read(photo, kind, container):
    picture = read_picture(container(encode(Image.fromarray(photo), kind)))
    assert np.abs(picture.pixels.astype(int) - photo).mean() < 4
    assert picture.name == "upload"


def test_a_sample_and_a_pil_image_and_a_name_of_ones_own(photo):
    coffee = read_picture("coffee")
    assert coffee.pixels.shape == (400, 600, 3)
    assert coffee.name == "coffee"
    assert np.array_equal(read_picture(Image.fromarray(photo)).pixels, photo)
    assert read_picture(photo, name="../../a\tb\x00.png").name == "ab.png"
    assert len(read_picture(photo, name="n" * 500).name) == 80


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.full((20, 30, 3), 7, np.uint8), 7),
        (np.full((20, 30, 3), 0.5), 128),
        (np.full((20, 30, 3), 1, np.float16), 255),
        (np.full((20, 30), 0.2, np.float32), 51),
        (np.full((20, 30, 1), 9, np.uint8), 9),
    ],
)
def test_arrays_are_read(array, expected):
    picture = read_picture(array)
    assert picture.pixels.shape == (20, 30, 3)
    assert np.all(picture.pixels == expected)
    assert any("gray" in note for note in picture.notes) == (array.shape[2:] != (3,))


def test_every_8_bit_value_survives_as_a_float():
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    for dtype in (np.float32, np.float64):
        assert np.array_equal(read_picture(values.astype(dtype) / 255).pixels[..., 0], values)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.full((20, 30, 3), 1.01), r"float in \[0, 1\]; got values from 1.01 to 1.01. Perhaps array / 255"),
        (np.full((20, 30, 3), -0.1), r"got values from -0.1 to -0.1. Perhaps array.clip\(0, 1\)"),
        (np.full((20, 30, 3), np.nan), "got values from nan to nan"),
        (np.full((20, 30, 3), np.inf), "got values from inf to inf"),
        (np.zeros((3, 20, 30), np.uint8), r"got shape \(3, 20, 30\). Channels go last: np.moveaxis"),
        (np.zeros((20, 30, 4), np.uint8), r"got shape \(20, 30, 4\). Leave the alpha channel out"),
        (np.zeros((1, 20, 30, 3), np.uint8), r"got shape \(1, 20, 30, 3\). Give one picture of the batch"),
        (np.zeros(30, np.uint8), r"got shape \(30,\)"),
        (np.zeros((0, 30, 3), np.uint8), r"got shape \(0, 30, 3\)"),
        (np.zeros((20, 30, 3), np.int64), r"got int64. If it holds 0 to 255, give array.astype\('uint8'\)"),
        (np.zeros((20, 30, 3), bool), "got bool"),
        (np.zeros((20, 30, 3), object), "got object"),
        (np.zeros((15, 30, 3), np.uint8), "at least 16 px a side.*got 30 × 15"),
    ],
)
def test_wrong_arrays_are_refused(array, message):
    with pytest.raises(InvalidImage, match=message):
        read_picture(array)


@pytest.mark.parametrize("source", [None, 3, [[1, 2], [3, 4]], {"content": b""}])
def test_other_things_are_refused(source):
    with pytest.raises(InvalidImage, match=r"image must be a sample's name, a path, .*; got "):
        read_picture(source)


def test_tensors_are_arrays_unless_they_need_a_gradient():
    import torch

    tensor = torch.full((20, 30, 3), 0.2)
    assert np.all(read_picture(tensor).pixels == 51)
    with pytest.raises(InvalidImage, match="got a Tensor that gives none: Can't call numpy"):
        read_picture(tensor.requires_grad_())


def test_a_long_photo_is_made_smaller(tmp_path):
    picture = read_picture(np.full((512, 4096, 3), 9, np.uint8))
    assert picture.pixels.shape == (256, 2048, 3)
    assert picture.notes == ("The picture was made smaller: its long side is 2,048 px now.",)
    assert read_picture(np.zeros((2048, 100, 3), np.uint8)).notes == ()
    image = Image.new("RGB", (6001, 3000), "red")
    for kind in ("JPEG", "PNG"):
        path = tmp_path / "large"
        image.save(path, kind)
        picture = read_picture(path)
        assert picture.pixels.shape == (1024, 2048, 3)
        assert np.abs(picture.pixels.astype(int) - (254, 0, 0)).max() <= 1
    assert read_picture(image).pixels.shape == (1024, 2048, 3)
    assert image.size == (6001, 3000)


def test_a_strip_is_refused():
    with pytest.raises(InvalidImage, match="also when the long side is 2048 px; got 16 × 20000"):
        read_picture(np.zeros((20000, 16, 3), np.uint8))


@pytest.mark.parametrize("size", [(20_000, 20_000), (12_000, 9_000), (6_325, 6_325)])
def test_too_many_pixels_are_refused_without_decoding(size, tmp_path, monkeypatch):
    assert size[0] * size[1] > MAX_PIXELS
    data = png_of_zeros(*size) if size[0] > 12_000 else png_of_zeros(*size)[:200]
    path = tmp_path / "bomb.png"
    path.write_bytes(data)
    assert len(data) < MAX_BYTES

    def decoded(*_):
        raise AssertionError("pixels were decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", decoded)
    for source in (path, data):
        with pytest.raises(InvalidImage, match=f"at most 40 million pixels.*got {size[0]} × {size[1]}"):
            read_picture(source)


def test_one_pixel_is_refused(tmp_path):
    path = tmp_path / "dot.png"
    Image.new("RGB", (1, 1)).save(path)
    with pytest.raises(InvalidImage, match=r"at least 16 px a side.*got 1 × 1"):
        read_picture(path)


def test_a_truncated_pil_image_is_refused():
    data = encode(Image.fromarray(np.random.default_rng(0).integers(256, size=(99, 99, 3)).astype(np.uint8)), "JPEG")
    with pytest.raises(InvalidImage, match="expected a whole picture; got damaged data"):
        read_picture(Image.open(io.BytesIO(data[: len(data) // 2])))


@pytest.mark.parametrize(
    "data",
    [b"hello, this is text\n" * 50, b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"RIFF\0\0\0\0WAVEfmt ", b"\xff"],
)
def test_what_is_no_picture_is_refused(data, tmp_path):
    path = tmp_path / "photo.jpg"
    path.write_bytes(data)
    with pytest.raises(InvalidImage, match=r"photo.jpg: expected .*got something else .*Save it as JPEG or PNG"):
        read_picture(path)
    with pytest.raises(InvalidImage, match="upload: expected a JPEG, PNG or WebP picture"):
        read_picture(data)


def test_nothing_and_too_much_are_refused(tmp_path):
    path = tmp_path / "photo.png"
    path.write_bytes(b"")
    for source in (b"", path):
        with pytest.raises(InvalidImage, match="got no data"):
            read_picture(source)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(MAX_BYTES))
    for source in (path.read_bytes(), path):
        with pytest.raises(InvalidImage, match=r"of at most 8 MB; got more. Save a smaller copy"):
            read_picture(source)


def test_paths_that_cannot_be_read_are_refused(tmp_path):
    with pytest.raises(InvalidImage, match=r"'cofee' is no such file. Samples are coffee, .*Did you mean coffee"):
        read_picture("cofee")
    with pytest.raises(InvalidImage, match="is a folder"):
        read_picture(tmp_path)
    with pytest.raises(InvalidImage, match="a path"):
        read_picture("a\0b")
    with pytest.raises(InvalidImage):
        read_picture("n" * 5000)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(InvalidImage, match="no such file"):
        read_picture(pipe)


def test_pillows_settings_stay_as_they_were(photo):
    before = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
    read_picture(encode(Image.fromarray(photo), "JPEG"))
    with pytest.raises(InvalidImage):
        read_picture(png_of_zeros(9000, 9000))
    assert (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES) == before == (89478485, False)


def test_threads_get_what_one_would(photo):
    sources = [encode(Image.fromarray(np.roll(photo, k, axis=1)), kind) for k in range(4) for kind in ("JPEG", "PNG")]
    expected = [read_picture(source).digest for source in sources]
    found: list[list[str]] = []
    threads = [
        threading.Thread(target=lambda: found.append([read_picture(s).digest for s in sources * 5])) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected * 5] * 4


def test_the_source_is_left_alone(photo):
    image = Image.fromarray(photo).convert("RGBA")
    before = image.tobytes()
    read_picture(image)
    assert (image.mode, image.tobytes()) == ("RGBA", before)
