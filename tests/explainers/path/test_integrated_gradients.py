"""Integrated gradients: every quadrature rule against a slow sum, and what the integral must fulfil."""

from __future__ import annotations

import warnings

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


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("pair", [("black", "white"), ("blur", "gray")], ids=str)
def test_a_second_baseline_gives_the_mean_of_both(pair, rule, net, wrap, picture, run, close):
    module = net("functional", pool=False)  # on a plain color, rounding decides a tie in max-pooling
    model = wrap(module)
    image = picture(model)
    result = run(IntegratedGradients(points=7, rule=rule, baseline=pair[0], second=pair[1]), model, image, 2)
    starts = [baseline(model, image, name) for name in pair]
    close(result.values, sum(slow(lambda x: module(x)[0, 2], image, start, rule, 7) for start in starts) / 2)
    scores = [float(module(start)[0, 2].detach()) for start in starts]
    assert result.details["baseline_score"] == pytest.approx(np.mean(scores))
    assert result.details["explained"] == pytest.approx(result.score - np.mean(scores))
    assert result.gap == pytest.approx(float(result.values.sum(dtype=float)) - result.details["explained"], abs=1e-6)
    assert result.provenance.passes == (14 + 3, 14)


def test_black_and_white_leave_no_color_without_a_share(linear, wrap, run):
    module, _ = linear(5, 6)
    model = wrap(module, (5, 6))
    black = baseline(model, torch.zeros(1, 3, 5, 6, dtype=torch.float64), "black")
    assert not run(IntegratedGradients(baseline="black"), model, black).values.any()
    both = run(IntegratedGradients(baseline="black", second="white"), model, black)
    assert both.values.all()
    assert abs(both.gap) < 1e-5


@pytest.mark.parametrize("size", [1, 4, 8, 16])
@pytest.mark.parametrize("second", ["none", "white"])
def test_a_tolerance_stops_at_the_same_point_whatever_the_batch(size, second, net, wrap, picture):
    model = wrap(net())
    image = picture(model)
    target = model.target(1)
    model.remember(("batch size", True), lambda: size)
    method = IntegratedGradients(points=128, tolerance=0.05, second=second)
    results = list(method.steps(model, image, target))
    *_, last = results
    assert all(abs(r.gap) > 0.05 * abs(r.details["explained"]) for r in results[:-1] if r.details["points"] % 16 == 0)
    assert abs(last.gap) <= 0.05 * abs(last.details["explained"])
    assert last.progress == 1
    assert 0 < last.details["points"] < 128
    assert last.details["points"] % 16 == 0
    assert last.notes == (
        f"Stopped after {last.details['points']} of {128 * (1 + (second != 'none'))} points: the gap is small enough.",
    )
    whole = list(IntegratedGradients(points=128, second=second).steps(model, image, target))
    shorter = next(r for r in whole if r.details["points"] == last.details["points"])
    np.testing.assert_array_equal(shorter.values, last.values)
    assert whole[-1].notes == ()


def test_the_whole_run_is_no_early_stop(net, wrap, picture, run):
    model = wrap(net())
    result = run(IntegratedGradients(points=16, tolerance=0.5), model, picture(model), 1)
    assert (result.notes, result.progress, result.details["points"]) == ((), 1, 16)


@pytest.mark.parametrize("style", ["module", "functional"])
def test_equals_pair(style, net, wrap, picture, run, close):
    from saliency.core import INPUT_OUTPUT_GRADIENTS
    from saliency.core import IntegratedGradients as Pair

    module = net(style)
    model = wrap(module)
    image = picture(model)
    start = baseline(model, image, "blur")

    def call(batch, call_model_args=None, expected_keys=None):
        leaf = torch.from_numpy(np.asarray(batch)).requires_grad_()
        return {INPUT_OUTPUT_GRADIENTS: torch.autograd.grad(module(leaf)[:, 2].sum(), leaf)[0].numpy()}

    theirs = Pair().GetMask(image[0].numpy(), call, x_baseline=start[0].numpy(), x_steps=13, batch_size=4)
    close(run(IntegratedGradients(points=13, baseline="blur", rule="pair"), model, image, 2).values, theirs)


@pytest.mark.parametrize("style", ["module", "functional"])
def test_x2_gradient_times_input_deeplift_and_the_integral_agree_without_biases(style, net, wrap, picture, run, close):
    module = net(style, bias=False, pool=False)
    model = wrap(module)
    image = picture(model)
    product = run(GradientXInput(), model, image, 2).values
    close(run(IntegratedGradients(points=5, baseline="mean"), model, image, 2).values, product)
    if style == "module":  # Captum's hooks miss functional ReLUs
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its hooks
            theirs = attr.DeepLift(module).attribute(image.clone(), baselines=torch.zeros_like(image), target=2)
        close(theirs[0], product)


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
        ({"second": "same"}, "second"),
        ({"tolerance": 0.6}, "tolerance"),
        ({"tolerance": float("nan")}, "tolerance"),
    ],
)
def test_bad_knobs_are_named(knobs, named):
    with pytest.raises(InvalidKnob, match=rf"^{named} must be"):
        IntegratedGradients(**knobs)
