"""Layer-wise relevance propagation against the definition, written out for a small network, and its own laws."""

from __future__ import annotations

from itertools import pairwise

import nets
import numpy as np
import pytest
import slow_relevance as slow
import torch
from torch import nn
from torch.nn import functional

import xaiwidgets as xw
from xaiwidgets import GradientXInput, Lrp, SmoothGrad, Target
from xaiwidgets.errors import InvalidKnob, NotApplicable, SurgeryError
from xaiwidgets.surgery.composites import COMPOSITES


class Vgg(nn.Module):
    """What ``slow_relevance.Plain`` computes, as a user would write it."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(3)
            self.one, self.two = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 5, 2)
            self.three, self.four = nn.Linear(5 * 2, 8), nn.Linear(8, 4)

    def forward(self, x):
        x = functional.max_pool2d(functional.relu(self.one(x), inplace=True), 2)
        x = functional.avg_pool2d(self.two(x).relu_(), 2)
        return self.four(torch.relu(self.three(x.flatten(1))))


@pytest.fixture
def vgg(wrap):
    """The network as a Model, the same from the definition, and its bounds by pixel."""
    module = Vgg().double()
    model = wrap(module, (10, 8))
    layers = (module.one, module.two, module.three, module.four)
    plain = slow.Plain([(layer.weight.detach(), layer.bias.detach()) for layer in layers], (10, 8))
    low, high = (
        np.array(b)[:, None, None] * np.ones((3, 10, 8)) for b in zip(*model.preprocessing.bounds(), strict=True)
    )
    return model, plain, {"low": low, "high": high}


def in_bounds(model, seed=0):
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.rand((1, *model.input_shape), generator=generator, dtype=torch.float64)
    mean, std = (torch.tensor(v, dtype=torch.float64)[:, None, None] for v in ((0.4, 0.5, 0.6), (0.2, 0.25, 0.3)))
    return (pixels - mean) / std


def sent(plain, box, image, target, rules, start=None, **numbers):
    scores = plain.forward(image[0])
    relevance = np.zeros_like(scores)
    relevance[target] = scores[target] if start is None else start
    numbers = {"epsilon": 1e-6, **numbers}
    return plain.back(relevance, rules, **box, **numbers), scores[target]


@pytest.mark.parametrize("bias", ["keep", "ignore"])
@pytest.mark.parametrize("name", COMPOSITES)
def test_is_the_definition(name, bias, vgg, close):
    model, plain, box = vgg
    conv, dense, first = COMPOSITES[name]
    for target in range(2):
        image = in_bounds(model, target)
        raw = Lrp(composite=name, gamma=0.7, alpha=3.0, epsilon=1e-3, bias=bias).raw(model, image, model.target(target))
        wanted, score = sent(
            plain, box, image, target, (first or conv, conv, dense, dense), gamma=0.7, alpha=3.0, epsilon=1e-3,
            keep=bias == "keep",
        )  # fmt: skip
        close(raw.values[0], wanted, 1e-9)
        assert float(raw.scores[0]) == pytest.approx(score)
        assert raw.gap == pytest.approx(wanted.sum() - score)


def test_exceptions_by_layer(vgg, close):
    model, plain, box = vgg
    image = in_bounds(model)
    found = Lrp(composite="epsilon", rules="one=flat, two=gamma(2), four=alpha_beta(1.5)", epsilon=1e-4)
    rules = ("flat", "gamma", "epsilon", "alpha_beta")
    wanted, _ = sent(plain, box, image, 2, rules, gamma=2.0, alpha=1.5, epsilon=1e-4)
    close(found.raw(model, image, model.target(2)).values[0], wanted, 1e-9)


def test_the_start_may_be_one(vgg, close, run):
    model, plain, box = vgg
    image = in_bounds(model)
    result = run(Lrp(composite="zplus", start="one", bias="ignore"), model, image, 1)
    wanted, _ = sent(plain, box, image, 1, ("zplus",) * 4, 1.0, keep=False)
    close(result.values, wanted)
    assert result.unit == "share of the logit"
    assert result.details["explained"] == pytest.approx(1)


def test_lrp_0_is_gradient_times_input(net, wrap, picture, run, close):
    """X1, on ReLUs, max-pooling and biases; ``test_propagation`` has the rest."""
    for style in ("module", "functional", "inplace", "reused", "method"):
        model = wrap(net(style))
        image = picture(model)
        ours = run(Lrp(composite="epsilon", epsilon=0.0), model, image, 2)
        close(ours.values, run(GradientXInput(), model, image, 2).values)


def test_without_biases_lrp_0_is_complete(net, wrap, picture, run):
    """X2: without biases GI, LRP-0, DeepLIFT from 0 and integrated gradients from 0 are the same."""
    model = wrap(net(bias=False))
    result = run(Lrp(composite="epsilon", epsilon=0.0), model, picture(model), 2)
    assert result.values.sum() == pytest.approx(result.score, rel=1e-5)
    assert result.gap == pytest.approx(0, abs=1e-9)


def test_without_biases_lrp_0_is_integrated_gradients(net, wrap, picture, close):
    """X2: the gradient is the same all along the way from the origin."""
    model = wrap(net(bias=False))
    image = picture(model)
    leaf = torch.zeros_like(image)
    for step in range(8):
        point = (image * (step + 0.5) / 8).requires_grad_()
        leaf += torch.autograd.grad(model.module(point)[0, 2], point)[0] / 8
    raw = Lrp(composite="epsilon", epsilon=0.0).raw(model, image, model.target(2))
    close(raw.values, leaf * image, 1e-9)


def test_a_linear_model(linear, wrap, picture, run, close):
    module, weight = linear(5, 6)
    model = wrap(module, (5, 6))
    image = picture(model)
    result = run(Lrp(composite="epsilon", epsilon=0.0), model, image, 3)
    close(result.values, image[0] * weight[3])
    shift = float(module[1].bias[3].detach())
    result = run(Lrp(composite="epsilon", epsilon=0.0, bias="ignore"), model, image, 3)
    close(result.values, image[0] * weight[3] * result.score / (result.score - shift))


def test_the_receipt_says_where_relevance_went(vgg, run):
    model, _, _ = vgg
    image = in_bounds(model)
    result = run(Lrp(), model, image, 1)
    receipt = result.details["receipt"]
    assert receipt["start"] == pytest.approx(result.score, rel=1e-6)
    assert receipt["input"] == pytest.approx(result.values.sum(dtype=np.float64), rel=1e-5)
    assert result.gap == pytest.approx(receipt["input"] - receipt["start"])
    assert receipt["start"] == pytest.approx(sum(receipt[k] for k in ("input", "bias", "epsilon", "dropped")))
    assert receipt["bias"] != 0
    rows = result.details["receipt_layers"]
    assert [row["layer"] for row in rows] == ["four", "three", "", "two", "one"]
    assert [row["rule"] for row in rows] == ["epsilon", "epsilon", "average", "gamma(0.25)", "zbox"]
    assert rows[-1]["out"] == pytest.approx(receipt["input"])
    assert sum(row["bias"] for row in rows) == pytest.approx(receipt["bias"])
    for above, below in pairwise(rows):
        assert below["in"] == pytest.approx(above["out"])
    kinds = {(row["layer"], row["kind"]): row["rule"] for row in result.details["coverage"]}
    assert kinds["one", "conv"] == "zbox"
    assert kinds["", "max pool"] == "route"
    assert kinds["", "ReLU"] == "pass"


def test_maps_start_at_each_unit_that_the_target_reads(vgg, close):
    """Relevance is linear in its start: a sum of classes is the sum of their maps, a difference their difference."""
    model, _, _ = vgg
    image, method = in_bounds(model), Lrp()
    one, two = (method.raw(model, image, model.target(c)).values for c in (1, 2))
    close(method.raw(model, image, model.target((1, 2))).values, one + two, 1e-9)
    found = method.raw(model, image, model.target(Target.difference(1, 2)))
    close(found.values, one - two, 1e-9)
    assert found.details["explained"] == pytest.approx(float(found.scores[0]))


def test_a_hidden_unit(vgg, close):
    model, plain, _ = vgg
    image = in_bounds(model)
    plain.forward(image[0])
    target = model.target(Target.hidden("three", 2))
    raw = Lrp(composite="gamma").raw(model, image, target)
    start = np.zeros(8)
    start[2] = float(raw.scores[0])
    w3, b3 = plain.weights[2]
    assert start[2] == pytest.approx(float(w3[2].numpy() @ plain.inputs[2] + float(b3[2])))
    relevance, *_ = slow.send("gamma", w3.numpy(), b3.numpy(), plain.inputs[2], start)
    pool, _ = slow.matrix(lambda x: functional.avg_pool2d(x, 2), plain.second.shape)
    relevance, *_ = slow.send("epsilon", pool, np.zeros(len(pool)), plain.second.ravel(), relevance)
    relevance = plain._conv("gamma", *plain.weights[1], plain.inputs[1], relevance, 0, {})
    relevance = plain._unpool(relevance.reshape(plain.inputs[1].shape))
    relevance = plain._conv("gamma", *plain.weights[0], plain.inputs[0], relevance.ravel(), 1, {})
    close(raw.values[0], relevance.reshape(3, 10, 8), 1e-9)


def test_scores_before_a_softmax(run, picture):
    model = xw.Model(nn.Sequential(nets.f2(), nn.Softmax(dim=1)).double(), size=16)
    plain = xw.Model(nets.f2().double(), size=16)
    image = picture(model)
    ours, wanted = run(Lrp(), model, image, 1), run(Lrp(), plain, image, 1)
    np.testing.assert_allclose(ours.values, wanted.values, rtol=1e-5, atol=1e-9)
    assert ours.score == pytest.approx(wanted.score)
    assert any("ends in a softmax" in note for note in ours.notes)
    assert wanted.notes == ()


def test_gray_pictures_have_bounds_too(wrap, net, picture, run):
    model = wrap(net(channels=1), mean=(0.3,), std=(0.2,))
    result = run(Lrp(), model, picture(model), 1)
    assert result.values.shape == (1, 12, 14)
    assert ("one", "zbox") in {(row["layer"], row["rule"]) for row in result.details["coverage"]}


def test_smoothgrad_around_it(net, wrap, picture, run, close):
    """The mean over noisy copies of relevance maps, each as alone."""
    model = wrap(net())
    image = picture(model)
    model.remember(("batch size", True), lambda: 3)
    result = run(SmoothGrad(base="lrp", samples=5, noise=0.0), model, image, 1)
    close(result.values, run(Lrp(), model, image, 1).values, 1e-5)
    noisy = run(SmoothGrad(base="lrp", samples=5), model, image, 1)
    assert noisy.provenance.passes == (6, 5)


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ("first=flat", "'first' is none. Those with weights are one, two, head"),
        ("head=flat, tow=flat", "'tow' is none. Did you mean.*two"),
        ("relu=flat", "'relu' is none"),
    ],
)
def test_an_exception_for_no_layer_is_an_error(rules, message, wrap, net, picture, run):
    model = wrap(net("reused"))
    with pytest.raises(InvalidKnob, match=message):
        run(Lrp(rules=rules), model, picture(model))


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"composite": "epsilon_plush"}, "composite must be one of .*Did you mean epsilon_plus"),
        ({"rules": "one=zplos"}, "rules must be a table"),
        ({"rules": "one=gamma(x)"}, "rule gamma takes a number"),
        ({"rules": "one=zplus(2)"}, "rule zplus takes no number"),
        ({"rules": "one=flat,one=w2"}, "each layer once"),
        ({"alpha": 0.5}, "alpha must be a number from 1"),
        ({"epsilon": -1.0}, "epsilon must be"),
        ({"bias": "drop"}, "bias must be one of keep, ignore"),
    ],
)
def test_a_bad_knob_is_an_error_at_once(knobs, message):
    with pytest.raises(InvalidKnob, match=message):
        Lrp(**knobs)


class Attention(nn.Module):
    """Self-attention over positions."""

    def __init__(self):
        super().__init__()
        self.one, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 5)

    def forward(self, x):
        x = self.one(x).relu().flatten(2)
        x = (x.transpose(1, 2) @ x).softmax(-1) @ x.transpose(1, 2)
        return self.head(x.mean(1))


class Product(nn.Module):
    """The product of two maps of one size."""

    def __init__(self):
        super().__init__()
        self.block = nets.Apply(lambda x: self.one(x) * self.two(x))
        self.one, self.two, self.head = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3), nn.Linear(4, 5)

    def forward(self, x):
        return self.head(self.block(x).mean((2, 3)))


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (Attention(), "matmul at the model itself.*softmax at the model itself"),
        (Product(), "mul of two maps at block"),
        (nn.Sequential(nn.Conv2d(3, 5, 3), nets.Apply(lambda x: x.erf().mean((2, 3)))), "erf at 1"),
    ],
)
def test_what_has_no_rule_is_refused_by_name_and_place(module, message, wrap, picture, run):
    model = wrap(module)
    with pytest.raises(NotApplicable, match=f"there is none for .*{message}") as caught:
        run(Lrp(), model, picture(model))
    assert "saliency" in caught.value.alternatives
    assert caught.value.method == "lrp"


@pytest.mark.parametrize("activation", [nn.ReLU6, nn.LeakyReLU, nn.SiLU, nn.GELU, nn.Hardswish, nn.ELU, nn.PReLU])
def test_every_activation_has_a_declared_rule(activation, wrap, picture, run, close):
    """Relevance passes it, whatever its slope: shown by a network whose relevance ends at the activation's input."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = nn.Sequential(nn.Conv2d(3, 4, 3), activation(), nn.Flatten(), nn.Linear(480, 5)).double()
    model = wrap(module)
    image = picture(model)
    result = run(Lrp(composite="epsilon", epsilon=0.0), model, image, 1)
    mapped = module[0](image).detach()
    active = module[1](mapped).detach()
    relevance = active * module[3].weight[1].detach().reshape(active.shape)
    leaf = image.clone().requires_grad_()
    (wanted,) = torch.autograd.grad(module[0](leaf), leaf, relevance / mapped)
    close(result.values, (image * wanted)[0])
    rules = {row["rule"] for row in result.details["coverage"] if row["layer"] == "1"}
    assert rules == {"pass"}


def test_relevance_that_grows_out_of_proportion_is_told(lite0, run):
    """Linear bottlenecks and residual additions: what almost cancels is divided by almost nothing."""
    model, image, target = lite0
    wild = run(Lrp(composite="gamma", bias="ignore"), model, image, target)
    assert np.abs(wild.values).sum(dtype=np.float64) > 1e6 * wild.score
    assert any("Relevance of both signs has grown" in note for note in wild.notes)
    tame = run(Lrp(composite="epsilon_plus", bias="ignore"), model, image, target)
    assert np.abs(tame.values).sum() <= tame.score
    assert tame.notes == ()


def test_relevance_that_overflows_is_an_error(wrap, picture, run):
    """Eight sums that cancel to 1e-6 of their parts, one upon another."""

    class Cancelling(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 5)

        def forward(self, x):
            x = self.one(x)
            for _ in range(8):
                x = (x - (1 - 1e-6) * x.detach()) * 1e6
            return self.head(x.mean((2, 3)))

    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = wrap(Cancelling())
    with pytest.raises(SurgeryError, match=r"grew beyond the largest number.*epsilon_plus"):
        run(Lrp(composite="epsilon", epsilon=0.0), model, picture(model))


def test_tries_out_on_the_bundled_network(lite0_double, run):
    model, image, target = lite0_double
    result = run(Lrp(), model, image, target)
    receipt = result.details["receipt"]
    assert receipt["start"] == pytest.approx(result.score, rel=1e-6)
    assert sum(receipt[k] for k in ("input", "bias", "epsilon", "dropped")) == pytest.approx(receipt["start"])
    rules = [row["rule"] for row in result.details["coverage"] if row["kind"] == "conv"]
    assert rules == ["zbox"] + ["gamma(0.25)"] * 48
    sums = [row for row in result.details["coverage"] if row["rule"] == "sum"]
    assert sum(row["count"] for row in sums) == 9
