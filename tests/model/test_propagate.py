"""A pass under a policy, and the signals sent back through it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import nets
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import xaiwidgets as xw
from xaiwidgets.errors import NotApplicable, SurgeryError
from xaiwidgets.model.meter import CURRENT, Meter
from xaiwidgets.model.propagate import slope, unit_start, value_start
from xaiwidgets.model.targets import Target
from xaiwidgets.surgery.composites import composite
from xaiwidgets.surgery.coverage import check
from xaiwidgets.surgery.policy import Choice, Policy
from xaiwidgets.surgery.propagation import RelevancePolicy

LRP_0 = composite("epsilon", epsilon=0.0)


def lrp(made=LRP_0):
    return lambda: RelevancePolicy(made)


def model_of(module):
    return xw.Model(module.double(), size=nets.SIZE)


def pictures(count=2):
    return nets.images(count).double()


def derivative(module, call, picture):
    """Return the score of each picture, and input times gradient, in plain PyTorch."""
    leaf = picture.clone().requires_grad_()
    score = call(module, leaf)
    return score.detach(), (torch.autograd.grad(score.sum(), leaf)[0] * leaf).detach()


@pytest.mark.parametrize(
    ("wanted", "score"),
    [
        (1, lambda logits: logits[:, 1]),
        ((1, 2), lambda logits: logits[:, 1] + logits[:, 2]),
        (Target.difference(3, 0), lambda logits: logits[:, 3] - logits[:, 0]),
    ],
)
def test_relevance_of_sums_and_differences_starts_at_each_logit(wanted, score):
    model = model_of(nets.f3())
    found, _ = model.propagate(pictures(), model.target(wanted), lrp())
    scores, wanted_map = derivative(model.module, lambda net, x: score(net(x)), pictures())
    torch.testing.assert_close(found.score, scores)
    torch.testing.assert_close(found.starts[0].sum(1), scores)
    torch.testing.assert_close(found.inputs[0], wanted_map, rtol=1e-8, atol=1e-11)
    torch.testing.assert_close(found.outputs, model.module(pictures()).detach())


def test_a_probability_starts_with_its_derivative_times_the_logits():
    model = model_of(nets.f2())
    target = model.target(1).with_output("probability")
    found, _ = model.propagate(pictures(), target, lrp())
    logits = model.module(pictures()).detach().requires_grad_()
    by_logit = torch.autograd.grad(logits.softmax(1)[:, 1].sum(), logits)[0]
    torch.testing.assert_close(found.starts[0], by_logit * logits.detach())
    _, wanted = derivative(model.module, lambda net, x: net(x).softmax(1)[:, 1], pictures())
    torch.testing.assert_close(found.inputs[0], wanted, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("position", ["mean", "max", "center", (3, 5)])
def test_a_hidden_unit_starts_with_its_value(position):
    model = model_of(nets.f2())
    target = model.target(Target.hidden("4", 2, position))

    def score(net, x):
        return target.score(x, {"4": net[:5](x)})

    found, _ = model.propagate(pictures(), target, lrp())
    scores, wanted = derivative(model.module, score, pictures())
    torch.testing.assert_close(found.score, scores)
    torch.testing.assert_close(found.starts[0].flatten(1).sum(1), scores)
    torch.testing.assert_close(found.inputs[0], wanted, rtol=1e-8, atol=1e-12)
    assert {row["layer"] for row in found.coverage.rows()} <= {"", "0", "1", "2", "3", "4"}, "nothing behind the unit"


def test_the_start_may_be_one():
    model = model_of(nets.f2())
    found, _ = model.propagate(pictures(), model.target(1), lrp(), start=unit_start)
    assert found.starts[0].tolist() == [[0, 1, 0, 0, 0]] * 2
    by_value, _ = model.propagate(pictures(), model.target(1), lrp())
    torch.testing.assert_close(
        found.inputs[0] * by_value.score[:, None, None, None], by_value.inputs[0], rtol=1e-9, atol=1e-12
    )


def test_a_score_that_depends_on_nothing_has_no_slope():
    source = torch.ones(2, 3, requires_grad=True)
    assert not slope(source, torch.ones(2)).any()
    (start,) = value_start(source, source[:, 1] * 2)
    assert start.tolist() == [[0, 2, 0]] * 2


def test_several_signals_share_one_forward_pass():
    model, image = model_of(nets.f3()), pictures()
    token = CURRENT.set(meter := Meter())
    try:
        found, _ = model.propagate(
            image, model.target(1), lrp(), start=lambda source, _: [source * (k + 1) for k in range(3)]
        )
    finally:
        CURRENT.reset(token)
    assert meter.passes == (2, 6)
    assert len(found.inputs) == 3
    torch.testing.assert_close(found.inputs[1], 2 * found.inputs[0], rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(found.inputs[2], 3 * found.inputs[0], rtol=1e-9, atol=1e-12)


def test_signals_are_also_given_at_named_layers():
    model = model_of(nets.f2())
    found, _ = model.propagate(pictures(), model.target(1), lrp(), layers=["3", "1"])
    alone, _ = model.propagate(pictures(), model.target(1), lrp(), layers=["1"], wrt_input=False)
    assert alone.inputs == ()
    torch.testing.assert_close(alone.layers["1"][0], found.layers["1"][0])
    net = model.module
    first = net[:2](pictures()).detach().requires_grad_()
    wanted = torch.autograd.grad(net[2:](first)[:, 1].sum(), first)[0] * first
    torch.testing.assert_close(found.layers["1"][0], wanted.detach(), rtol=1e-8, atol=1e-12)
    assert found.layers["3"][0].shape == (2, 8, 8, 8)


def test_a_layer_before_its_normalization_is_explained_on_the_network_as_built():
    model = model_of(nets.f4())
    norm, _ = model.propagate(pictures(), model.target(1), lrp(), layers=["features.1"])
    conv, _ = model.propagate(pictures(), model.target(1), lrp(), layers=["features.0"])
    kinds = [{row["kind"] for row in found.coverage.rows()} for found in (norm, conv)]
    assert [("batch norm" in found) for found in kinds] == [False, True]
    torch.testing.assert_close(norm.inputs[0], conv.inputs[0], rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize("log", [False, True], ids=["softmax", "log_softmax"])
def test_scores_before_a_softmax_are_explained(log):
    plain = nets.f2()
    ended = nn.Sequential(nets.f2(), nn.LogSoftmax(dim=1) if log else nn.Softmax(dim=1))
    one, other = model_of(plain), model_of(ended)
    found, _ = other.propagate(pictures(), other.target(1), lrp())
    wanted, used = one.propagate(pictures(), one.target(1), lrp())
    assert found.before_softmax
    assert not wanted.before_softmax
    torch.testing.assert_close(found.score, wanted.score)
    torch.testing.assert_close(found.inputs[0], wanted.inputs[0], rtol=1e-9, atol=1e-12)
    check(used, found.coverage, "lrp")


def test_a_hidden_unit_of_a_network_with_a_softmax():
    model = model_of(nn.Sequential(nets.f2(), nn.Softmax(dim=1)))
    found, used = model.propagate(pictures(), model.target(Target.hidden("0.3", 2)), lrp())
    assert not found.before_softmax
    check(used, found.coverage, "lrp")
    assert found.inputs[0].any()


def test_a_softmax_that_is_not_the_end_is_refused():
    class Attending(nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.mix = nets.f2(), nn.Linear(nets.CLASSES, nets.CLASSES)

        def forward(self, x):
            return self.mix(self.net(x).softmax(1)).softmax(1)

    model = model_of(Attending())
    found, used = model.propagate(pictures(), model.target(1), lrp())
    with pytest.raises(NotApplicable, match="softmax at the model itself"):
        check(used, found.coverage, "lrp")


class Side(nn.Module):
    """A main path, and operations without rules that do not lie on it."""

    def __init__(self, early=False):
        super().__init__()
        self.one, self.two, self.head = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.Linear(4, 5)
        self.early, self.kept = early, []

    def forward(self, x):
        x = self.one(x)
        x = x.abs() if self.early else x.relu()
        self.kept = [x.std(), x.flatten(2).softmax(-1).max()]
        x = self.two(x).relu()
        return self.head(x.mean((2, 3)))


def test_only_what_lies_on_the_way_needs_a_rule():
    model = model_of(Side())
    found, used = model.propagate(pictures(), model.target(1), lrp())
    check(used, found.coverage, "lrp")
    _, wanted = derivative(model.module, lambda net, x: net(x)[:, 1], pictures())
    torch.testing.assert_close(found.inputs[0], wanted, rtol=1e-9, atol=1e-12)


def test_below_the_layer_of_the_map_nothing_needs_a_rule():
    model = model_of(Side(early=True))
    found, used = model.propagate(pictures(), model.target(1), lrp(), layers=["two"], wrt_input=False)
    check(used, found.coverage, "lrp")
    found, used = model.propagate(pictures(), model.target(1), lrp(), layers=["two"])
    with pytest.raises(NotApplicable, match="abs at the model itself"):
        check(used, found.coverage, "lrp")


class InPlace(nn.Module):
    """Writes over its maps wherever it can; nothing of what rules read may be lost by that."""

    def __init__(self, inplace):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.one, self.two, self.three = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 1)
            self.head = nn.Linear(4, 5)
        self.inplace = inplace

    def forward(self, x):
        if self.inplace:
            x = self.one(x).relu_()
            y = self.two(x)
            y += x
            functional.relu(y, inplace=True)
            y[:, :2].mul_(0.5)
            z = self.three(y)
            z.add_(y).sub_(0.1).clamp_(min=0)
            y.zero_()
            x.fill_(7.0)
        else:
            x = self.one(x).relu()
            y = (self.two(x) + x).relu()
            y = torch.cat([y[:, :2] * 0.5, y[:, 2:]], 1)
            z = (self.three(y) + y - 0.1).clamp(min=0)
        return self.head(z.mean((2, 3)))


@pytest.mark.parametrize("name", ["epsilon", "epsilon_plus", "gamma", "zplus"])
def test_what_works_in_place_loses_nothing(name):
    one, other = (model_of(InPlace(inplace).eval()) for inplace in (True, False))
    made = composite(name)
    found, used = one.propagate(pictures(), one.target(1), lrp(made), start=lambda s, _: [s.detach(), s.detach()])
    wanted, _ = other.propagate(pictures(), other.target(1), lrp(made), start=lambda s, _: [s.detach()])
    check(used, found.coverage, "lrp")
    torch.testing.assert_close(found.score, wanted.score)
    for values in found.inputs:
        torch.testing.assert_close(values, wanted.inputs[0], rtol=1e-9, atol=1e-12)


def test_what_is_overwritten_behind_its_back_is_an_error():
    class Sly(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 5)

        def forward(self, x):
            x = self.one(x)
            y = self.head(x.relu().mean((2, 3)))
            with torch._C.DisableTorchFunction(), torch.no_grad():
                x.add_(1)
            return y

    model = model_of(Sly())
    with pytest.raises(SurgeryError, match="overwrites an intermediate result"):
        model.propagate(pictures(), model.target(1), lrp(composite("zplus")))


def test_a_forward_that_differs_under_rules_is_an_error():
    model = model_of(nets.random_forward())
    with pytest.raises(SurgeryError, match="gives other scores"):
        model.propagate(pictures(), model.target(1), lrp())


def test_scores_that_do_not_depend_on_the_picture_are_an_error():
    class Fixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.scores = nn.Parameter(torch.arange(5.0))

        def forward(self, x):
            return self.scores.detach().expand(len(x), 5) + 0 * x.detach().mean()

    model = model_of(Fixed())
    with pytest.raises(SurgeryError, match="do not depend on the picture"):
        model.propagate(pictures(), model.target(1), lrp())


class Counting(Policy):
    """Rules nothing, and notes what it is told."""

    name = "counting"

    def __init__(self, log):
        super().__init__()
        self.log = log

    @property
    def key(self):
        return "counting"

    def choose(self, op, path):
        self.log.append((op.kind, path))
        return Choice("gradient")

    def send(self, number):
        super().send(number)
        self.log.append(("send", self.sent))

    def finish(self):
        super().finish()
        self.log.append(("finish", ""))


def test_a_policy_is_told_in_order_and_made_once_a_pass():
    logs = []

    def policy():
        logs.append([])
        return Counting(logs[-1])

    model = model_of(nets.f2())
    found, used = model.propagate(pictures(), model.target(1), policy, start=lambda s, _: [s, s])
    assert len(logs) == 2, "one pass, and one that compares its scores with the plain ones"
    assert used.log is logs[0]
    assert [entry for entry in used.log if entry[0] in {"send", "finish"}] == [("finish", ""), ("send", 0), ("send", 1)]
    assert ("conv", "0") in used.log
    model.propagate(pictures(), model.target(1), policy)
    assert len(logs) == 3, "the comparison is made once"
    _, wanted = derivative(model.module, lambda net, x: (net(x) * net(x).detach()).sum(1), pictures())
    torch.testing.assert_close(found.inputs[0] * pictures(), wanted)
    assert {row["rule"] for row in found.coverage.rows()} == {"gradient"}


def test_threads_do_not_meet():
    model = model_of(nets.f3())
    batches = [nets.images(2).double() + 0.1 * shift for shift in range(6)]

    def run(batch):
        return model.propagate(batch, model.target(1), lrp(composite("epsilon_plus")))[0].inputs[0].numpy()

    serial = [run(batch) for batch in batches]
    with ThreadPoolExecutor(3) as pool:
        for ours, wanted in zip(pool.map(run, batches), serial, strict=True):
            np.testing.assert_array_equal(ours, wanted)


def test_works_inside_inference_mode_and_no_grad():
    model = model_of(nets.f2())
    wanted = model.propagate(pictures(), model.target(1), lrp())[0].inputs[0]
    with torch.inference_mode():
        found = model.propagate(pictures().clone(), model.target(1), lrp())[0].inputs[0]
    torch.testing.assert_close(found, wanted, rtol=0, atol=0)
    with torch.no_grad():
        found = model.propagate(pictures(), model.target(1), lrp())[0].inputs[0]
    torch.testing.assert_close(found, wanted, rtol=0, atol=0)
