"""An operation that is run again: on other inputs, and without holding the first ones."""

from __future__ import annotations

import gc
import weakref

import torch
from torch.nn import functional

from xaiwidgets.surgery.again import Again

ONE, TWO = torch.arange(4.0).reshape(2, 2), torch.tensor([[5.0, 6.0], [7.0, 8.0]])


def test_inputs_are_replaced_wherever_they_stand():
    again = Again(torch.cat, ([ONE, TWO],), {"dim": 1}, (ONE, TWO))
    torch.testing.assert_close(again(TWO, ONE), torch.cat([TWO, ONE], 1))
    again = Again(torch.lerp, (ONE,), {"end": TWO, "weight": 0.25}, (ONE, TWO))
    torch.testing.assert_close(again(TWO, TWO), TWO)


def test_settings_stay():
    weight = torch.tensor([0.5])
    again = Again(functional.prelu, (ONE, weight), {}, (ONE,))
    torch.testing.assert_close(again(-TWO), -TWO / 2)


def test_one_tensor_in_two_places_stays_one():
    again = Again(torch.cat, ([ONE, ONE],), {}, (ONE, ONE))
    torch.testing.assert_close(again(TWO, TWO), torch.cat([TWO, TWO]))


def test_what_works_in_place_writes_to_what_it_is_given():
    again = Again(torch.Tensor.__setitem__, (ONE, 0, TWO[1]), {}, (ONE,))
    other = torch.zeros(2, 2)
    assert again(other) is None
    torch.testing.assert_close(other, torch.tensor([[7.0, 8.0], [0.0, 0.0]]))
    assert ONE[0, 1] == 1


def test_the_inputs_are_not_held():
    tensor = torch.ones(3)
    alive = weakref.ref(tensor)
    again = Again(torch.add, (tensor, 1), {}, (tensor,))
    del tensor
    gc.collect()
    assert alive() is None
    torch.testing.assert_close(again(torch.zeros(1)), torch.ones(1))
