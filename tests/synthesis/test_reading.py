from __future__ import annotations

import pytest
import torch

from xaiwidgets.model.passes import Gradients
from xaiwidgets.model.targets import Target
from xaiwidgets.synthesis.reading import read

LOGITS = torch.tensor([[0.5, -1.0, 2.0, 0.0]])


def reading(model, target, score):
    return read(Gradients(torch.tensor([score]), LOGITS), target, model)


def test_a_class_has_its_probability(conv_net):
    wanted = LOGITS.softmax(dim=1)[0]
    assert reading(conv_net, Target(classes=(2,)), 2.0).probability == pytest.approx(float(wanted[2]))
    both = reading(conv_net, Target(classes=(0, 2)), 2.5)
    assert (both.score, both.probability) == (2.5, pytest.approx(float(wanted[0] + wanted[2])))


def test_the_unit_of_the_last_layer_is_a_class(conv_net):
    unit = reading(conv_net, Target(layer="head", channel=2), 2.0)
    assert unit.probability == pytest.approx(float(LOGITS.softmax(dim=1)[0, 2]))


def test_differences_and_hidden_units_have_none(conv_net):
    assert reading(conv_net, Target(classes=(2,), minus=0), 1.5).probability is None
    assert reading(conv_net, Target(layer="first", channel=2), 2.0).probability is None
    assert reading(conv_net, Target(layer="head", channel=2), 7.0).probability is None
