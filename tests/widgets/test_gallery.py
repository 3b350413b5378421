from __future__ import annotations

import io

import numpy as np
import pytest
from ipywidgets.widgets.widget import _instances
from PIL import Image

from xaiwidgets.model.pictures import MAX_BYTES
from xaiwidgets.studio.album import MOST_UPLOADS, Album
from xaiwidgets.widgets.closing import close_tree
from xaiwidgets.widgets.gallery import Gallery


class Room:
    """A gallery and what it asked for."""

    def __init__(self):
        self.album, self.chosen, self.failed = Album(), [], []
        self.gallery = Gallery(self.album, self.chosen.append, self.failed.append)
        self.upload = self.gallery._upload


@pytest.fixture
def room():
    made = Room()
    yield made
    close_tree(made.gallery.box)


def file_of(seed=0, kind="PNG", side=64):
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def entry(content, name="holiday.png", **changes):
    found = {"name": name, "type": "image/png", "size": 1, "last_modified": 0, "content": content}
    return found | changes


def test_every_sample_has_a_thumbnail_with_a_name(room):
    assert tuple(room.gallery._buttons) == room.album.keys
    for key, button in room.gallery._buttons.items():
        assert button.description == room.album.title(key)
        assert button.tooltip
        button.click()
    assert tuple(room.chosen) == room.album.keys
    assert room.gallery._styles.value.count("url(data:image/jpeg;base64,") == len(room.album.keys)


def test_show_marks_one_and_says_where_it_comes_from(room):
    for key in room.album.keys[:2]:
        room.gallery.show(key)
        marked = [k for k, button in room.gallery._buttons.items() if "xai-on" in button._dom_classes]
        assert marked == [key]
        assert room.album.credit(key).split(":")[0] in room.gallery._credit.value


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_an_upload_is_chosen(room, send, kind):
    send(room.upload, value=[entry(memoryview(file_of(kind=kind)))])
    (key,) = room.chosen
    assert key.startswith("upload:")
    assert room.gallery._buttons[key].description == "holiday.png"
    assert room.failed == []
    assert room.upload.value == ()  # the bytes are let go


def test_the_same_file_twice_is_one_picture(room, send):
    send(room.upload, value=[entry(file_of())])
    buttons, before = dict(room.gallery._buttons), set(_instances)
    send(room.upload, value=[entry(file_of())])
    assert room.chosen[0] == room.chosen[1]
    assert room.gallery._buttons == buttons
    assert set(_instances) == before


def test_old_uploads_make_room_and_leave_nothing_behind(room, send):
    for seed in range(MOST_UPLOADS):
        send(room.upload, value=[entry(file_of(seed))])
    widgets, size = len(_instances), len(room.gallery._styles.value)
    for seed in range(20, 30):
        send(room.upload, value=[entry(file_of(seed))])
    assert len(room.chosen) == MOST_UPLOADS + 10
    assert tuple(room.gallery._buttons) == tuple(k for k in room.gallery._buttons if k in room.album.keys)
    assert set(room.gallery._buttons) == set(room.album.keys)
    assert len(_instances) == widgets
    assert len(room.gallery._styles.value) < 1.1 * size


def gif():
    return file_of(kind="GIF")


BAD = {
    "truncated": (lambda: file_of(kind="JPEG")[:400], ""),
    "1 × 1": (lambda: file_of(side=1), "1"),
    "renamed text": (lambda: b"These are words, not a picture. " * 20, ""),
    "renamed gif": (gif, "JPEG, PNG"),
    "empty": (lambda: b"", ""),
    "too many bytes": (lambda: b"\xff\xd8\xff" + b"0" * MAX_BYTES, "MB"),
    "a number": (lambda: 10**9, "choose one JPEG, PNG or WebP file"),
    "a text": (lambda: "iVBORw0KGgo", "choose one JPEG, PNG or WebP file"),
    "nothing": (lambda: None, "choose one JPEG, PNG or WebP file"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_says_why_and_changes_nothing(room, send, case):
    make, words = BAD[case]
    before = room.album.keys
    send(room.upload, value=[entry(make(), name="<b>bad</b>.png")])
    (message,) = room.failed
    assert words in message
    assert len(message) > 20
    assert room.chosen == []
    assert room.album.keys == before
    assert room.upload.value == ()
    send(room.upload, value=[entry(file_of())])
    assert len(room.chosen) == 1


@pytest.mark.parametrize(
    "value", [[{}], [{"content": b"x"}], "text", 5, None, [None], [entry(b"x", last_modified="late")], [[]], {"a": 1}]
)
def test_what_is_no_upload_at_all_is_refused(room, send, value):
    send(room.upload, value=value)
    assert room.chosen == []
    send(room.upload, value=[entry(file_of())])
    assert len(room.chosen) == 1


def test_names_of_files_are_escaped_and_are_no_paths(room, send):
    send(room.upload, value=[entry(file_of(), name="../../<script>alert(1)</script>.png")])
    room.gallery.show(room.chosen[0])
    assert "<script" not in room.gallery._credit.value
    assert ".." not in room.album.title(room.chosen[0])
