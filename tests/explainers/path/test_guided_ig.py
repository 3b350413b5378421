"""Guided integrated gradients: the path by the paper's algorithm, and what its two ends must fulfil."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from xaiwidgets import GuidedIG, IntegratedGradients, Target
from xaiwidgets.engine.baselines import baseline
from xaiwidgets.errors import InvalidKnob


def slow_path(gradient, image, start, steps, fraction=0.25, max_dist=0.02):
    """Return the points of the paper's path, one value after another, in plain Python."""
    goal, begin = image.ravel().tolist(), start.ravel().tolist()
    way = [g - b for g, b in zip(goal, begin, strict=True)]
    length = sum(map(abs, way))
    here, points = list(begin), [list(begin)]
    for step in range(1, steps + 1):
        share = step / steps
        low, high = max(share - max_dist, 0), min(share + max_dist, 1)
        size = [abs(v) for v in gradient(np.reshape(here, image.shape)).ravel().tolist()]
        front = [b + w * high for b, w in zip(begin, way, strict=True)]
        for i, w in enumerate(way):
            if w and (here[i] - begin[i]) / w < low:
                here[i] = begin[i] + w * low
        while True:
            excess = sum(abs(g - h) for g, h in zip(goal, here, strict=True)) - length * (1 - share)
            if excess <= 1e-9 * length:
                break
            free = [size[i] if here[i] != front[i] else float("inf") for i in range(len(here))]
            limit = sorted(free)[int(fraction * (len(free) - 1))]
            chosen = [i for i, s in enumerate(free) if s <= limit and s != float("inf")]
            room = sum(abs(front[i] - here[i]) for i in chosen)
            move = min(1.0, excess / room) if room else 1.0
            for i in chosen:
                here[i] = front[i] if move == 1 else here[i] + (front[i] - here[i]) * move
        points.append(list(here))
    return np.array(points).reshape(-1, *image.shape)


def slow(gradient, image, start, steps, rule="riemann_trapezoid", **band):
    path = slow_path(gradient, image, start, steps, **band)
    slopes = np.stack([gradient(point) for point in path])
    before, after, moves = slopes[:-1], slopes[1:], np.diff(path, axis=0)
    return ((before if rule == "riemann_left" else (before + after) / 2) * moves).sum(axis=0)


def gradient_of(score):
    def gradient(point):
        leaf = torch.from_numpy(np.array(point))[None].requires_grad_()
        return torch.autograd.grad(score(leaf), leaf)[0][0].numpy()

    return gradient


@pytest.fixture
def pair(monkeypatch):
    """PAIR's algorithm, with the keyword of ``np.quantile`` that NumPy has renamed."""
    from saliency.core import guided_ig

    class Renamed:
        def __getattr__(self, name):
            return getattr(np, name)

        @staticmethod
        def quantile(values, share, interpolation):
            return np.quantile(values, share, method=interpolation)

    monkeypatch.setattr(guided_ig, "np", Renamed())
    return guided_ig.GuidedIG()


@pytest.mark.parametrize("rule", ["riemann_left", "riemann_trapezoid"])
@pytest.mark.parametrize(("style", "band"), [("functional", {}), ("reused", {"fraction": 0.5, "max_dist": 0.3})])
def test_is_the_sum_along_the_papers_path(rule, style, band, net, wrap, picture, run, close):
    module = net(style)
    model = wrap(module)
    image = picture(model)
    start = baseline(model, image, "blur")
    method = GuidedIG(points=9, baseline="blur", rule=rule, **band)
    result = run(method, model, image, 2)
    gradient = gradient_of(lambda x: module(x)[0, 2])
    close(result.values, slow(gradient, image[0].numpy(), start[0].numpy(), 9, rule, **band))
    end = float(module(start)[0, 2].detach())
    assert result.details["explained"] == pytest.approx(result.score - end)
    assert result.gap == pytest.approx(float(result.values.sum(dtype=float)) - result.score + end, abs=1e-6)
    visited = 9 + (rule == "riemann_trapezoid")
    assert result.provenance.passes == method.cost((12, 14)) == (visited + 2, visited)


@pytest.mark.parametrize("share", [0.25, 0.8])
def test_the_path_keeps_to_its_band_and_its_pace(share, net, wrap, picture):
    module = net()
    model = wrap(module)
    image = picture(model)
    goal, start = image, baseline(model, image, "black")
    way, here, far = goal - start, start, 0.0
    method = GuidedIG(points=10, fraction=share, max_dist=0.15)
    for step in range(1, 11):
        leaf = here.clone().requires_grad_()
        slope = torch.autograd.grad(module(leaf)[0, 2], leaf)[0]
        here = method._move(here, slope, start, goal, step / 10)
        at = (here - start) / way
        assert float((goal - here).abs().sum()) == pytest.approx((1 - step / 10) * float(way.abs().sum()), abs=1e-9)
        assert float((at - step / 10).abs().max()) <= 0.15 + 1e-9
        far = max(far, float((at - step / 10).abs().max()))
    assert far > 0.1, "the band is used"
    assert torch.allclose(here, goal, atol=1e-12)


@pytest.mark.parametrize("straight", [{"max_dist": 0.0}, {"fraction": 1.0}], ids=str)
@pytest.mark.parametrize("points", [4, 20])
def test_x19_on_a_straight_path_it_is_the_integral_by_the_same_rule(points, straight, net, wrap, picture, run, close):
    """No band leaves no freedom, and values that all move at once move alike."""
    model = wrap(net("functional"))
    image = picture(model)
    for rule, more in (("riemann_left", 0), ("riemann_trapezoid", 1)):
        guided = run(GuidedIG(points=points, baseline="blur", rule=rule, **straight), model, image, 2)
        plain = run(IntegratedGradients(points=points + more, baseline="blur", rule=rule), model, image, 2)
        close(guided.values, plain.values)
        assert guided.gap == pytest.approx(plain.gap, abs=1e-6)


def test_the_gap_closes_as_steps_are_added(smooth, wrap, picture, run):
    model = wrap(smooth)
    image = picture(model)
    for rule, most in (("riemann_left", 0.05), ("riemann_trapezoid", 0.005)):
        results = [run(GuidedIG(points=n, rule=rule), model, image, 2) for n in (5, 200)]
        shares = [abs(r.gap / r.details["explained"]) for r in results]
        assert shares[1] <= most
        assert shares[1] < shares[0]


@pytest.mark.parametrize("rule", ["riemann_left", "riemann_trapezoid"])
@pytest.mark.parametrize("points", [2, 7])
def test_linear_net_is_exact(rule, points, linear, wrap, picture, run, close):
    module, weights = linear(5, 6)
    model = wrap(module, (5, 6))
    image = picture(model)
    start = baseline(model, image, "white")
    result = run(GuidedIG(points=points, baseline="white", rule=rule), model, image, 3)
    close(result.values, ((image - start) * weights[3])[0])
    assert abs(result.gap) < 1e-5


@pytest.mark.parametrize("points", [2, 9])
def test_quadratic_is_exact_by_trapezoids(points, quadratic, wrap, picture, run, close):
    model = wrap(quadratic, (5, 6), mean=(0.3,), std=(0.5,))
    image = picture(model)
    start = baseline(model, image, "black")
    exact = (image**2 - start**2)[0] * quadratic.weight.reshape(1, 5, 6)
    close(run(GuidedIG(points=points, max_dist=0.3), model, image).values, exact)


@pytest.mark.parametrize("max_dist", [0.0, 0.02, 1.0])
def test_a_picture_that_is_the_baseline_gets_nothing(max_dist, net, wrap, run):
    model = wrap(net())
    image = torch.full((1, 3, 12, 14), 0.7, dtype=torch.float64)
    result = run(GuidedIG(points=5, baseline="border", max_dist=max_dist), model, image)
    assert np.abs(result.values).max() < 1e-12
    assert abs(result.gap) < 1e-12


def test_pixels_like_the_baseline_stay_where_they_are(net, wrap, picture, run):
    model = wrap(net())
    image = picture(model)
    image[..., :5] = baseline(model, image, "black")[..., :5]
    result = run(GuidedIG(points=6), model, image)
    assert not result.values[..., :5].any()
    assert result.values[..., 5:].any()


@pytest.mark.parametrize("style", ["module", "functional", "reused"])
@pytest.mark.parametrize("band", [{}, {"fraction": 0.1, "max_dist": 0.1}, {"max_dist": 1.0}], ids=str)
def test_equals_pair(style, band, net, wrap, picture, run, close, pair, asked):
    module = net(style)
    model = wrap(module)
    image = picture(model)
    start = baseline(model, image, "blur")
    theirs = pair.GetMask(image[0].numpy(), asked(module, 2), x_baseline=start[0].numpy(), x_steps=30, **band)
    ours = run(GuidedIG(points=30, baseline="blur", rule="riemann_left", **band), model, image, 2)
    close(ours.values, theirs)


def test_equals_pair_on_trained_networks(lite0_double, digits_vgg, run, close, pair, asked):
    for model, image, target in (lite0_double, digits_vgg):
        start = baseline(model, image, "blur")
        call = asked(model.module, target)
        theirs = pair.GetMask(image[0].numpy(), call, x_baseline=start[0].numpy(), x_steps=2)
        ours = run(GuidedIG(points=2, baseline="blur", rule="riemann_left"), model, image, target)
        close(ours.values, theirs)


def test_it_goes_step_by_step_and_only_the_last_knows_its_gap(net, wrap, picture):
    model = wrap(net())
    image = picture(model)
    results = list(GuidedIG(points=12, rule="riemann_left").steps(model, image, model.target(2)))
    assert [r.details["points"] for r in results] == list(range(1, 13))
    assert [r.progress for r in results] == [n / 12 for n in range(1, 13)]
    assert [r.gap is None for r in results] == [True] * 11 + [False]


def test_the_same_map_whether_batches_fold_or_not(net, wrap, picture, run):
    """The path hangs on the order of the gradients: it must not hang on which copy of the network is the fastest."""
    model = wrap(net().float())
    image = picture(model)
    np.testing.assert_array_equal(run(GuidedIG(), model, image).values, run(GuidedIG(), model.exactly(), image).values)


def test_a_hidden_unit_can_be_explained(net, wrap, picture, run, close):
    module = net()
    model = wrap(module)
    image = picture(model)
    start = baseline(model, image, "blur")
    found = run(GuidedIG(points=6, baseline="blur"), model, image, Target.hidden("first", 2))
    gradient = gradient_of(lambda x: module.first(module.one(x))[0, 2].mean())
    close(found.values, slow(gradient, image[0].numpy(), start[0].numpy(), 6))
    assert found.unit == "activation"


@pytest.mark.parametrize(
    ("knobs", "named"),
    [
        ({"points": 1}, "points"),
        ({"baseline": "grey"}, "baseline"),
        ({"fraction": 0.0}, "fraction"),
        ({"max_dist": -0.1}, "max_dist"),
        ({"max_dist": 1.1}, "max_dist"),
        ({"rule": "pair"}, "rule"),
    ],
)
def test_bad_knobs_are_named(knobs, named):
    with pytest.raises(InvalidKnob, match=rf"^{named} must be"):
        GuidedIG(**knobs)
