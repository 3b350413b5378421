"""Batch sizes: measured once, from a short list, and on nobody's account."""

from __future__ import annotations

import time

import nets
import pytest
import torch

from xaiwidgets.engine import batching
from xaiwidgets.engine.batching import CANDIDATES, batch_size, is_out_of_memory
from xaiwidgets.model.meter import CURRENT, Meter
from xaiwidgets.model.model import Model


@pytest.fixture
def clock(monkeypatch):
    """A clock that only moves when a pass says so."""

    class Clock:
        now = 0.0

    monkeypatch.setattr(batching.time, "perf_counter", lambda: Clock.now)
    return Clock


@pytest.mark.parametrize("gradient", [False, True])
def test_the_size_is_a_candidate_measured_once_and_not_counted(gradient, monkeypatch):
    model = Model(nets.f1(), size=nets.SIZE)
    measured = []
    real = batching._measure
    monkeypatch.setattr(batching, "_measure", lambda run: measured.append(1) or real(run))
    meter = Meter()
    token = CURRENT.set(meter)
    try:
        first = batch_size(model, gradient=gradient)
    finally:
        CURRENT.reset(token)
    assert first in (1, *CANDIDATES)
    assert [batch_size(model, gradient=gradient) for _ in range(3)] == [first] * 3
    assert measured == [1]
    assert meter.passes == (0, 0)
    with torch.no_grad():
        model.module[0].weight.mul_(2)
    batch_size(model, gradient=gradient)
    assert measured == [1, 1], "other weights may run on another copy"


def test_only_gradients_need_a_target(monkeypatch):
    model = Model(nets.f1(), size=nets.SIZE)
    asked = []
    real = model.target
    monkeypatch.setattr(model, "target", lambda *args: asked.append(args) or real(*args))
    batch_size(model)
    assert asked == []
    batch_size(model, gradient=True)
    assert asked == [(0,)]


def test_one_at_a_time_is_not_measured(monkeypatch):
    monkeypatch.setattr(batching, "_measure", lambda run: pytest.fail("measured"))
    assert batch_size(Model(nets.one_at_a_time(), size=nets.SIZE)) == 1


@pytest.mark.parametrize(
    ("seconds", "expected", "tried"),
    [
        (lambda n: 0.001 * n, 4, [1, 4, 8, 16]),  # no gain: the smallest, whose steps are the shortest
        (lambda n: 0.004 + 0.001 * n, 16, [1, 4, 8, 16]),
        (lambda n: 0.001 * n if n <= 8 else 0.1 * n, 4, [1, 4, 8, 16]),
        ({1: 0.01, 4: 0.03, 8: 0.045, 16: 0.2}.__getitem__, 8, [1, 4, 8, 16]),
        (lambda n: 0.05 + 0.001 * n, 4, [1, 4]),  # 16 would take longer than a step should
        (lambda n: 0.11 * n, 1, [1]),
    ],
)
def test_the_choice(seconds, expected, tried, clock):
    asked = []

    def run(count):
        asked.append(count)
        clock.now += seconds(count)

    assert batching._measure(run) == expected
    assert list(dict.fromkeys(asked)) == tried


def test_the_first_pass_makes_the_copy_and_is_not_timed(clock):
    done = []

    def run(count):
        clock.now += 0.001 * count + (0 if done else 5.0)
        done.append(count)

    assert batching._measure(run) == 4


def test_a_batch_that_does_not_fit_is_not_taken():
    def run(count):
        if count > 4:
            raise torch.OutOfMemoryError("CUDA out of memory")
        time.sleep(0.001)

    assert batching._measure(run) == 4

    def broken(count):
        raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes do not fit"):
        batching._measure(broken)


def test_what_counts_as_out_of_memory():
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    with pytest.raises(RuntimeError) as caught:
        torch.empty(10**15)
    assert is_out_of_memory(caught.value)
    assert not is_out_of_memory(RuntimeError("shapes do not fit"))
