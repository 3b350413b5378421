"""A pass that ends at the last layer that is wanted gives what the whole pass gives."""

from __future__ import annotations

import torch

import xaiwidgets as xw
from xaiwidgets.model.targets import Target


def test_an_early_end_changes_no_number():
    model = xw.load_model()
    images = model.input("coffee")
    for stage in (model.stages[1].name, model.stages[-2].name):
        target = model.unit(stage, 3)
        whole, early = model.gradient(images, target), model.gradient(images, target, early=True)
        assert torch.equal(whole.score, early.score) and torch.equal(whole.input, early.input)
        assert early.outputs.shape == (1, 0) and whole.outputs.shape == (1, model.classes)
    again = model.gradient(images, model.target(3), early=True)
    assert again.outputs.shape == (1, model.classes), "a class needs the whole pass"


def test_layers_are_named_by_the_target():
    assert Target(layer="conv").layers == ("conv",) and Target(classes=(1,)).layers == ()
