from __future__ import annotations

import base64
import io
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from xaiwidgets.widgets.snapshots import MOST, SIDE, Snapshots


def shot(level, height=12, width=12):
    return np.full((height, width, 3), level, np.uint8)


def figures(snapshots):
    return list(ElementTree.fromstring(snapshots.box.value).iter("figure"))


def decoded(uri):
    head, _, data = uri.partition("base64,")
    assert head == "data:image/png;"
    return Image.open(io.BytesIO(base64.b64decode(data)))


def test_an_empty_strip_says_what_it_is_for_and_keeps_its_place():
    snapshots = Snapshots()
    assert len(snapshots) == 0
    assert "Snapshots of your runs appear here" in snapshots.box.value
    height = f"min-height:{SIDE + 34}px"
    assert height in snapshots.box.value
    snapshots.add(shot(5), "one", "defaults")
    assert height in snapshots.box.value


def test_a_snapshot_is_the_exact_picture_with_what_made_it():
    snapshots = Snapshots()
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    snapshots.add(pixels, "espresso, step 64, 98%", "decay 0.1, seed 3")
    (figure,) = figures(snapshots)
    assert figure.get("title") == "decay 0.1, seed 3"
    assert figure.find("figcaption").text == "espresso, step 64, 98%"
    link, image = figure.find("a"), figure.find("a/img")
    assert image.get("alt") == "espresso, step 64, 98%"
    assert link.get("download") == "snapshot-1.png"
    for uri in (link.get("href"), image.get("src")):
        picture = decoded(uri)
        np.testing.assert_array_equal(np.asarray(picture), pixels)
        assert picture.text["Description"] == "espresso, step 64, 98%; decay 0.1, seed 3"


def test_the_oldest_makes_room():
    snapshots = Snapshots()
    for number in range(MOST + 3):
        snapshots.add(shot(number), f"run {number}", "")
    assert len(snapshots) == MOST == 8
    found = figures(snapshots)
    assert [f.find("figcaption").text for f in found] == [f"run {n}" for n in range(3, MOST + 3)]
    assert [np.asarray(decoded(f.find("a").get("href")))[0, 0, 0] for f in found] == list(range(3, MOST + 3))
    assert [f.find("a").get("download") for f in found] == [f"snapshot-{n}.png" for n in range(1, MOST + 1)]


@pytest.mark.parametrize(
    "hostile", ["<script>alert(1)</script>", "' onload='alert(1)", '" onload="alert(1)', "a & b < c"]
)
def test_words_are_escaped(hostile):
    snapshots = Snapshots()
    snapshots.add(shot(1), hostile, hostile)
    assert "<script>" not in snapshots.box.value
    (figure,) = figures(snapshots)
    assert figure.get("title") == hostile
    assert figure.find("figcaption").text == hostile
    image = figure.find("a/img")
    assert image.get("alt") == hostile
    assert "onload" not in image.attrib
