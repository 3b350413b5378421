"""Turns: one step each, an error ends its own job, and what has not ended can go on."""

from __future__ import annotations

import nets
import numpy as np
import pytest

import xaiwidgets as xw
from xaiwidgets.core.results import Attribution
from xaiwidgets.engine.turns import in_order, in_turn
from xaiwidgets.errors import InvalidModel, NotApplicable


def job(count, log, name, error=None, value=0.0):
    def steps():
        try:
            for step in range(1, count + 1):
                if error is not None and step == count:
                    raise error
                log.append(name)
                yield Attribution(np.full((1, 2, 2), value, np.float32), "u", False, (2, 2), progress=step / count)
        finally:
            log.append(f"end {name}")

    return name, steps()


def test_each_advances_by_one_step_and_ends_with_its_last():
    log = []
    found = [(key, one.progress) for key, one in in_turn([job(3, log, "a"), job(1, log, "b"), job(2, log, "c")])]
    assert found == [("a", 1 / 3), ("b", 1), ("c", 1 / 2), ("a", 2 / 3), ("c", 1), ("a", 1)]
    assert [one for one in log if not one.startswith("end")] == ["a", "b", "c", "a", "c", "a"]
    assert log.index("end b") == 2  # at once, not a round later


def test_an_error_ends_only_its_own():
    log, error = [], NotApplicable("m", "x", "none")
    found = list(in_turn([job(2, log, "a", error), job(2, log, "b"), job(1, log, "c", value=float("nan"))]))
    assert [key for key, _ in found] == ["a", "b", "c", "a", "b"]
    assert found[3][1] is error
    assert isinstance(found[2][1], InvalidModel)
    assert found[4][1].progress == 1


def test_other_errors_are_raised_unless_asked_for():
    with pytest.raises(ZeroDivisionError):
        list(in_turn([job(1, [], "a", ZeroDivisionError())]))
    ((_, found),) = in_turn([job(1, [], "a", ZeroDivisionError())], Exception)
    assert isinstance(found, ZeroDivisionError)


def test_what_has_not_ended_goes_on_where_it_was():
    log = []
    jobs = [job(3, log, "a"), job(3, log, "b")]
    first = in_turn(jobs)
    next(first)
    next(first)
    first.close()
    assert log == ["a", "b"]
    assert [one.progress for _, one in in_turn(jobs)] == [2 / 3, 2 / 3, 1, 1]


def test_the_cheap_ones_come_first_and_those_of_one_pass_stay_as_they_are():
    model = xw.Model(nets.f3(), size=nets.SIZE)
    methods = [xw.Rise(samples=19), xw.GradCam(), xw.Rise(samples=15), xw.Saliency(), xw.FullGrad()]
    assert in_order(model, methods, lambda one: one) == [methods[n] for n in (1, 3, 4, 2, 0)]
    impossible = xw.Occlusion(window_height=200)  # larger than the picture: it says so when it is run
    assert in_order(model, [xw.Rise(samples=15), impossible], lambda one: one)[0] is impossible
