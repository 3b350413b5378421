"""A run that is watched: paused, moved, gone on with, begun anew, stopped; on the calling thread and on the worker."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import xaiwidgets as xw
from xaiwidgets.engine.run import drive
from xaiwidgets.render.look import Look
from xaiwidgets.studio import going
from xaiwidgets.studio import studio as module
from xaiwidgets.studio.lens import Lens

LONG = 120.0
STEPS = 12
LENS = Lens(method="meaningful_perturbation", target=(3,)).with_knobs(iterations=STEPS)


@pytest.fixture(autouse=True)
def every_step(monkeypatch):
    """Show each step, however fast they come."""
    monkeypatch.setattr(going, "FRAMES_A_SECOND", float("inf"))


@pytest.fixture
def watched(make_studio):
    """Return a studio in which things are done when a step is on screen, each once; and the steps that were shown."""

    def make(actions, lens=LENS, **options):
        studio, steps, waiting = make_studio(lens, **options), [], dict(actions)

        def seen(frame):
            step = frame.result.details.get("step", -1)
            steps.append(step)
            if step in waiting and frame.result.progress < 1:
                waiting.pop(step)(studio)

        studio.on("frame", seen)
        return studio, steps

    return make


def move(**knobs):
    return lambda studio: studio.put(studio.lens.with_knobs(**knobs))


def values(studio):
    return studio.frame.result.values


def again(digits, result):
    made = result.provenance
    return xw.explain(digits, "coffee", made.method, target=3, events=made.events, **made.knobs)


def test_a_paused_run_rests_and_goes_on_at_its_next_step(watched, record):
    plain, _ = watched({})
    plain.start()
    studio, steps = watched({5: lambda studio: studio.pause()})
    heard = record(studio)
    studio.start()
    assert steps[-1] == 5
    assert studio.going == "paused"
    assert studio.status.kind == "paused"
    assert studio.status.text.startswith("Paused: Meaningful perturbation for ")
    assert studio.status.text.endswith(f"step 5 of {STEPS}")
    assert studio.status.passes == studio.frame.result.provenance.passes
    studio.resume()
    assert steps[-1] == STEPS
    assert studio.going == ""
    assert studio.status.kind == "idle"
    np.testing.assert_array_equal(values(studio), values(plain))
    assert [state for event, state in heard if event == "run"] == ["running", "paused", "running", ""]


def test_a_live_hyper_parameter_acts_from_the_next_step_without_a_new_start(watched, digits):
    studio, steps = watched({4: move(sparsity=0.05)})
    studio.start()
    assert [s for s in steps if s] == [*range(1, STEPS + 1), STEPS]  # the last result is of the finished mask
    result = studio.frame.result
    assert result.provenance.events == ((5, "sparsity", 3e-4, 0.05),)
    assert studio.lens.knob("sparsity") == 0.05
    assert studio.frame.lens == studio.lens
    np.testing.assert_array_equal(again(digits, result).values, result.values)


def test_moved_while_paused_it_waits_and_then_acts(watched):
    studio, steps = watched({6: lambda studio: studio.pause()})
    studio.start()
    before = list(steps)
    move(sparsity=0.05)(studio)
    move(sparsity=0.2, power=2.0)(studio)
    assert steps == before, "nothing is computed"
    assert studio.waiting == (("power", 2.0), ("sparsity", 0.2))
    studio.resume()
    assert studio.frame.result.provenance.events == ((7, "sparsity", 3e-4, 0.2), (7, "power", 3.0, 2.0))
    assert studio.waiting == ()


def test_moved_there_and_back_is_not_moved(watched):
    studio, _ = watched({6: lambda studio: studio.pause()})
    studio.start()
    move(sparsity=0.05)(studio)
    move(sparsity=3e-4)(studio)
    studio.resume()
    assert studio.frame.result.provenance.events == ()


def test_what_cannot_be_moved_begins_anew(watched):
    studio, steps = watched({4: move(cell=4)})
    studio.start()
    begun = len(steps) - 1 - steps[::-1].index(1)
    assert steps[begun:] == [*range(1, STEPS + 1), STEPS]
    assert steps[:begun].count(4) == 1
    assert studio.frame.result.provenance.events == ()
    assert studio.frame.result.provenance.knobs["cell"] == 4


def test_restart_begins_clean_with_the_settings_on_screen(watched, digits):
    studio, _ = watched({4: move(sparsity=0.05)})
    studio.start()
    assert studio.frame.result.provenance.events
    studio.refresh()
    result = studio.frame.result
    assert result.provenance.events == ()
    assert result.provenance.knobs["sparsity"] == 0.05
    clean = xw.explain(digits, "coffee", "meaningful_perturbation", target=3, iterations=STEPS, sparsity=0.05)
    np.testing.assert_array_equal(result.values, clean.values)


def test_a_map_that_settings_alone_do_not_give_is_not_kept_for_them(watched, digits):
    studio, _ = watched({4: move(sparsity=0.05)})
    studio.start()
    moved = studio.frame.result
    studio.put(studio.lens.with_method("saliency"))
    studio.put(LENS.with_knobs(sparsity=0.05))
    assert not studio.frame.reused
    assert studio.frame.result.provenance.events == ()
    assert not np.array_equal(values(studio), moved.values)
    studio.put(studio.lens.with_method("saliency"))
    studio.put(LENS.with_knobs(sparsity=0.05))
    assert studio.frame.reused


def test_what_is_moved_after_the_last_step_begins_anew(make_studio):
    studio, once = make_studio(LENS), []

    def late(frame):
        if frame.result.details["step"] == STEPS and not once:
            once.append(frame)
            move(sparsity=0.05)(studio)

    studio.on("frame", late)
    studio.start()
    result = studio.frame.result
    assert result.provenance.events == ()
    assert result.provenance.knobs["sparsity"] == studio.lens.knob("sparsity") == 0.05
    assert studio.status.kind == "idle"


def test_another_question_drops_a_paused_run(watched):
    studio, _ = watched({5: lambda studio: studio.pause()})
    studio.start()
    dropped = studio._going
    studio.put(studio.lens.with_method("saliency"))
    assert dropped.over
    assert studio.going == ""
    assert studio.frame.lens.method == "saliency"
    studio.resume()
    assert studio.frame.lens.method == "saliency"


def test_a_look_changes_nothing_of_a_paused_run(watched):
    studio, steps = watched({5: lambda studio: studio.pause()})
    studio.start()
    studio.put(studio.lens.replace(look=Look(opacity=0.1)))
    assert studio.going == "paused"
    assert studio.status.kind == "paused"
    assert steps[-1] == 5
    studio.resume()
    assert steps[-1] == STEPS
    assert studio.frame.result.provenance.events == ()


def test_stop_ends_a_paused_run_and_the_picture_stays(watched):
    studio, _ = watched({5: lambda studio: studio.pause()})
    studio.start()
    shown = studio.frame
    dropped = studio._going
    studio.stop()
    assert studio.status.kind == "stopped"
    assert dropped.over
    assert studio.frame is shown
    studio.resume()
    assert studio.frame is shown
    studio.put(studio.lens)  # asked again, it is computed
    assert studio.status.kind == "idle"


def test_without_a_run_there_is_nothing_to_pause(make_studio):
    studio = make_studio(Lens(method="saliency"))
    studio.pause()
    studio.start()
    assert studio.status.kind == "idle"
    studio.pause()
    studio.resume()
    assert studio.going == ""
    assert studio.status.kind == "idle"


def test_other_methods_can_be_paused_as_well(watched):
    lens = Lens(method="rise").with_knobs(samples=40)
    studio, _ = watched({-1: lambda studio: studio.pause()}, lens)
    studio.start()
    assert studio.going == "paused"
    assert 0 < studio.frame.result.progress < 1
    studio.resume()
    assert studio.frame.result.progress == 1
    assert studio.frame.result.provenance.passes[0] == 41


def test_an_error_on_the_way_keeps_the_last_good_picture(watched, monkeypatch):
    def breaking(*args):
        running = drive(*args)
        for result in running:
            if result.details["step"] == 4:
                running.close()
                raise FloatingPointError("too much")
            yield result

    monkeypatch.setattr(module, "drive", breaking)
    studio, steps = watched({})
    studio.start()
    assert steps[-1] == 3
    assert studio.frame.result.details["step"] == 3
    assert studio.status.kind == "error"
    assert "too much" in studio.status.text
    assert studio.going == ""
    monkeypatch.undo()
    studio.put(LENS.with_knobs(sparsity=0.05))
    assert studio.status.kind == "idle"
    assert studio.frame.result.provenance.events == ()


class Held:
    """Lets a studio's method do one step at a time."""

    def __init__(self, monkeypatch):
        self.allowed, self.done = threading.Semaphore(0), threading.Semaphore(0)
        self.closed = threading.Event()
        monkeypatch.setattr(module, "drive", self.drive)

    def drive(self, *args):
        running = drive(*args)
        sent = None
        try:
            while True:
                assert self.allowed.acquire(timeout=LONG)
                try:
                    result = next(running) if sent is None else running.send(sent)
                except StopIteration:
                    return
                sent = yield result
        finally:
            self.closed.set()

    def allow(self, count):
        for _ in range(count):
            self.allowed.release()


def test_on_the_worker_a_paused_run_rests_and_its_thread_is_free(make_studio, monkeypatch):
    held = Held(monkeypatch)
    studio = make_studio(LENS, sync=False)
    third, probed = threading.Event(), threading.Event()
    studio.on("frame", lambda frame: third.set() if frame.result.details["step"] == 3 else None)
    studio.on("probe", lambda _: probed.set())
    studio.start()
    held.allow(5)
    assert third.wait(LONG)
    studio.pause()
    held.allow(1)
    assert studio.wait(LONG), "nothing waits for a paused run"
    assert studio.status.kind == "paused"
    step = studio.frame.result.details["step"]
    studio.probe((0, 0, 10, 10))
    assert probed.wait(LONG)
    assert studio.frame.result.details["step"] == step
    studio.put(studio.lens.with_knobs(sparsity=0.05))
    held.allow(100)
    studio.resume()
    assert studio.wait(LONG)
    result = studio.frame.result
    assert result.progress == 1
    assert result.provenance.events == ((step + 1, "sparsity", 3e-4, 0.05),)
    assert held.closed.is_set()


@pytest.mark.parametrize("how", ["stop", "ask", "close"])
def test_within_one_step_it_ends(how, make_studio, monkeypatch):
    held = Held(monkeypatch)
    studio = make_studio(LENS, sync=False)
    shown = threading.Event()
    studio.on("frame", lambda frame: shown.set() if frame.result.details.get("step") == 2 else None)
    studio.start()
    held.allow(4)
    assert shown.wait(LONG)
    monkeypatch.undo()  # what is asked next is not held
    {
        "stop": studio.stop,
        "ask": lambda: studio.put(LENS.with_method("saliency")),
        "close": lambda: threading.Thread(target=studio.close).start(),
    }[how]()
    held.allow(1)
    assert held.closed.wait(LONG)
    assert studio.wait(LONG)


def test_a_run_that_was_told_to_rest_and_at_once_to_go_on_is_whole(make_studio, monkeypatch):
    held = Held(monkeypatch)
    studio = make_studio(LENS, sync=False)
    second = threading.Event()
    studio.on("frame", lambda frame: second.set() if frame.result.details["step"] == 2 else None)
    studio.start()
    held.allow(4)
    assert second.wait(LONG)
    for _ in range(20):
        studio.pause()
        studio.resume()
    held.allow(100)
    assert studio.wait(LONG)
    assert studio.frame.result.progress == 1
    assert studio.going == ""


def test_pictures_are_thinned_out_and_the_last_one_is_shown(make_studio, monkeypatch):
    monkeypatch.setattr(going, "FRAMES_A_SECOND", 1e-3)
    studio, steps = make_studio(LENS), []
    studio.on("frame", lambda frame: steps.append(frame.result.progress))
    studio.start()
    assert len(steps) <= 3
    assert steps[-1] == 1
