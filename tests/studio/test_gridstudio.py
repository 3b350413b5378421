"""All cells of a grid on one worker: what is computed, what is kept, what stops, and whom an error concerns."""

from __future__ import annotations

import threading
from collections import Counter

import numpy as np
import pytest
import torch
from torch import nn

import xaiwidgets as xw
from xaiwidgets.engine.run import drive
from xaiwidgets.errors import NotApplicable
from xaiwidgets.model.model import Model
from xaiwidgets.render.look import Look
from xaiwidgets.studio import gridstudio as module
from xaiwidgets.studio.grid import Column, Grid, Rank
from xaiwidgets.studio.gridstudio import GridStudio

LONG = 120.0
TWO = Grid(methods=(Column("saliency"), Column("grad_cam")))
RISE = Column.of("rise", samples=20, cells=3)


@pytest.fixture(scope="module")
def digits():
    """A network of its own, whose passes take four pictures at a time: methods of many passes have several steps."""
    model = xw.load_model("digits_gap")
    for gradient in (False, True):
        model.remember(("batch size", gradient), lambda: 4)
    return model


@pytest.fixture
def make(digits):
    made = []

    def build(grid=TWO, model=None, *, sync=True):
        studio = GridStudio(model or digits, grid, sync=sync)
        studio.timing = False  # probing the network is not what is tested
        made.append(studio)
        return studio

    yield build
    for studio in made:
        studio.close()


@pytest.fixture
def begun(monkeypatch):
    """Write down every explanation that is begun."""
    found = []

    def counted(method, model, image, target, name=""):
        found.append((type(method).card.id, target.classes, name))
        return drive(method, model, image, target, name)

    monkeypatch.setattr(module, "drive", counted)
    return found


class Gates:
    """Holds every result after the first ``free`` ones until it is let through."""

    def __init__(self, monkeypatch, free=0):
        self.waiting, self.open, self.free, self.number, self.begun = threading.Event(), threading.Event(), free, 0, []
        self.dropped = []
        monkeypatch.setattr(module, "drive", self.drive)

    def drive(self, method, *args):
        name = type(method).card.id
        self.begun.append(name)
        for result in drive(method, *args):
            self.number += 1
            if self.number > self.free:
                self.waiting.set()
                assert self.open.wait(LONG)
            try:
                yield result
            except GeneratorExit:
                if result.progress < 1:
                    self.dropped.append(name)
                raise


def heard(studio, *events):
    found = []
    for event in events:
        studio.on(event, lambda record, event=event: found.append((event, record)))
    return found


def states(studio):
    return Counter(panel.state for panel in studio.panels.values())


# -- answers --------------------------------------------------------------------------------------------------------


def test_cells_hold_what_one_explanation_gives(make, digits):
    studio = make()
    studio.start()
    first, second = (one.index for one in studio.predictions[:2])
    assert states(studio) == {"done": 4}
    for (row, column), panel in studio.panels.items():
        name, index = ("saliency", "grad_cam")[column], (first, second)[row]
        alone = xw.explain(digits, "coffee", name, target=index)
        np.testing.assert_allclose(panel.result.values, alone.values, atol=1e-5 * np.abs(alone.values).max())
        assert panel.result.provenance.image == "coffee"
        assert panel.title == studio.plan.title((row, column))
    found = studio.comparison()
    assert set(found.results) == set(studio.panels)
    assert found.photo is studio.photo("coffee")


def test_gradients_of_one_class_are_one_pass(make):
    four = tuple(map(Column, ("saliency", "gradient_x_input", "grad_cam", "fullgrad")))
    studio = make(Grid(methods=four, layers=("features.3", "features.13")))
    studio.start()
    assert len(studio.panels) == 16
    assert studio.comparison().passes == (2, 2)
    assert studio.status.passes == (2, 2)
    assert [panel.first for panel in studio.panels.values()].count(True) == 10
    studio.put(studio.grid.with_layer("features.10").without("layers", 0))
    assert studio.comparison().passes == (2, 2)  # the pass that is kept has all stages


def test_what_is_published(make):
    studio = make(Grid(methods=(RISE, Column("saliency")), targets=(Rank(1),)))
    found = heard(studio, "photo", "predictions", "plan", "panels", "status")
    studio.start()
    events = [event for event, _ in found]
    assert events[:4] == ["photo", "predictions", "plan", "panels"]
    assert found[3][1] == ((0, 0), (0, 1))
    order = [places for event, places in found[4:] if event == "panels"]
    assert order[0] == ((0, 1),)  # the cheap one begins
    assert set(order[1:]) == {((0, 0),)}
    shares = [s.progress for event, s in found if event == "status" and s.kind == "busy"]
    assert shares == sorted(shares)
    assert found[-1][1].kind == "idle"
    assert found[-1][1].text == "2 panels: 2 done"
    assert found[-1][1].passes == (1 + 21, 1)


def test_methods_of_many_passes_take_turns(make):
    grid = Grid(methods=(RISE, Column.of("rise", samples=16, cells=3)), targets=(1,))
    studio = make(grid)
    found = heard(studio, "panels")
    studio.start()
    order = [places[0][1] for _, places in found[1:]]
    least = min(order.count(0), order.count(1))
    assert least >= 2
    assert order[: 2 * least] == [1, 0] * least


# -- what is kept ---------------------------------------------------------------------------------------------------


def test_a_new_method_computes_only_its_own_cells(make, begun):
    studio = make()
    studio.start()
    before = dict(studio.panels)
    begun.clear()
    studio.put(studio.grid.with_method(Column("gradient_x_input")))
    assert {name for name, *_ in begun} == {"gradient_x_input"}
    assert len(begun) == 2
    for place, panel in before.items():
        assert studio.panels[place].result is panel.result
        assert studio.panels[place].reused
    assert not studio.panels[0, 2].reused
    begun.clear()
    studio.put(TWO)
    assert begun == []
    assert studio.status.passes == (0, 0)


def test_other_settings_of_one_method_are_another_column(make, begun):
    studio = make()
    studio.start()
    begun.clear()
    studio.put(studio.grid.with_method(Column.of("grad_cam", layer="features.3")))
    assert len(begun) == 2
    assert [studio.plan.names[n] for n in (1, 2)] == ["Grad-CAM (layer default)", "Grad-CAM (layer features.3)"]
    assert studio.panels[0, 2].result.layer == "features.3"


def test_arrangement_scale_and_look_compute_nothing(make, begun):
    studio = make()
    studio.start()
    begun.clear()
    found = heard(studio, "grid", "plan", "panels")
    studio.put(studio.grid.replace(across="classes"))
    assert [event for event, _ in found] == ["grid", "plan", "panels"]
    assert studio.plan.columns == [one.label for one in studio.predictions[:2]]
    assert states(studio) == {"done": 4}
    assert not any(panel.reused for panel in studio.panels.values())  # the same question
    studio.put(studio.grid.replace(scale="rank"))
    studio.put(studio.grid.replace(look=Look(opacity=0.2)))
    assert [event for event, _ in found[3:]] == ["grid", "panels"] * 2
    assert found[-1][1] == tuple(studio.panels)
    assert begun == []


def test_work_under_way_goes_on_in_a_new_grid(make, monkeypatch):
    gates = Gates(monkeypatch, free=1)
    studio = make(Grid(methods=(RISE,), targets=(1,)), sync=False)
    studio.start()
    assert gates.waiting.wait(LONG)  # one step is on screen, the second one is under way
    studio.put(studio.grid.with_method(Column("saliency")))
    gates.open.set()
    assert studio.wait(LONG)
    assert states(studio) == {"done": 2}
    assert gates.begun == ["rise", "saliency"]  # nothing was begun anew
    assert studio.panels[0, 0].result.provenance.passes == (21, 0)


def test_what_is_not_asked_for_any_more_is_dropped(make, monkeypatch):
    gates = Gates(monkeypatch)
    studio = make(Grid(methods=(RISE,), targets=(1,)), sync=False)
    studio.start()
    assert gates.waiting.wait(LONG)
    studio.put(Grid(methods=(Column("saliency"),), targets=(1,)))
    gates.open.set()
    assert studio.wait(LONG)
    assert states(studio) == {"done": 1}
    assert studio._jobs == {}
    assert gates.dropped == ["rise"]


def test_run_again_computes_all_anew(make, begun):
    studio = make()
    studio.start()
    before = dict(studio.panels)
    begun.clear()
    studio.refresh()
    assert len(begun) == 4
    assert studio.status.passes == (2, 2)
    for place, panel in studio.panels.items():
        assert panel.result is not before[place].result
        assert not panel.reused


def test_another_photo_has_other_classes_and_its_maps_are_kept(make, begun):
    studio = make()
    studio.start()
    first = studio.predictions
    studio.put(studio.grid.replace(image="rocket"))
    assert studio.predictions != first
    assert [t.classes[0] for t in studio.plan.targets] == [one.index for one in studio.predictions[:2]]
    begun.clear()
    studio.put(studio.grid.replace(image="coffee"))
    assert studio.predictions == first
    assert begun == []
    assert states(studio) == {"done": 4}


# -- stopping -------------------------------------------------------------------------------------------------------


def test_stop_leaves_what_was_shown_and_go_on_ends_it(make, monkeypatch):
    gates = Gates(monkeypatch, free=2)
    studio = make(Grid(methods=(RISE, Column("saliency")), targets=(1,)), sync=False)
    studio.start()
    assert gates.waiting.wait(LONG)
    studio.stop()
    assert states(studio) == {"done": 1, "stopped": 1}
    shown = studio.panels[0, 0].result
    assert (studio.status.kind, studio.status.text) == ("stopped", "2 panels: 1 done, 1 stopped")
    gates.open.set()
    assert studio.wait(LONG)
    assert states(studio) == {"done": 1, "stopped": 1}
    assert studio.panels[0, 0].result is shown  # the step under way ended, but is not shown
    studio.put(studio.grid.replace(across="classes"))
    assert states(studio) == {"done": 1, "stopped": 1}
    studio.resume()
    assert studio.wait(LONG)
    assert states(studio) == {"done": 2}
    assert gates.begun == ["saliency", "rise"]
    assert studio.panels[0, 0].result.provenance.passes == (21, 0)


def test_close_lets_go_of_everything(make, monkeypatch):
    gates = Gates(monkeypatch, free=1)
    studio = make(Grid(methods=(RISE,), targets=(1,)), sync=False)
    studio.start()
    assert gates.waiting.wait(LONG)
    gates.open.set()
    studio.close()
    assert studio._jobs == {}
    assert not studio.runner._thread.is_alive()


# -- errors ---------------------------------------------------------------------------------------------------------


def smooth():
    torch.manual_seed(0)
    return Model(
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.SiLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)), size=24
    )


def test_an_error_stays_in_its_panels(make):
    grid = Grid(methods=(Column("guided_backprop"), Column("saliency")))
    studio = make(grid, smooth())
    studio.start()
    assert states(studio) == {"error": 2, "done": 2}
    assert isinstance(studio.panels[0, 0].error, NotApplicable)
    assert studio.status.kind == "idle"
    assert studio.status.text == "4 panels: 2 done, 2 not possible"
    assert isinstance(studio.comparison()[0, 0], NotApplicable)


def test_an_unexpected_error_does_too(make, monkeypatch):
    monkeypatch.setattr(xw.Saliency, "raw", lambda *_: 1 / 0)
    studio = make()
    studio.start()
    assert states(studio) == {"error": 2, "done": 2}
    assert isinstance(studio.panels[0, 0].error, ZeroDivisionError)


def test_a_layer_or_class_that_the_model_lacks_is_said(make):
    studio = make(TWO.replace(layers=("nowhere",)))
    studio.start()
    assert studio.status.kind == "error"
    assert "layer must be one of" in studio.status.text
    studio.put(studio.grid.without("layers", 0))
    assert states(studio) == {"done": 4}
    kept = dict(studio.panels)
    studio.put(studio.grid.with_target(10**6))
    assert studio.status.kind == "error"
    assert studio.panels == kept
    studio.put(studio.grid.replace(across="classes"))
    assert studio.status.kind == "error"
    assert studio.panels == kept


def test_a_grid_that_makes_no_sense_leaves_the_last_one(make):
    studio = make()
    studio.start()
    before = studio.grid
    studio.put(before.replace(image="nowhere"))
    assert studio.status.kind == "error"
    studio.put(before.replace(methods=(Column("agg_mean", (("members", "saliency,nothing"),)),)))
    assert studio.status.kind == "error"
    assert studio.grid is before
    assert states(studio) == {"done": 4}


def test_ranks_that_a_small_network_does_not_have_are_left_out(make):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 1))
    studio = make(TWO, Model(net, size=24))
    studio.start()
    assert studio.grid.targets == (Rank(1),)
    assert states(studio) == {"done": 2}


# -- models ---------------------------------------------------------------------------------------------------------


def test_the_newest_grid_wins(make):
    studio = make(sync=False)
    studio.start()
    for image in ("rocket", "chelsea", "astronaut", "coffee", "camera"):
        studio.put(studio.grid.replace(image=image))
    assert studio.wait(LONG)
    assert {panel.result.provenance.image for panel in studio.panels.values()} == {"camera"}
    assert states(studio) == {"done": 4}


@pytest.mark.parametrize("source", ["digits_gap", lambda: xw.load_model("digits_gap")], ids=["name", "function"])
def test_the_worker_gets_the_model(source):
    studio = GridStudio(source, TWO)
    studio.timing = False
    told = heard(studio, "model", "photo")
    try:
        assert studio.model is None
        assert studio.comparison() is None
        studio.start()
        assert studio.wait(LONG)
        assert states(studio) == {"done": 4}
        assert [event for event, _ in told].count("model") == 1
        assert studio.photo("coffee") is told[-1][1]
        assert studio.model.captures.whole
    finally:
        studio.close()
