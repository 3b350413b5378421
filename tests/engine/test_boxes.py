"""The box around most of a map's energy."""

from __future__ import annotations

import numpy as np
import pytest

from xaiwidgets.engine.boxes import energy_box


def test_holds_the_share_with_the_fewest_pixels():
    heat = np.zeros((10, 12))
    heat[2:5, 3:7] = -8.0
    heat[9, 11] = 1.0
    assert energy_box(heat) == (2, 3, 5, 7)
    assert energy_box(heat, 1.0) == (2, 3, 10, 12)
    assert energy_box(np.eye(5), 0.2) == (0, 0, 1, 1)


def test_a_box_never_grows_when_less_is_asked_for():
    heat = np.random.default_rng(0).random((20, 20)) ** 4
    boxes = [energy_box(heat, share) for share in (0.3, 0.6, 0.9)]
    areas = [(bottom - top) * (right - left) for top, left, bottom, right in boxes]
    assert areas == sorted(areas)


def test_nothing_has_no_box():
    assert energy_box(np.zeros((4, 4))) is None
    assert energy_box(np.full((4, 4), 2.0)) == (0, 0, 4, 4)
    assert energy_box(np.array([[0.0, 3.0]])) == pytest.approx((0, 1, 1, 2))
