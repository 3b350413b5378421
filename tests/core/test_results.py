"""Results: they cannot be changed, and their maps are the arithmetic that their names say."""

from __future__ import annotations

import copy
import dataclasses
import pickle

import numpy as np
import pytest
from PIL import Image

from xaiwidgets.core.results import REDUCTIONS, Attribution, Provenance, Synthesis, reduce_channels

VALUES = np.random.default_rng(0).normal(size=(3, 4, 6)).astype(np.float32)
#: Each reduction as plain loops over channels in float64.
EXPECTED = {
    "sum": lambda v: sum(v[c] for c in range(len(v))),
    "mean": lambda v: sum(v[c] for c in range(len(v))) / len(v),
    "max_abs": lambda v: np.maximum.reduce([abs(v[c]) for c in range(len(v))]),
    "sum_abs": lambda v: sum(abs(v[c]) for c in range(len(v))),
}


def made(values=VALUES, **changes):
    return Attribution(values=values, unit="logit", signed=True, size=(8, 12), **changes)


@pytest.mark.parametrize("how", REDUCTIONS)
@pytest.mark.parametrize("channels", [1, 3])
def test_reductions(how, channels):
    found = reduce_channels(VALUES[:channels], how)
    assert (found.shape, found.dtype) == ((4, 6), np.float32)
    np.testing.assert_allclose(found, EXPECTED[how](VALUES[:channels].astype(np.float64)), rtol=1e-6, atol=1e-6)


def test_an_unknown_reduction_lists_the_known():
    with pytest.raises(ValueError, match="reduction must be one of sum, max_abs, sum_abs, mean; got 'median'"):
        reduce_channels(VALUES, "median")


def test_a_map_uses_its_own_reduction_unless_told():
    found = made(reduction="max_abs")
    np.testing.assert_array_equal(found.map(), np.abs(VALUES).max(axis=0))
    np.testing.assert_allclose(found.map("mean"), VALUES.mean(axis=0), atol=1e-6)
    assert found.range == (float(np.abs(VALUES).max(axis=0).min()), float(np.abs(VALUES).max()))


def test_a_heatmap_has_the_size_of_the_picture():
    constant = made(np.full((1, 2, 3), 2.5, np.float32))
    assert constant.heatmap().shape == (8, 12)
    np.testing.assert_allclose(constant.heatmap(), 2.5)
    ramp = made(np.arange(3, dtype=np.float32)[None, None].repeat(2, axis=1))
    # corners not aligned: the centers of the three cells lie 4 pixels apart, at columns 1.5, 5.5 and 9.5
    wanted = np.clip((np.arange(12) - 1.5) / 4, 0, 2)
    np.testing.assert_allclose(ramp.heatmap(), np.broadcast_to(wanted, (8, 12)), atol=1e-6)


def test_an_attribution_cannot_be_changed():
    source = VALUES.copy()
    found = made(source)
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.values = source
    with pytest.raises(ValueError, match="read-only"):
        found.values[0, 0, 0] = 1
    assert source.flags.writeable, "the giver's own array stays as it was"
    other = found.replace(unit="probability")
    assert (found.unit, other.unit) == ("logit", "probability")
    assert other.values is not source
    np.testing.assert_array_equal(other.values, source)


def test_a_synthesis_cannot_be_changed():
    found = Synthesis(np.zeros((2, 2, 3)), 1.0, "logit", [1, 2], 2)
    assert (found.image.dtype, found.curve.dtype) == (np.float32, np.float32)
    for array in (found.image, found.curve):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.step = 3


def test_results_are_told_apart_by_identity_and_can_be_keys():
    one, other = made(), made()
    assert one == one
    assert one != other
    assert len({one, other}) == 2


def test_results_survive_a_copy_and_a_pickle():
    found = made(details={"standard_error": VALUES}, notes=("one",), provenance=Provenance("rise", {"samples": 3}))
    for other in (copy.deepcopy(found), pickle.loads(pickle.dumps(found))):
        np.testing.assert_array_equal(other.values, found.values)
        np.testing.assert_array_equal(other.details["standard_error"], VALUES)
        assert other.provenance == found.provenance
        assert other.notes == ("one",)


def test_a_synthesized_picture_is_rounded_and_clipped(tmp_path):
    pixels = np.array([[[-1.0, 0.0, 0.5], [1.0, 2.0, 127.4 / 255]]], dtype=np.float32)
    found = Synthesis(pixels, 0.0, "logit", np.zeros(1), 1)
    np.testing.assert_array_equal(np.asarray(found.picture()), [[[0, 0, 128], [255, 255, 127]]])
    found.save(tmp_path / "made.png")
    with Image.open(tmp_path / "made.png") as stored:
        np.testing.assert_array_equal(np.asarray(stored), np.asarray(found.picture()))


def test_the_defaults_of_a_provenance_are_its_own():
    one, other = Provenance(), Provenance()
    assert one == other
    assert one.knobs is not other.knobs
