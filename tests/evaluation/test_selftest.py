"""The checks hold here, take seconds, and a broken metric fails them."""

from __future__ import annotations

import time

import numpy as np
import pytest

import xaiwidgets as xw
from xaiwidgets.core.correlation import pearson
from xaiwidgets.core.metric_cards import metric_cards
from xaiwidgets.evaluation import boxes, infidelity, input_dominance, selectivity, selftest, sensitivity_n
from xaiwidgets.evaluation.case import map_of
from xaiwidgets.evaluation.parts import sums
from xaiwidgets.evaluation.selftest import CHECKS, Check, Checks, check, near


@pytest.fixture(scope="module")
def found():
    start = time.perf_counter()
    return xw.selftest(), time.perf_counter() - start


def test_all_checks_hold(found):
    checks, seconds = found
    assert checks.ok, checks
    assert seconds < 60  # 20 on an idle machine
    assert len(checks) >= 33
    assert {"sensitivity_n", "infidelity", "selectivity", "input_dominance"} <= {one.metric for one in checks}
    assert {one.metric for one in checks} <= {card.id for card in metric_cards()}
    assert all(one.name and one.seconds >= 0 for one in checks)


def test_a_table_says_what_was_expected_and_measured(found):
    checks, _ = found
    assert "All" in repr(checks).splitlines()[-1]
    assert checks._repr_html_().count("<tr") == len(checks) + 1
    bad = Checks([near("one & one", 2, 3)])
    assert not bad.ok
    assert "do not trust the scores" in repr(bad)
    assert "FAILS" in bad._repr_html_()
    assert "one &amp; one" in bad._repr_html_()


def test_a_broken_metric_is_seen(monkeypatch):
    monkeypatch.setattr(boxes, "iou", lambda one, other: 1.0)
    checks = xw.selftest("localization_error")
    assert not checks.ok
    assert [one.ok for one in checks][:2] == [True, True]


@pytest.mark.parametrize(
    ("metric", "module", "name", "wrong"),
    [
        ("sensitivity_n", sensitivity_n, "pearson", lambda one, other: abs(pearson(one, other))),
        ("sensitivity_n", sensitivity_n, "sums", lambda values, parts: sums(np.abs(values), parts)),
        ("infidelity", infidelity, "SLOPES", "another unit"),
        ("selectivity", selectivity, "sums", lambda values, parts: sums(np.abs(values), parts)),
        ("input_dominance", input_dominance, "map_of", lambda found: -map_of(found)),
        ("input_dominance", input_dominance, "spearman", pearson),
    ],
)
def test_a_broken_metric_of_behavior_is_seen(monkeypatch, metric, module, name, wrong):
    assert xw.selftest(metric).ok
    monkeypatch.setattr(module, name, wrong)
    assert not xw.selftest(metric).ok


def test_others_add_checks(monkeypatch):
    monkeypatch.setattr(selftest, "CHECKS", dict(CHECKS))

    @check("focus")
    def more():
        yield Check("pi", 3.14, 3.15, ok=False)

    checks = xw.selftest("focus")
    assert (checks[-1].name, checks[-1].metric, checks.ok) == ("pi", "focus", False)
    selftest.CHECKS.pop("focus/more")


def test_unknown_ones_are_named():
    with pytest.raises(xw.errors.UnknownMethod, match="Did you mean focus"):
        xw.selftest("focu")
    assert near("nothing", float("nan"), float("nan")).ok
    assert not near("nothing", 1.0, float("nan")).ok
