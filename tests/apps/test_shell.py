from __future__ import annotations

import threading

import numpy as np
import pytest
from ipywidgets.widgets import widget as registry

from xaiwidgets.apps.shell import PAGES, App
from xaiwidgets.model import zoo

LONG = 120.0


@pytest.fixture(scope="module")
def digits():
    return zoo.load_model("digits_gap")


@pytest.fixture
def make_app(digits):
    made = []

    def make(model=None):
        app = App(model or digits)
        made.append(app)
        return app

    yield make
    for app in made:
        app.close()


def ended(before):
    """Return whether all threads that were not there before have ended, or do so at once."""
    for thread in set(threading.enumerate()) - before:
        thread.join(30)
    return set(threading.enumerate()) <= before


def shown(app):
    return [page.layout.display != "none" for page in app.children]


def test_the_second_page_is_made_once_when_it_is_first_opened(make_app):
    app = make_app()
    assert app.explorer.wait(LONG)
    assert app.synthesislab is None
    assert app.children == (app.explorer,)
    app.tabs.value = PAGES[1]
    first = app.synthesislab
    assert app.children == (app.explorer, first)
    assert shown(app) == [False, True]
    app.tabs.value = PAGES[0]
    assert shown(app) == [True, False]
    app.tabs.value = PAGES[1]
    assert app.synthesislab is first
    assert shown(app) == [False, True]


def test_both_pages_use_one_model(make_app):
    app = make_app()
    assert app.explorer.wait(LONG)
    app.tabs.value = PAGES[1]
    assert app.synthesislab.run.model is app.explorer.studio.model
    assert app.synthesislab.wait(LONG)
    assert app.synthesislab.run.state == "done"


def test_the_third_page_compares_on_the_same_model_and_photo(make_app):
    app = make_app()
    key = app.explorer.studio.album.add(np.zeros((60, 60, 3), np.uint8), "mine")
    app.explorer.put(image="rocket")
    app.explorer.studio.put(app.explorer.studio.lens.replace(image=key))
    assert app.explorer.wait(LONG)
    app.tabs.value = PAGES[2]
    first = app.compare
    assert app.children == (app.explorer, first)
    assert shown(app) == [False, True]
    assert first.grid.image == key
    assert first.studio.model.module is app.explorer.studio.model.module
    assert first.wait(LONG)
    assert {panel.state for panel in first.studio.panels.values()} == {"done"}
    app.tabs.value = PAGES[1]
    assert app.children == (app.explorer, app.synthesislab, first)
    assert shown(app) == [False, True, False]
    app.tabs.value = PAGES[2]
    assert app.compare is first
    assert shown(app) == [False, False, True]


def test_the_fourth_page_tests_the_map_that_the_first_one_shows(make_app):
    app = make_app()
    app.explorer.put(image="rocket", method="saliency")
    assert app.explorer.wait(LONG)
    app.tabs.value = PAGES[3]
    first = app.trustlab
    assert shown(app) == [False, True]
    assert (first.experiment.lens.image, first.experiment.lens.method) == ("rocket", "saliency")
    assert first.studio.model.module is app.explorer.studio.model.module
    assert first.wait(LONG)
    assert first.score.metric == "model_parameter_randomization"
    begun = threading.Event()
    first.studio.on("score", lambda score: begun.set() if score is not None else None)
    first.put(metric="max_sensitivity", samples=1000)
    assert begun.wait(LONG)
    app.tabs.value = PAGES[0]
    assert first.wait(LONG)
    assert first.studio.status.kind == "stopped"
    app.tabs.value = PAGES[3]
    assert app.trustlab is first


def test_leaving_the_study_stops_its_making(make_app, monkeypatch, tmp_path):
    from xaiwidgets.apps import humanstudy
    from xaiwidgets.evaluation.study.making import Preparation

    begun = threading.Event()

    def endless(mode, **options):
        while True:
            begun.set()
            yield Preparation("Training")

    monkeypatch.setattr(humanstudy, "prepare_study_steps", endless)
    monkeypatch.setattr(humanstudy.Path, "home", lambda: tmp_path)
    app = make_app()
    app.tabs.value = PAGES[4]
    assert shown(app) == [False, True]
    app.study.start.click()
    assert begun.wait(LONG)
    assert app.study.start.disabled
    app.tabs.value = PAGES[0]
    assert app.study.wait(LONG)
    assert not app.study.start.disabled
    assert "Stopped" in app.study.status.line.value
    app.tabs.value = PAGES[4]
    assert len(app.children) == 2


def test_leaving_the_comparison_stops_it(make_app):
    app = make_app()
    assert app.explorer.wait(LONG)
    app.tabs.value = PAGES[2]
    assert app.compare.wait(LONG)
    begun = threading.Event()
    app.compare.studio.on("panels", lambda _: begun.set())
    app.compare.put(methods=[("rise", {"samples": 16000})], targets=[1])
    assert begun.wait(LONG)
    app.tabs.value = PAGES[0]
    assert app.compare.wait(LONG)
    assert [panel.state for panel in app.compare.studio.panels.values()] == ["stopped"]


def test_weights_are_loaded_once_even_when_the_tab_is_opened_before_they_are_there(make_app, digits, monkeypatch):
    gate, calls = threading.Event(), []

    def load(name, **options):
        calls.append(name)
        assert gate.wait(LONG)
        return digits

    monkeypatch.setattr(zoo, "load_model", load)
    app = make_app("digits_gap")
    app.tabs.value = PAGES[1]
    assert app.synthesislab.run.model is None
    app.tabs.value = PAGES[0]
    app.tabs.value = PAGES[1]
    app.synthesislab.run.go_on()
    gate.set()
    assert app.synthesislab.wait(LONG)
    assert calls == ["digits_gap"]
    assert app.synthesislab.run.model is app.explorer.studio.model
    assert app.synthesislab.run.state == "done"
    assert app.explorer.studio.frame is not None


def test_a_model_that_cannot_be_loaded_is_said_on_both_pages(make_app):
    app = make_app("no_such_network")
    app.tabs.value = PAGES[1]
    assert app.synthesislab.wait(LONG)
    assert "name must be one of efficientnet_lite0" in app.explorer.status.line.value
    assert "the Explorer&#x27;s status line says why" in app.synthesislab.status.line.value


def test_leaving_a_page_pauses_its_work(make_app, digits, monkeypatch):
    app = make_app()
    assert app.explorer.wait(LONG)
    app.tabs.value = PAGES[1]
    run = app.synthesislab.run
    app.tabs.value = PAGES[0]
    assert run.wait(LONG)
    assert run.state in ("paused", "done")
    assert not run.playing
    step = run.result.step

    busy = threading.Event()
    app.explorer.studio.on("status", lambda status: busy.set() if status.kind == "busy" and status.progress else None)
    app.explorer.put(method="rise", samples=8000)
    assert busy.wait(LONG)
    app.tabs.value = PAGES[1]
    assert app.explorer.wait(LONG)
    assert app.explorer.studio.status.kind == "stopped"
    assert run.result.step == step  # coming back does not go on by itself

    app.synthesislab.pause.click()
    assert app.synthesislab.wait(LONG)
    assert run.state == "done"


def test_close_ends_everything(digits):
    widgets, threads = set(registry._instances), set(threading.enumerate())
    app = App(digits)
    for name in (*PAGES, PAGES[0]):
        app.tabs.value = name
    app.close()
    assert ended(threads)
    assert [registry._instances[key] for key in set(registry._instances) - widgets] == []


def test_close_before_the_second_page_is_made(digits):
    threads = set(threading.enumerate())
    App(digits).close()
    assert ended(threads)
