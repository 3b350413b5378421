"""Trust reports: what is in them, what a budget does, and that a number without time is no verdict."""

from __future__ import annotations

import numpy as np
import pytest
from scenes import MadeMap, fixed

import xaiwidgets as xw
from xaiwidgets.core.scores import Limit, Score
from xaiwidgets.data.shapes import shapes
from xaiwidgets.evaluation import trust as module
from xaiwidgets.evaluation.controls import CONTROLS
from xaiwidgets.evaluation.judge import case_of
from xaiwidgets.evaluation.trust import TRIALS, TrustReport, thresholds
from xaiwidgets.evaluation.tuning import finished
from xaiwidgets.model.model import Model

IDS = [trial.metric for trial in TRIALS]
LONG = 300.0


@pytest.fixture(scope="module")
def model():
    return xw.load_model("shapes_gap")


@pytest.fixture(scope="module")
def scene():
    return shapes("test", 1).scene(0)


def test_all_tests_are_run_and_judged(model, scene):
    found = xw.trust(model, scene, "grad_cam", budget=LONG)
    assert list(found.scores) == IDS
    assert found.progress == 1
    assert found.waiting == ()
    assert not found.skipped
    assert all(score.progress == 1 for score in found.scores.values())
    assert all(score.verdict in ("pass", "fail", "borderline") for score in found.scores.values())
    assert found.seconds < LONG
    judged = found.count("pass") + found.count("fail") + found.count("borderline")
    assert found.verdict.startswith(f"{found.count('pass')} of {judged} tests passed")
    told = repr(found)
    assert all(xw.metrics()[[c.id for c in xw.metrics()].index(i)].title in told for i in IDS)


def test_edges_fail_where_knowledge_of_the_network_is_asked_for(model, scene):
    edges = MadeMap(lambda m, image, target: CONTROLS["edges"](m.to_pixels(image), 0))
    found = xw.trust(model, scene, edges, budget=LONG)
    assert found.scores["model_parameter_randomization"].verdict == "fail"
    assert "model randomization" in found.verdict


def test_numbers_are_those_of_the_metrics_themselves(model, scene):
    found = xw.trust(model, scene, "saliency", budget=LONG, seed=3)
    for name, score in found.scores.items():
        single = xw.evaluate(model, scene, "saliency", name, seed=3, **score.knobs)
        assert score.value == pytest.approx(single.value, nan_ok=True), name


def test_a_test_under_way_has_neither_passed_nor_failed():
    passed = Score(0.1, "", progress=1.0, limit=Limit("<", 0.5))
    failing = Score(0.9, "", progress=0.4, limit=Limit("<", 0.5))
    report = TrustReport(scores={"input_dominance": passed, "max_sensitivity": failing}, progress=0.3)
    assert report.verdict == "1 of 1 tests passed"
    ended = TrustReport(scores={"input_dominance": passed, "max_sensitivity": failing.replace(progress=1.0)})
    assert ended.verdict.startswith("1 of 2 tests passed, failed: ")


def test_random_orders_are_the_threshold_of_insertion_and_deletion(model, scene):
    found = xw.trust(model, scene, "grad_cam", budget=LONG)
    for name, relation in (("insertion", ">"), ("deletion", "<")):
        score = found.scores[name]
        assert score.limit.relation == relation
        assert score.limit.value == pytest.approx(score.controls["random"])


def test_thresholds_are_written_down_and_can_be_changed(model, scene):
    rows = thresholds()
    assert len(rows) == len(TRIALS)
    assert any("0.46" in words for *_, words in rows)
    own = {"model_parameter_randomization": Limit("<", -1.0), "deletion": Limit("<", 2.0)}
    found = xw.trust(model, scene, "saliency", budget=LONG, limits=own)
    assert found.scores["model_parameter_randomization"].verdict == "fail"
    assert found.scores["deletion"].verdict == "pass"
    with pytest.raises(xw.errors.InvalidKnob, match="Did you mean deletion"):
        xw.trust(model, scene, "saliency", limits={"deletio": Limit("<", 1)})
    with pytest.raises(xw.errors.InvalidKnob, match="limits must hold Limits"):
        xw.trust(model, scene, "saliency", limits={"deletion": 0.5})


@pytest.mark.parametrize("budget", [0, -1, float("inf"), "10", True])
def test_bad_budgets_are_refused(model, scene, budget):
    with pytest.raises(xw.errors.InvalidKnob, match="budget must be"):
        xw.trust(model, scene, "saliency", budget=budget)


def test_what_there_is_no_time_for_is_left_out_with_its_reason(model, scene, monkeypatch):
    """A clock that goes one second a look: maps seem to take long."""
    now = iter(range(10**6))
    monkeypatch.setattr(module.time, "perf_counter", lambda: float(next(now)))
    found = xw.trust(model, scene, "saliency", budget=20)
    assert found.skipped
    assert set(found.skipped) | set(found.scores) == set(IDS)
    assert all("time is up" in why or "would take" in why or "no result" in why for why in found.skipped.values())


@pytest.mark.parametrize("own", [None, Limit("<", 0.9)])
@pytest.mark.parametrize("name", ["model_parameter_randomization", "max_sensitivity", "deletion"])
def test_what_is_cut_short_keeps_its_number_and_has_no_verdict(model, scene, name, own, monkeypatch):
    """Also where somebody has set the threshold. A clock that goes one second a look ends it at its first number."""
    now = iter(range(10**6))
    case = case_of(model, scene, ("smoothgrad", {"samples": 2}))
    finished(case.attribution())
    trial = next(one for one in TRIALS if one.metric == name)
    monkeypatch.setattr(module.time, "perf_counter", lambda: float(next(now)))
    score = None
    for left in range(1, 60):  # so many pieces of work
        *_, (score, _) = module._run(trial, case, 8, left - 0.5, own)
        if score is not None:
            break
    assert score.progress == 1
    assert np.isfinite(score.value)
    assert "Cut short after" in score.notes[-1]
    assert "100%" not in score.notes[-1]
    assert score.limit is None
    assert score.verdict == "unjudged"


def test_the_report_grows_and_can_be_cancelled(model, scene):
    steps = xw.trust_steps(model, scene, "saliency", budget=LONG)
    seen = [next(steps) for _ in range(6)]
    steps.close()
    shares = [report.progress for report in seen]
    assert shares == sorted(shares)
    assert seen[0].verdict == "not tested yet"


def test_a_finished_map_is_not_computed_again(model, scene):
    asked = []
    image = (scene.pixels * 255).round().astype(np.uint8)
    found = xw.explain(model, image, "saliency")
    real = Model.gradient
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Model, "gradient", lambda self, *a, **k: asked.append(self.name) or real(self, *a, **k))
        steps = xw.trust_steps(model, image, found, budget=LONG)
        while "input_dominance" not in next(steps).scores:
            pass
        steps.close()
    assert asked == []


def test_a_hidden_unit_has_no_probability_and_the_report_says_so(model, scene):
    target = xw.Target.hidden("features.6", 3)
    found = xw.trust(model, scene, "saliency", target=target, budget=LONG)
    assert found.scores["model_parameter_randomization"].verdict in ("pass", "fail", "borderline")
    assert found.scores["deletion"].verdict == "not applicable"
    assert "hidden unit" in found.scores["deletion"].notes[0]


def test_a_constant_map_is_unjudged_not_passed(model, scene):
    found = xw.trust(model, scene, fixed(np.ones((48, 48))), budget=LONG)
    assert found.scores["model_parameter_randomization"].verdict == "unjudged"
    assert found.scores["input_dominance"].verdict == "unjudged"
