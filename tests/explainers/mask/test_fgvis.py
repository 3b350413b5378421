"""FGVis against a slow loop by hand, the laws of its filter, and classes that are not in the photo."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import xaiwidgets as xw
from xaiwidgets import FGVis
from xaiwidgets.data.digits import digits
from xaiwidgets.engine.baselines import baseline
from xaiwidgets.errors import InvalidKnob, NotApplicable
from xaiwidgets.model.propagate import unit_start
from xaiwidgets.surgery.bounded import BoundsWatch, FilterPolicy


def filtered(values, bound):
    """The same values, whose gradient is 0 where they leave ``[min(0, bound), max(0, bound)]`` (eqs. 7 to 9)."""
    inside = ((values >= bound.clamp(max=0)) & (values <= bound.clamp(min=0))).detach()
    return torch.where(inside, values, values.detach())


class Mixed(nn.Module):
    """A residual net with a reused leaky ReLU, a ReLU6, and SiLU; ``rectify`` stands for what is done at each."""

    def __init__(self):
        super().__init__()
        self.one, self.two, self.three = (nn.Conv2d(c, 6, 3, padding=1) for c in (3, 6, 6))
        self.leaky, self.six, self.silu = nn.LeakyReLU(0.1, inplace=True), nn.ReLU6(inplace=True), nn.SiLU(inplace=True)
        self.head = nn.Linear(6, 5)

    def forward(self, x, done=lambda a: a):
        x = done(self.leaky(self.one(x)))
        x = done(self.six(4 * self.two(x))) + x
        x = done(functional.leaky_relu(self.three(x), 0.3))
        return self.head(done(self.silu(x)).mean(dim=(2, 3)))


def by_hand(net):
    """Return the small net of these tests as a function of the picture and of what is done after each ReLU."""

    def forward(x, done):
        x = functional.max_pool2d(done(net.one(x).relu()), 2)
        return net.head(done(net.two(x).relu()).mean(dim=(2, 3)))

    return forward


def mixed():
    with torch.random.fork_rng():
        torch.manual_seed(4)
        return Mixed().double().eval()


def slow(forward, image, cover, target, method):
    """Return the mask after all steps, with bounds from a pass of its own, and the score before each step."""
    bounds, deleting = [], method.game == "deletion"
    forward(image, lambda a: bounds.append(a.detach().clone()) or a)
    mask = torch.ones_like(image) if deleting or method.start == "whole" else torch.zeros_like(image)
    scores = []
    for _ in range(method.iterations):
        places = iter(bounds)
        leaf = mask.clone().requires_grad_()
        seen = leaf * image + (1 - leaf) * cover
        outputs = forward(seen, (lambda a, p=places: filtered(a, next(p))) if method.defend else lambda a: a)
        score = outputs.softmax(1)[0, target]
        scores.append(float(score.detach()))
        loss = score + method.sparsity * (1 - leaf).sum() if deleting else -score.log() + method.sparsity * leaf.sum()
        (slope,) = torch.autograd.grad(loss, leaf)
        mask = (mask - method.rate * slope / slope.abs().max()).clamp(0, 1)
    return (1 - mask if deleting else mask)[0].numpy(), scores


@pytest.mark.parametrize("defend", [True, False])
@pytest.mark.parametrize(
    "changes", [{}, {"game": "preservation"}, {"game": "preservation", "start": "whole", "fill": "blur"}], ids=str
)
@pytest.mark.parametrize("style", ["module", "inplace", "functional", "mixed"])
def test_is_its_definition(style, changes, defend, net, wrap, picture, run):
    module = mixed() if style == "mixed" else net(style)
    model = wrap(module)
    image = picture(model)
    method = FGVis(iterations=8, defend=defend, stop=False, sparsity=1e-5, rate=0.2, **changes)
    found = run(method, model, image, 2)
    forward = module if style == "mixed" else by_hand(module)
    wanted, scores = slow(forward, image, baseline(model, image, method.fill), 2, method)
    np.testing.assert_allclose(found.values, wanted, atol=1e-6)
    assert wanted.std() > 0
    assert 0 <= found.values.min() <= found.values.max() <= 1
    assert found.provenance.passes == (10, 8)
    curve = found.details["curves"]["score"]
    np.testing.assert_allclose(curve if method.game == "deletion" else np.exp(curve), scores, rtol=1e-5)
    assert found.details["curves"]["area"][0] == (changes.get("start") == "whole")
    shown = model.from_pixels(found.details["image"]).double()
    kept = torch.as_tensor(1 - wanted if method.game == "deletion" else wanted)
    seen = kept * image + (1 - kept) * baseline(model, image, method.fill)
    inside = model.to_pixels(seen)
    np.testing.assert_allclose(model.to_pixels(shown), inside.clip(0, 1), atol=1e-5)


def test_the_first_step_of_a_deletion_has_the_plain_gradient(net, wrap, picture, run):
    model = wrap(net())
    image = picture(model)
    one, other = (run(FGVis(iterations=1, defend=d), model, image, 2).values for d in (True, False))
    np.testing.assert_allclose(one, other, atol=1e-7)
    assert one.max() == pytest.approx(0.1)


def test_at_the_photo_itself_the_filter_of_the_bundled_network_is_open_to_the_last_bit(lite0):
    model, image, target = lite0
    target = model.target(target)
    _, watch = model.propagate(image, target, BoundsWatch, start=lambda *_: ())
    assert len(watch.bounds) == 33
    endless = [(low, torch.full_like(high, math.inf)) for low, high in watch.bounds]
    one, other = (
        model.propagate(image, target, lambda b=b: FilterPolicy(b), start=unit_start)[0].inputs[0]
        for b in (watch.bounds, endless)
    )
    assert one.any()
    assert torch.equal(one, other)
    tighter = [(low, 0.5 * high) for low, high in watch.bounds]
    nothing = model.propagate(image, target, lambda: FilterPolicy(tighter), start=unit_start)[0].inputs[0]
    assert not nothing.any()  # every unit that is on is above its bound: its signal is exactly 0


def test_noise_is_seeded_and_off_by_default(net, wrap, picture, run):
    model = wrap(net())
    image = picture(model)
    plain, one, same, other = (
        run(FGVis(iterations=3, stop=False, noise=noise, seed=seed), model, image).values
        for noise, seed in ((0.0, 1), (0.1, 1), (0.1, 1), (0.1, 2))
    )
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 1e-3
    assert np.abs(one - plain).max() > 1e-3


def test_a_deletion_ends_when_the_class_changes():
    """On real digits: what was taken away is enough for another class."""
    model = xw.load_model("digits_gap")
    for canvas in digits("single", "test", 2, seed=3).images:
        photo = np.repeat(np.asarray(canvas)[..., None], 3, axis=2)
        *_, before, last = xw.explain_steps(model, photo, "fgvis")
        step = last.details["changed"]
        assert step == last.details["step"] < 80
        assert last.progress == 1
        assert last.details["under"] < 0.5 * last.score
        assert f"Stopped after {step} of 80 steps: the class changes from " in " ".join(last.notes)
        np.testing.assert_array_equal(before.values, last.values)
        shown = model.from_pixels(last.details["image"])
        assert int(model.logits(shown)[0].argmax()) != int(model.logits(model.input(photo))[0].argmax())


def test_a_deletion_that_loses_the_class_at_once_begins_again_with_shorter_steps(lite0):
    """One step of the usual length is another class here; the rest of the steps are those of a run with short ones."""
    model, _, _ = lite0
    coarse = xw.explain(model, "china", "fgvis", iterations=10, finer=False)
    assert coarse.details["changed"] == 1
    found = xw.explain(model, "china", "fgvis", iterations=10)
    assert found.details["planned"] == found.details["step"] == 8
    assert "Steps are 0.02 long" in " ".join(found.notes)
    assert found.provenance.passes[0] <= 12
    short = xw.explain(model, "china", "fgvis", iterations=8, rate=0.02)
    np.testing.assert_array_equal(found.values, short.values)
    np.testing.assert_array_equal(found.details["curves"]["area"], short.details["curves"]["area"])


def test_for_an_absent_class_the_defended_mask_stays_empty(lite0, run):
    """On the bundled network and a real photo, a class drawn at random: at most half of the undefended mask."""
    model, image, _ = lite0
    absent = int(np.random.default_rng(0).integers(1000))
    assert float(model.probabilities(image)[0, absent]) < 1e-3
    for game in ("deletion", "preservation"):
        area, under = {}, {}
        for defend in (True, False):
            found = run(FGVis(game=game, iterations=10, defend=defend, stop=False), model, image, absent)
            area[defend], under[defend] = found.values.mean(), found.details["under"]
        assert area[True] <= 0.5 * area[False]
    assert under[False] > under[True]  # without the defense it makes the class up


class Own(torch.autograd.Function):
    """A ReLU that no mode can see."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx, *signal):
        return signal[0] * (ctx.saved_tensors[0] > 0)


class Hidden(nn.Module):
    def __init__(self, act):
        super().__init__()
        self.conv, self.head, self.act = nn.Conv2d(3, 4, 3), nn.Linear(4, 3), act

    def forward(self, x):
        return self.head(self.act(self.conv(x)).mean(dim=(2, 3)))


@pytest.mark.parametrize(
    ("act", "named"),
    [(Own.apply, "unseen OwnBackward"), (lambda x: x * torch.sigmoid(x), "sigmoid")],
    ids=["own", "sigmoid"],
)
def test_what_the_filter_cannot_reach_is_named_and_the_undefended_mask_still_works(act, named, wrap, picture, run):
    model = wrap(Hidden(act).double().eval())
    with pytest.raises(NotApplicable, match=rf"^fgvis needs .*{named}.*These would work: "):
        run(FGVis(), model, picture(model))
    assert run(FGVis(defend=False, iterations=3), model, picture(model)).values.any()


def test_a_silent_start_is_said(wrap, picture, run):
    class Dead(Hidden):
        def forward(self, x):
            return self.head(self.act(self.conv(x) - 100).mean(dim=(2, 3)))

    model = wrap(Dead(nn.ReLU()).double().eval())
    found = run(FGVis(iterations=2), model, picture(model))
    assert not found.values.any()
    assert any(note.startswith("No signal comes back to the photo") for note in found.notes)


def test_bad_input_is_named():
    with pytest.raises(InvalidKnob, match=r"^game must be one of deletion, preservation"):
        FGVis(game="delete")
    with pytest.raises(InvalidKnob, match=r"^iterations must be a whole number from 1"):
        FGVis(iterations=0)
