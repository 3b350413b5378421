from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from PIL import Image

from xaiwidgets.core.results import Attribution, Provenance
from xaiwidgets.errors import InvalidImage, InvalidKnob
from xaiwidgets.render.compose import compose, look_scale
from xaiwidgets.render.figure import attribution_figure, read_pixels, save_attribution
from xaiwidgets.render.look import Look

pytest.importorskip("matplotlib")


@pytest.fixture
def attribution():
    values = np.zeros((1, 4, 4), np.float32)
    values[0, 3, 1:3] = 2.0
    made = Provenance("some_method", {"samples": 8}, "espresso", "net", "coffee")
    return Attribution(values, "logit", False, (32, 32), layer="blocks.4", provenance=made)


@pytest.fixture
def photo():
    return np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)


def pictures(figure):
    return [axes.images[0].get_array() for axes in figure.axes if axes.images]


def test_photo_overlay_and_map_are_the_composed_pixels(attribution, photo):
    look = Look(opacity=0.8)
    scale = look_scale(attribution.map(), False, look)
    shown = pictures(attribution_figure(attribution, photo, look))
    assert len(shown) == 3
    for pixels, layout in zip(shown, ("photo", "overlay", "map"), strict=True):
        expected = compose(photo, attribution.map(), scale, Look(opacity=0.8, layout=layout))
        np.testing.assert_array_equal(pixels, expected)


def test_title_color_bar_and_provenance(attribution, photo):
    figure = attribution_figure(attribution, photo)
    title = " ".join(figure.get_suptitle().split())
    assert title == "Some method for espresso at blocks.4: strongest in the lower center, 0.00 to 2.00 logit"
    assert figure.get_supxlabel() == "net · picture coffee · samples=8"
    bar = figure.axes[2].child_axes[0]
    assert [t.get_text() for t in bar.get_yticklabels()] == ["0", "0.5", "1.0", "1.5", "2.0"]
    assert bar.get_ylabel() == "logit"


def test_without_a_picture_the_map_stands_alone_and_a_partial_result_says_so(attribution):
    figure = attribution_figure(attribution.replace(progress=0.5), smooth=False)
    assert len(pictures(figure)) == 1
    assert figure.get_suptitle().endswith("(50% done)")
    cells = pictures(figure)[0]
    assert (cells[24:, 8:24] == cells[24, 8]).all()


def test_plot_and_save_of_the_result_take_fields_of_the_look(attribution, photo, tmp_path):
    shown = pictures(attribution.plot(photo, palette="gray"))[2]
    assert (shown[..., 0] == shown[..., 2]).all()
    attribution.save(tmp_path / "map.png", photo, palette="gray")
    with pytest.raises(InvalidKnob, match="opacity"):
        attribution.plot(photo, opacity=3)


def test_a_notebook_gets_a_picture_without_pyplot(attribution, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)  # importing it would raise
    figure = attribution_figure(attribution)
    assert figure._repr_png_().startswith(b"\x89PNG")


@pytest.mark.parametrize(("ending", "start"), [("png", b"\x89PNG"), ("SVG", b"<?xml"), ("pdf", b"%PDF")])
def test_files_of_each_kind(attribution, photo, tmp_path, ending, start):
    path = tmp_path / f"map.{ending}"
    save_attribution(attribution, path, photo)
    assert path.read_bytes().startswith(start)


def test_a_png_carries_its_provenance_and_no_date(attribution, tmp_path):
    save_attribution(attribution, tmp_path / "one.png")
    save_attribution(attribution, tmp_path / "two.png")
    with Image.open(tmp_path / "one.png") as saved:
        assert json.loads(saved.info["Description"])["provenance"]["method"] == "some_method"
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


def test_numbers(attribution, tmp_path):
    save_attribution(attribution, tmp_path / "map.npz")
    with np.load(tmp_path / "map.npz", allow_pickle=False) as saved:
        np.testing.assert_array_equal(saved["values"], attribution.values)


def test_other_endings_name_those_that_work(attribution, tmp_path):
    with pytest.raises(ValueError, match=r"\.png, \.svg, \.pdf, \.npz; got 'map\.jpg'"):
        save_attribution(attribution, tmp_path / "map.jpg")


def test_pictures_of_every_kind(photo, tmp_path):
    path = tmp_path / "photo.png"
    Image.fromarray(photo).save(path)
    for image in (photo, photo / 255.0, Image.fromarray(photo), path, str(path)):
        np.testing.assert_array_equal(read_pixels(image, (32, 32)), photo)


def test_a_map_is_never_laid_askew(photo, tmp_path):
    np.testing.assert_array_equal(read_pixels(photo, (16, 16)), photo)
    with pytest.raises(InvalidImage, match=r"16 × 24; got 32 × 32.*preprocessing\.view"):
        read_pixels(photo, (16, 24))
    # A whole photo from a file has been cropped for the model, even if it is square too.
    Image.fromarray(photo).save(tmp_path / "photo.png")
    with pytest.raises(InvalidImage, match="16 × 16; got 32 × 32"):
        read_pixels(tmp_path / "photo.png", (16, 16))
