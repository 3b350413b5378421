"""Scenes for a network: bundled ones, and folders whose truth follows the resize and the crop."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from scenes import fixed

import xaiwidgets as xw
from xaiwidgets.errors import InvalidImage, InvalidKnob, InvalidTarget
from xaiwidgets.evaluation.scenery import fit_box, fit_mask
from xaiwidgets.model.preprocess import Preprocessing


@pytest.fixture(scope="module")
def lite():
    return xw.load_model()


def test_composites_keep_their_class(lite):
    found = xw.scenes("composites", lite, 4, seed=1)
    assert len(found) == 4
    assert {scene.size for scene in found} == {(224, 224)}
    for scene in found:
        assert int(lite.logits(lite.from_pixels(scene.pixels))[0].argmax()) == scene.label
        assert 0.15 < scene.mask.mean() < 0.5
    assert [scene.digest for scene in found] == [scene.digest for scene in xw.scenes("composites", lite, 4, seed=1)]


@pytest.mark.parametrize(
    ("name", "net"),
    [
        ("shapes", "shapes_gap"),
        ("tagged shapes", "shapes_gap"),
        ("digits", "digits_gap"),
        ("digit pairs", "digits_vgg"),
    ],
)
def test_bundled_scenes_fit_their_network(name, net):
    model = xw.load_model(net)
    found = xw.scenes(name, model, 5)
    assert len(found) == 5
    assert all(model.labels.index(scene.label) >= 0 and scene.mask.any() for scene in found)


def test_digit_pairs_know_the_other_digit():
    for scene in xw.scenes("digit pairs", xw.load_model("digits_gap"), 5):
        assert len(scene.facts["others"]) == 1
        assert scene.facts["others"][0] != scene.label
        assert len(scene.boxes) == 1


def test_a_box_and_its_mask_come_to_the_same_place():
    preprocessing = Preprocessing(size=(64, 64), crop=0.8)
    for box in ((30, 60, 90, 120), (0, 0, 120, 160), (55, 75, 65, 85)):
        mask = np.zeros((120, 160), bool)
        mask[box[0] : box[2], box[1] : box[3]] = True
        top, left, bottom, right = fit_box(box, mask.shape, preprocessing)
        seen = fit_mask(mask, preprocessing)
        rows, columns = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
        ends = rows[0] - top, columns[0] - left, bottom - rows[-1] - 1, right - columns[-1] - 1
        assert all(0 <= end <= 1 for end in ends)  # boxes are rounded outward
        photo = np.repeat(mask[..., None] * np.uint8(255), 3, axis=2)
        assert np.mean((preprocessing.pixels(photo)[..., 0] > 0.5) != seen) < 0.01
    assert fit_box((0, 0, 3, 3), (120, 160), preprocessing) is None


def test_a_folder_becomes_scenes(tmp_path, lite):
    for name in ("cup", "cat"):
        Image.new("RGB", (400, 300), "gray").save(tmp_path / f"{name}.png")
    (tmp_path / "boxes.csv").write_text(
        "file,label,top,left,bottom,right\ncup.png,espresso,100,150,200,250\ncat.png,moggy,100,150,200,250\n"
        "cat.png,espresso,100,150,180,250\ncup.png,junk,0,0,2,2\n"
    )
    with pytest.raises(InvalidTarget, match="Give rename="):
        xw.scenes(tmp_path, lite)
    found = xw.scenes(tmp_path, lite, rename={"moggy": "tabby", "junk": "daisy"})
    assert [(one.name, one.label) for one in found] == [
        ("cat.png espresso", "espresso"), ("cat.png moggy", "tabby"), ("cup.png espresso", "espresso"),
    ]  # fmt: skip
    assert found[1].facts["others"] == ("espresso",)
    left_out = xw.scenes(tmp_path, lite, rename={"moggy": None, "junk": None})
    assert len(left_out) == 2
    assert xw.evaluate(lite, found[0], fixed(found[0].mask), "pointing_game").value == 1


def test_masks_in_a_folder_follow_the_crop(tmp_path):
    model = xw.load_model("shapes_gap")
    (tmp_path / "disk").mkdir()
    Image.new("RGB", (96, 96)).save(tmp_path / "disk" / "a.jpg")
    mask = np.zeros((96, 96), np.uint8)
    mask[20:40, 60:90] = 1
    Image.fromarray(mask).save(tmp_path / "disk" / "a.png")
    (scene,) = xw.scenes(tmp_path, model)
    assert scene.label == "disk"
    assert scene.boxes.tolist() == [[10, 30, 20, 45]]


def test_what_is_wrong_is_named(tmp_path):
    model = xw.load_model("digits_gap")
    with pytest.raises(InvalidImage, match="Did you mean shapes"):
        xw.scenes("shape", model)
    with pytest.raises(InvalidImage, match="a Scene must have the size"):
        xw.scenes("shapes", model)
    with pytest.raises(InvalidImage, match="composites are in color"):
        xw.scenes("composites", model)
    with pytest.raises(InvalidTarget):
        xw.scenes("parts", xw.load_model("shapes_gap"))
    with pytest.raises(InvalidKnob, match="count must be"):
        xw.scenes("digits", model, 0)
