"""The gallery: eight photos, found without importing the packages that hold them."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from xaiwidgets.errors import InvalidImage
from xaiwidgets.model import samples as module
from xaiwidgets.model.pictures import read_picture
from xaiwidgets.model.samples import Sample, find_sample, samples

SIZES = {
    "coffee": (400, 600),
    "chelsea": (300, 451),
    "china": (427, 640),
    "flower": (427, 640),
    "rocket": (427, 640),
    "camera": (512, 512),
    "astronaut": (512, 512),
    "motorcycle": (500, 741),
}


def test_the_gallery_is_there_in_its_order():
    assert [sample.name for sample in samples()] == list(SIZES)
    for sample in samples():
        picture = read_picture(sample.name)
        assert picture.pixels.shape[:2] == SIZES[sample.name]
        assert picture.name == sample.name
        assert find_sample(sample.name) is sample
        assert all(getattr(sample, field.name) for field in dataclasses.fields(sample))


def test_neither_package_is_imported():
    code = (
        "import sys; from xaiwidgets.model.samples import samples; from xaiwidgets.model.pictures import read_picture;"
        "read_picture(samples()[0].name); from xaiwidgets.model import labels, preprocess; labels.imagenet_labels();"
        "import xaiwidgets.data.digits;"
        "print(sorted({'skimage', 'sklearn', 'torch', 'timm', 'torchvision', 'matplotlib'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_every_photo_and_its_terms_are_in_the_licenses():
    text = Path(module.__file__).parents[1].joinpath("data", "LICENSES.md").read_text(encoding="utf-8")
    for sample in samples():
        assert f"`{sample.file}` | {sample.package} |" in text


def test_a_photo_that_the_package_lacks_is_left_out_and_asked_for_by_name_explained(monkeypatch):
    lost = Sample("lost", "Lost", "nobody", "CC0", "scikit-image", "lost.png")
    monkeypatch.setattr(module, "GALLERY", (*module.GALLERY, lost))
    assert [sample.name for sample in samples()] == list(SIZES)
    installed = metadata.version("scikit-image")
    message = (
        f"'lost' is lost.png of scikit-image, and version {installed}, .* lacks it here. scikit-image 0.26.0 has it"
    )
    with pytest.raises(InvalidImage, match=message):
        find_sample("lost")


def test_a_package_that_is_not_installed_loses_its_photos(monkeypatch):
    monkeypatch.setitem(module.FOLDERS, "scikit-learn", ("no_such_module", "images"))
    monkeypatch.setattr(module, "version", lambda name: metadata.version(f"no-such-{name}"))
    assert not {"china", "flower"} & {sample.name for sample in samples()}
    with pytest.raises(InvalidImage, match="scikit-learn is not installed here"):
        find_sample("china")


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(InvalidImage, match=r"samples are coffee, chelsea, .*; got 'cofee'. Did you mean coffee"):
        find_sample("cofee")
    with pytest.raises(InvalidImage, match="samples are"):
        find_sample("../coffee.png")
