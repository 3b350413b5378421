"""The inputs of a reference set: the model's own preprocessing, read once, spread evenly."""

from __future__ import annotations

import nets
import numpy as np
import pytest
import torch

import xaiwidgets as xw
from xaiwidgets.engine.baselines import baseline
from xaiwidgets.engine.references import images_of
from xaiwidgets.errors import InvalidImage, InvalidKnob
from xaiwidgets.model import references
from xaiwidgets.model.references import COLORS, PLAIN, find_references, reference_set
from xaiwidgets.model.samples import samples


@pytest.fixture(autouse=True)
def registry(monkeypatch):
    """Each test has a registry of its own."""
    monkeypatch.setattr(references, "_SETS", {})


@pytest.fixture
def model():
    return xw.Model(nets.f2(), size=16, mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3))


def test_photos_are_what_the_model_sees_of_them(model):
    found = images_of(model, "photos", 99)
    assert found.shape == (8, 3, 16, 16)
    for image, sample in zip(found, samples(), strict=True):
        assert torch.equal(image, model.input(sample.name)[0])


def test_fewer_are_spread_evenly_and_named_alike(model):
    found = images_of(model, "photos", 3)
    chosen = find_references("photos").chosen(3)
    assert torch.equal(found, images_of(model, "photos", 8)[list(chosen)])
    assert len(found) == len(chosen) == 3


def test_pictures_are_read_once_a_model(model, monkeypatch):
    reads = []
    plain = model.input
    monkeypatch.setattr(model, "input", lambda picture: reads.append(picture.name) or plain(picture))
    first = images_of(model, "photos", 4)
    assert len(reads) == 4
    assert images_of(model, "photos", 4) is first
    assert len(reads) == 4
    other = xw.Model(nets.f2(), size=24)
    assert images_of(other, "photos", 4).shape == (4, 3, 24, 24)


@pytest.mark.parametrize("name", ["plain", *COLORS])
def test_baselines_are_those_of_the_engine(name, model):
    image = nets.images()
    names = PLAIN if name == "plain" else (name,)
    found = images_of(model, name, 16, image)
    assert torch.equal(found, torch.cat([baseline(model, image, color) for color in names]))


def test_colors_need_no_picture_and_its_blur_does(model):
    levels = images_of(model, "white", 1)
    np.testing.assert_allclose(model.to_pixels(levels), 1, atol=1e-6)
    for name, lost in (("plain", "blur"), ("blur", "blur"), ("border", "border")):
        with pytest.raises(InvalidKnob, match=rf"{lost} of '{name}' is made of the picture"):
            images_of(model, name, 8)


def test_own_pictures_and_number_types(tmp_path):
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "one.png")
    reference_set("mine", tmp_path)
    model = xw.Model(nets.f2().double(), size=16, crop=1.0)
    found = images_of(model, "mine", 5)
    assert found.dtype == torch.float64
    np.testing.assert_allclose(model.to_pixels(found), pixels / 255, atol=1e-6)


def test_digits_fit_the_nets_that_were_trained_on_them():
    model = xw.load_model("digits_gap")
    found = images_of(model, "digits", 10)
    assert found.shape == (10, *model.input_shape)
    # the canvases are training pictures: the net names the digit that each was made with
    from xaiwidgets.data.digits import digits

    labels = digits("single", "train", 64).labels[list(find_references("digits").chosen(10))]
    assert (model.logits(found).argmax(dim=1).numpy() == labels).mean() >= 0.8


def test_a_tensor_made_in_inference_mode_works_outside(model):
    with torch.inference_mode():
        images_of(model, "photos", 2)
    assert not images_of(model, "photos", 2).is_inference()


@pytest.mark.parametrize(("name", "count", "says"), [("nope", 3, "references must be"), ("photos", 0, "count must")])
def test_bad_input_is_named(name, count, says, model):
    with pytest.raises(InvalidKnob, match=says):
        images_of(model, name, count)


def test_a_damaged_file_is_named(tmp_path, model):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    reference_set("mine", tmp_path)
    with pytest.raises(InvalidImage, match=r"broken\.png"):
        images_of(model, "mine", 1)
