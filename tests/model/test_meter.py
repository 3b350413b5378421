"""The meter: passes of one image, counted where they belong."""

from __future__ import annotations

import threading

import pytest

from xaiwidgets.model.meter import CURRENT, Meter, spend, uncounted


@pytest.fixture
def meter():
    token = CURRENT.set(Meter())
    yield CURRENT.get()
    CURRENT.reset(token)


def test_passes_add_up(meter):
    spend(forward=3)
    spend(forward=2, backward=2)
    assert meter.passes == (5, 2)


def test_nobody_pays_without_a_meter(meter):
    spend(forward=1)
    with uncounted():
        assert CURRENT.get() is None
        spend(forward=10)
    spend(backward=1)
    assert meter.passes == (1, 1)


def test_the_meter_is_back_after_an_exception(meter):
    with pytest.raises(KeyError), uncounted():
        raise KeyError
    assert CURRENT.get() is meter


def test_another_thread_has_its_own(meter):
    other = threading.Thread(target=spend, kwargs={"forward": 5})
    other.start()
    other.join()
    assert meter.passes == (0, 0)


def test_one_run_looks_at_the_weights_of_each_model_once():
    from xaiwidgets.model.meter import CURRENT, Meter, looked_at

    one, other = object(), object()
    assert not looked_at(one, 1)
    assert not looked_at(one, 1)  # without a run, every pass looks
    token = CURRENT.set(Meter(steady=set()))
    try:
        found = [looked_at(which, 1) for which in (one, one, other, other)]
        assert found == [False, True, False, True]
        assert not looked_at(one, 2), "a view that has seen older weights looks again"
    finally:
        CURRENT.reset(token)
    assert not looked_at(one, 1)
