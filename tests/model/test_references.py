"""Sets of reference pictures: what a name stands for, who may name one, and that a path is never a name."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import xaiwidgets as xw
from xaiwidgets.data.digits import digits
from xaiwidgets.errors import InvalidImage, InvalidKnob
from xaiwidgets.model import references
from xaiwidgets.model.pictures import read_picture
from xaiwidgets.model.references import COLORS, PLAIN, find_references, reference_set, reference_sets
from xaiwidgets.model.samples import samples


@pytest.fixture(autouse=True)
def registry(monkeypatch):
    """Each test has a registry of its own."""
    monkeypatch.setattr(references, "_SETS", {})


def noise(seed, side=20):
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path):
    for number, name in enumerate(("b/one.png", "a/two.PNG", "a/three.bmp", "four.png")):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(noise(number)).save(path)
    (tmp_path / "notes.txt").write_text("no picture")
    return tmp_path


def test_the_public_names():
    assert xw.reference_set is reference_set
    assert xw.reference_sets is reference_sets


def test_the_built_in_sets():
    found = {one.name: one for one in reference_sets()}
    assert list(found) == ["photos", "digits", "plain", *COLORS]
    assert found["photos"].names == tuple(sample.name for sample in samples())
    assert [found["photos"].picture(i) for i in range(8)] == [read_picture(sample.name) for sample in samples()]
    assert found["plain"].names == PLAIN
    assert all(found[color].names == (color,) and found[color].baselines for color in COLORS)
    assert len({one.title for one in found.values()}) == len(found)
    canvases = digits("single", "train", len(found["digits"])).images
    for index in (0, 17, len(canvases) - 1):
        np.testing.assert_allclose(found["digits"].picture(index).pixels[..., 1] / 255, canvases[index], atol=1 / 255)


def test_baselines_have_no_pictures():
    with pytest.raises(InvalidImage, match="'plain' holds baselines"):
        find_references("plain").picture(0)


def test_a_folder_counts_at_any_depth_and_is_read_when_needed(folder):
    made = reference_set("mine", folder)
    assert made.names == ("a/three.bmp", "a/two.PNG", "b/one.png", "four.png")
    assert find_references("mine") is made
    assert reference_sets()[-1] is made
    for index, seed in enumerate((2, 1, 0, 3)):
        np.testing.assert_array_equal(made.picture(index).pixels, noise(seed))
    (folder / "four.png").unlink()
    with pytest.raises(InvalidImage, match=r"four\.png' is no such file"):
        made.picture(3)


def test_pictures_of_every_kind(folder):
    image = Image.fromarray(noise(8))
    made = reference_set("mix", ["coffee", folder / "four.png", str(folder / "b" / "one.png"), noise(7), image])
    assert made.names == ("coffee", "four.png", "one.png", "array", "picture")
    assert made.picture(0) == read_picture("coffee")
    for index, seed in ((1, 3), (2, 0), (3, 7), (4, 8)):
        np.testing.assert_array_equal(made.picture(index).pixels, noise(seed))
    batch = reference_set("batch", np.stack([noise(1), noise(2)]))
    assert len(batch) == 2
    assert len(reference_set("generated", (noise(n) for n in range(3)))) == 3


@pytest.mark.parametrize(("total", "count"), [(8, 8), (8, 99), (8, 4), (100, 7), (5, 2), (1, 1), (64, 16), (3, 1)])
def test_a_few_are_spread_over_all(total, count):
    made = reference_set("spread", [noise(n, 16) for n in range(total)])
    chosen = made.chosen(count)
    assert len(chosen) == min(count, total)
    assert len(set(chosen)) == len(chosen)
    share = total / len(chosen)
    for number, index in enumerate(chosen):
        assert number * share <= index + 1e-9 < (number + 1) * share
    if count >= total:
        assert chosen == tuple(range(total))


def test_a_sentence_tells_which():
    assert find_references("photos").sentence(16) == (
        "8 reference pictures of 'photos': coffee, chelsea, china, flower, rocket, camera, astronaut, motorcycle."
    )
    assert find_references("photos").sentence(2) == "2 reference pictures of 'photos': china, astronaut."
    assert find_references("black").sentence(16) == "1 reference picture of 'black': black."
    assert find_references("digits").sentence(64).endswith("digit canvas 7, ….")
    with pytest.raises(InvalidKnob, match="count must be at least 1"):
        find_references("photos").sentence(0)


def test_the_same_pictures_again_are_the_same_set_and_others_are_refused(folder):
    first = reference_set("mine", [noise(1), noise(2)])
    assert reference_set("mine", [noise(1), noise(2)]) is first
    with pytest.raises(InvalidKnob, match=r"'mine' already stands for 2 other pictures"):
        reference_set("mine", [noise(1), noise(3)])
    disk = reference_set("disk", folder)
    assert reference_set("disk", str(folder)) is disk
    Image.fromarray(noise(9, 30)).save(folder / "four.png")
    with pytest.raises(InvalidKnob, match=r"'disk' already stands for 4 other pictures"):
        reference_set("disk", folder)


@pytest.mark.parametrize("name", ["", "../x", "/etc", "a/b", "a.b", "1a", "-a", "é", "a" * 61, "a\nb", "~", None, 3])
def test_a_name_is_no_path(name):
    with pytest.raises(InvalidKnob, match=r"^name must begin with a letter"):
        reference_set(name, [noise(0)])
    with pytest.raises(InvalidKnob, match=r"^references must be one of photos, .*reference_set"):
        find_references(name)


@pytest.mark.parametrize("name", ["photos", "plain", "black", "digits"])
def test_the_built_in_names_are_taken(name):
    with pytest.raises(InvalidKnob, match="must not be that of a built-in set"):
        reference_set(name, [noise(0)])


def test_a_folder_is_never_found_by_its_path(folder):
    for text in (str(folder), folder.name, "..", "/"):
        with pytest.raises(InvalidKnob):
            find_references(text)


def test_an_unknown_name_brings_close_ones():
    with pytest.raises(InvalidKnob, match=r"^background must be one of .*; got 'photo'\. Did you mean photos"):
        find_references("photo", knob="background")


@pytest.mark.parametrize(
    ("images", "says"),
    [
        ("no/such/folder", r"'no/such/folder' is no such folder"),
        (__file__, "is a file; give a list of files"),
        ([], "got none"),
        (noise(0), "got one ndarray. Give a list"),
        (Image.fromarray(noise(0)), "got one Image. Give a list"),
        (b"bytes", "got one bytes"),
        (7, "got one int"),
        ([noise(0), "nothing.png"], r"images\[1\]: image must be"),
        ([np.zeros((4, 4, 2), np.uint8)], r"images\[0\]: "),
    ],
)
def test_what_is_no_set_of_pictures_is_refused(images, says):
    with pytest.raises(InvalidImage, match=says):
        reference_set("mine", images)
    assert "mine" not in {one.name for one in reference_sets()}


def test_an_empty_folder_is_refused(tmp_path):
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(InvalidImage, match=r"folder with pictures .*\.png.* has none"):
        reference_set("mine", tmp_path)


def test_looking_up_a_name_loads_no_torch():
    code = (
        "import sys; from xaiwidgets.model.references import find_references, reference_sets;"
        "reference_sets(); find_references('digits'); print('torch' in sys.modules, 'sklearn' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["False", "False"]
