"""Limits, verdicts and bootstrap intervals."""

from __future__ import annotations

import math

import numpy as np
import pytest

from xaiwidgets.core.scores import Curve, Limit, Score, mean_and_interval
from xaiwidgets.errors import InvalidKnob


@pytest.mark.parametrize(
    ("relation", "below", "at", "above"),
    [("<", "pass", "fail", "fail"), ("<=", "pass", "pass", "fail"), (">", "fail", "fail", "pass"),
     (">=", "fail", "pass", "pass")],
)  # fmt: skip
def test_a_limit_judges(relation, below, at, above):
    limit = Limit(relation, 0.5)
    assert [limit.judge(v) for v in (0.4, 0.5, 0.6)] == [below, at, above]
    assert limit.judge(math.nan) == "unjudged"
    assert str(limit) == f"{relation} 0.5"


def test_an_interval_across_the_limit_is_borderline():
    limit = Limit("<", 0.46)
    assert limit.judge(0.4, (0.3, 0.5)) == "borderline"
    assert limit.judge(0.4, (0.3, 0.45)) == "pass"
    assert limit.judge(0.6, (0.5, 0.7)) == "fail"


@pytest.mark.parametrize("given", [("~", 1), ("<", math.nan), ("<", "1"), ("<", True), ("<", math.inf)])
def test_bad_limits_are_refused(given):
    with pytest.raises(InvalidKnob):
        Limit(*given)


def test_a_score_without_a_limit_is_unjudged_and_says_which_way_is_better():
    score = Score(0.25, "share", "lower", controls={"random": 0.5}, metric="deletion")
    assert score.verdict == "unjudged"
    assert score.sentence() == "deletion 0.25 (lower is better); random 0.5"
    judged = score.replace(limit=Limit("<", 0.3), interval=(0.2, 0.28))
    assert judged.verdict == "pass"
    assert "0.2 to 0.28" in judged.sentence()
    assert "pass (must be < 0.3)" in judged.sentence()


def test_the_mean_ignores_what_is_not_defined_and_its_interval_is_reproducible():
    values = [*np.random.default_rng(0).normal(1, 2, 200), math.nan]
    mean, (low, high) = mean_and_interval(values)
    assert mean == pytest.approx(np.mean(values[:-1]))
    error = np.std(values[:-1]) / math.sqrt(200)
    assert low == pytest.approx(mean - 1.96 * error, abs=0.3 * error)
    assert high == pytest.approx(mean + 1.96 * error, abs=0.3 * error)
    assert mean_and_interval(values) == (mean, (low, high))
    assert mean_and_interval([3.0]) == (3.0, None)
    assert math.isnan(mean_and_interval([math.nan])[0])


def test_curves_are_checked_and_read_only():
    curve = Curve("a", [0, 1], [2, 3])
    assert not curve.y.flags.writeable
    with pytest.raises(ValueError, match="equal length"):
        Curve("a", [0, 1], [2])
