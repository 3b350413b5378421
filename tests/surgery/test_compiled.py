"""Scripted, traced and compiled modules are refused, wherever they sit."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from xaiwidgets.errors import InvalidModel
from xaiwidgets.surgery.mode import refuse_compiled

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


def block():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())


def in_place():
    part = block()
    part.compile()
    return part


def holding_a_function():
    part = block()
    part.act = torch.jit.script(double)
    return part


def double(x: torch.Tensor) -> torch.Tensor:
    return x * 2


MAKERS = {
    "scripted": lambda: torch.jit.script(block()),
    "traced": lambda: torch.jit.trace(block(), torch.rand(1, 3, 8, 8)),
    "compiled": lambda: torch.compile(block()),
    "in place": in_place,
    "function": holding_a_function,
}


@pytest.mark.parametrize("how", MAKERS)
def test_refused_at_the_root_and_inside(how):
    part = MAKERS[how]()
    with pytest.raises(InvalidModel, match=r"but it is .*give the original module"):
        refuse_compiled(part)
    with pytest.raises(InvalidModel, match="its part '1'"):
        refuse_compiled(nn.Sequential(block(), part))


def test_eager_modules_pass():
    refuse_compiled(nn.Sequential(block(), nn.Flatten()))
