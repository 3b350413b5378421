from __future__ import annotations

import numpy as np
import pytest

from xaiwidgets.core.results import Attribution, Provenance
from xaiwidgets.render.numbers import percent
from xaiwidgets.render.receipt import (
    PASSED,
    balance,
    brief,
    coverage_rows,
    coverage_words,
    flows,
    layer_rows,
    lines,
    start,
    summary,
    warning,
)


def made(total=9.81, gap=-0.02, explained=9.83, progress=1.0, score=10.0, **details):
    values = np.full((3, 2, 5), total / 30, np.float32)
    if explained is not None:
        details["explained"] = explained
    return Attribution(values, "logit", True, (2, 5), progress=progress, score=score, gap=gap, details=details)


def test_the_sum_the_difference_and_the_gap_in_one_line():
    found = balance(made())
    assert found.total == pytest.approx(9.81, rel=1e-6)
    assert (found.explained, found.gap, found.stated) == (9.83, -0.02, True)
    assert found.share == pytest.approx(0.02 / 9.83)
    assert summary(made()) == "Sum 9.81 of 9.83 · gap −0.0200 (0.2 %)"
    assert warning(made()) == ""


def test_without_a_stated_difference_the_score_stands_for_it_and_is_named():
    found = made(explained=None)
    assert balance(found).explained == 10.0
    assert summary(found) == "Sum 9.81 · gap −0.0200 (0.2 % of the score)"
    assert warning(made(gap=-0.5, explained=None)) == "5 % of the score is missing from the map."
    unknown = made(explained=None, score=float("nan"), gap=-5.0)
    assert summary(unknown) == "Sum 9.81 · gap −5.00"
    assert warning(unknown) == ""  # nothing to compare it with


def test_a_method_without_a_gap_says_nothing():
    silent = made(gap=None)
    assert balance(silent) is None
    assert summary(silent) == warning(silent) == coverage_words(silent) == ""
    assert lines(silent) == []
    assert flows(silent) == layer_rows(silent) == coverage_rows(silent) == ()
    assert start(silent) is None


@pytest.mark.parametrize(
    ("gap", "explained", "says"),
    [
        (0.0982, 9.83, ""),
        (0.0984, 9.83, "The map holds 1 % of the difference too much."),
        (-0.0984, 9.83, "1 % of the difference is missing from the map."),
        (0.4, -9.83, "4.1 % of the difference is missing from the map."),
        (-0.4, -9.83, "The map holds 4.1 % of the difference too much."),
        (-13.0, 9.83, "132 % of the difference is missing from the map."),
        (1e-7, 0.0, ""),
        (0.5, 0.0, "There is nothing to explain, and yet the values do not add up to 0."),
        (float("nan"), 9.83, "The values have no finite sum."),
        (float("inf"), 9.83, "The values have no finite sum."),
    ],
)
def test_more_than_a_percent_is_pointed_out_and_rounding_is_not(gap, explained, says):
    assert warning(made(gap=gap, explained=explained)) == says
    assert balance(made(gap=gap, explained=explained)).off == bool(says)


def test_a_map_that_is_still_refined_tells_its_gap_but_is_not_blamed_for_it():
    early = made(gap=-5.0, progress=0.25)
    assert summary(early) == "Sum 9.81 of 9.83 · gap −5.00 (51 %) · so far"
    assert warning(early) == ""
    assert warning(early.replace(progress=1.0)) != ""


def test_the_largest_standard_error_is_told_early_and_late():
    error = np.array([[[0.1, 0.25]]], np.float32)
    for progress, tail in ((0.5, " · so far"), (1.0, "")):
        found = made(gap=None, explained=None, progress=progress, standard_error=error)
        assert summary(found) == f"Standard error at most 0.250{tail}"
    assert summary(made(gap=None, explained=None, progress=0.1, standard_error=np.zeros((1, 2)))) == ""
    assert summary(made(gap=None, explained=None, standard_error=np.zeros((1, 2)))) == "Standard error at most 0"
    assert summary(made(gap=None, explained=None, standard_error=0.5)) == "Standard error at most 0.500"
    assert summary(made(gap=None, explained=None, standard_error=np.zeros(0))) == ""


RECEIPT = {"start": 10.0, "dropped": 0.0, "epsilon": 0.3, "bias": -1.5, "input": 11.2}


def test_where_the_relevance_went_in_order_and_as_shares():
    found = made(gap=None, explained=None, receipt=RECEIPT)
    assert start(found) == 10.0
    assert [(f.name, f.amount) for f in flows(found)] == [
        ("input", 11.2),
        ("bias", -1.5),
        ("epsilon", 0.3),
        ("dropped", 0.0),
    ]
    assert [f.share for f in flows(found)] == pytest.approx([1.12, -0.15, 0.03, 0.0])
    assert summary(found) == "Bias −15 % · epsilon 3 %"
    assert "Relevance: start 10.0 → input 11.2 (112 %), bias −1.50 (−15 %), epsilon 0.300 (3 %)" in lines(found)[1]


def test_a_receipt_without_a_start_or_of_a_start_of_zero():
    assert start(made(receipt={"input": 1.0})) == 9.83
    assert start(made(explained=None, receipt={"input": 1.0})) == 10.0
    nothing = made(receipt={"start": 0.0, "input": 0.0, "bias": 1e-320})
    assert [f.share for f in flows(nothing)] == [None, None]
    assert any("input 0, bias" in line for line in lines(nothing))
    odd = made(receipt={"start": 1.0, "elsewhere": 0.5, "input": "much"})
    assert [(f.name, f.share) for f in flows(odd)] == [("elsewhere", 0.5)]


COVERAGE = (
    {"layer": "features.0", "kind": "conv", "rule": "zplus", "count": 2},
    {"layer": "features.1", "kind": "relu", "rule": "", "count": 1},
    {"layer": "", "kind": "relu", "rule": "gradient", "count": 3},
    {"layer": "features.3", "kind": "conv", "rule": "zplus", "count": 1},
)


def test_what_was_ruled_and_what_passed():
    found = made(coverage=COVERAGE)
    assert coverage_words(found) == "3 of 7 operations ruled: 3 conv by zplus; 4 ReLU as plain gradient"
    rows = coverage_rows(found)
    assert [row["layer"] for row in rows] == ["features.0", "features.1", "the model itself", "features.3"]
    assert [row["rule"] for row in rows] == ["zplus", PASSED, PASSED, "zplus"]
    assert coverage_words(made(coverage=COVERAGE[:1])) == "2 of 2 operations ruled: 2 conv by zplus"
    one = ({"layer": "a", "kind": "conv", "rule": "flat"},)
    assert coverage_words(made(coverage=one)) == "1 of 1 operation ruled: 1 conv by flat"
    assert lines(found)[-1] == coverage_words(found)


def test_rows_by_layer_keep_only_numbers():
    row = {
        "layer": "a",
        "kind": "conv",
        "rule": "flat",
        "in": 1.0,
        "out": np.float32(0.5),
        "bias": None,
        "epsilon": "x",
    }
    assert layer_rows(made(receipt_layers=(row,))) == (
        {"layer": "a", "kind": "conv", "rule": "flat", "in": 1.0, "out": 0.5},
    )


def test_an_attribution_in_one_line():
    made_by = Provenance("lrp", target="espresso")
    found = made(progress=0.5, receipt=RECEIPT).replace(provenance=made_by, layer="blocks.2")
    assert repr(found) == brief(found)
    assert brief(found) == (
        "Attribution(lrp for espresso at blocks.2, (3, 2, 5), 0.981 to 0.981 logit, "
        "Sum 9.81 of 9.83 · gap −0.0200 (0.2 %) · bias −15 % · epsilon 3 % · so far, 50% done)"
    )
    assert repr(made(gap=None)) == "Attribution(map for the target, (3, 2, 5), 0.981 to 0.981 logit)"


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0, "0 %"),
        (1e-9, "<0.01 %"),
        (0.0023, "0.23 %"),
        (0.002, "0.2 %"),
        (0.0437, "4.4 %"),
        (0.9951, "99.5 %"),
        (0.9999, "100 %"),
        (1.0, "100 %"),
        (1.26, "126 %"),
        (-0.0437, "−4.4 %"),
        (12.345, "1,234 %"),
        (float("inf"), "∞ %"),
    ],
)
def test_shares_in_percent(share, text):
    assert percent(share) == text
