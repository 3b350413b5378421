from __future__ import annotations

import numpy as np
import pytest

from xaiwidgets.render.scale import Scale, scale_for, shared_scale, shown_part, shown_signed


def test_one_sided_maps_start_at_exactly_zero():
    values = np.linspace(0.2, 1, 100).reshape(10, 10)
    assert scale_for(values, signed=False, clip=100) == Scale(0.0, 1.0)


def test_rounding_noise_below_zero_does_not_move_the_start():
    assert scale_for(np.array([[-1e-9, 1.0]]), signed=False).low == 0.0


def test_signed_maps_are_symmetric_around_zero():
    assert scale_for(np.array([[-3.0, 1.0]]), signed=True) == Scale(-3.0, 3.0, diverging=True)


def test_clip_leaves_out_the_values_beyond_the_percentile():
    values = np.arange(1001.0).reshape(7, 143)
    scale = scale_for(values, signed=False, clip=99.5)
    assert scale == Scale(0.0, 995.0, clipped=True)
    assert int((values > scale.high).sum()) == 5


def test_a_small_map_is_not_clipped_and_a_sparse_one_keeps_its_peak():
    assert not scale_for(np.arange(49.0).reshape(7, 7), signed=False, clip=99.5).clipped
    sparse = np.zeros((100, 100))
    sparse[3, 4] = 7
    assert scale_for(sparse, signed=False) == Scale(0.0, 7.0)
    assert scale_for(-sparse, signed=True) == Scale(-7.0, 7.0, diverging=True)


def test_maps_of_zeros_are_empty():
    zeros = np.zeros((3, 3))
    assert scale_for(zeros, signed=False) == Scale(0.0, 1.0, empty=True)
    assert scale_for(zeros, signed=True) == Scale(-1.0, 1.0, diverging=True, empty=True)
    assert not scale_for(zeros + 0.5, signed=False).empty


def test_unsigned_maps_with_both_signs_run_from_end_to_end():
    assert scale_for(np.array([[-1.0, 0.0, 3.0]]), signed=False) == Scale(-1.0, 3.0)


def test_evidence_against_runs_down_from_zero():
    scale = scale_for(shown_part(np.array([[-2.0, 1.0]]), "negative"), signed=False)
    assert scale == Scale(-2.0, 0.0)
    assert scale.against
    assert scale.to_index(np.array([[0.0, -1.0, -2.0]])).tolist() == [[0, 128, 255]]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused(bad):
    with pytest.raises(ValueError, match="1 of 2 values are NaN or infinite"):
        scale_for(np.array([[1.0, bad]]), signed=False)


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match="Reduce channels first"):
        scale_for(np.zeros((1, 2, 2)), signed=False)


def test_index_of_the_ends_the_middle_and_beyond():
    values = np.array([[-5.0, -1.0, 0.0, 1.0, 5.0]], dtype=np.float32)
    assert Scale(-1, 1, diverging=True).to_index(values).tolist() == [[0, 0, 128, 255, 255]]
    assert Scale(0, 1).to_index(values).tolist() == [[0, 0, 0, 255, 255]]
    assert Scale(0, 1e-40).to_index(np.float32([[0, 1e-40]])).tolist() == [[0, 255]]


@pytest.mark.parametrize(
    ("sign", "expected"),
    [
        ("auto", [-2, 0, 3]),
        ("signed", [-2, 0, 3]),
        ("absolute", [2, 0, 3]),
        ("positive", [0, 0, 3]),
        ("negative", [-2, 0, 0]),
    ],
)
def test_the_shown_part_and_that_twice_changes_nothing(sign, expected):
    part = shown_part(np.array([[-2.0, 0.0, 3.0]]), sign)
    assert part.tolist() == [expected]
    assert shown_part(part, sign).tolist() == [expected]
    assert shown_signed(True, sign) == (sign in ("auto", "signed"))
    assert shown_signed(False, sign) == (sign == "signed")


def test_one_scale_for_several_panels():
    assert shared_scale([Scale(0, 2), Scale(0, 5, clipped=True)]) == Scale(0, 5, clipped=True)
    assert shared_scale([Scale(0, 5), Scale(-2, 2, diverging=True)]) == Scale(-5, 5, diverging=True)
    assert shared_scale([Scale(0, 1, empty=True), Scale(0, 0.2)]) == Scale(0, 0.2)
    with pytest.raises(ValueError, match="at least one"):
        shared_scale([])


@pytest.mark.parametrize("ends", [(1, 1), (2, 1), (0, np.inf)])
def test_a_scale_needs_two_ends(ends):
    with pytest.raises(ValueError, match="low < high"):
        Scale(*ends)
    with pytest.raises(ValueError, match="centered"):
        Scale(-1, 2, diverging=True)
