from __future__ import annotations

import itertools

import numpy as np
import pytest

from xaiwidgets.core.results import Attribution
from xaiwidgets.render.channels import COLORS, WORDS, choosable, ranked, shown
from xaiwidgets.render.colorbar import caption
from xaiwidgets.render.compose import color_table, compose, palette_name
from xaiwidgets.render.look import CHANNELS, SIGNS, Look
from xaiwidgets.render.palettes import CENTERED, PALETTES, palette

VALUES = np.random.default_rng(0).normal(size=(3, 4, 6)).astype(np.float32)
FULL = {"clip": 100.0}


def made(values=VALUES, signed=False, reduction="max_abs"):
    return Attribution(values, "logit", signed, (4, 6), reduction=reduction)


@pytest.fixture
def photo():
    return np.random.default_rng(1).integers(0, 256, (8, 12, 3), dtype=np.uint8)


EXPECTED = {
    "combined": lambda v: np.abs(v).max(axis=0),
    "sum": lambda v: v[0] + v[1] + v[2],
    "mean": lambda v: (v[0] + v[1] + v[2]) / 3,
    "max_abs": lambda v: np.abs(v).max(axis=0),
    "sum_abs": lambda v: np.abs(v[0]) + np.abs(v[1]) + np.abs(v[2]),
    "red": lambda v: v[0],
    "green": lambda v: v[1],
    "blue": lambda v: v[2],
    "as image": lambda v: np.abs(v).max(axis=0),
}


@pytest.mark.parametrize("how", CHANNELS)
def test_each_choice_is_the_arithmetic_of_its_name(how):
    part = shown(made(), Look(channels=how))
    np.testing.assert_allclose(part.map, EXPECTED[how](VALUES), rtol=1e-6, atol=1e-6)
    assert part.look.channels == how
    assert part.title("Saliency") == ("Saliency" if how == "combined" else f"Saliency ({WORDS[how]})")
    assert set(EXPECTED) == set(CHANNELS)


@pytest.mark.parametrize("how", CHANNELS)
def test_maps_of_one_channel_are_shown_as_they_are_whatever_is_chosen(how):
    for channels in (1, 2, 4):
        values = np.ones((channels, 4, 6), np.float32)
        assert not choosable(made(values))
        part = shown(made(values), Look(channels=how, opacity=0.3))
        np.testing.assert_array_equal(part.map, np.ones((4, 6)))
        assert part.look == Look(opacity=0.3)
    assert choosable(made())


@pytest.mark.parametrize("how", CHANNELS)
@pytest.mark.parametrize("sign", SIGNS)
@pytest.mark.parametrize("name", ("auto", *PALETTES))
def test_what_has_two_signs_is_drawn_around_a_fixed_zero_with_every_palette(how, sign, name):
    look = Look(channels=how, sign=sign, palette=name)
    for signed in (True, False):
        part = shown(made(signed=signed, reduction="sum" if signed else "max_abs"), look)
        has_both = part.points.min() < 0 < part.points.max()
        assert part.scale.diverging or not has_both
        if part.scale.diverging:
            assert part.scale.low == -part.scale.high
            assert palette_name(part.scale, part.look) in CENTERED
            # 0 has the middle color, and the two ends differ
            middle = color_table(part.scale, part.look)[part.scale.to_index(np.zeros((1, 1)))[0, 0]]
            assert middle.tolist() == palette(palette_name(part.scale, part.look))[128].tolist()


def test_a_one_sided_palette_gives_way_on_signed_maps_and_the_bar_says_so():
    look = Look(palette="magma", **FULL)
    two = shown(made(signed=True, reduction="sum"), look)
    assert palette_name(two.scale, two.look) == "blue_red"
    assert caption(two.scale, two.look, "logit") == "logit · signed values: blue to red"
    one = shown(made(), look)
    assert palette_name(one.scale, one.look) == "magma"
    assert caption(one.scale, one.look, "logit") == "logit"
    for name in ("purple_green", "jet", "gray", "auto"):
        assert caption(two.scale, Look(palette=name, **FULL), "logit") == "logit"


def test_a_picture_is_gray_at_zero_and_as_far_from_it_as_the_values_are(photo):
    values = np.zeros((3, 8, 12), np.float32)
    values[0, 0, 0], values[1, 2, 3], values[2, 5, 5] = 2.0, -2.0, 1.0
    part = shown(made(values, signed=True), Look(channels="as image", layout="map", smooth=False, **FULL))
    assert (part.scale.low, part.scale.high, part.scale.diverging) == (-2.0, 2.0, True)
    pixels = compose(photo, part.heat, part.scale, part.look)
    assert pixels[0, 0].tolist() == [255, 128, 128]
    assert pixels[2, 3].tolist() == [128, 0, 128]
    assert pixels[5, 5].tolist() == [128, 128, 191]
    others = np.ones((8, 12), bool)
    others[0, 0] = others[2, 3] = others[5, 5] = False
    assert (pixels[others] == 128).all()


def test_over_the_photo_a_picture_covers_only_where_it_has_color(photo):
    values = np.zeros((3, 8, 12), np.float32)
    values[1, 2, 3] = -2.0
    part = shown(made(values), Look(channels="as image", opacity=1.0, smooth=False, **FULL))
    pixels = compose(photo, part.heat, part.scale, part.look)
    assert pixels[2, 3].tolist() == [128, 0, 128]
    pixels[2, 3] = photo[2, 3]
    np.testing.assert_array_equal(pixels, photo)
    even = compose(photo, part.heat, part.scale, Look(channels="as image", opacity=1.0, blend="even", smooth=False))
    assert even[0, 0].tolist() == [128, 128, 128]


@pytest.mark.parametrize(("sign", "ends"), [("positive", (128, 255)), ("negative", (0, 128)), ("absolute", (128, 255))])
def test_the_sign_of_a_picture(photo, sign, ends):
    look = Look(channels="as image", layout="map", sign=sign, **FULL)
    part = shown(made(signed=True), look)
    pixels = compose(photo, part.heat, part.scale, part.look)
    assert pixels.min() >= ends[0]
    assert pixels.max() <= ends[1]


def test_a_picture_tells_three_values_a_place_and_a_map_one():
    part = shown(made(), Look(channels="as image"))
    np.testing.assert_array_equal(part.points, VALUES.transpose(1, 2, 0))
    assert shown(made(), Look(channels="as image", sign="negative")).points.max() == 0
    for color, index in zip(COLORS, itertools.count(), strict=False):
        np.testing.assert_array_equal(shown(made(), Look(channels=color)).points, VALUES[index])


def test_values_that_are_not_finite_are_refused():
    bad = VALUES.copy()
    bad[1, 2, 2] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        shown(made(bad), Look(channels="as image"))


ORDER = np.array([[1, 1, 2, 2, 0, 0], [1, 1, 2, 2, 0, 0], [3, 3, 3, 3, 3, 3], [3, 3, 3, 3, 3, 3]], np.int32)


@pytest.mark.parametrize(("share", "last"), [(1, 1), (16, 1), (17, 2), (33, 2), (34, 3), (99, 3)])
def test_only_the_first_regions_are_drawn_and_the_numbers_stay(share, last, photo):
    """Regions of 4, 4 and 12 of 24 pixels."""
    map = Attribution(VALUES[:1], "logit", True, (4, 6), details={"order": ORDER})
    whole, part = shown(map, Look()), shown(map, Look(regions=share))
    np.testing.assert_array_equal(part.heat, np.where((ORDER > 0) & (last >= ORDER), VALUES[0], 0))
    np.testing.assert_array_equal(part.map, whole.map)
    np.testing.assert_array_equal(part.points, whole.points)
    assert part.scale == part.map_scale == whole.scale
    assert part.title("XRAI") == f"XRAI (first {share} % of the photo)"
    plain = Look(regions=share, smooth=False)
    seen = compose(photo, part.heat, part.scale, plain)
    hidden = np.repeat(np.repeat((ORDER == 0) | (last < ORDER), 2, 0), 2, 1)
    np.testing.assert_array_equal(seen[hidden], photo[hidden])
    assert (seen[~hidden] != photo[~hidden]).any()


def test_all_regions_or_none_to_rank_are_shown_as_ever():
    map = Attribution(VALUES[:1], "logit", True, (4, 6), details={"order": ORDER})
    whole = shown(map, Look())
    assert whole.heat is whole.map
    assert whole.title("XRAI") == "XRAI"
    for details in ({}, {"order": ORDER[:2]}, {"order": ORDER / 2}, {"order": "first"}):
        other = Attribution(VALUES[:1], "logit", True, (4, 6), details=details)
        assert ranked(other) is None
        assert shown(other, Look(regions=5)).look == Look()
        np.testing.assert_array_equal(shown(other, Look(regions=5)).heat, VALUES[0])
