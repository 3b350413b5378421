"""Integrated gradients: every quadrature rule against a slow sum, and what the integral must fulfil."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from captum import attr
from torch import nn

from xaiwidgets import GradientXInput, IntegratedGradients, Target
from xaiwidgets.engine.baselines import baseline
from xaiwidgets.engine.quadrature import RULES
from xaiwidgets.errors import InvalidKnob


def rule_nodes(rule, m):
    """The definitions, written once more."""
    k = np.arange(m)
    return {
        "riemann_left": (k / m, np.full(m, 1 / m)),
        "riemann_right": ((k + 1) / m, np.full(m, 1 / m)),
        "riemann_middle": ((k + 0.5) / m, np.full(m, 1 / m)),
        "riemann_trapezoid": (np.linspace(0, 1, m), np.r_[0.5, np.ones(m - 2), 0.5] / (m - 1)),
        "gausslegendre": tuple(a / 2 + b for a, b in zip(np.polynomial.legendre.leggauss(m), (0.5, 0.0), strict=True)),
        "pair": (np.linspace(0, 1, m), np.full(m, 1 / m)),
    }[rule]


def slow(score, image, start, rule, m):
    total = torch.zeros_like(image)
    for alpha, weight in zip(*rule_nodes(rule, m), strict=True):
        leaf = (start + float(alpha) * (image - start)).requires_grad_()
        total += float(weight) * torch.autograd.grad(score(leaf), leaf)[0]
    return ((image - start) * total)[0]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("style", ["functional", "reused"])
def test_is_the_weighted_sum_along_the_path(rule, style, net, wrap, picture, run, close):
    module = net(style)
    model = wrap(module)
    image = picture(model)
    result = run(IntegratedGradients(points=11, rule=rule), model, image, 2)
    start = baseline(model, image, "black")
    close(result.values, slow(lambda x: module(x)[0, 2], image, start, rule, 11))
    assert result.details["baseline_score"] == pytest.approx(float(module(start)[0, 2].detach()))
    difference = result.score - result.details["baseline_score"]
    assert result.gap == pytest.approx(float(result.values.sum(dtype=float)) - difference, abs=1e-6)


@pytest.mark.parametrize("name", ["black", "white", "gray", "mean", "blur", "border"])
def test_starts_at_the_baseline_that_was_asked_for(name, net, wrap, picture, run, close):
    module = net()
    model = wrap(module)
    image = picture(model)
    start = baseline(model, image, name)
    found = run(IntegratedGradients(points=4, baseline=name), model, image).values
    close(found, slow(lambda x: module(x)[0, 0], image, start, "riemann_middle", 4))


def test_the_gap_closes_as_points_are_added(net, wrap, picture, run):
    model = wrap(net())
    image = picture(model)
    results = [run(IntegratedGradients(points=n), model, image, 1) for n in (2, 50, 300)]
    shares = [abs(r.gap / (r.score - r.details["baseline_score"])) for r in results]
    assert shares[1] <= 0.05
    assert shares[2] <= 0.01
    assert shares[2] < shares[0]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("points", [2, 7])
def test_linear_net_is_exact_with_any_rule(rule, points, linear, wrap, picture, run, close):
    module, weights = linear(5, 6)
    model = wrap(module, (5, 6))
    image = picture(model)
    start = baseline(model, image, "black")
    result = run(IntegratedGradients(points=points, rule=rule), model, image, 3)
    close(result.values, ((image - start) * weights[3])[0])
    assert abs(result.gap) < 1e-5


class Quadratic(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(-1, 2, 30, dtype=torch.float64))

    def forward(self, x):
        return ((x.flatten(1) ** 2) @ self.weight)[:, None]


@pytest.mark.parametrize(
    ("rule", "points"), [("riemann_middle", 2), ("riemann_trapezoid", 2), ("gausslegendre", 2), ("gausslegendre", 5)]
)
def test_quadratic_is_exact(rule, points, wrap, picture, run, close):
    module = Quadratic()
    model = wrap(module, (5, 6), mean=(0.3,), std=(0.5,))
    image = picture(model)
    start = baseline(model, image, "black")
    exact = (image**2 - start**2)[0] * module.weight.reshape(1, 5, 6)
    close(run(IntegratedGradients(points=points, rule=rule), model, image).values, exact)


@pytest.mark.parametrize("rule", ["riemann_middle", "riemann_right", "gausslegendre"])
def test_without_biases_and_from_zero_it_is_gradient_times_input(rule, net, wrap, picture, run, close):
    model = wrap(net(bias=False))
    image = picture(model)
    found = run(IntegratedGradients(points=5, baseline="mean", rule=rule), model, image).values
    close(found, run(GradientXInput(), model, image).values)


def test_a_picture_that_is_the_baseline_gets_nothing(net, wrap, run):
    model = wrap(net())
    image = torch.full((1, 3, 12, 14), 0.7, dtype=torch.float64)
    result = run(IntegratedGradients(baseline="border"), model, image)
    assert np.abs(result.values).max() < 1e-12
    assert abs(result.gap) < 1e-12


def test_two_nets_that_compute_the_same_get_the_same(net, wrap, picture, run, close):
    maps = []
    for style in ("module", "functional"):
        model = wrap(net(style))
        maps.append(run(IntegratedGradients(), model, picture(model)).values)
    close(*maps, 1e-6)


def test_symmetric_inputs_get_equal_shares(net, wrap, picture, run, close):
    class Symmetric(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net()

        def forward(self, x):
            return self.net(x) + self.net(x.flip(-1))

    model = wrap(Symmetric())
    image = picture(model)
    image = image + image.flip(-1)
    values = run(IntegratedGradients(), model, image).values
    close(values, values[..., ::-1])


def test_any_prefix_is_a_map_and_the_last_is_the_whole(net, wrap, picture):
    model = wrap(net())
    image = picture(model)
    model.remember(("batch size", True), lambda: 4)
    results = list(IntegratedGradients(points=32).steps(model, image, model.target(2)))
    assert [r.details["points"] for r in results] == [4, 8, 12, 16, 20, 24, 28, 32]
    difference = results[-1].score - results[-1].details["baseline_score"]
    assert all(abs(r.gap) < 0.15 * abs(difference) for r in results)
    assert abs(results[-1].gap) < 0.02 * abs(difference)


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule != "pair"])
@pytest.mark.parametrize("style", ["module", "reused"])
def test_equals_captum(rule, style, net, wrap, picture, run, close):
    module = net(style)
    model = wrap(module)
    image = picture(model)
    n = 13  # blur: on a plain color the windows of max-pooling are tied, and a tie has no one derivative
    theirs = attr.IntegratedGradients(module).attribute(
        image, baseline(model, image, "blur"), target=2, n_steps=n, method=rule
    )
    if rule == "riemann_trapezoid":  # its weights add up to (n - 1) / n, ours to one: a linear net is exact only here
        theirs = theirs * n / (n - 1)
    close(run(IntegratedGradients(points=n, baseline="blur", rule=rule), model, image, 2).values, theirs[0])


def test_equals_captum_on_trained_networks(lite0_double, digits_vgg, run, close):
    for model, image, target in (lite0_double, digits_vgg):
        theirs = attr.IntegratedGradients(model.module).attribute(
            image,
            baseline(model, image, "black"),
            target=target,
            n_steps=3,
            method="riemann_middle",
            internal_batch_size=4,
        )
        close(run(IntegratedGradients(points=3), model, image, target).values, theirs[0])


def test_a_hidden_unit_can_be_explained(net, wrap, picture, run, close):
    module = net()
    model = wrap(module)
    image = picture(model)
    found = run(IntegratedGradients(points=6), model, image, Target.hidden("first", 2))
    start = baseline(model, image, "black")
    close(
        found.values,
        slow(lambda x: module.first(module.one(x))[0, 2].mean(), image, start, "riemann_middle", 6),
    )
    assert found.unit == "activation"


@pytest.mark.parametrize(
    ("knobs", "named"),
    [
        ({"points": 1}, "points"),
        ({"points": 10**6}, "points"),
        ({"baseline": "grey"}, "baseline"),
        ({"rule": "x"}, "rule"),
    ],
)
def test_bad_knobs_are_named(knobs, named):
    with pytest.raises(InvalidKnob, match=rf"^{named} must be"):
        IntegratedGradients(**knobs)
