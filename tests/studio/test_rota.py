from __future__ import annotations

import threading
import time

import pytest

from xaiwidgets.studio.rota import Rota

LONG = 120.0


@pytest.fixture
def rota():
    made = Rota()
    yield made
    made.close()


def counting(name, log, count):
    def work():
        for number in range(count):
            log.append((name, number))
            yield

    return work


def test_queues_advance_in_turn(rota):
    log, gate = [], threading.Event()
    first, second, third = (rota.queue(print) for _ in range(3))
    first.urgent("wait", lambda: gate.wait(LONG))
    for queue, name in ((first, "a"), (second, "b"), (third, "c")):
        queue.put(counting(name, log, 4))
    gate.set()
    assert rota.wait(LONG)
    assert sorted(log) == sorted((name, n) for name in "abc" for n in range(4))
    places = {name: [k for k, (who, _) in enumerate(log) if who == name] for name in "abc"}
    assert all(max(places[name]) - min(places[name]) >= 6 for name in "abc")


def test_the_newest_work_of_a_queue_wins_and_the_others_go_on(rota):
    log, begun, go = [], threading.Event(), threading.Event()
    closed = []

    def long():
        try:
            while True:
                begun.set()
                go.wait(LONG)
                yield
        finally:
            closed.append(True)

    first, second = rota.queue(print), rota.queue(print)
    ticket = first.put(long)
    assert begun.wait(LONG)
    assert not first.wait(0.01)
    first.put(counting("new", log, 2))
    assert not first.current(ticket)
    second.put(counting("b", log, 2))
    go.set()
    assert rota.wait(LONG)
    assert closed == [True]
    assert {("new", 1), ("b", 1)} <= set(log)


def test_an_error_is_told_to_its_own_queue(rota):
    heard, log = [], []

    def broken():
        yield
        raise ValueError("no")

    first, second = rota.queue(heard.append), rota.queue(log.append)
    first.put(broken)
    second.put(counting("b", log, 3))
    assert rota.wait(LONG)
    assert [str(error) for error in heard] == ["no"]
    assert log == [("b", 0), ("b", 1), ("b", 2)]
    first.put(counting("a", log, 1))
    assert first.wait(LONG)
    assert log[-1] == ("a", 0)


def test_a_listener_that_fails_does_not_end_the_thread(rota):
    def fails(error):
        raise KeyError

    queue, log = rota.queue(fails), []
    queue.urgent("x", lambda: 1 / 0)
    queue.put(counting("a", log, 1))
    assert queue.wait(LONG)
    assert log == [("a", 0)]


def test_a_closed_queue_ends_its_work_and_the_rota_all_of_it(rota):
    ended = []

    def forever(name):
        def work():
            try:
                while True:
                    time.sleep(0.001)
                    yield
            finally:
                ended.append(name)

        return work

    first, second = rota.queue(print), rota.queue(print)
    first.put(forever("a"))
    second.put(forever("b"))
    time.sleep(0.02)
    first.close()
    assert ended == ["a"]
    assert not rota.wait(0.02)
    rota.close()
    assert ended == ["a", "b"]
    assert not rota._thread.is_alive()
    rota.close()
