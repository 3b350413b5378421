"""Blur integrated gradients: the path by SciPy, the integral by a slow sum, and PAIR's numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from xaiwidgets import BlurIG, Target
from xaiwidgets.errors import InvalidKnob
from xaiwidgets.explainers.path.blur_ig import blur_matrices, scale_space

GRAIN = 0.01


def blurred(image, width, edges, cut=None):
    """SciPy's own filter, cut off at four widths, or at four times ``cut``."""
    reach = int(4 * (width if cut is None else cut) + 0.5)
    found = ndimage.gaussian_filter(image.numpy(), (0, 0, width, width), mode=edges, radius=(0, 0, reach, reach))
    return torch.from_numpy(found)


def changed(image, width, edges):
    """The finite difference; cut off where the narrower Gaussian is, so that no cut lies in between."""
    return (blurred(image, width + GRAIN, edges, cut=width) - blurred(image, width, edges)) / GRAIN


def photo(size):
    """A picture with detail of every size, as photos have and white noise has not."""
    rng = np.random.default_rng(0)
    layers = [ndimage.gaussian_filter(rng.normal(size=(1, 3, *size)), (0, 0, s, s)) * 2 * s for s in (0.7, 1.5, 3, 6)]
    return torch.from_numpy(sum(layers))


def nodes(rule, m):
    k = np.arange(m)
    return {
        "riemann_left": (k / m, np.full(m, 1 / m)),
        "riemann_middle": ((k + 0.5) / m, np.full(m, 1 / m)),
        "riemann_trapezoid": (np.linspace(0, 1, m), np.r_[0.5, np.ones(m - 2), 0.5] / (m - 1)),
        "gausslegendre": tuple(a / 2 + b for a, b in zip(np.polynomial.legendre.leggauss(m), (0.5, 0.0), strict=True)),
    }[rule]


def slow(score, image, m, *, largest=50.0, spacing="quadratic", edges="constant", rule="riemann_middle"):
    """The definition, one width after another, with SciPy's blur."""
    total = torch.zeros_like(image)
    for at, weight in zip(*nodes(rule, m), strict=True):
        width, speed = (largest * at**2, 2 * largest * at) if spacing == "quadratic" else (largest * at, largest)
        leaf = blurred(image, width, edges).requires_grad_()
        change = changed(image, width, edges)
        total -= weight * speed * change * torch.autograd.grad(score(leaf), leaf)[0]
    return total[0]


@pytest.mark.parametrize("edges", ["constant", "nearest"])
@pytest.mark.parametrize("shape", [(17, 23), (5, 40), (1, 9)], ids=str)
def test_the_path_is_scipys_blur_and_its_change(edges, shape):
    image = torch.randn((1, 2, *shape), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    widths = np.array([0.0, 0.05, 0.7, 3.0, 20.0])
    found, change = scale_space(image, widths, edges)
    for number, width in enumerate(widths):
        expected = blurred(image, width, edges)
        np.testing.assert_allclose(found[number], expected[0], atol=1e-12)
        np.testing.assert_allclose(change[number], changed(image, width, edges)[0], atol=1e-10)


def test_the_change_does_not_jump_where_the_cut_does():
    """SciPy cuts a Gaussian of width 10.12 at 40 px, of 10.13 at 41: a jump that is no change of the picture."""
    image = torch.randn((1, 1, 120, 120), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    width = 10.12
    (found,) = scale_space(image, np.array([width]), "constant")[1]
    true = (blurred(image, width + GRAIN, "constant", 20) - blurred(image, width, "constant", 20))[0] / GRAIN
    with_jump = (blurred(image, width + GRAIN, "constant") - blurred(image, width, "constant"))[0] / GRAIN
    largest = float(true.abs().max())
    assert float((found - true).abs().max()) < 0.02 * largest
    assert float((with_jump - true).abs().max()) > 0.1 * largest


@pytest.mark.parametrize("side", [1, 4, 30])
@pytest.mark.parametrize("width", [0.0, 0.5, 4.0, 50.0])
def test_a_line_of_ones_keeps_its_sum_with_edges_repeated(side, width):
    ones = np.ones(side)
    np.testing.assert_allclose(blur_matrices(side, np.array([width]), "nearest")[0] @ ones, 1)
    faded = blur_matrices(side, np.array([width]), "constant")[0] @ ones
    assert (faded <= 1 + 1e-12).all()
    assert faded.min() < 0.9 or width < 0.1


@pytest.mark.parametrize("rule", ["riemann_left", "riemann_middle", "riemann_trapezoid", "gausslegendre"])
@pytest.mark.parametrize("style", ["functional", "reused"])
@pytest.mark.parametrize("spacing", ["quadratic", "linear"])
def test_is_the_weighted_sum_along_the_path(rule, style, spacing, net, wrap, picture, run, close):
    module = net(style)
    model = wrap(module)
    image = picture(model)
    result = run(BlurIG(points=9, blur=20.0, rule=rule, spacing=spacing), model, image, 2)
    expected = slow(lambda x: module(x)[0, 2], image, 9, largest=20.0, rule=rule, spacing=spacing)
    close(result.values, expected)
    end = float(module(blurred(image, 20.0, "constant"))[0, 2].detach())
    assert result.details["baseline_score"] == pytest.approx(end)
    assert result.details["explained"] == pytest.approx(result.score - end)
    assert result.gap == pytest.approx(float(result.values.sum(dtype=float)) - result.score + end, abs=1e-6)
    assert (result.unit, result.signed) == ("logit", True)


def test_edges_can_be_repeated(net, wrap, picture, run, close):
    module = net()
    model = wrap(module)
    image = picture(model)
    found = run(BlurIG(points=8, edges="nearest"), model, image, 1).values
    close(found, slow(lambda x: module(x)[0, 1], image, 8, edges="nearest"))


def test_completeness_of_a_smooth_net(smooth, wrap, run):
    model = wrap(smooth, (24, 24))
    image = photo((24, 24))
    gaps = {}
    for points in (10, 32, 100):
        result = run(BlurIG(points=points), model, image, 2)
        gaps[points] = abs(result.gap / result.details["explained"])
    assert gaps[100] <= 0.02
    assert gaps[100] < gaps[32] < gaps[10]


def test_the_spacing_is_chosen_for_its_gap(smooth, wrap, run):
    model = wrap(smooth, (24, 24))
    image = photo((24, 24))
    quadratic, linear = (run(BlurIG(spacing=s), model, image, 2) for s in ("quadratic", "linear"))
    assert abs(quadratic.gap) < 0.2 * abs(linear.gap)


def test_linear_net_is_exact_in_the_limit(linear, wrap, picture, run, close):
    module, weights = linear(9, 10)
    model = wrap(module, (9, 10))
    image = picture(model)
    result = run(BlurIG(points=512, blur=5.0), model, image, 3)
    exact = weights[3] * (image - blurred(image, 5.0, "constant"))[0]
    close(result.values, exact, 0.02)
    assert abs(result.gap) < 0.02 * abs(result.details["explained"])


def test_a_flat_picture_gets_nothing_inside_its_edges(net, wrap, run):
    model = wrap(net())
    image = torch.full((1, 3, 12, 14), 0.7, dtype=torch.float64)
    assert np.abs(run(BlurIG(edges="nearest"), model, image).values).max() < 1e-10
    assert run(BlurIG(), model, image).values.any()


@pytest.mark.parametrize("style", ["module", "functional", "reused"])
@pytest.mark.parametrize("steps", [20, 50])
def test_equals_pair(style, steps, net, wrap, picture, run, close, asked):
    from saliency.core import BlurIG as Pair

    module = net(style)
    model = wrap(module)
    image = picture(model)

    def last_channel(batch, **rest):
        call = asked(module, 2)
        found = call(np.moveaxis(np.asarray(batch), -1, 1), **rest)
        return {key: np.moveaxis(value, 1, -1) for key, value in found.items()}

    theirs = Pair().GetMask(image[0].permute(1, 2, 0).numpy(), last_channel, max_sigma=50, steps=steps, batch_size=7)
    ours = run(BlurIG(points=steps, spacing="linear", rule="riemann_left"), model, image, 2)
    close(ours.values, np.moveaxis(theirs, -1, 0))


def test_equals_pair_on_trained_networks(lite0_double, digits_vgg, run, close, asked):
    from saliency.core import BlurIG as Pair

    for model, image, target in (lite0_double, digits_vgg):
        model.remember(("batch size", True), lambda: 2)  # measuring it takes longer than the test

        def last_channel(batch, module=model.module, target=target, **rest):
            found = asked(module, target)(np.moveaxis(np.asarray(batch), -1, 1), **rest)
            return {key: np.moveaxis(value, 1, -1) for key, value in found.items()}

        theirs = Pair().GetMask(image[0].permute(1, 2, 0).contiguous().numpy(), last_channel, max_sigma=10, steps=2)
        ours = run(BlurIG(points=2, blur=10.0, spacing="linear", rule="riemann_left"), model, image, target)
        close(ours.values, np.moveaxis(theirs, -1, 0))


def test_any_prefix_is_a_map_and_the_last_is_the_whole(net, wrap):
    model = wrap(net())
    image = photo((12, 14))
    model.remember(("batch size", True), lambda: 4)
    results = list(BlurIG(points=32).steps(model, image, model.target(2)))
    assert [r.details["points"] for r in results] == list(range(4, 33, 4))
    whole = results[-1].map()
    likeness = [np.corrcoef(r.map().ravel(), whole.ravel())[0, 1] for r in results]
    assert min(likeness) > 0.5
    assert likeness[3] > 0.9


def test_a_hidden_unit_can_be_explained(net, wrap, picture, run, close):
    module = net()
    model = wrap(module)
    image = picture(model)
    found = run(BlurIG(points=6), model, image, Target.hidden("first", 2))
    close(found.values, slow(lambda x: module.first(module.one(x))[0, 2].mean(), image, 6))
    assert found.unit == "activation"


@pytest.mark.parametrize(
    ("knobs", "named"),
    [
        ({"points": 1}, "points"),
        ({"blur": 0.0}, "blur"),
        ({"blur": 1e6}, "blur"),
        ({"spacing": "log"}, "spacing"),
        ({"edges": "wrap"}, "edges"),
        ({"rule": "pair"}, "rule"),
    ],
)
def test_bad_knobs_are_named(knobs, named):
    with pytest.raises(InvalidKnob, match=rf"^{named} must be"):
        BlurIG(**knobs)
