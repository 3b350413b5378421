"""Tests in the pauses of a Studio: when they begin, what ends them, and what is kept."""

from __future__ import annotations

import dataclasses
import time

import pytest

import xaiwidgets as xw
from xaiwidgets.evaluation import trust as module
from xaiwidgets.evaluation.trust import TRIALS
from xaiwidgets.studio import inspector as pauses
from xaiwidgets.studio.inspector import Inspector
from xaiwidgets.studio.lens import Lens
from xaiwidgets.studio.studio import Studio

LONG = 120.0


@pytest.fixture(scope="module")
def model():
    return xw.load_model("digits_gap")


def desk(model, **options):
    studio = Studio(model, Lens(method="saliency"), sync=True)
    studio.timing = False
    seen = []
    inspector = Inspector(studio, seen.append, budget=LONG, **options)
    studio.start()
    return studio, inspector, seen


def test_a_map_is_tested_in_the_pause_after_it(model):
    studio, inspector, seen = desk(model)
    assert studio.frame.result.progress == 1
    assert inspector.report.verdict == "not tested yet"
    studio.runner.run_later()
    assert inspector.report is seen[-1]
    assert inspector.report.progress == 1
    assert set(inspector.report.scores) | set(inspector.report.skipped) == {trial.metric for trial in TRIALS}
    shares = [report.progress for report in seen if report is not None]
    assert shares == sorted(shares)
    single = xw.evaluate(model, studio.album.get("coffee"), "saliency", "input_dominance")
    assert inspector.report.scores["input_dominance"].value == pytest.approx(single.value)


def test_another_question_clears_the_report_and_going_back_costs_nothing(model, monkeypatch):
    studio, inspector, _ = desk(model)
    studio.runner.run_later()
    first = inspector.report
    lens = studio.lens
    studio.put(lens.with_method("gradient_x_input"))
    assert inspector.report.verdict == "not tested yet"
    studio.runner.run_later()
    assert inspector.report.method == "Gradient × input"
    monkeypatch.setattr(pauses, "reports", lambda *a, **k: pytest.fail("it was tested before"))
    studio.put(lens)
    studio.runner.run_later()
    assert inspector.report is first
    studio.put(lens.replace(look=lens.look))
    assert inspector.report is first


def test_what_is_asked_meanwhile_ends_the_tests(model, monkeypatch):
    studio, inspector, _ = desk(model)
    other = studio.lens.with_method("grad_cam")
    real, steps = module.reports, []

    def interrupted(*given, **options):
        for report in real(*given, **options):
            steps.append(report)
            if len(steps) == 2:
                studio.put(other)
            yield report

    monkeypatch.setattr(pauses, "reports", interrupted)
    studio.runner.run_later()
    assert len(steps) == 2
    assert inspector.report.verdict == "not tested yet"
    assert studio.frame.lens.method == "grad_cam"


def test_a_map_whose_tests_were_stopped_is_tested_when_it_is_made_again(model, monkeypatch):
    studio, inspector, _ = desk(model)
    real, steps = module.reports, []

    def stopped(*given, **options):
        for report in real(*given, **options):
            steps.append(report)
            if len(steps) == 2:
                studio.stop()
            yield report

    monkeypatch.setattr(pauses, "reports", stopped)
    work = studio.runner._rest[1]()
    next(work), work.close()
    assert inspector.report is None, "it does not say that it is testing"
    monkeypatch.setattr(pauses, "reports", real)
    studio.refresh()
    assert inspector.report.verdict == "not tested yet"
    studio.refresh()  # also where the tests had not begun
    studio.runner.run_later()
    assert inspector.report.progress == 1


def test_again_tests_anew(model):
    studio, inspector, _ = desk(model)
    studio.runner.run_later()
    first = inspector.report
    inspector.again()
    studio.runner.run_later()
    assert inspector.report is not first
    assert inspector.report.progress == 1


def test_a_map_that_was_moved_while_it_ran_is_not_tested(model):
    """Its settings alone do not give it, so maps of other networks made with them are not comparable."""
    studio, inspector, _ = desk(model)
    frame = studio.frame
    told = dataclasses.replace(frame.result.provenance, events=((3, "sparsity", 0.1, 0.2),))
    studio.lens = studio.lens.with_method("gradient_x_input")
    inspector._on_frame(dataclasses.replace(frame, lens=studio.lens, result=frame.result.replace(provenance=told)))
    assert inspector.report is None


def test_no_budget_no_tests(model):
    studio = Studio(model, Lens(method="saliency"), sync=True)
    seen = []
    inspector = Inspector(studio, seen.append, budget=0)
    studio.start()
    studio.runner.run_later()
    assert inspector.report is None


def test_thresholds_of_ones_own_are_used(model):
    studio, inspector, _ = desk(model, limits={"input_dominance": xw.Limit("<", -2)})
    studio.runner.run_later()
    assert inspector.report.scores["input_dominance"].verdict == "fail"


def test_nobody_waits_for_the_tests_and_closing_ends_them(model):
    """With the real worker: the answer is there before the tests begin."""
    studio = Studio(model, Lens(method="saliency"))
    studio.timing = False
    seen = []
    inspector = Inspector(studio, seen.append, budget=LONG)
    studio.start()
    assert studio.wait(LONG)
    assert inspector.report is None or inspector.report.progress < 1
    deadline = time.monotonic() + LONG
    while (inspector.report is None or not inspector.report.scores) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert inspector.report.scores
    studio.close()
    assert not studio.runner._thread.is_alive()
