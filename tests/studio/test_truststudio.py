"""The studio of tests: the newest experiment wins, and what has been measured is kept."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import xaiwidgets as xw
from xaiwidgets.core.scores import Limit, Score
from xaiwidgets.evaluation.deletion import Deletion
from xaiwidgets.evaluation.max_sensitivity import MaxSensitivity
from xaiwidgets.studio import truststudio
from xaiwidgets.studio.experiment import Experiment
from xaiwidgets.studio.lens import Lens
from xaiwidgets.studio.tables import Table
from xaiwidgets.studio.truststudio import TrustStudio

LONG = 120.0
RANDOMIZED = "model_parameter_randomization"


@pytest.fixture
def make(digits, monkeypatch):
    monkeypatch.setattr(truststudio, "OFTEN", 0.0)
    made = []

    def studio(metric=RANDOMIZED, method="saliency", sync=True, model=None, **knobs):
        experiment = Experiment(Lens(method=method)).with_metric(metric).with_knobs(**knobs)
        made.append(TrustStudio(model or digits, experiment, sync=sync))
        return made[-1]

    yield studio
    for one in made:
        one.close()


def heard(studio, event):
    found = []
    studio.on(event, found.append)
    return found


def test_a_score_grows_and_is_what_evaluate_says(make, digits):
    studio = make(stages=4)
    scores = [score for score in heard_while(studio, "score", studio.start) if score is not None]
    assert [score.progress for score in scores] == sorted(score.progress for score in scores)
    assert len(scores) >= 4
    assert studio.score is scores[-1]
    alone = xw.evaluate(digits, "coffee", "saliency", RANDOMIZED, stages=4)
    assert studio.score.value == alone.value
    assert studio.score.provenance.method == "saliency"
    assert studio.status.kind == "idle"
    assert studio.status.text == "Model randomization"


def heard_while(studio, event, act):
    found = heard(studio, event)
    act()
    return found


def test_the_map_is_computed_once_for_all_tests(make, monkeypatch):
    studio = make("input_dominance")
    runs = []
    real = truststudio.drive
    monkeypatch.setattr(truststudio, "drive", lambda *a, **k: runs.append(a[0]) or real(*a, **k))
    studio.start()
    for metric in ("deletion", "max_sensitivity", RANDOMIZED):
        studio.put(studio.experiment.with_metric(metric))
        assert studio.score.metric == metric
    assert len(runs) == 1
    assert studio.frame.result.provenance.method == "saliency"


def test_going_back_to_a_finished_test_takes_no_pass(make, spent):
    studio = make("deletion")
    studio.start()
    first = studio.score
    studio.put(studio.experiment.with_metric("input_dominance"))
    spent.clear()
    studio.put(studio.experiment.with_metric("deletion"))
    assert spent == []
    assert studio.score.value == first.value
    assert "kept from before" in studio.status.text
    assert studio.known("deletion").value == first.value
    assert studio.known("insertion") is None
    studio.refresh()
    assert sum(spent) > 0


@pytest.fixture
def spent(monkeypatch):
    """Count every pass that any network makes."""
    from xaiwidgets.model import passes

    counted = []
    forward, gradient = passes.forward, passes.gradient
    monkeypatch.setattr(passes, "forward", lambda n, i, *a, **k: counted.append(len(i)) or forward(n, i, *a, **k))
    monkeypatch.setattr(passes, "gradient", lambda n, i, *a, **k: counted.append(len(i)) or gradient(n, i, *a, **k))
    return counted


def test_another_threshold_judges_anew_without_a_pass(make, spent):
    studio = make("deletion")
    studio.start()
    value = studio.score.value
    spent.clear()
    studio.put(studio.experiment.with_limit(Limit("<", value + 0.1)))
    assert studio.score.verdict == "pass"
    studio.put(studio.experiment.with_limit(Limit("<", value - 0.1)))
    assert studio.score.verdict == "fail"
    studio.put(studio.experiment.with_limit(None))
    assert studio.score.limit.source.startswith("The mean of random orders")
    assert spent == []


def test_the_newest_question_wins_and_the_old_one_ends_at_its_next_step(make, monkeypatch):
    begun, go = threading.Event(), threading.Event()
    ended = []
    real = MaxSensitivity.score

    def slow(metric, case):
        try:
            for found in real(metric, case):
                begun.set()
                assert go.wait(LONG)
                yield found
        finally:
            ended.append(case.name)

    monkeypatch.setattr(MaxSensitivity, "score", slow)
    studio = make("max_sensitivity", sync=False, samples=1000)
    seen = heard(studio, "score")
    studio.start()
    assert begun.wait(LONG)
    studio.put(studio.experiment.with_metric("input_dominance"))
    go.set()
    assert studio.wait(LONG)
    assert studio.score.metric == "input_dominance"
    assert ended == ["coffee"]
    assert {score.metric for score in seen if score is not None} == {"input_dominance"}


def test_stop_keeps_what_was_measured(make):
    studio = make("max_sensitivity", sync=False, samples=1000)
    some = threading.Event()
    studio.on("score", lambda score: some.set() if score is not None else None)
    studio.start()
    assert some.wait(LONG)
    studio.stop()
    assert studio.wait(LONG)
    assert studio.status.kind == "stopped"
    assert studio.stopped
    assert 0 < studio.score.progress < 1
    assert studio.known("max_sensitivity") is None


def test_a_test_that_a_table_interrupts_is_stopped_and_not_running(make, monkeypatch):
    maker = truststudio.TABLES["table1"]
    steps = lambda made: iter([made.empty(progress=1.0)])
    monkeypatch.setitem(truststudio.TABLES, "table1", type(maker)("table1", "", "", steps))
    studio = make("max_sensitivity", sync=False, samples=1000)
    some = threading.Event()
    studio.on("score", lambda score: some.set() if score is not None else None)
    studio.start()
    assert some.wait(LONG)
    seen = []
    studio.on("score", lambda score: seen.append(studio.stopped))
    studio.tabulate("table1")
    assert studio.wait(LONG)
    assert seen[-1]
    assert 0 < studio.score.progress < 1
    studio.back()
    assert not studio.stopped


def test_a_test_that_does_not_apply_is_a_result_that_says_why(make):
    studio = make("deletion", method="grad_cam")
    unit = xw.Target.hidden(studio.model.stages[-1].name, 0)
    from xaiwidgets.studio.lens import Unit

    studio.experiment = studio.experiment.with_lens(studio.lens.replace(unit=Unit(unit.layer, 0)))
    studio.lens = studio.experiment.lens
    studio.start()
    assert studio.score.verdict == "not applicable"
    assert "hidden unit" in studio.score.notes[0]
    assert studio.status.kind == "idle"


def test_an_error_is_said_and_the_studio_goes_on(make, monkeypatch):
    def broken(metric, case):
        yield None
        raise ZeroDivisionError("no such number")

    studio = make("deletion")
    failures = heard(studio, "failure")
    monkeypatch.setattr(Deletion, "score", broken)
    studio.start()
    assert failures == ["ZeroDivisionError: no such number"]
    assert studio.failure == failures[0]
    assert (studio.status.kind, studio.score) == ("error", None)
    studio.put(studio.experiment.with_metric("input_dominance"))
    assert studio.failure == ""
    assert studio.score.metric == "input_dominance"


def test_what_one_photo_does_not_have_is_refused_and_the_last_test_stays(make):
    studio = make("input_dominance")
    studio.start()
    before = studio.experiment
    shown = heard(studio, "experiment")
    studio.put(before.with_metric("roar"))
    assert studio.experiment is before
    assert shown == [before]  # the controls go back
    assert (studio.status.kind, "recipe" in studio.status.text) == ("error", True)
    studio.put(before.with_lens(before.lens.replace(image="/etc/passwd")))
    assert studio.experiment is before
    assert "image must be one of" in studio.status.text


def test_a_region_reaches_the_attack(make):
    studio = make("explanation_fragility", attack="target", steps=3)
    studio.experiment = studio.experiment.replace(region=(0.0, 0.5, 0.5, 1.0))
    studio.start()
    height, width = studio.photo("coffee").shape[:2]
    assert height == width
    region = studio._aim(studio.experiment, (48, 48))
    assert region[:24, 24:].all()
    assert region.sum() == 24 * 24
    before, _ = studio.score.details["region"]
    start = studio.score.maps["map"]
    assert before == pytest.approx(float(start[region].sum()))
    studio.put(studio.experiment.replace(region=(0.5, 0.0, 1.0, 0.5)))
    assert studio.score.details["region"][0] == pytest.approx(float(start[24:, :24].sum()))


def test_a_removal_score_gives_its_pictures_without_a_pass(make, digits, spent):
    from xaiwidgets.evaluation.removal import at

    studio = make("deletion", substrate="noise")
    studio.start()
    score = studio.score
    spent.clear()
    reel = studio.reel(score)
    total = score.details["order"].size
    for count in (0, total // 3, total, 10**9):
        assert (reel(count) == at(score, digits, xw.read_picture("coffee"), count)).all()
    assert spent == []
    assert (reel(0) != reel(total)).any()


def test_tables_grow_stop_and_go_on_where_they_were(make, monkeypatch):
    gate, at_three = threading.Event(), threading.Event()
    made = []

    def steps(maker):
        made.append(maker.name)
        for number in range(1, 6):
            yield maker.empty(header=("n",), rows=tuple((str(n),) for n in range(number)), progress=number / 5)
            if number == 3:
                at_three.set()
                assert gate.wait(LONG)

    maker = truststudio.TABLES["table3"]
    monkeypatch.setitem(truststudio.TABLES, "table3", type(maker)("table3", maker.title, maker.about, steps))
    studio = make("input_dominance", sync=False)
    studio.start()
    assert studio.wait(LONG)
    tables = heard(studio, "table")
    studio.tabulate("table3")
    assert at_three.wait(LONG)
    studio.stop()
    gate.set()
    assert studio.wait(LONG)
    assert studio.status.kind == "stopped"
    assert len(studio.tables["table3"].rows) in (3, 4)
    studio.tabulate("table3")
    assert studio.wait(LONG)
    assert made == ["table3"]  # not begun anew
    assert tables[-1].progress == 1
    assert len(tables[-1].rows) == 5
    assert studio.status.kind == "idle"
    studio.tabulate("table3")  # all there
    assert studio.wait(LONG)
    assert made == ["table3"]
    assert isinstance(tables[-1], Table)


def test_a_table_that_fails_says_why_and_begins_anew(make, monkeypatch):
    def steps(maker):
        yield maker.empty(progress=0.1)
        raise OSError("the disk is full")

    maker = truststudio.TABLES["table1"]
    monkeypatch.setitem(truststudio.TABLES, "table1", type(maker)("table1", "", "", steps))
    studio = make("input_dominance")
    studio.tabulate("table1")
    assert studio.status.text == "OSError: the disk is full"
    assert studio._jobs == {}
    studio.tabulate("../../etc")
    assert "table must be one of table3, table1" in studio.status.text


def test_the_model_may_come_from_elsewhere_and_the_photo_is_then_shown_as_it_sees_it(digits):
    studio = TrustStudio(lambda: digits, Experiment(Lens(method="saliency")).with_metric("input_dominance"), sync=True)
    photos = heard(studio, "photo")
    studio.start()
    assert isinstance(studio.score, Score)
    assert len(photos) == 2
    assert not np.array_equal(photos[0], photos[1])
    studio.close()
