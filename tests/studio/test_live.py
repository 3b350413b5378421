from __future__ import annotations

import threading
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from xaiwidgets.model.model import Model
from xaiwidgets.model.pictures import read_picture
from xaiwidgets.studio import live
from xaiwidgets.studio.live import EVENTS, FRAMES_A_SECOND, MOST_FRAMES, Ask, LiveRun
from xaiwidgets.synthesis.activation_maximization import ActivationMaximization

LONG = 120.0


def ask(target=3, image=None, **knobs):
    return Ask(ActivationMaximization(**knobs), lambda model: model.target(target), image)


def told(heard, event):
    return [found for name, found in heard if name == event]


def go_on_once(run, event, wanted):
    """Go on as soon as this is told: while the worker is still in the work that has told it."""
    done = []

    def listen(found):
        if not done and wanted(found):
            done.append(found)
            run.go_on()

    run.on(event, listen)


@pytest.fixture
def make_run(digits):
    """Return a maker of runs that write down what they publish as ``run.heard``; each is closed at the end."""
    made = []

    def make(model=None, *, sync=True):
        run = LiveRun(model or digits, sync=sync)
        run.heard = []
        for event in EVENTS:
            run.on(event, lambda found, event=event: run.heard.append((event, found)))
        made.append(run)
        return run

    yield make
    for run in made:
        run.close()


@pytest.fixture
def gated(monkeypatch):
    """Let every step of a synthesis wait for ``go.release()``; ``at`` counts steps begun, ``closed`` runs ended."""

    class Gate:
        def __init__(self):
            self.go, self.begun = threading.Semaphore(0), threading.Semaphore(0)
            self.opened, self.closed = 0, 0

        def step(self):
            """Let one step through and wait until the next one waits."""
            self.go.release()
            assert self.begun.acquire(timeout=LONG)

    gate, plain = Gate(), ActivationMaximization.steps

    def steps(self, model, start, target):
        gate.opened += 1
        inner, sent = plain(self, model, start, target), None
        try:
            while True:
                gate.begun.release()
                assert gate.go.acquire(timeout=LONG)
                try:
                    result = next(inner) if sent is None else inner.send(sent)
                except StopIteration:
                    return
                sent = yield result
        finally:
            inner.close()
            gate.closed += 1

    monkeypatch.setattr(ActivationMaximization, "steps", steps)
    yield gate
    for _ in range(1000):
        gate.go.release()


@pytest.fixture
def at_every_frame(monkeypatch):
    """Publish the picture of every step."""
    monkeypatch.setattr(live, "FRAMES_A_SECOND", 1e9)


# -- a run from its start to its end ------------------------------------------------------------------------------


def test_a_run_gives_the_pictures_of_its_method(make_run, digits):
    run = make_run()
    assert run.state == "ready"
    run.start(ask(iterations=9))
    steps = ActivationMaximization(iterations=9).steps(digits, None, digits.target(3))
    expected = list(steps)[-1]
    np.testing.assert_array_equal(run.result.image, expected.image)
    np.testing.assert_array_equal(run.result.curve, expected.curve)
    assert run.result.step == 9
    assert run.target == "3"
    assert told(run.heard, "state") == ["running", "done"]
    assert run.playing
    status = told(run.heard, "status")[-1]
    assert (status.kind, status.progress) == ("idle", 1.0)
    assert status.text == "Done: 3, step 9"
    assert status.passes == run.result.provenance.passes


def test_the_last_step_ends_the_run_without_another(make_run):
    run = make_run()
    run.prepare(ask(iterations=2))
    assert run.state == "paused"
    run.step()
    assert (run.state, run.result.step) == ("done", 2)
    run.step()
    run.go_on()
    run.pause()
    assert (run.state, run.result.step) == ("done", 2)


def test_a_hidden_unit_and_a_photo(make_run, digits):
    run = make_run()
    stage = digits.stages[1]
    photo = read_picture("coffee")
    method = ActivationMaximization(iterations=3, start="photo")
    run.start(Ask(method, lambda model: model.unit(stage.name, 2), photo))
    assert run.result.unit == "activation"
    expected = list(method.steps(digits, digits.input(photo), digits.unit(stage.name, 2)))[-1]
    np.testing.assert_array_equal(run.result.image, expected.image)


def test_prepare_stops_after_the_first_step(make_run):
    run = make_run()
    run.prepare(ask())
    assert (run.state, run.result.step, run.playing) == ("paused", 1, False)
    assert told(run.heard, "frame")[-1] is run.result
    assert told(run.heard, "status")[-1].text == "Paused: 3, step 1"


def test_a_step_is_one_step(make_run):
    run = make_run()
    run.prepare(ask())
    for number in range(2, 6):
        run.step()
        assert (run.state, run.result.step) == ("paused", number)
        assert told(run.heard, "frame")[-1] is run.result


def test_pause_shows_the_step_under_way_and_go_on_goes_on(make_run, gated):
    run = make_run(sync=False)
    run.start(ask(iterations=6))
    gated.begun.acquire(timeout=LONG)
    gated.step()
    gated.step()
    run.pause()  # in the middle of the third
    assert run.state == "paused"
    gated.go.release()
    assert run.wait(LONG)
    assert run.result.step == 3
    assert told(run.heard, "frame")[-1] is run.result
    assert told(run.heard, "status")[-1].text == "Paused: 3, step 3"
    run.go_on()
    assert run.state == "running"
    for _ in range(3):
        gated.go.release()
    assert run.wait(LONG)
    assert (run.state, run.result.step) == ("done", 6)
    assert told(run.heard, "frame")[-1] is run.result
    assert gated.opened == gated.closed == 1


def test_pause_and_resume_change_nothing_of_the_picture(make_run, digits):
    run = make_run()
    run.prepare(ask(iterations=8))
    run.step()
    run.step()
    run.go_on()
    expected = list(ActivationMaximization(iterations=8).steps(digits, None, digits.target(3)))[-1]
    np.testing.assert_array_equal(run.result.image, expected.image)


def test_reset_drops_the_run(make_run):
    run = make_run()
    run.prepare(ask())
    run.reset()
    assert (run.state, run.result, run.frames()) == ("ready", None, [])
    run.step()
    run.go_on()
    assert (run.state, run.result) == ("ready", None)


# -- changes while it runs ------------------------------------------------------------------------------------------


def test_a_live_change_acts_at_the_next_step_and_is_logged(make_run, digits):
    run = make_run()
    run.prepare(ask(iterations=4))
    run.step()
    run.change({"blur_width": 0.5, "jitter": 0})
    run.step()
    assert set(run.result.events) == {(3, "blur_width", 1.5, 0.5), (3, "jitter", 4, 0)}
    steps = ActivationMaximization(iterations=4).steps(digits, None, digits.target(3))
    next(steps)
    next(steps)
    expected = steps.send(ActivationMaximization(iterations=4, blur_width=0.5, jitter=0))
    np.testing.assert_array_equal(run.result.image, expected.image)
    run.change({"blur_width": 0.5})
    run.step()
    assert len(run.result.events) == 2  # nothing new was asked for


def test_several_changes_between_two_steps_add_up(make_run):
    run = make_run()
    run.prepare(ask())
    run.change({"decay": 0.1})
    run.change({"decay": 0.2})
    run.change({"momentum": 0.0})
    run.step()
    assert set(run.result.events) == {(2, "decay", 0.003, 0.2), (2, "momentum", 0.8, 0.0)}


def test_a_fixed_knob_waits_for_the_next_run(make_run):
    run = make_run()
    run.prepare(ask(iterations=4, seed=1))
    run.change({"seed": 9, "iterations": 2000, "decay": 0.1})
    run.step()
    assert [event[1] for event in run.result.events] == ["decay"]
    assert told(run.heard, "status")[-1].kind == "idle"
    run.go_on()
    assert (run.state, run.result.step) == ("done", 4)


def test_a_change_of_a_run_that_has_not_begun_is_in_it_from_its_first_step(make_run, gated):
    run = make_run(sync=False)
    run.start(ask(seed=1))
    gated.begun.acquire(timeout=LONG)
    gated.step()
    run.start(ask(seed=2))  # waits until the step under way is done
    assert run.waiting
    run.change({"decay": 0.25})
    gated.step()
    gated.step()
    run.pause()
    gated.go.release()
    assert run.wait(LONG)
    assert run.result.provenance.knobs["seed"] == 2
    assert run.result.provenance.knobs["decay"] == 0.25
    assert run.result.events == ()


def test_a_change_before_any_run_or_after_its_end_does_no_harm(make_run):
    run = make_run()
    run.change({"decay": 0.1})
    run.start(ask(iterations=2))
    run.change({"decay": 0.2})
    assert run.result.events == ()
    assert run.state == "done"


# -- one run after the other ----------------------------------------------------------------------------------------


def test_a_new_run_closes_the_old_one(make_run, gated):
    run = make_run(sync=False)
    run.start(ask(1))
    gated.begun.acquire(timeout=LONG)
    gated.step()
    run.start(ask(2))
    gated.step()  # the second step of the old run, then the first of the new one begins
    assert (gated.opened, gated.closed) == (2, 0)  # the old one is there until the new one has its first picture
    gated.step()
    assert (gated.opened, gated.closed) == (2, 1)
    run.pause()
    gated.go.release()
    assert run.wait(LONG)
    assert run.target == "2"
    assert run.result.provenance.target == "2"
    assert len(run.frames()) == run.result.step


def test_many_starts_end_with_the_last(make_run):
    run = make_run(sync=False)
    for number in range(40):
        run.start(ask(number % 10, iterations=4, seed=number))
    assert run.wait(LONG)
    assert run.result.provenance.knobs["seed"] == 39
    assert (run.state, run.target, run.waiting) == ("done", "9", False)


def test_pause_of_a_run_about_to_begin_stops_it_at_its_first_step(make_run, gated):
    run = make_run(sync=False)
    run.start(ask(1))
    gated.begun.acquire(timeout=LONG)
    gated.step()
    run.start(ask(2))
    run.pause()  # what is paused is what was asked for, not the run that it replaces
    run.go_on()
    run.pause()
    gated.step()
    gated.go.release()
    assert run.wait(LONG)
    assert (run.state, run.target, run.result.step) == ("paused", "2", 1)


def test_pause_while_the_model_loads(digits, make_run):
    gate = threading.Event()
    run = make_run(lambda: gate.wait(LONG) and digits, sync=False)
    run.start(ask())
    run.pause()
    assert run.state == "ready"
    gate.set()
    assert run.wait(LONG)
    assert (run.state, run.result.step) == ("paused", 1)


def test_a_model_is_loaded_once_by_the_worker(make_run):
    calls = []

    def load():
        calls.append(threading.current_thread().name)
        return Model(nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 4)), size=8)

    run = make_run(load, sync=False)
    run.load()
    assert run.wait(LONG)
    run.start(ask(1, iterations=2))
    assert run.wait(LONG)
    assert calls == ["xaiwidgets-worker"]
    assert told(run.heard, "model") == [run.model]


def test_a_name_that_cannot_be_loaded(make_run):
    run = make_run("no_such_network")
    run.start(ask())
    status = told(run.heard, "status")[-1]
    assert status.kind == "error"
    assert "name must be one of efficientnet_lite0" in status.text
    assert (run.model, run.state, run.waiting) == (None, "ready", False)


# -- frames ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pace", [4.0, 10.0, 16.0, 29.0, 60.0, 500.0])
def test_frames_are_thinned_out_and_the_last_is_always_shown(make_run, monkeypatch, pace):
    clock = [100.0]
    monkeypatch.setattr(live.time, "monotonic", lambda: clock[0])
    run = make_run()
    run.prepare(ask(iterations=120))
    run.heard.clear()
    plain = run._accept

    def accept(result, taken):
        clock[0] += 1 / pace
        return plain(result, taken)

    monkeypatch.setattr(run, "_accept", accept)
    run.go_on()
    shown = [frame.step for frame in told(run.heard, "frame")]
    assert shown[-1] == 120
    assert shown == sorted(set(shown))
    wanted = min(119, 119 / pace * FRAMES_A_SECOND)
    assert wanted - 2 <= len(shown) <= wanted + 2
    apart = np.diff(shown[:-1]) / pace
    assert apart.size == 0 or apart.max() <= 1 / FRAMES_A_SECOND + 1.01 / pace


@pytest.mark.usefixtures("at_every_frame")
def test_every_frame_has_its_words(make_run):
    run = make_run()
    run.start(ask(iterations=5))
    texts = [status.text for status in told(run.heard, "status")]
    assert texts == [*(f"Maximizing 3, step {n}" for n in range(1, 5)), "Done: 3, step 5"]
    lefts = [status.left for status in told(run.heard, "status")]
    assert lefts[-1] == 0
    assert all(left > 0 for left in lefts[:-1])


def test_frames_kept_are_bounded_evenly_spread_and_end_with_the_newest(make_run, digits):
    run = make_run()
    kept = {}
    run.on("frame", lambda result: kept.setdefault(result.step, result.image))
    run.prepare(ask(iterations=2000))
    for number in range(2, 2 * MOST_FRAMES + 4):
        run.step()
        frames = run.frames()
        assert len(frames) <= MOST_FRAMES + 1
        if number in (MOST_FRAMES, MOST_FRAMES + 1, MOST_FRAMES + 2, 2 * MOST_FRAMES + 3):
            steps = [next(s for s, image in kept.items() if (_bytes(image) == frame).all()) for frame in frames]
            assert steps[-1] == number
            spread = np.diff(steps[:-1])
            assert len(set(spread.tolist())) == 1
            assert 0 < steps[-1] - steps[-2] <= spread[0]
    assert all(frame.dtype == np.uint8 and frame.shape == (48, 48, 3) for frame in frames)


def _bytes(image):
    return (image * 255 + 0.5).clip(0, 255).astype(np.uint8)


# -- what cannot be done --------------------------------------------------------------------------------------------


class Broken(nn.Module):
    """Scores that are not a number once ``broken`` is set."""

    def __init__(self):
        super().__init__()
        self.last = nn.Linear(3 * 8 * 8, 4)
        self.broken = False

    def forward(self, images):
        scores = self.last(images.flatten(1))
        return scores * float("nan") if self.broken else scores


def small(module):
    return Model(module.eval(), mean=(0.5,) * 3, std=(0.25,) * 3, size=8)


def lives_on(run, words, wanted):
    """Ask for what cannot be done; the run before it can go on, and another one can begin."""
    run.prepare(ask(iterations=5))
    run.step()
    shown = run.result
    run.start(wanted)
    status = told(run.heard, "status")[-1]
    assert status.kind == "error"
    assert words in status.text
    assert run.result is shown
    assert (run.state, run.target, run.waiting) == ("paused", "3", False)
    run.step()
    assert run.result.step == 3
    run.start(ask(4, iterations=2))
    assert (run.state, run.target, run.result.step) == ("done", "4", 2)
    assert told(run.heard, "status")[-1].kind == "idle"


def test_a_class_that_is_not_there(make_run):
    lives_on(make_run(), "eleven", ask("eleven"))


def test_a_channel_that_is_not_there(make_run, digits):
    layer = digits.stages[0].name
    lives_on(make_run(), "channel must be", Ask(ActivationMaximization(), lambda m: m.unit(layer, 10_000)))


def test_the_start_photo_without_a_photo(make_run):
    lives_on(make_run(), "start='photo' needs a photo", ask(start="photo"))


def test_bytes_that_are_no_photo(make_run):
    lives_on(make_run(), "JPEG, PNG or WebP", ask(image=b"nonsense", start="photo"))


def test_a_wrong_question_stops_a_run_that_can_be_resumed(make_run, gated):
    run = make_run(sync=False)
    run.start(ask(iterations=4))
    gated.begun.acquire(timeout=LONG)
    gated.step()
    run.start(ask("eleven"))
    gated.go.release()
    assert run.wait(LONG)
    assert told(run.heard, "status")[-1].kind == "error"
    assert run.state == "paused"
    assert gated.closed == 0
    run.go_on()
    for _ in range(3):
        gated.go.release()
    assert run.wait(LONG)
    assert (run.state, run.target, run.result.step) == ("done", "3", 4)


def test_a_model_without_a_gradient(make_run):
    class Closed(Model):
        offers = frozenset()

    run = make_run(Closed(nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 4)), size=8))
    run.start(ask(1))
    status = told(run.heard, "status")[-1]
    assert status.kind == "error"
    assert "activation_maximization needs a differentiable network" in status.text
    assert run.state == "ready"


def test_a_score_that_is_not_a_number_from_the_start(make_run):
    module = Broken()
    model = small(module)
    for part in (model._plain, model._network):
        next(m for m in part.modules() if type(m).__name__ == "Broken").broken = True
    run = make_run(model)
    run.start(ask(1))
    status = told(run.heard, "status")[-1]
    assert status.kind == "error"
    assert "not finite" in status.text
    assert (run.state, run.result.step) == ("done", 0)
    assert np.isfinite(run.result.image).all()


def test_a_score_that_stops_being_a_number_keeps_the_last_good_picture(make_run):
    class Cliff(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.last = nn.Linear(3 * 8 * 8, 4)

        def forward(self, images):
            scores = self.last(images.flatten(1))
            return scores + 0.0 * torch.sqrt(4.0 - scores)

    run = make_run(small(Cliff()))
    run.start(ask(1, step_size=40.0, decay=0.0, blur_width=0.0, jitter=0))
    assert run.state == "done"
    assert 0 < run.result.step < 128
    status = told(run.heard, "status")[-1]
    assert status.kind == "error"
    assert f"Stopped after {run.result.step} steps" in status.text
    assert np.isfinite(run.result.image).all()
    run.start(ask(1, iterations=1, step_size=0.1))
    assert told(run.heard, "status")[-1].kind == "idle"


def test_an_error_in_the_middle_of_a_run(make_run, monkeypatch, digits):
    run = make_run()
    run.prepare(ask())
    shown = run.result

    def fails(*args, **kwargs):
        raise RuntimeError("out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(type(digits), "gradient", fails)
        run.go_on()
    status = told(run.heard, "status")[-1]
    assert (status.kind, status.text) == ("error", "RuntimeError: out of memory")
    assert run.state == "done"
    assert run.result is shown
    run.start(ask(2, iterations=2))
    assert (run.state, run.result.step) == ("done", 2)


def test_a_broken_listener_does_not_end_the_worker(make_run):
    run = make_run(sync=False)
    broken = [True]

    def listener(result):
        if broken:
            raise KeyError("broken")

    run.on("frame", listener)
    run.start(ask(iterations=3))
    assert run.wait(LONG)
    assert "KeyError" in told(run.heard, "status")[-1].text
    broken.clear()
    run.go_on()
    assert run.wait(LONG)
    assert (run.state, run.result.step) == ("done", 3)


# -- the end --------------------------------------------------------------------------------------------------------


def test_close_ends_the_thread_and_the_run(make_run, gated):
    run = make_run(sync=False)
    run.start(ask())
    gated.begun.acquire(timeout=LONG)
    gated.step()
    threading.Timer(0.05, gated.go.release).start()
    before = len(run.heard)
    run.close()
    assert not run.runner._thread.is_alive()
    assert gated.opened == gated.closed == 1
    assert not run.playing
    assert [frame.step for frame in told(run.heard[before:], "frame")] in ([], [2])
    run.close()


def test_close_of_a_step_that_hangs(make_run, gated, monkeypatch):
    run = make_run(sync=False)
    run.start(ask())
    gated.begun.acquire(timeout=LONG)
    plain = run.runner.close
    monkeypatch.setattr(run.runner, "close", lambda: plain(0.01))
    run.prepare(ask())
    run.close()  # does not wait for ever and does not raise
    gated.go.release()
    run.runner._thread.join(LONG)
    assert not run.runner._thread.is_alive()


def test_states_stay_sound_under_hasty_hands(make_run):
    """Buttons pressed at random while the worker runs: it ends in a state that can be used."""
    run = make_run(sync=False)
    random = np.random.default_rng(5)
    deeds = [run.pause, run.go_on, run.step, run.reset, lambda: run.change({"decay": float(random.uniform(0, 0.4))})]
    deeds += [lambda: run.start(ask(int(random.integers(10)), iterations=5, seed=int(random.integers(100))))] * 2
    deeds += [lambda: run.prepare(ask(2, iterations=5))]
    for number in random.integers(len(deeds), size=400):
        deeds[number]()
    run.start(ask(7, iterations=5))
    assert run.wait(LONG)
    assert (run.state, run.target, run.result.step, run.waiting) == ("done", "7", 5, False)
    assert "error" not in {status.kind for status in told(run.heard, "status")}
    states = told(run.heard, "state")
    assert all(one != other for one, other in pairwise(states))


def test_a_run_that_goes_on_the_moment_it_has_begun_does_not_say_that_it_rests(make_run):
    """It ran to its end as a paused one, and there was no button to stop it."""
    run = make_run(sync=False)
    go_on_once(run, "state", lambda state: state == "paused")
    run.prepare(ask(iterations=4))
    assert run.wait(LONG)
    assert told(run.heard, "state") == ["paused", "running", "done"]
    assert run.result.step == 4


def test_nor_does_one_that_goes_on_from_a_step(make_run, monkeypatch):
    monkeypatch.setattr(live, "FRAMES_A_SECOND", 1e9)  # every step is told of as soon as it is done
    run = make_run(sync=False)
    run.prepare(ask(iterations=6))
    assert run.wait(LONG)
    run.heard.clear()
    go_on_once(run, "frame", lambda result: result.step == 2)
    run.step()
    assert run.wait(LONG)
    assert told(run.heard, "state") == ["running", "done"]
    assert run.result.step == 6
