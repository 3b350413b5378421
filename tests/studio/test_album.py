from __future__ import annotations

import numpy as np
import pytest

from xaiwidgets.errors import InvalidImage
from xaiwidgets.model.samples import samples
from xaiwidgets.studio.album import MOST_UPLOADS, Album


def test_samples_are_there_under_their_names():
    album = Album()
    names = tuple(sample.name for sample in samples())
    assert album.keys == names
    assert names
    for name in names:
        assert album.get(name).pixels.ndim == 3
        assert album.title(name) != ""
        assert album.add(name) == name
        assert album.title(name) in album.credit(name)
    assert album.keys == names


def test_a_sample_is_read_once():
    album = Album()
    assert album.get("coffee") is album.get("coffee")


def test_an_upload_gets_a_key_from_its_pixels(photo):
    album = Album()
    key = album.add(photo(1), "holiday.png")
    assert key.startswith("upload:")
    assert album.title(key) == "holiday.png"
    assert album.credit(key) == ""
    assert album.add(photo(1), "other.png") == key
    assert album.add(photo(2)) != key
    assert len([k for k in album.keys if k.startswith("upload:")]) == 2


def test_the_oldest_upload_goes_first(photo):
    album = Album()
    keys = [album.add(photo(seed)) for seed in range(MOST_UPLOADS)]
    assert album.add(photo(0)) == keys[0]
    extra = album.add(photo(99))
    kept = [k for k in album.keys if k.startswith("upload:")]
    assert len(kept) == MOST_UPLOADS
    assert keys[0] in kept
    assert extra in kept
    assert keys[1] not in kept
    with pytest.raises(InvalidImage, match="image must be one of"):
        album.get(keys[1])


@pytest.mark.parametrize(
    "key",
    [
        "",
        "nonsense",
        "/etc/passwd",
        "../coffee",
        "upload:",
        "upload:0123456789abcdef",
        "coffee.jpg",
        "<script>",
        "COFFEE",
    ],
)
def test_a_key_is_no_path(key):
    with pytest.raises(InvalidImage, match="image must be one of coffee"):
        Album().get(key)


def test_a_path_on_disk_is_never_opened_by_its_name(tmp_path, photo):
    path = tmp_path / "secret.png"
    path.write_bytes(photo(3))
    album = Album()
    with pytest.raises(InvalidImage):
        album.get(str(path))
    assert album.add(path).startswith("upload:")  # a program may name one


@pytest.mark.parametrize("content", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n" + b"0" * 40, b"GIF89a" + b"\x00" * 40])
def test_bad_bytes_change_nothing(content):
    album = Album()
    before = album.keys
    with pytest.raises(InvalidImage):
        album.add(content, "bad.png")
    assert album.keys == before


def test_arrays_are_pictures():
    album = Album()
    key = album.add(np.zeros((40, 40, 3), np.uint8))
    assert album.get(key).pixels.shape == (40, 40, 3)
