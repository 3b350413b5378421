"""Scales of a comparison: each its own, one for a method, or ranks; and the panels that are made of others."""

from __future__ import annotations

import nets
import numpy as np
import pytest

import xaiwidgets as xw
from xaiwidgets.core.results import Attribution, Provenance
from xaiwidgets.errors import InvalidKnob
from xaiwidgets.render.look import Look
from xaiwidgets.render.panels import RANK, SHARE, made_panel, panels, ranks


@pytest.fixture(scope="module")
def found():
    photo = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    model = xw.Model(nets.f3(), size=nets.SIZE)
    return xw.compare(model, photo, ["saliency", "grad_cam", "gradient_x_input"], targets=[1, 3])


def made(values, method, unit="logit", *, signed=False):
    array = np.array(values, np.float32)[None]
    return Attribution(array, unit, signed, array.shape[1:], provenance=Provenance(method))


def test_a_shared_scale_reaches_over_all_maps_of_a_method(found):
    own, shared = (panels(found.results, Look(), mode) for mode in ("panel", "shared"))
    for column in range(3):
        scales = [own[row, column].drawn.scale for row in range(2)]
        common = shared[0, column].drawn.scale
        assert common == shared[1, column].drawn.scale
        assert (common.low, common.high) == (min(s.low for s in scales), max(s.high for s in scales))
        assert common.clipped == any(s.clipped for s in scales)
    assert shared[0, 0].drawn.scale != shared[0, 2].drawn.scale


def test_only_maps_of_one_method_and_one_unit_share():
    maps = {
        0: made([[1, 2]], "occlusion"),
        1: made([[1, 8]], "occlusion"),
        2: made([[1, 0.5]], "occlusion", "probability"),
        3: made([[1, 90]], "rise"),
        4: made([[1, -3]], "occlusion", signed=True),
        5: made([[0, 0]], "occlusion"),
    }
    tops = {n: one.drawn.scale.high for n, one in panels(maps, Look(clip=100.0), "shared").items()}
    assert tops == {0: 8, 1: 8, 2: 1, 3: 90, 4: 3, 5: 1}


def test_shared_scales_of_evidence_against():
    maps = {n: made([[-1, -top]], "occlusion", signed=True) for n, top in enumerate((2, 5))}
    found = panels(maps, Look(sign="negative", clip=100.0), "shared")
    assert {(one.drawn.scale.low, one.drawn.scale.high) for one in found.values()} == {(-5, 0)}


def test_ranks_by_hand():
    np.testing.assert_array_equal(ranks(np.array([[0.0, 0.0, 3.0], [-9.0, 1.0, 3.0]])), [[0, 0, 60], [100, 40, 60]])
    np.testing.assert_array_equal(ranks(np.zeros((2, 2))), 0)
    np.testing.assert_array_equal(ranks(np.ones((1, 1))), 0)


def test_ranks_keep_the_sign_and_the_raw_value():
    maps = {0: made([[-4, 1], [0, 2]], "a", signed=True), 1: made([[4, 1], [0, 2]], "b")}
    found = panels(maps, Look(), "rank")
    np.testing.assert_allclose(found[0].drawn.heat, [[-100, 100 / 3], [0, 200 / 3]], rtol=1e-5)
    np.testing.assert_allclose(found[1].drawn.heat, [[100, 100 / 3], [0, 200 / 3]], rtol=1e-5)
    assert (found[0].drawn.scale.low, found[0].drawn.scale.high) == (-100, 100)
    assert found[0].drawn.scale.diverging
    assert (found[1].drawn.scale.low, found[1].drawn.scale.high) == (0, 100)
    for n in range(2):
        assert (found[n].drawn_unit, found[n].unit) == (RANK, "logit")
        np.testing.assert_array_equal(found[n].raw.points, maps[n].values[0])
    against = panels(maps, Look(sign="negative"), "rank")[0]
    np.testing.assert_allclose(against.drawn.heat, [[-100, 0], [0, 0]])
    assert against.drawn.scale.against


def test_ranks_do_not_change_when_values_are_stretched():
    rng = np.random.default_rng(1)
    values = rng.normal(size=(5, 6)).astype(np.float32)
    one, other = (panels({0: made(v, "a", signed=True)}, Look(), "rank")[0] for v in (values, values**3))
    np.testing.assert_array_equal(one.drawn.heat, other.drawn.heat)


def test_an_unknown_scale_is_named(found):
    with pytest.raises(InvalidKnob, match=r"^scale must be one of panel, shared, rank; got 'common'"):
        panels(found.results, Look(), "common")


def test_errors_have_no_panel():
    assert panels({0: ValueError("x"), 1: made([[1]], "a")}, Look()).keys() == {1}


def test_a_made_panel_is_in_shares_and_has_its_own_palette():
    values = np.array([[1e-5, -2e-5]])
    panel = made_panel(values, Look(palette="jet", channels="red", sign="positive"), signed=True)
    assert panel.unit == panel.drawn_unit == SHARE
    assert panel.drawn.scale.diverging
    assert panel.drawn.look.palette == "auto"
    np.testing.assert_allclose(panel.raw.points, values, rtol=1e-6)


def test_two_pictures_side_by_side_are_one_in_a_panel(found):
    photo = np.zeros((16, 16, 3), np.uint8)
    side = panels(found.results, Look(layout="side"))[0, 0]
    plain = panels(found.results, Look())[0, 0]
    np.testing.assert_array_equal(side.compose(photo), plain.compose(photo))
