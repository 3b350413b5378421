"""The table of sanity checks: its shape, its verdicts where they are asserted, and how differences are told."""

from __future__ import annotations

import math

import pytest

import xaiwidgets as xw
from xaiwidgets.core.cards import card
from xaiwidgets.core.scores import Limit, Score
from xaiwidgets.evaluation import table3
from xaiwidgets.evaluation.table3 import COLUMNS, LINES, Cell, Table3, table3_steps


def test_every_line_is_a_method_with_printed_verdicts():
    for line in LINES:
        assert card(line.method[0]).kind == "explainer"
        assert len(line.review) == len(COLUMNS)
        assert any(line.review), line.title
        for verdict in line.review:
            assert verdict in ("Pass", "Fail", "", "method dependent", "reference dependent")


@pytest.mark.parametrize(
    ("review", "verdict", "differs"),
    [("Pass", "pass", False), ("Pass", "fail", True), ("Fail", "pass", True), ("", "fail", False),
     ("method dependent", "fail", False), ("Pass", "not applicable", False), ("Fail", "borderline", False)],
)  # fmt: skip
def test_a_difference_is_one_between_two_verdicts(review, verdict, differs):
    cell = Cell(0.4, None, verdict, review, Limit("<", 0.46))
    assert cell.differs == differs
    assert ("review differs" in cell.words()) == differs
    assert cell.words().endswith(f"{review or 'not reported'})")


def test_a_number_stands_with_its_interval():
    limit = Limit("<", 0.46)
    near = Cell(0.454, (0.393, 0.512), "borderline", "Fail", limit)
    assert near.words() == "borderline 0.454, 0.393 to 0.512 (Fail)"
    assert Cell(0.6, (0.6, 0.6), "fail", "Pass", limit).words() == "fail 0.6 (review differs: Pass)"
    assert Cell(math.nan, None, "not run", "", limit, "too long").words() == "not run: too long (not reported)"


def test_a_mean_whose_interval_holds_the_threshold_is_borderline(monkeypatch):
    """Half of the pictures far below the threshold, half of them far above."""
    given = iter([0.1, 0.9, 0.1, 0.9])

    def judge(metric, case):
        yield Score(next(given), "made up", progress=1.0)

    monkeypatch.setattr(table3, "judge", judge)
    options = {"methods": ["Gradient"], "columns": ("weights",), "networks": ("shapes_gap",), "count": 4}
    (cell,) = xw.table3(**options).cells.values()
    assert cell.value == pytest.approx(0.5)
    assert cell.verdict == "borderline"
    assert not cell.differs


def test_a_difference_is_explained_in_its_row():
    line = next(line for line in LINES if line.title == "Grad-CAM++")
    bad, good = Cell(0.9, None, "fail", "Pass", None), Cell(0.2, None, "pass", "Pass", None)
    differs = Table3(("net",), {(line.title, "net", "weights"): bad})
    assert differs.rows[0][-1] == line.why
    assert Table3(("net",), {(line.title, "net", "weights"): good}).rows[0][-1] == ""
    near = Cell(0.5, (0.4, 0.6), "borderline", "Pass", None)
    assert Table3(("net",), {(line.title, "net", "weights"): near}).rows[0][-1] == line.why


#: Rows of input invariance that are known exactly; None: the review reports none.
INVARIANT = {
    "Gradient": "pass", "Gradient × input": "fail", "Guided backpropagation": "pass", "Grad-CAM": "pass",
    "Integrated gradients, from black": "pass", "Integrated gradients, from zero": "fail", "SmoothGrad": "pass",
    "PatternNet, linear estimator": "pass", "PatternNet, two-component estimator": "fail",
}  # fmt: skip


def test_input_invariance_on_shapes():
    found = xw.table3(methods=list(INVARIANT), columns=("input",), networks=("shapes_gap",), count=1)
    assert found.progress == 1
    assert {title: cell.verdict for (title, _, _), cell in found.cells.items()} == INVARIANT
    assert all(math.isfinite(cell.value) for cell in found.cells.values())
    assert len(found.rows) == len(INVARIANT)
    assert "Gradient × input" in repr(found)


def test_it_grows_and_can_be_cancelled():
    steps = table3_steps(methods=["Gradient", "Grad-CAM"], columns=("weights",), networks=("shapes_gap",), count=1)
    shares = []
    for table in steps:
        shares.append(table.progress)
        if table.progress == 0.5:
            break
    steps.close()
    assert shares == sorted(shares)
    assert list(table.cells) == [("Gradient", "shapes_gap", "weights")]


def test_bad_arguments_are_named():
    with pytest.raises(xw.errors.InvalidKnob, match="Did you mean Gradient"):
        next(table3_steps(methods=["Gradints"]))
    with pytest.raises(xw.errors.InvalidKnob, match="columns must be of"):
        next(table3_steps(columns=("colour",)))
    with pytest.raises(xw.errors.InvalidKnob, match="networks must be of"):
        next(table3_steps(networks=("vgg",)))


@pytest.mark.lab
def test_the_whole_table():
    """Verdicts that hold on every seed that was tried; the others are printed and not asserted."""
    found = xw.table3()
    print(f"\n{found!r}")
    weights = {title: cell.verdict for (title, net, column), cell in found.cells.items()
               if (net, column) == ("shapes_gap", "weights")}  # fmt: skip
    data = {title: cell.verdict for (title, _, column), cell in found.cells.items() if column == "data"}
    expected = {
        "Gradient": "pass", "SmoothGrad": "pass", "Grad-CAM": "pass", "Gradient × input": "fail",
        "Integrated gradients, from zero": "fail", "Guided backpropagation": "fail",
    }  # fmt: skip
    assert {title: weights[title] for title in expected} == expected
    assert {title: data[title] for title in expected} == expected
    for title, verdict in INVARIANT.items():
        assert found.cells[title, "shapes_gap", "input"].verdict == verdict
