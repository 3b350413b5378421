from __future__ import annotations

import threading
import time

import pytest

from xaiwidgets.studio.runner import Runner, SyncRunner

LONG = 120.0


class Errors(list):
    def __call__(self, error):
        self.append(error)


@pytest.fixture
def errors():
    return Errors()


@pytest.fixture
def runner(errors):
    made = Runner(errors)
    yield made
    made.close()
    assert not made._thread.is_alive()


class Gated:
    """Work of a few steps; each begins when it is let through."""

    def __init__(self, name="work", steps=3):
        self.name, self.steps = name, steps
        self.begun = [threading.Event() for _ in range(steps)]
        self.through = [threading.Event() for _ in range(steps)]
        self.done = []
        self.closed = threading.Event()

    def __call__(self):
        try:
            for number in range(self.steps):
                self.begun[number].set()
                assert self.through[number].wait(LONG)
                self.done.append(number)
                yield number
        finally:
            self.closed.set()

    def open(self):
        for gate in self.through:
            gate.set()


def test_work_runs_to_its_end_and_says_so():
    idle = []
    runner = Runner(lambda e: None, lambda: idle.append(threading.current_thread().name))
    work = Gated()
    work.open()
    runner.put(work)
    assert runner.wait(LONG)
    assert work.done == [0, 1, 2]
    runner.close()
    assert idle == ["xaiwidgets-worker"]


def test_the_latest_wins_and_what_ran_stops_at_its_next_step(runner, errors):
    first, second, third = Gated("first"), Gated("second"), Gated("third")
    ticket = runner.put(first)
    assert first.begun[0].wait(LONG)
    runner.put(second)
    last = runner.put(third)
    assert not runner.current(ticket)
    assert runner.current(last)
    first.through[0].set()
    assert first.closed.wait(LONG)
    third.open()
    assert runner.wait(LONG)
    assert (first.done, second.done, third.done) == ([0], [], [0, 1, 2])
    assert errors == []


def test_stop_ends_the_work_at_its_next_step(runner):
    work = Gated()
    runner.put(work)
    assert work.begun[0].wait(LONG)
    runner.stop()
    assert runner.busy
    work.through[0].set()
    assert runner.wait(LONG)
    assert work.done == [0]
    assert work.closed.is_set()
    assert not runner.busy


def test_stop_before_it_began_means_it_never_runs(runner):
    first, second = Gated(), Gated()
    runner.put(first)
    assert first.begun[0].wait(LONG)
    runner.put(second)
    runner.stop()
    first.open()
    second.open()
    assert runner.wait(LONG)
    assert second.done == []


def test_an_error_is_reported_and_the_thread_lives_on(runner, errors):
    def broken():
        yield
        raise ValueError("half way")

    def refuses():
        raise KeyError("at once")

    for work in (broken, refuses):
        runner.put(work)
        assert runner.wait(LONG)
    assert [type(e) for e in errors] == [ValueError, KeyError]
    work = Gated()
    work.open()
    runner.put(work)
    assert runner.wait(LONG)
    assert work.done == [0, 1, 2]


def test_an_error_while_reporting_an_error_does_not_end_the_thread(caplog):
    def report(error):
        raise RuntimeError("the listener is broken, too")

    runner = Runner(report)
    runner.put(lambda: iter([1 / 0]))
    assert runner.wait(LONG)
    runner.urgent("job", lambda: {}["job"])
    assert runner.wait(LONG)
    work = Gated()
    work.open()
    runner.put(work)
    assert runner.wait(LONG)
    assert work.done == [0, 1, 2]
    runner.close()
    assert len(caplog.records) == 2
    assert "the listener is broken, too" in caplog.text
    assert "division by zero" in caplog.text


def test_an_error_when_idle_is_reported(errors):
    runner = Runner(errors, lambda: {}["idle"])
    runner.put(lambda: iter(()))
    assert runner.wait(LONG)
    runner.put(lambda: iter(()))
    assert runner.wait(LONG)
    runner.close()
    assert [type(e) for e in errors] == [KeyError, KeyError]


def test_urgent_jobs_slip_in_between_two_steps(runner):
    work, order = Gated(), []
    runner.put(work)
    assert work.begun[0].wait(LONG)
    ran = threading.Event()
    runner.urgent("probe", lambda: (order.append(list(work.done)), ran.set()))
    assert order == []
    work.through[0].set()
    assert ran.wait(LONG)
    assert order == [[0]]
    work.open()
    assert runner.wait(LONG)
    assert work.done == [0, 1, 2]


def test_the_newest_of_a_name_replaces_older_ones(runner):
    work, ran = Gated(), []
    runner.put(work)
    assert work.begun[0].wait(LONG)
    for number in range(1000):
        runner.urgent("probe", lambda number=number: ran.append(number))
    runner.urgent("other", lambda: ran.append("other"))
    assert len(runner._urgent) == 2
    work.open()
    assert runner.wait(LONG)
    assert ran == [999, "other"]


def test_urgent_jobs_run_without_any_work(runner):
    ran = threading.Event()
    runner.urgent("probe", ran.set)
    assert ran.wait(LONG)
    assert runner.wait(LONG)


def test_a_failing_urgent_job_does_not_end_the_work(runner, errors):
    work = Gated()
    runner.put(work)
    assert work.begun[0].wait(LONG)
    runner.urgent("probe", lambda: 1 / 0)
    work.open()
    assert runner.wait(LONG)
    assert work.done == [0, 1, 2]
    assert [type(e) for e in errors] == [ZeroDivisionError]


def test_fifty_fast_puts_give_few_computations_and_the_last_one_always_ends(runner):
    begun, ended = [], []
    first = Gated(steps=1)
    runner.put(first)
    assert first.begun[0].wait(LONG)

    def work(number):
        begun.append(number)
        for _ in range(3):
            yield
        ended.append(number)

    for number in range(50):
        runner.put(lambda number=number: work(number))
    first.open()
    assert runner.wait(LONG)
    assert begun == [49]
    assert ended == [49]


def test_puts_while_it_works_always_end_with_the_last():
    for _ in range(20):
        ended = []
        runner = Runner(lambda e: None)

        def work(number, ended=ended):
            yield
            ended.append(number)

        for number in range(50):
            runner.put(lambda number=number, work=work: work(number))
        assert runner.wait(LONG)
        assert ended[-1] == 49
        assert ended == sorted(ended)
        runner.close()


def test_wait_says_whether_it_was_in_time(runner):
    assert runner.wait(0)
    work = Gated()
    runner.put(work)
    assert work.begun[0].wait(LONG)
    assert not runner.wait(0)
    work.open()
    assert runner.wait(LONG)


def test_close_ends_the_thread_at_the_next_step_and_can_be_repeated():
    before = threading.active_count()
    runner = Runner(lambda e: None)
    work = Gated()
    runner.put(work)
    assert work.begun[0].wait(LONG)
    runner.close(timeout=0)
    work.through[0].set()
    runner.close(LONG)
    runner.close()
    assert work.done == [0]
    assert work.closed.is_set()
    assert threading.active_count() == before
    runner.put(Gated())
    assert runner.wait(LONG)


def test_close_on_the_worker_itself_does_not_wait_for_itself():
    runner = Runner(lambda e: None)

    def work():
        runner.close()
        yield

    runner.put(work)
    runner._thread.join(LONG)
    assert not runner._thread.is_alive()


def test_what_is_for_later_waits_for_a_pause_and_nobody_waits_for_it(runner):
    work, began = Gated(steps=1), time.monotonic()
    runner.later(work, 0.2)
    assert not runner.busy
    assert runner.wait(0.0)
    assert work.begun[0].wait(LONG)
    assert time.monotonic() - began >= 0.2
    assert not runner.busy
    work.open()
    assert work.closed.wait(LONG)


def test_anything_that_is_put_ends_what_was_for_later(runner):
    early, late, other = Gated("early"), Gated("late"), Gated("other")
    runner.later(early, 0.0)
    assert early.begun[0].wait(LONG)
    other.open()
    runner.put(other)
    early.open()
    assert runner.wait(LONG)
    assert other.done == [0, 1, 2]
    assert early.closed.is_set()
    assert early.done == [0]  # it ended at its next step
    runner.later(late, 0.6)  # long enough for what follows also on a busy machine
    runner.put(other)
    assert runner.wait(LONG)
    assert not late.begun[0].wait(0.8)
    runner.later(late, 0.6)
    runner.stop()
    assert not late.begun[0].wait(0.8)


def test_urgent_jobs_slip_in_between_the_steps_of_what_was_for_later(runner):
    work, done = Gated(), threading.Event()
    runner.later(work, 0.0)
    assert work.begun[0].wait(LONG)
    runner.urgent("probe", done.set)
    work.through[0].set()
    assert done.wait(LONG)
    assert work.begun[1].wait(LONG)
    work.open()
    assert work.closed.wait(LONG)
    assert work.done == [0, 1, 2]


def test_later_work_that_fails_is_reported(runner, errors):
    def broken():
        raise ValueError("no")
        yield

    runner.later(broken, 0.0)
    deadline = time.monotonic() + LONG
    while not errors and time.monotonic() < deadline:
        time.sleep(0.01)
    assert [str(e) for e in errors] == ["no"]


def test_the_sync_runner_runs_what_is_for_later_when_told(errors):
    runner, done = SyncRunner(errors), []
    runner.later(lambda: iter([done.append(1)]), 5.0)
    assert done == []
    runner.run_later()
    runner.run_later()
    assert done == [1]
    runner.later(lambda: iter([done.append(2)]), 0.0)
    runner.put(lambda: iter([None]))
    runner.run_later()
    assert done == [1]


def test_sync_runner_behaves_alike(errors):
    runner = SyncRunner(errors)
    work = Gated()
    work.open()
    assert runner.current(runner.put(work))
    assert work.done == [0, 1, 2]
    runner.put(lambda: iter([1 / 0]))
    runner.urgent("a", lambda: 1 / 0)
    assert [type(e) for e in errors] == [ZeroDivisionError] * 2
    assert runner.wait()
    assert not runner.busy
    runner.close()


def test_sync_runner_drops_work_that_puts_newer_work(errors):
    runner, done = SyncRunner(errors), []

    def outer():
        done.append("outer begins")
        runner.put(lambda: iter(done.append("inner") for _ in range(1)))
        yield
        done.append("outer goes on")

    runner.put(outer)
    assert done == ["outer begins", "inner"]

    def stops():
        done.append("last")
        runner.stop()
        yield
        done.append("not this")

    runner.put(stops)
    assert done[-1] == "last"
    assert errors == []
