"""Colors for classes, brightness for their responses, and the legend."""

from __future__ import annotations

import dataclasses
from itertools import combinations

import numpy as np
import pytest

from xaiwidgets.core.results import Attribution
from xaiwidgets.render.channels import shown
from xaiwidgets.render.compose import compose
from xaiwidgets.render.dominance import HUES, found_dominance, legend_html
from xaiwidgets.render.figure import attribution_figure
from xaiwidgets.render.look import Look

#: What is left of linear RGB without one sort of cones (Machado, Oliveira, Fernandes 2009, severity 1).
SEEN = {
    "all": np.eye(3),
    "protanope": np.array([[0.1523, 1.0526, -0.2049], [0.1145, 0.7863, 0.0992], [-0.0039, -0.0481, 1.0520]]),
    "deuteranope": np.array([[0.3673, 0.8606, -0.2280], [0.2801, 0.6725, 0.0474], [-0.0118, 0.0429, 0.9689]]),
    "tritanope": np.array([[1.2555, -0.0767, -0.1788], [-0.0784, 0.9308, 0.1476], [0.0047, 0.6914, 0.3039]]),
}


def lab(colors, seen):
    """CIELAB of sRGB colors as somebody sees them."""
    coded = np.asarray(colors) / 255
    linear = np.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4)
    linear = np.clip(linear @ seen.T, 0, 1)
    xyz = linear @ np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]).T
    ratio = xyz / np.array([0.9505, 1.0, 1.089])
    f = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1)


@pytest.mark.parametrize("who", SEEN)
def test_no_two_of_ten_colors_look_alike_to_anybody(who):
    assert HUES.shape == (10, 3)
    assert (HUES.max(axis=1) == 255).all(), "brightness is free to stand for the response"
    found = lab(HUES, SEEN[who])
    assert min(np.linalg.norm(a - b) for a, b in combinations(found, 2)) >= 24


CLASSES = ((7, "cup <of> tea", 0.5), (2, "dog", 0.25), (9, "elk", 0.0), (4, "fox", 0.004))


def result(**details):
    values = np.array([[[4.0, 2.0], [0.0, -3.0]]])
    found = {"dominant": np.array([[7, 2], [7, 4]]), "classes": CLASSES, **details}
    return Attribution(values=values, unit="logit", signed=False, size=(2, 2), details=found)


def test_is_there_where_a_method_says_which_class_dominates():
    found = found_dominance(result())
    assert found.which.tolist() == [[0, 1], [0, 3]]
    assert found.labels == ("cup <of> tea", "dog", "elk", "fox")
    assert found_dominance(result(dominant=None)) is None
    assert found_dominance(result(classes=())) is None
    many = tuple((n, f"c{n}", 0.05) for n in range(20))
    assert found_dominance(result(dominant=np.array([[3, 12], [19, 9]]), classes=many)).which.max() == 9


def test_hue_is_the_class_and_brightness_the_response():
    attribution, look = result(), Look(layout="map", smooth=False, clip=100.0)
    part = shown(attribution, look)
    assert (part.scale.low, part.scale.high, part.scale.diverging) == (0, 4, False)
    photo = np.full((2, 2, 3), 90, np.uint8)
    picture = compose(photo, part.heat, part.scale, part.look, None, part.classes)
    assert picture[0, 0].tolist() == HUES[0].tolist()
    np.testing.assert_allclose(picture[0, 1], HUES[1] * (128 / 255), atol=1)
    assert picture[1].tolist() == [[0, 0, 0], [0, 0, 0]], "no class speaks for these"


def test_over_the_photo_the_response_is_how_much_it_is_covered():
    attribution = result()
    photo = np.full((2, 2, 3), 90, np.uint8)
    look = Look(layout="overlay", smooth=False, opacity=1.0, clip=100.0)
    part = shown(attribution, look)
    over = compose(photo, part.heat, part.scale, part.look, None, part.classes)
    assert over[0, 0].tolist() == HUES[0].tolist()
    assert over[1].tolist() == [[90] * 3] * 2
    between = over[0, 1].astype(int) - 90
    assert (np.sign(between) == np.sign(HUES[1].astype(int) - 90)).all()
    even = dataclasses.replace(part.look, blend="even")
    np.testing.assert_array_equal(
        compose(photo, part.heat, part.scale, even, None, part.classes),
        compose(photo, part.heat, part.scale, dataclasses.replace(part.look, layout="map"), None, part.classes),
    )
    plain = compose(photo, part.heat, part.scale, dataclasses.replace(part.look, layout="photo"), None, part.classes)
    np.testing.assert_array_equal(plain, photo)


def test_choices_that_have_no_meaning_for_it_change_nothing():
    photo = np.full((8, 8, 3), 90, np.uint8)

    def pixels(**changes):
        part = shown(result(), Look(layout="side", **changes))
        return compose(photo, part.heat, part.scale, part.look, None, part.classes)

    for changes in ({"palette": "magma"}, {"sign": "negative"}, {"channels": "red"}):
        np.testing.assert_array_equal(pixels(**changes), pixels())
    assert shown(result(), Look(palette="magma")).look.palette == "gray", "so that the color bar shows brightness"


def test_classes_keep_their_edges_when_they_are_enlarged():
    part = shown(result(), Look(layout="map"))
    colors = part.classes.colors((64, 64)).reshape(-1, 3)
    assert {tuple(color) for color in colors.tolist()} == {tuple(HUES[n].tolist()) for n in (0, 1, 3)}


def test_the_legend_tells_labels_and_shares_the_largest_first():
    found = found_dominance(result())
    assert [one.words for one in found.legend()] == ["cup <of> tea: 50 %", "dog: 25 %", "fox: <1 %"]
    assert found.legend()[0].color == "#ff8000"
    html = legend_html(found)
    assert "cup &lt;of&gt; tea: 50 %" in html
    assert "<of>" not in html
    assert html.index("dog") < html.index("fox")
    assert found.label(0.1, 0.9) == "dog"
    assert found.label(1.0, 0.0) == "cup <of> tea"


def test_a_figure_has_the_legend_and_the_picture():
    figure = attribution_figure(result(), np.full((32, 32, 3), 90, np.uint8), smooth=False)
    legend = figure.legends[0]
    assert [text.get_text() for text in legend.get_texts()] == ["cup <of> tea: 50 %", "dog: 25 %", "fox: <1 %"]
    assert attribution_figure(result(dominant=None)).legends == []
    shown_pixels = figure.axes[2].images[0].get_array()
    assert shown_pixels[0, 0].tolist() == HUES[0].tolist()
