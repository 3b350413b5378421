"""Tests of the maps in a grid: each once, in a pause, and kept."""

from __future__ import annotations

import pytest

import xaiwidgets as xw
from xaiwidgets.studio import gridinspector as module
from xaiwidgets.studio.grid import Column, Grid
from xaiwidgets.studio.gridinspector import GridInspector
from xaiwidgets.studio.gridstudio import GridStudio

LONG = 120.0


@pytest.fixture(scope="module")
def model():
    return xw.load_model("digits_gap")


def desk(model, methods=("saliency", "grad_cam"), budget=LONG):
    studio = GridStudio(model, Grid(methods=tuple(map(Column.of, methods))), sync=True)
    studio.timing = False
    seen = []
    inspector = GridInspector(studio, lambda reports: seen.append(dict(reports)), budget)
    studio.start()
    return studio, inspector, seen


def test_every_map_is_tested_in_a_pause(model):
    studio, inspector, seen = desk(model)
    assert inspector.reports == {}
    studio.runner.run_later()
    assert set(inspector.reports) == set(studio.panels)
    assert all(report.progress == 1 for report in inspector.reports.values())
    assert [len(reports) for reports in seen][-1] == len(studio.panels)
    for place, report in inspector.reports.items():
        assert report.method == studio.panels[place].method.split(" (")[0]
        assert report.target == studio.panels[place].target


def test_what_was_tested_is_kept_when_the_grid_changes(model, monkeypatch):
    studio, inspector, _ = desk(model)
    studio.runner.run_later()
    before = inspector.reports
    studio.put(studio.grid.replace(across="classes"))
    assert set(map(id, inspector.reports.values())) == set(map(id, before.values()))
    asked, real = [], module.reports
    monkeypatch.setattr(module, "reports", lambda case, **o: asked.append(case.method) or real(case, **o))
    studio.put(studio.grid.with_method(Column.of("gradient_x_input")))
    studio.runner.run_later()
    assert {type(method).card.id for method in asked} == {"gradient_x_input"}


def test_no_budget_no_tests(model):
    studio, inspector, _ = desk(model, budget=0)
    studio.runner.run_later()
    assert inspector.reports == {}


def test_a_panel_that_refuses_has_no_report(model):
    studio, inspector, _ = desk(model, ("saliency", "pattern_attribution"))
    studio.runner.run_later()
    for place, panel in studio.panels.items():
        assert (place in inspector.reports) == (panel.error is None)
