from __future__ import annotations

import numpy as np
import pytest

from xaiwidgets.render.scale import Scale
from xaiwidgets.render.ticks import ticks


@pytest.mark.parametrize(
    ("low", "high", "labels"),
    [
        (0, 2.31, ["0", "0.5", "1.0", "1.5", "2.0"]),
        (0, 1, ["0", "0.25", "0.50", "0.75", "1.00"]),
        (-2.31, 2.31, ["−2", "−1", "0", "1", "2"]),
        (-0.042, 0.042, ["−0.04", "−0.02", "0", "0.02", "0.04"]),
        (-3.3e-5, 0, ["−3e−5", "−2e−5", "−1e−5", "0"]),
        (0, 730000, ["0", "2e5", "4e5", "6e5"]),
        (0.2, 0.9, ["0.2", "0.4", "0.6", "0.8"]),
    ],
)
def test_round_numbers_with_the_digits_they_deserve(low, high, labels):
    assert [t.label for t in ticks(Scale(low, high))] == labels


@pytest.mark.parametrize("n", [2, 3, 5, 9])
def test_at_most_n_inside_the_scale_and_in_place(n):
    for high in np.random.default_rng(0).lognormal(0, 5, 100):
        marks = ticks(Scale(-float(high), float(high), diverging=True), n)
        assert 1 <= len(marks) <= n
        assert 0.0 in [t.value for t in marks]
        for mark in marks:
            assert mark.position == pytest.approx((mark.value + high) / (2 * high))


def test_no_evidence_has_no_numbers():
    assert ticks(Scale(0, 1, empty=True)) == ()


def test_one_tick_is_not_a_scale():
    with pytest.raises(ValueError, match="n must be at least 2"):
        ticks(Scale(0, 1), 1)
