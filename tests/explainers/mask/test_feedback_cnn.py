"""Feedback CNN against gates by hand, in closed form, and what it becomes at its ends."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

import xaiwidgets as xw
from xaiwidgets import FeedbackCnn, GuidedBackprop, Saliency
from xaiwidgets.data.digits import digits
from xaiwidgets.engine.boxes import energy_box
from xaiwidgets.errors import InvalidKnob, NotApplicable


def slow(net, image, target, rounds):
    """Selective pruning on the small net, gates by hand."""
    gates, found = [1.0, 1.0], []
    for _ in range(rounds):
        x = image.clone().requires_grad_()
        first = net.one(x).relu() * gates[0]
        second = net.two(nn.functional.max_pool2d(first, 2)).relu() * gates[1]
        score = net.head(second.mean(dim=(2, 3)))[0, target]
        gradient, *signals = torch.autograd.grad(score, [x, first, second])
        found.append((gradient[0].numpy(), float(score.detach())))
        gates = [(signal > 0).double() for signal in signals]
    return found


@pytest.mark.parametrize("style", ["module", "functional", "inplace", "reused", "method"])
def test_is_its_definition_however_the_network_is_written(style, net, wrap, picture):
    module = net(style)
    model = wrap(module)
    image = picture(model)
    results = list(FeedbackCnn(rounds=4).steps(model, image, model.target(2)))
    for result, (gradient, score) in zip(results, slow(module, image, 2, 4), strict=True):
        np.testing.assert_allclose(result.values, gradient, rtol=1e-5, atol=1e-9)
        assert result.details["curves"]["score"][-1] == pytest.approx(score)
        assert np.float32(result.score) == results[0].details["curves"]["score"][0], "the network's own, without gates"
    assert results[-1].details["curves"]["score"] == pytest.approx([score for _, score in slow(module, image, 2, 4)])
    assert results[0].details["curves"]["open"].tolist() == [1.0]
    assert 0 < results[-1].details["curves"]["open"][-1] < 1


def test_with_all_gates_open_it_is_saliency(net, wrap, picture, run):
    model = wrap(net())
    image = picture(model)
    first = next(FeedbackCnn().steps(model, image, model.target(1)))
    np.testing.assert_array_equal(first.values, run(Saliency(), model, image, 1).values)


def test_recovering_is_guided_backpropagation(net, wrap, picture, run):
    model = wrap(net("functional"))
    image = picture(model)
    found = run(FeedbackCnn(mode="recovering"), model, image, 1)
    np.testing.assert_array_equal(found.values, run(GuidedBackprop(), model, image, 1).values)
    assert found.provenance.passes == (1, 1)


class OneHidden(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden, self.head = nn.Linear(3 * 4 * 4, 30), nn.Linear(30, 4)
        self.flatten = nn.Flatten()

    def forward(self, x):
        return self.head(self.hidden(self.flatten(x)).relu())


def test_one_hidden_layer_is_at_its_best_after_one_round(wrap, picture):
    torch.manual_seed(0)
    module = OneHidden().double().eval()
    model = wrap(module, (4, 4))
    image = picture(model)
    active = module.hidden(image.flatten(1)).relu()[0]
    best = float(((module.head.weight[2].clamp(min=0) * active).sum() + module.head.bias[2]).detach())
    results = list(FeedbackCnn(rounds=3).steps(model, image, model.target(2)))
    scores = results[-1].details["curves"]["score"]
    assert scores[0] == pytest.approx(float(module(image).detach()[0, 2]))
    assert scores[1] == scores[2] == pytest.approx(best)


def test_relaxed_gates_raise_the_score_in_small_steps_and_a_penalty_shuts_them(net, wrap, picture):
    model = wrap(net())
    image = picture(model)
    result = list(FeedbackCnn(mode="relaxed", rounds=15, rate=0.05).steps(model, image, model.target(2)))[-1]
    scores = result.details["curves"]["score"]
    assert all(b >= a - 1e-12 for a, b in pairwise(scores))
    assert scores[-1] > scores[0]
    shut = list(FeedbackCnn(mode="relaxed", rounds=6, rate=1.0, penalty=10.0).steps(model, image, model.target(2)))[-1]
    assert shut.details["curves"]["open"][-1] == 0


def test_raises_the_score_of_digits_and_draws_a_box():
    """Table 1's protocol: the tightest box around 95 % of the energy."""
    model = xw.load_model("digits_gap")
    raised = []
    scenes = digits("pairs", "test", 10, seed=3)
    for scene, (upper, _) in zip(scenes.images, scenes.labels, strict=True):
        photo = np.repeat(np.asarray(scene).reshape(48, 48, 1), 3, axis=2)
        first, second = xw.explain_steps(model, photo, "feedback_cnn", rounds=2, target=int(upper))
        before, after = second.details["curves"]["score"]
        raised.append(after > before)
        assert first.score == second.score == before
        assert second.details["box"] == energy_box(second.map("max_abs"))
    assert np.mean(raised) >= 0.9


class Smooth(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 3)

    def forward(self, x):
        return self.head(nn.functional.silu(self.conv(x)).mean(dim=(2, 3)))


def test_bad_input_is_named(wrap, picture, run):
    model = wrap(Smooth().double())
    with pytest.raises(NotApplicable, match=r"^feedback_cnn needs ReLU or ReLU6 activations"):
        run(FeedbackCnn(), model, picture(model))
    with pytest.raises(InvalidKnob, match=r"^mode must be one of pruning, recovering, relaxed"):
        FeedbackCnn(mode="fsp")
