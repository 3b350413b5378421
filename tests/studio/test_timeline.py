"""Going back in a run, going on from there, forking it, and doing it again: always to exactly the same pictures."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from xaiwidgets.engine.run import drive
from xaiwidgets.errors import XaiError
from xaiwidgets.studio import timeline as kept
from xaiwidgets.studio.live import EVENTS, Ask, LiveRun
from xaiwidgets.studio.rota import Rota
from xaiwidgets.studio.timeline import MOST_FRAMES, Timeline, pixels_of, size_of
from xaiwidgets.synthesis.activation_maximization import ActivationMaximization

LONG = 120.0
PLANNED = 24
#: What a person moves in the runs here: after so many steps, what to which value.
MOVED = {5: {"decay": 0.1}, 9: {"blur_width": 3.0, "jitter": 0}, 16: {"decay": 0.0}}


def ask(**knobs):
    return Ask(ActivationMaximization(iterations=PLANNED, **knobs), lambda model: model.target(3))


@pytest.fixture
def make_run(digits):
    made = []

    def make(*, sync=True, **options):
        run = LiveRun(digits, sync=sync, **options)
        run.heard = []
        for event in EVENTS:
            run.on(event, lambda found, event=event: run.heard.append((event, found)))
        made.append(run)
        return run

    yield make
    for run in made:
        run.close()


@pytest.fixture(scope="module")
def every(digits):
    """Return all results of the moved run, by step."""
    method = ActivationMaximization(iterations=PLANNED)
    steps, found, sent = drive(method, digits, None, digits.target(3)), {}, None
    while True:
        try:
            result = next(steps) if sent is None else steps.send(sent)
        except StopIteration:
            return found
        found[result.step] = result
        sent = None
        if result.step in MOVED:
            sent = method = dataclasses.replace(method, **MOVED[result.step])


@pytest.fixture
def moved(make_run, few):
    """A run whose knobs were moved, paused at step 20; results are kept of every fourth step only."""
    run = make_run()
    run.prepare(ask())
    while run.result.step < 20:
        run.change(MOVED.get(run.result.step, {}))
        run.step()
    return run


@pytest.fixture
def few(monkeypatch):
    """Have room for a few results only, so that most steps must be done again."""
    monkeypatch.setattr(kept, "MOST_BYTES", 400_000)


def same(one, other):
    np.testing.assert_array_equal(one.image, other.image)
    np.testing.assert_array_equal(one.curve, other.curve)
    assert one.step == other.step
    assert one.events == other.events
    assert all(np.array_equal(one.curves[name], other.curves[name]) for name in one.curves)
    for name, array in one.state.arrays.items():
        np.testing.assert_array_equal(array, other.state.arrays[name])
    return True


def told(run, event):
    return [found for name, found in run.heard if name == event]


# -- going back -------------------------------------------------------------------------------------------------------


def test_few_results_are_kept(moved):
    assert {moved.timeline.result(step).step for step in range(8, 21)} < set(range(8, 21))


@pytest.mark.parametrize("step", [1, 2, 5, 6, 9, 10, 13, 16, 17, 19, 20])
def test_any_step_comes_back_bit_for_bit(moved, every, step):
    moved.seek(step)
    assert (moved.state, moved.at) == ("paused", step)
    assert same(moved.result, every[step])
    assert told(moved, "frame")[-1] is moved.result
    force = {**every[1].state.knobs, **{name: new for at, name, _, new in every[step].events}}
    assert moved.knobs == force


def test_a_kept_picture_is_shown_at_once(moved, every):
    moved.heard.clear()
    moved.seek(7)
    assert [name for name, _ in moved.heard if name in ("glance", "frame")][-1] in ("glance", "frame")
    run = moved
    run.runner.put = lambda work: None  # the worker is late
    run.seek(11)
    step, pixels = told(run, "glance")[-1]
    assert step == 11
    np.testing.assert_array_equal(pixels, pixels_of(every[11]))


@pytest.mark.parametrize("step", [3, 5, 8, 12, 16])
def test_going_on_drops_what_was_later_and_goes_another_way(moved, every, digits, step):
    moved.seek(step)
    moved.step()
    assert moved.timeline.last == step + 1
    plain = dataclasses.replace(ActivationMaximization(iterations=PLANNED), **{
        name: new for at, name, _, new in every[step].events
    })  # fmt: skip
    expected = next(drive(plain.resume(every[step].state), digits, None, digits.target(3)))
    assert same(moved.result, expected)
    moved.change({"momentum": 0.0})
    moved.go_on()
    assert (moved.state, moved.result.step) == ("done", PLANNED)
    assert [event for event in moved.result.events if event[0] > step] == [(step + 2, "momentum", 0.8, 0.0)]


def test_what_a_result_has_cost_is_counted_from_its_beginning(moved, every):
    for step in (7, 8, 20):
        moved.seek(step)
        assert moved.result.provenance.passes == every[step].provenance.passes
    moved.seek(8)
    moved.step()
    assert moved.result.provenance.passes == every[9].provenance.passes
    twin = moved.fork(sync=True)
    twin.step()
    assert twin.result.provenance.passes == every[10].provenance.passes
    assert twin.result.provenance.seconds > moved.result.provenance.seconds
    twin.close()


def test_there_and_back_changes_nothing(moved, every):
    moved.seek(3)
    moved.seek(13)
    moved.seek(20)
    moved.go_on()
    assert moved.timeline.last == PLANNED
    assert same(moved.result, every[PLANNED])


def test_the_end_of_a_run_is_the_end_again(moved, every):
    moved.go_on()
    moved.seek(4)
    assert moved.state == "paused"
    moved.seek(PLANNED)
    assert moved.state == "done"
    assert same(moved.result, every[PLANNED])
    moved.seek(10**9)
    assert moved.at == PLANNED
    moved.seek(-3)
    assert moved.at == 1


def test_nothing_to_seek_before_a_run(make_run):
    run = make_run()
    run.seek(3)
    assert (run.state, run.at, run.knobs) == ("ready", 0, {})
    with pytest.raises(XaiError, match="press Start first"):
        run.fork()


def test_a_knob_moved_while_looking_back_acts_from_there(moved, every):
    moved.seek(10)
    moved.change({"decay": 0.3})
    moved.step()
    assert moved.result.events == (*every[10].events, (11, "decay", 0.1, 0.3))


def test_going_on_before_the_exact_result_is_there_goes_on_from_the_step_asked_for(make_run, every, few):
    run = make_run(sync=False)
    run.prepare(ask())
    assert run.wait(LONG)
    while run.result.step < 20:
        run.change(MOVED.get(run.result.step, {}))
        run.step()
        assert run.wait(LONG)
    for step in (3, 17, 8, 11, 7):
        run.seek(step)
    run.step()
    assert run.wait(LONG)
    assert (run.result.step, run.timeline.last) == (8, 8)
    np.testing.assert_array_equal(run.result.image, every[8].image)


def test_seeking_while_it_runs_pauses_it_there(make_run):
    run = make_run(sync=False)
    run.start(ask())
    while run.at < 6:
        pass
    run.seek(3)
    assert run.wait(LONG)
    assert (run.state, run.result.step, run.playing) == ("paused", 3, False)
    assert told(run, "frame")[-1].step == 3
    assert not [event for event in run.timeline.events if event]


def test_an_error_while_it_is_made_again_leaves_a_run_that_can_be_used(moved, every, monkeypatch, digits):
    def fails(*args, **kwargs):
        raise RuntimeError("out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(type(digits), "gradient", fails)
        moved.seek(7)
    assert told(moved, "status")[-1].text == "RuntimeError: out of memory"
    moved.seek(7)
    assert same(moved.result, every[7])


# -- forks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [None, 6, 9, 12])
def test_a_fork_has_the_same_past_and_its_own_future(moved, every, step):
    if step is not None:
        moved.seek(step)
    at = moved.at
    twin = moved.fork(sync=True)
    twin.change({"decay": 0.4})
    twin.step()
    assert twin.result.step == at + 1
    assert twin.result.events == (*every[at].events, (at + 1, "decay", moved.knobs["decay"], 0.4))
    moved.seek(20)
    assert moved.timeline.last == 20
    moved.go_on()
    assert same(moved.result, every[PLANNED])
    twin.seek(4)
    assert same(twin.result, every[4])
    assert twin.target == moved.target
    twin.close()


def test_forks_take_their_turns_on_one_thread(digits, every):
    rota = Rota()
    run = LiveRun(digits, runner=rota.queue)
    run.prepare(ask())
    assert rota.wait(LONG)
    twins = [run.fork(rota.queue) for _ in range(3)]
    order = []
    for lane, name in zip((run, *twins), "abcd", strict=True):
        lane.on("frame", lambda result, name=name: order.append((name, result.step)))
        lane._due = -1e9
    for lane in (run, *twins):
        lane.go_on()
    assert rota.wait(LONG)
    assert {lane.result.step for lane in (run, *twins)} == {PLANNED}
    for twin in twins:
        np.testing.assert_array_equal(twin.result.image, run.result.image)
    assert len({name for name, _ in order[:16]}) == 4
    twins[0].close()
    run.seek(3)
    assert rota.wait(LONG)
    assert run.result.step == 3
    rota.close()
    assert not rota._thread.is_alive()


# -- doing a run again ------------------------------------------------------------------------------------------------


def test_a_run_is_done_again_with_all_that_was_moved(moved, make_run, every):
    again = make_run()
    again.start(dataclasses.replace(ask(), events=every[20].events, steps=20))
    assert again.state == "paused"
    assert not again.playing
    assert same(again.result, every[20])
    again.go_on()
    assert same(again.result, every[PLANNED])


def test_who_moves_something_leaves_the_record(make_run, every):
    again = make_run()
    again.prepare(dataclasses.replace(ask(), events=every[20].events, steps=20))
    for _ in range(7):
        again.step()
    again.change({"momentum": 0.5})
    again.go_on()
    assert again.result.step == 20
    assert again.result.events == (*every[8].events, (9, "momentum", 0.8, 0.5))


# -- bounds -----------------------------------------------------------------------------------------------------------


def test_memory_is_bounded_and_every_step_still_comes_back(make_run, monkeypatch):
    run = make_run()
    run.prepare(Ask(ActivationMaximization(iterations=2000), lambda model: model.target(3)))
    monkeypatch.setattr(kept, "MOST_BYTES", 6 * size_of(run.result))
    images = {1: run.result.image}
    while run.result.step < 2 * MOST_FRAMES + 3:
        run.step()
        images[run.result.step] = run.result.image
        assert sum(map(size_of, run.timeline._results)) <= kept.MOST_BYTES
        assert len(run.timeline._frames) <= MOST_FRAMES
    for step in (1, 37, 150, 322):
        run.seek(step)
        np.testing.assert_array_equal(run.result.image, images[step])
        at, pixels = run.timeline.frame(step)
        assert at <= max(step, run.timeline._stride)
        np.testing.assert_array_equal(pixels, pixels_of(dataclasses.replace(run.result, image=images[at])))


def test_curves_of_terms_have_their_steps(moved):
    steps, norms = moved.timeline.curves()["norm"]
    assert steps.tolist() == list(range(1, 21))
    assert norms[-1] == moved.result.terms["norm"]
    moved.seek(5)
    moved.step()
    assert moved.timeline.curves()["norm"][0].tolist() == [1, 2, 3, 4, 5, 6]


def test_an_empty_timeline():
    empty = Timeline()
    assert (empty.frame(3), empty.result(3), empty.frames(), empty.curves()) == (None, None, [], {})
