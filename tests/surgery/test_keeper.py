"""Kept tensors survive what the network writes over them."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch

from xaiwidgets.errors import SurgeryError
from xaiwidgets.surgery.keeper import Box, Keeper


def test_a_box_gives_what_was_put_in():
    value = torch.ones(3, requires_grad=True) * 2
    box = Box(value)
    assert box.open().tolist() == [2, 2, 2]
    assert not box.open().requires_grad
    assert box.open().data_ptr() == value.data_ptr(), "nothing is copied that nobody overwrites"


def test_a_watched_tensor_is_copied_before_it_is_overwritten():
    keeper, value = Keeper(), torch.zeros(4)
    box, view = keeper.keep(value), keeper.keep(value[1:3])
    other = keeper.keep(torch.ones(2))
    keeper.overwrite(value[:2])  # any view of the same memory
    value.add_(5)
    assert box.open().tolist() == [0, 0, 0, 0]
    assert view.open().tolist() == [0, 0]
    assert other.open().tolist() == [1, 1]


def test_what_is_overwritten_unseen_is_an_error():
    keeper, value = Keeper(), torch.zeros(4)
    box = keeper.keep(value)
    value.add_(1)
    with pytest.raises(SurgeryError, match="write it out of place"):
        box.open()


def test_a_result_in_place_is_taken_as_it_is_when_the_operation_has_ended():
    keeper, value = Keeper(), torch.zeros(2)
    keeper.overwrite(value)
    value.add_(1)
    box = keeper.keep(value)
    value.add_(0)  # stands for autograd, which counts a result marked as changed once more
    keeper.overwritten(value)
    assert box.open().tolist() == [1, 1]
    keeper.overwrite(value)
    value.add_(1)
    assert box.open().tolist() == [1, 1]


def test_a_forgotten_box_still_opens_but_is_no_longer_watched():
    keeper, value = Keeper(), torch.zeros(2)
    box = keeper.keep(value)
    keeper.forget()
    assert box.open().tolist() == [0, 0]
    keeper.overwrite(value)
    value.add_(1)
    with pytest.raises(SurgeryError):
        box.open()


def test_a_box_does_not_hold_the_graph():
    """Kept by the node that made it, the result would otherwise hold that node in a circle."""
    leaf = torch.ones(3, requires_grad=True)
    value = leaf * 2
    gone = weakref.ref(value)
    box = Box(value)
    del value
    gc.disable()
    try:
        assert gone() is None
    finally:
        gc.enable()
    assert box.open().tolist() == [2, 2, 2]
