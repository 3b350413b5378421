"""Adversarial examples by L-BFGS: closed forms, SciPy's optimum, and the bundled photos."""

from __future__ import annotations

import dataclasses
import pickle

import nets
import numpy as np
import pytest
import torch
from torch import nn

import xaiwidgets as xw
from xaiwidgets.engine.run import drive, synthesize_steps
from xaiwidgets.errors import InvalidTarget
from xaiwidgets.model.targets import NOTHING
from xaiwidgets.model.zoo import load_model
from xaiwidgets.synthesis.adversarial_lbfgs import AdversarialLbfgs

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)


def photo_for(model, seed=0, low=0, high=256):
    shape = (*model.input_shape[1:], model.input_shape[0])
    return model.from_pixels(np.random.default_rng(seed).integers(low, high, shape).astype(np.float32) / 255)


def run(model, photo, target=NOTHING, **knobs):
    return list(drive(AdversarialLbfgs(**knobs), model, photo, target))


def array(found, name="picture"):
    return found.state.arrays[name].astype(np.float64)


def size(found):
    """Return the length of the change where pixels go from 0 to 1."""
    return float(np.linalg.norm((array(found) - array(found, "original")) / 255))


def runner_up(model, photo):
    return int(model.logits(photo)[0].argsort()[-2])


@pytest.mark.parametrize("make", [nets.f2, nets.f3, nets.f4])
def test_the_picture_is_taken_for_the_target_and_stays_in_the_box(make):
    model = xw.Model(make(), size=nets.SIZE, mean=MEAN, std=STD)
    photo = photo_for(model)
    wanted = model.target(runner_up(model, photo))
    found = run(model, photo, wanted, bisections=5, passes=60)
    for one in found:
        assert array(one).min() >= 0 and array(one).max() <= 255
    end = found[-1]
    assert int(model.logits(model.from_pixels(end.image))[0].argmax()) == wanted.classes[0]
    stored = np.round(end.image * 255).astype(np.float32) / 255
    assert int(model.logits(model.from_pixels(stored))[0].argmax()) == wanted.classes[0]
    deceiving = [one.terms["rms"] for one in found if one.terms["deceived_8_bit"]]
    assert deceiving == sorted(deceiving, reverse=True), "the picture shown only gets better"
    assert end.terms["rms"] == pytest.approx(255 * size(end) / np.sqrt(photo.numel()), rel=1e-4)
    assert end.progress == 1 and end.terms["weights_tried"] == 6
    untold = run(model, photo, bisections=5, passes=60)[-1]
    assert np.array_equal(untold.image, end.image), "without a target, the runner-up"


def test_a_linear_score_needs_the_distance_to_its_border():
    net = nn.Sequential(nn.Flatten(), nn.Linear(36, 2)).double()
    with torch.no_grad():
        rows = net[1].weight.copy_(torch.randn(2, 36, generator=torch.Generator().manual_seed(2)) / 6)
        border = (rows[0] - rows[1]) / 0.25
        net[1].bias.copy_(torch.tensor([2.0, -2.0]))
    model = xw.Model(net, size=6, mean=(0.5,), std=(0.25,))
    photo = photo_for(model, 1, low=110, high=140)
    logits = model.logits(photo)[0]
    distance = float((logits[0] - logits[1]).abs() / border.norm())
    assert distance > 0.5
    end = run(model, photo, passes=60, bisections=12)[-1]
    assert array(end).min() > 0 and array(end).max() < 255
    assert end.terms["deceived"] == 1
    assert distance <= size(end) * (1 + 1e-6)
    assert size(end) <= 1.05 * distance


@pytest.mark.parametrize("norm", ["l2", "l2_squared"])
@pytest.mark.parametrize("weight", [0.02, 0.3])
def test_the_cost_is_as_low_as_where_scipy_arrives(norm, weight):
    from scipy.optimize import minimize

    model = xw.Model(nets.f3().double(), size=nets.SIZE, mean=MEAN, std=STD)
    photo = photo_for(model, 2)
    end = run(model, photo, weight=weight, bisections=0, passes=300, norm=norm)[-1]
    net, wanted = nets.f3().double(), runner_up(model, photo)
    mean, std = (torch.tensor(v, dtype=torch.float64)[:, None, None] for v in (MEAN, STD))
    original = torch.from_numpy(array(end, "original")) / 255

    def cost(values):
        pixels = torch.from_numpy(values.reshape(original.shape)).requires_grad_()
        length = (pixels - original).norm()
        loss = -net((pixels - mean) / std).log_softmax(dim=1)[0, wanted]
        total = loss + weight * (length if norm == "l2" else length**2)
        (slope,) = torch.autograd.grad(total, pixels)
        return float(total.detach()), slope.numpy().ravel()

    start = array(end, "base") / 255
    theirs = minimize(cost, start.ravel(), jac=True, method="L-BFGS-B", bounds=[(0, 1)] * start.size)
    mine = cost(array(end, "at").ravel() / 255)[0]
    assert mine == pytest.approx(end.score, rel=1e-4)
    assert mine <= theirs.fun * 1.02
    assert theirs.fun < cost(start.ravel())[0]


def test_weights_under_the_one_found_deceive_and_those_above_do_not(conv_net):
    photo = photo_for(conv_net)
    knobs = {"passes": 60}
    end = run(conv_net, photo, bisections=12, **knobs)[-1]
    found = end.terms["weight_found"]
    assert found > 0 and f"{found:.3g}" in end.notes[-1]
    for share in (0.01, 0.1, 0.5, 0.95):
        assert run(conv_net, photo, weight=max(1e-4, share * found), bisections=0, **knobs)[-1].terms["weight_found"]
    for share in (1.1, 2, 10):
        assert not run(conv_net, photo, weight=share * found, bisections=0, **knobs)[-1].terms["weight_found"]


@pytest.mark.parametrize("place", [3, 11, 12, 13, 27])
def test_a_saved_run_goes_on_bit_for_bit_from_any_pass(conv_net, place):
    method, photo = AdversarialLbfgs(bisections=2, passes=12), photo_for(conv_net)
    whole = list(drive(method, conv_net, photo, NOTHING))
    state = pickle.loads(pickle.dumps(whole[place].state))
    rest = list(drive(method.resume(state), conv_net, photo, NOTHING))
    assert [one.step for one in rest] == [one.step for one in whole[place + 1 :]]
    assert np.array_equal(rest[-1].image, whole[-1].image) and rest[-1].terms == whole[-1].terms
    for name, kept in whole[-1].state.arrays.items():
        assert np.array_equal(kept, rest[-1].state.arrays[name]), name


def test_a_weight_that_is_moved_is_tried_at_once(conv_net):
    method, photo = AdversarialLbfgs(bisections=1, passes=10), photo_for(conv_net)
    running = drive(method, conv_net, photo, NOTHING)
    for _ in range(4):
        next(running)
    moved = running.send(dataclasses.replace(method, weight=0.5))
    assert moved.events == ((5, "weight", 0.01, 0.5),)
    assert moved.curves["weight"].tolist() == pytest.approx([0.01] * 4 + [0.5])
    *_, end = running
    assert end.progress == 1 and end.terms["weights_tried"] == 2


class Never(nn.Module):
    """Class 0, whatever it sees; the other one is a little nearer in bright pictures."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.0))

    def forward(self, images):
        z = self.scale * images.mean((1, 2, 3))
        return torch.stack([torch.full_like(z, 5.0), z], dim=1)


def test_what_cannot_be_done_is_told(dead_net):
    model = xw.Model(Never(), size=8, mean=(0.0,), std=(1.0,))
    end = run(model, photo_for(model), bisections=3)[-1]
    assert end.progress == 1 and end.terms["deceived"] == 0 and end.terms["weight_found"] == 0
    assert "No c down to" in end.notes[-1] and end.notes[-1].startswith("Not deceived")
    (stopped,) = run(dead_net, photo_for(dead_net))
    assert stopped.progress == 1 and any("exactly zero" in note for note in stopped.notes)
    with pytest.raises(InvalidTarget, match="target must be the class that the photo shall be taken for"):
        next(drive(AdversarialLbfgs(), model, photo_for(model), model.target([0, 1])))


@pytest.mark.parametrize(
    "name", ["china", *(pytest.param(n, marks=pytest.mark.lab) for n in ("chelsea", "coffee", "rocket"))]
)
def test_photos_become_golden_retrievers(name):
    """Measured RMS of the change, in levels: china 2.6, chelsea 1.6, coffee 2.0, rocket 1.0."""
    model = load_model()
    knobs = {"weight": 0.01, "bisections": 0, "passes": 25}
    *_, end = synthesize_steps(model, "adversarial_lbfgs", image=name, target="golden retriever", **knobs)
    stored = np.round(end.image * 255).astype(np.float32) / 255
    assert model.labels.short(int(model.logits(model.from_pixels(stored))[0].argmax())) == "golden retriever"
    assert end.terms["rms"] < 5
