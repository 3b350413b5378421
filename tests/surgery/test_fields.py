"""Arithmetic of receptive fields against counting positions."""

from __future__ import annotations

import math

import pytest

from xaiwidgets.surgery.fields import PIXEL, PIXEL_AXIS, WHOLE, WHOLE_AXIS, Axis, Field, merge, union


@pytest.mark.parametrize("windows", [[(-1, 1, 1)], [(-1, 1, 2), (-1, 1, 1)], [(0, 2, 2), (-2, 2, 1), (0, 1, 2)]])
def test_chains_of_windows_equal_counting(windows):
    axis = PIXEL_AXIS
    for start, stop, step in windows:
        axis = axis.reading(start, stop, step)
    for index in (0, 1, 5):
        seen = {index}
        for start, stop, step in reversed(windows):
            seen = {step * one + offset for one in seen for offset in range(start, stop + 1)}
        assert (axis.low + axis.jump * index, axis.high + axis.jump * index) == (min(seen), max(seen))


def test_size_stride_offset():
    axis = PIXEL_AXIS.reading(-3, 3, 2)
    field = Field(axis, PIXEL_AXIS)
    assert (field.size, field.stride, field.offset, field.whole) == ((7, 1), (2, 1), (0, 0), False)
    assert PIXEL.size == (1, 1)


def test_the_whole_picture():
    assert WHOLE.whole
    assert WHOLE.size == (math.inf, math.inf)
    assert (WHOLE.stride, WHOLE.offset) == ((0, 0), None)
    assert WHOLE_AXIS.reading(-1, 1, 2) == WHOLE_AXIS
    assert WHOLE.box(3, 4, 10, 20) == (0, 0, 10, 20)


def test_boxes_are_clipped_to_the_picture():
    field = Field(Axis(4, -3, 3), Axis(2, 0, 1))
    assert field.box(0, 0, 10, 10) == (0, 0, 4, 2)
    assert field.box(2, 4, 10, 10) == (5, 8, 10, 10)
    assert field.box(9, 9, 10, 10) == (10, 10, 10, 10)  # nothing


def test_fractions_count_only_whole_pixels():
    assert Axis(0.5, -0.5, 0).span(1, 10) == (0, 1)
    assert Axis(0.5, -0.5, 0).span(2, 10) == (1, 2)


def test_union():
    assert union(Axis(2, -1, 1), Axis(2, 0, 5)) == Axis(2, -1, 5)
    assert union(Axis(2, -1, 1), Axis(1, -1, 1)) is None
    assert union(Axis(2, -1, 1), WHOLE_AXIS) == WHOLE_AXIS


def test_merge():
    one, two = Field(Axis(1, -1, 1), Axis(1, 0, 0)), Field(Axis(1, 0, 0), Axis(1, -2, 0))
    assert merge([one, two]) == Field(Axis(1, -1, 1), Axis(1, -2, 0))
    assert merge([one, None]) is None
    assert merge([None, WHOLE]) == WHOLE
    assert merge([]) is None
