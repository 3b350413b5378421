"""Groups of maps: two places that are known, and a graph in two parts."""

from __future__ import annotations

import numpy as np
import pytest

import xaiwidgets as xw
from xaiwidgets.data.shapes import shapes
from xaiwidgets.evaluation.uses.strategies import grouped


def places(rng, count=40):
    """Return maps of a spot at the bottom left, three times, and of a wide one somewhere else, twice."""
    rows, columns = np.mgrid[:48, :48]
    maps = []
    for k in range(count):
        center, width = ((42, 5), 2.0) if k % 5 < 3 else (rng.uniform((12, 24), (24, 36)), 7.0)
        spot = np.exp(-((rows - center[0]) ** 2 + (columns - center[1]) ** 2) / (2 * width**2))
        spot += 1e-3 * rng.random((48, 48))
        maps.append(spot / spot.sum())
    return np.array(maps)


def test_two_places_are_two_groups_and_the_one_that_recurs_is_suspect():
    found = grouped(places(np.random.default_rng(0)))
    assert found.sizes == (24, 16)
    assert np.array_equal(found.groups == 0, np.arange(40) % 5 < 3)
    assert found.eigenvalues[:2] == pytest.approx([0, 0], abs=1e-9)
    top, left, bottom, right = found.suspect
    assert top <= 42 < bottom
    assert left <= 5 < right
    assert (bottom - top) * (right - left) < 200
    assert found.recurrence.max() > 10
    assert found.maps.sum(axis=(1, 2)) == pytest.approx([1, 1])


def test_the_number_of_groups_may_be_given_and_seeds_repeat():
    maps = places(np.random.default_rng(1))
    one, other = (grouped(maps, 3, seed=4) for _ in range(2))
    assert len(one.sizes) == 3
    assert np.array_equal(one.groups, other.groups)


def test_scenes_of_a_network_are_grouped():
    found = [s for s in shapes("test", 60).scenes() if s.label == "cross"][:8]
    model = xw.load_model("shapes_gap")
    groups = xw.strategies(model, found, "grad_cam")
    assert groups.groups.shape == (8,)
    assert sum(groups.sizes) == 8
    with pytest.raises(xw.errors.InvalidImage, match="at least 6"):
        xw.strategies(model, found[:5])
