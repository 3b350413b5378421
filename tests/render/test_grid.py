"""The figure of a comparison: scales, titles, what is printed, and files."""

from __future__ import annotations

import nets
import numpy as np
import pytest

import xaiwidgets as xw
from xaiwidgets.render.grid import SAID, comparison_figure, parts
from xaiwidgets.render.look import Look


@pytest.fixture(scope="module")
def found():
    photo = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    model = xw.Model(nets.f3(), size=nets.SIZE)
    return xw.compare(model, photo, ["saliency", "grad_cam", "gradient_x_input"], targets=[1, 3])


def test_a_shared_scale_is_that_of_the_largest_map_of_a_method(found):
    own, shared = (parts(found.results, Look(), mode) for mode in ("panel", "shared"))
    for column in range(3):
        tops = [max(abs(own[row, column].scale.low), own[row, column].scale.high) for row in range(2)]
        assert shared[0, column].scale == shared[1, column].scale
        assert shared[0, column].scale.high == pytest.approx(max(tops))
    assert shared[0, 0].scale != shared[0, 2].scale
    with pytest.raises(ValueError, match="scale must be one of panel, shared"):
        parts(found.results, Look(), "common")


def texts(figure):
    return [t.get_text() for a in figure.axes for t in (a.title, *a.texts, a._left_title)] + [
        figure._supxlabel.get_text() if figure._supxlabel else ""
    ]


@pytest.mark.parametrize("scale", ["panel", "shared"])
def test_the_figure_says_what_it_shows_and_how_it_is_scaled(found, scale):
    figure = comparison_figure(found, scale=scale)
    words = " ".join(" ".join(texts(figure)).split())
    for name in (*found.plan.columns, *found.plan.rows, "disagreement", SAID[scale], "2 + 2 passes"):
        assert " ".join(name.split()) in words
    assert len(comparison_figure(found, extra=False).axes) < len(figure.axes)


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_files_are_written_and_the_same_twice(found, ending, tmp_path):
    one, other = tmp_path / f"a.{ending}", tmp_path / f"b.{ending}"
    found.save(one)
    found.save(other)
    assert one.stat().st_size > 5000
    if ending != "svg":  # matplotlib numbers the clips of an svg anew
        assert one.read_bytes() == other.read_bytes()
    with pytest.raises(ValueError, match=r"path must end in one of .png, .svg, .pdf"):
        found.save(tmp_path / "a.gif")


def test_an_error_is_written_in_its_panel():
    import torch

    smooth = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3),
        torch.nn.SiLU(),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(4, 3),
    )
    model = xw.Model(smooth, size=24)
    found = xw.compare(model, np.zeros((24, 24, 3), np.uint8), ["guided_backprop", "saliency"], targets=[0])
    words = " ".join(" ".join(texts(comparison_figure(found))).split())
    assert "guided_backprop needs" in words
