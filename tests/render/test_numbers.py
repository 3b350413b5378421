from __future__ import annotations

import pytest

from xaiwidgets.render.numbers import fixed, interval, number


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (2.312, "2.31"),
        (99.96, "100"),
        (0.0042, "0.00420"),
        (1234.4, "1234"),
        (99999, "99999"),
        (123456, "1.23e5"),
        (4.2e-7, "4.2e−7"),
        (-3, "−3.00"),
        (0, "0"),
        (float("nan"), "not a number"),
        (float("-inf"), "−∞"),
    ],
)
def test_three_digits_and_a_real_minus(value, text):
    assert number(value) == text


def test_no_minus_before_a_rounded_zero():
    assert fixed(-0.001, 2) == "0.00"


def test_both_ends_have_the_decimals_of_the_larger_one():
    assert interval(0, 2.31, "logit") == "0.00 to 2.31 logit"
    assert interval(-12.345, 0.5) == "−12.3 to 0.5"
    assert interval(0, 2e-6) == "0 to 2e−6"
