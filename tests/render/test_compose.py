from __future__ import annotations

import numpy as np
import pytest

from xaiwidgets.errors import InvalidImage
from xaiwidgets.render.compose import blend, color_table, compose, composed_size, heat_rgb, look_scale, palette_name
from xaiwidgets.render.look import Look
from xaiwidgets.render.palettes import palette
from xaiwidgets.render.scale import Scale

ONE, TWO = Scale(0, 1), Scale(-1, 1, diverging=True)


@pytest.fixture
def photo():
    return np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)


def slowly(photo, index, table, alpha):
    """One pixel after the other, in whole numbers, halves up."""
    result = np.zeros_like(photo)
    for row, column, channel in np.ndindex(photo.shape):
        over = int(alpha[row, column])
        mixed = int(photo[row, column, channel]) * (255 - over) + int(table[index[row, column], channel]) * over
        result[row, column, channel] = (2 * mixed + 255) // 510
    return result


def test_blend_is_exact_for_every_pair_and_opacity():
    under, over = np.meshgrid(np.arange(256), np.arange(256))
    photo, rgb = (np.repeat(v[..., None], 3, axis=2).astype(np.uint8) for v in (under, over))
    for alpha in (0, 1, 77, 128, 254, 255):
        expected = (2 * (under * (255 - alpha) + over * alpha) + 255) // 510
        np.testing.assert_array_equal(blend(photo, rgb, alpha)[..., 0], expected)
        one_a_pixel = np.full((256, 256), alpha, np.uint8)
        np.testing.assert_array_equal(blend(photo, rgb, one_a_pixel)[..., 2], expected)


def test_even_overlay_pixel_by_pixel(photo):
    heat = np.array([[0.0, 0.5, 1.0], [2.0, 0.25, 0.75]])
    result = compose(photo, heat, ONE, Look(blend="even", opacity=0.4, smooth=False, palette="magma"))
    index = np.repeat(np.repeat([[0, 128, 255], [255, 64, 191]], 2, axis=0), 2, axis=1)
    np.testing.assert_array_equal(result, slowly(photo, index, palette("magma"), np.full((4, 6), 102)))


def test_overlay_by_value_pixel_by_pixel(photo):
    index = np.arange(0, 240, 10).reshape(4, 6)
    share = index / 255
    alpha = np.round(share * (2 - share) * 153)
    result = compose(photo, index / 255, ONE, Look(smooth=False))
    np.testing.assert_array_equal(result, slowly(photo, index, palette("viridis"), alpha))


@pytest.mark.parametrize("scale", [ONE, TWO])
def test_by_value_keeps_the_photo_where_there_is_no_evidence(photo, scale):
    np.testing.assert_array_equal(compose(photo, np.zeros((2, 2)), scale, Look(opacity=1.0)), photo)


def test_by_value_covers_the_photo_at_both_ends_of_a_signed_map(photo):
    heat = np.repeat([[-1.0, 1.0]], 2, axis=0)
    result = compose(photo, heat, TWO, Look(opacity=1.0, smooth=False))
    assert np.unique(result[:, :3].reshape(-1, 3), axis=0).tolist() == [palette("blue_red")[0].tolist()]
    assert np.unique(result[:, 3:].reshape(-1, 3), axis=0).tolist() == [palette("blue_red")[255].tolist()]


def test_layouts(photo):
    heat = np.ones((1, 1))
    top = palette("viridis")[255]
    side = compose(photo, heat, ONE, Look(layout="side"))
    assert side.shape[:2] == composed_size(Look(layout="side"), (4, 6)) == (4, 20)
    np.testing.assert_array_equal(side[:, :6], photo)
    assert (side[:, 6:14] == 127).all()
    assert (side[:, 14:] == top).all()
    assert (compose(photo, heat, ONE, Look(layout="map")) == top).all()
    np.testing.assert_array_equal(compose(photo, heat, ONE, Look(layout="photo")), photo)
    for layout in ("overlay", "map", "photo"):
        assert composed_size(Look(layout=layout), (4, 6)) == (4, 6)


def test_without_a_map_every_layout_keeps_its_size(photo):
    np.testing.assert_array_equal(compose(photo, None, ONE, Look()), photo)
    side = compose(photo, None, ONE, Look(layout="side"))
    np.testing.assert_array_equal(side[:, :6], photo)
    assert (side[:, 6:] == 127).all()
    assert (compose(photo, None, ONE, Look(layout="map")) == 127).all()


def test_nothing_that_came_in_is_changed_or_shared(photo):
    heat = np.array([[-0.5, 1.0]])
    before = photo.copy(), heat.copy()
    for layout in ("overlay", "side", "map", "photo"):
        for sign in ("auto", "absolute", "negative"):
            compose(photo, heat, TWO, Look(layout=layout, sign=sign))[:] = 0
    np.testing.assert_array_equal(photo, before[0])
    np.testing.assert_array_equal(heat, before[1])


def test_the_sign_is_taken_before_interpolation():
    # Between -1 and 1 the absolute value stays 1; taken afterwards it would fall to 0.
    look = Look(sign="absolute")
    rgb, _ = heat_rgb(np.array([[-1.0, 1.0]]), look_scale(np.array([[-1.0, 1.0]]), True, look), look, (1, 9))
    assert (rgb == palette("viridis")[255]).all()


def test_auto_palette_follows_the_scale():
    assert palette_name(ONE, Look()) == "viridis"
    assert palette_name(TWO, Look()) == "blue_red"
    assert palette_name(TWO, Look(palette="jet")) == "jet"


def test_a_diverging_palette_starts_neutral_on_a_one_sided_scale():
    look, table = Look(palette="blue_red"), palette("blue_red")
    assert color_table(ONE, look)[[0, 255]].tolist() == table[[128, 255]].tolist()
    assert color_table(Scale(-1, 0), look)[[0, 255]].tolist() == table[[127, 0]].tolist()
    np.testing.assert_array_equal(color_table(TWO, look), table)


def test_look_scale_of_each_sign():
    heat = np.array([[-2.0, 1.0]])
    ends = {sign: look_scale(heat, True, Look(sign=sign)) for sign in ("auto", "absolute", "positive", "negative")}
    assert ends["auto"] == Scale(-2, 2, diverging=True)
    assert (ends["absolute"], ends["positive"], ends["negative"]) == (Scale(0, 2), Scale(0, 1), Scale(-2, 0))


def test_bad_input():
    with pytest.raises(InvalidImage, match="float64"):
        compose(np.zeros((2, 2, 3)), None, ONE, Look())
    with pytest.raises(ValueError, match="NaN"):
        compose(np.zeros((2, 2, 3), np.uint8), np.full((2, 2), np.nan), ONE, Look())
