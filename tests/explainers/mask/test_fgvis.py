"""FGVis against a slow loop, the laws of its defense, and classes that are not in the photo."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import xaiwidgets as xw
from xaiwidgets import FGVis
from xaiwidgets.errors import InvalidKnob


def slow(net, image, target, count, *, deleting=True, defend=True, rate=0.1):
    """The small net, its filter by hand, from the mean color (0)."""

    def forward(x, bounds=None):
        outputs = []

        def rectified(a):
            a = a.relu()
            outputs.append(a.detach())
            if bounds is not None:
                inside = (a.detach() <= bounds[len(outputs) - 1]).to(a)
                a.register_hook(lambda g: g * inside)
            return a

        x = nn.functional.max_pool2d(rectified(net.one(x)), 2)
        return net.head(rectified(net.two(x)).mean(dim=(2, 3))), outputs

    bounds = forward(image)[1] if defend else None
    mask = torch.ones_like(image) if deleting else torch.zeros_like(image)
    for _ in range(count):
        shown = (mask * image).requires_grad_()
        score = forward(shown, bounds)[0].log_softmax(1)[0, target]
        gradient = torch.autograd.grad(score, shown)[0] * image
        step = -gradient + 1e-9 if deleting else gradient - 1e-9
        mask = (mask + rate * step / step.abs().max()).clamp(0, 1)
    return (1 - mask if deleting else mask)[0].numpy()


@pytest.mark.parametrize("defend", [True, False])
@pytest.mark.parametrize("game", ["deletion", "preservation"])
@pytest.mark.parametrize("style", ["module", "inplace", "functional"])
def test_is_its_definition(style, game, defend, net, wrap, picture, run):
    module = net(style)
    model = wrap(module)
    image = picture(model)
    method = FGVis(game=game, iterations=6, defend=defend, stop=False)
    found = run(method, model, image, 2)
    wanted = slow(module, image, 2, 6, deleting=game == "deletion", defend=defend)
    np.testing.assert_allclose(found.values, wanted, atol=1e-6)
    assert 0 <= found.values.min() <= found.values.max() <= 1
    assert found.provenance.passes == (7, 7)
    assert len(found.details["curves"]["score"]) == 6


def test_the_first_step_of_deletion_is_not_filtered(net, wrap, picture, run):
    model = wrap(net())
    image = picture(model)
    one, other = (run(FGVis(iterations=1, defend=d, stop=False), model, image, 2).values for d in (True, False))
    np.testing.assert_array_equal(one, other)


def test_deletion_lowers_the_score_and_stops_at_the_change():
    """On the bundled network and a real photo."""
    model = xw.load_model()
    found = xw.explain(model, "chelsea", FGVis(iterations=40))
    curves, step = found.details["curves"], found.details["changed"]
    assert curves["score"][-1] < curves["score"][0]
    assert len(curves["score"]) == step < 40
    assert found.notes[-1] == f"Another class was on top after {step} steps."
    explained = model.from_pixels(found.details["image"].astype(np.float32))
    assert model.labels.short(int(model.logits(explained).argmax())) != found.provenance.target


def test_with_the_defense_an_absent_class_leaves_the_mask_nearly_empty():
    """On the bundled network and a real photo: preservation of a class that is not there shows at most half as much."""
    model = xw.load_model()
    shown = {}
    for defend in (True, False):
        method = FGVis(game="preservation", iterations=12, defend=defend)
        result = xw.explain(model, "coffee", method, target="lawn mower")
        shown[defend] = result.details["curves"]["score"][-1] - result.details["curves"]["score"][0]
    assert shown[True] < 0.5 * shown[False]


def test_bad_input_is_named():
    with pytest.raises(InvalidKnob, match=r"^game must be one of deletion, preservation"):
        FGVis(game="delete")
    with pytest.raises(InvalidKnob, match=r"^iterations must be a whole number from 1"):
        FGVis(iterations=0)
