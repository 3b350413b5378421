"""The figure of a comparison: titles, what is printed, and files."""

from __future__ import annotations

import json

import nets
import numpy as np
import pytest
import torch
from PIL import Image

import xaiwidgets as xw
from xaiwidgets.errors import InvalidKnob
from xaiwidgets.render.grid import comparison_bytes, comparison_figure
from xaiwidgets.render.look import Look
from xaiwidgets.render.panels import NORMALIZED, SAID, SCALES, panels


@pytest.fixture(scope="module")
def found():
    photo = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    model = xw.Model(nets.f3(), size=nets.SIZE)
    return xw.compare(model, photo, ["saliency", "grad_cam", "gradient_x_input"], targets=[1, 3])


def words(figure):
    every = [t.get_text() for a in figure.axes for t in (a.title, a._left_title, *a.texts)]
    bars = [child.get_xlabel() for a in figure.axes for child in a.child_axes]
    return " ".join(" ".join([*every, *bars, figure._supxlabel.get_text()]).split())


@pytest.mark.parametrize("scale", SCALES)
def test_the_figure_says_what_it_shows_and_how_it_is_scaled(found, scale):
    figure = comparison_figure(found, scale=scale, difference=((0, 0), (1, 2)))
    said = words(figure)
    for name in (*found.plan.columns, *found.plan.rows, "photo", "disagreement of the 6 maps", "2 + 2 passes"):
        assert " ".join(name.split()) in said
    assert f"{found.plan.title((0, 0))} less {found.plan.title((1, 2))}" in said
    assert SAID[scale] in said
    assert NORMALIZED in said
    units = {one.drawn_unit for one in panels(found.results, Look(), scale).values()}
    assert all(unit in said for unit in units)


def test_every_panel_has_a_bar_with_numbers(found):
    figure = comparison_figure(found)
    figure.draw_without_rendering()
    bars = [child for axes in figure.axes for child in axes.child_axes]
    assert len(bars) == 6 + 1
    for bar in bars:
        assert len([t for t in bar.get_xticklabels() if t.get_text()]) >= 2
    assert len([c for a in comparison_figure(found, extra=False).axes for c in a.child_axes]) == 6


def test_pixels_of_a_panel_are_those_of_the_screen(found):
    figure = comparison_figure(found, scale="shared", palette="magma")
    images = [image.get_array() for axes in figure.axes for image in axes.images]
    wanted = panels(found.results, Look(palette="magma"), "shared")
    for place, shown in zip(sorted(wanted), images, strict=False):
        np.testing.assert_array_equal(shown, wanted[place].compose(found.photo, found[place]))


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_files_are_written_and_hold_no_date(found, ending, tmp_path):
    one, other = tmp_path / f"a.{ending}", tmp_path / f"b.{ending}"
    found.save(one)
    assert one.stat().st_size > 5000
    if ending != "svg":  # matplotlib numbers the clips of an svg anew
        found.save(other)
        assert one.read_bytes() == other.read_bytes()
    with pytest.raises(ValueError, match=r"path must end in one of .png, .svg, .pdf"):
        found.save(tmp_path / "a.gif")


def test_a_file_says_how_to_make_each_map_again(found, tmp_path):
    (tmp_path / "a.png").write_bytes(comparison_bytes(found, "png"))
    with Image.open(tmp_path / "a.png") as picture:
        told = json.loads(picture.text["Description"])
    assert set(told) == {found.plan.title(place) for place in found.results}
    assert {one["method"] for one in told.values()} == {"saliency", "grad_cam", "gradient_x_input"}


def test_an_error_is_written_in_its_panel_and_half_a_map_says_so():
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3),
        torch.nn.SiLU(),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(4, 3),
    )
    model = xw.Model(net, size=24)
    found = xw.compare(model, np.zeros((24, 24, 3), np.uint8), ["guided_backprop", "saliency"], targets=[0])
    half = type(found)(found.plan, {**found.results, (0, 1): found[0, 1].replace(progress=0.4)}, found.photo)
    said = words(comparison_figure(half))
    assert "guided_backprop needs" in said
    assert "40% done" in said
    empty = type(found)(found.plan, {}, found.photo)
    assert words(comparison_figure(empty)).count("not finished") == 2


def test_bad_requests_are_named(found):
    with pytest.raises(InvalidKnob, match=r"^difference must be two places"):
        found.plot(difference=(0, 1))
    with pytest.raises(InvalidKnob, match=r"^difference needs two panels with a map"):
        found.plot(difference=((0, 0), (7, 7)))
    with pytest.raises(InvalidKnob, match="scale must be one of"):
        found.plot(scale="common")
