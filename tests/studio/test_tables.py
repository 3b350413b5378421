"""The review's tables as texts: which error is ours, which is printed, and why they differ."""

from __future__ import annotations

import dataclasses

from xaiwidgets.evaluation.table1_rows import Table1Row
from xaiwidgets.studio.tables import HEADER, TABLES, table1_words, why

REVIEW = Table1Row("shapes", "shapes_gap", "grad_cam", "review", error=0.5, low=0.3, high=0.7, count=12, printed=0.475)
TUNED = dataclasses.replace(REVIEW, protocol="tuned", error=0.1, low=0.0, high=0.2)


def test_a_line_has_both_errors_the_printed_one_and_a_reason():
    ((name, pictures, ours, tuned, printed, reason),) = table1_words([REVIEW, TUNED])
    assert (name, pictures, printed) == ("Grad-CAM", "12 shapes", "48 %")
    assert ours == "50 % (30 % to 70 %)"
    assert tuned == "10 % (0 % to 20 %)"
    assert "lies in our 95 % interval" in reason
    assert len(HEADER) == 6


def test_a_difference_is_explained_by_data_and_network_and_by_the_threshold():
    high = dataclasses.replace(REVIEW, error=0.95, low=0.9, high=1.0)
    told = why(high, dataclasses.replace(TUNED, error=0.4))
    assert told.startswith("Higher: 12 shapes and shapes_gap here")
    assert "explains part of it" in told
    assert "does not explain it" in why(high, dataclasses.replace(TUNED, error=1.0))
    low = dataclasses.replace(REVIEW, error=0.1, low=0.05, high=0.2)
    assert why(low, None).startswith("Lower: ")


def test_what_has_no_error_says_why():
    assert why(dataclasses.replace(REVIEW, note="cam needs a head"), None) == "cam needs a head"
    box = Table1Row("shapes", "shapes_gap", "whole picture", "review", trivial=True, error=1.0, low=1, high=1, count=12)
    ((name, *_, reason),) = table1_words([box, dataclasses.replace(box, protocol="tuned")])
    assert (name, reason.startswith("It knows nothing of the network")) == ("whole picture", True)
    ((_, _, ours, tuned, *_),) = table1_words([Table1Row("shapes", "", "cam", "review", note="no")])
    assert (ours, tuned) == ("not applicable", "")


def test_the_tables_begin_at_once(monkeypatch):
    steps = TABLES["table3"].steps()
    first = next(steps)
    assert (first.name, first.rows) == ("table3", ())
    assert first.header[-1] == "why they differ"
    steps.close()
    steps = TABLES["table1"].steps()
    found = next(table for table in steps if table.rows)
    assert found.rows[0][0] == "whole picture"
    assert 0 < found.progress < 1
    steps.close()
