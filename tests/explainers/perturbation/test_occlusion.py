"""Occlusion: the fall of the score, window by window."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from captum import attr
from torch import nn

import xaiwidgets as xw
from xaiwidgets import Occlusion, Target
from xaiwidgets.engine.baselines import baseline
from xaiwidgets.engine.windows import Grid
from xaiwidgets.errors import InvalidKnob


def square(window, stride, **knobs):
    return Occlusion(window_height=window, window_width=window, stride_height=stride, stride_width=stride, **knobs)


def slow(score, image, start, window, stride):
    """Mean fall over the windows that cover a pixel; the last windows are cut off at the border."""
    height, width = image.shape[-2:]
    total, count = np.zeros((height, width)), np.zeros((height, width))
    whole = float(score(image))
    tops, lefts = (
        range(0, -(-(side - w) // s) * s + 1, s) for side, w, s in zip((height, width), window, stride, strict=True)
    )
    for top in tops:
        for left in lefts:
            part = (slice(top, top + window[0]), slice(left, left + window[1]))
            hidden = image.clone()
            hidden[(..., *part)] = start[(..., *part)]
            total[part] += whole - float(score(hidden))
            count[part] += 1
    return (total / count)[None]


@pytest.mark.parametrize("style", ["functional", "reused"])
@pytest.mark.parametrize(("window", "stride"), [((4, 4), (2, 2)), ((5, 3), (3, 2)), ((12, 1), (5, 1))])
def test_is_the_mean_fall_over_windows(window, stride, style, net, wrap, picture, run, close):
    module = net(style)
    model = wrap(module)
    image = picture(model)
    method = Occlusion(*window, *stride)
    with torch.no_grad():
        wanted = slow(lambda x: module(x)[0, 2], image, baseline(model, image, "gray"), window, stride)
    result = run(method, model, image, 2)
    close(result.values, wanted)
    assert (result.unit, result.signed) == ("logit", True)
    assert not np.isnan(result.details["windows"]).any()


@pytest.mark.parametrize("fill", ["gray", "mean", "black", "white", "blur", "border"])
@pytest.mark.parametrize("output", ["logit", "probability", "log_probability"])
def test_every_fill_and_score(fill, output, net, wrap, picture, run, close):
    module = net()
    model = wrap(module)
    image = picture(model)
    score = {
        "logit": lambda x: module(x)[0, 1],
        "probability": lambda x: module(x).softmax(1)[0, 1],
        "log_probability": lambda x: module(x).log_softmax(1)[0, 1],
    }[output]
    with torch.no_grad():
        wanted = slow(score, image, baseline(model, image, fill), (6, 6), (4, 4))
    result = run(square(6, 4, fill=fill, output=output), model, image, 1)
    close(result.values, wanted)
    assert result.unit == output.replace("_", " ")


def test_linear_net_pixel_by_pixel(linear, wrap, picture, run, close):
    module, weights = linear(5, 6)
    model = wrap(module, (5, 6))
    image = picture(model)
    start = baseline(model, image, "gray")
    share = ((image - start) * weights[3]).sum(dim=1)
    close(run(square(1, 1), model, image, 3).values, share)


def test_linear_net_disjoint_windows_add_up(linear, wrap, picture, run):
    module, weights = linear(6, 6)
    model = wrap(module, (6, 6))
    image = picture(model)
    start = baseline(model, image, "gray")
    windows = run(square(3, 3), model, image, 3).details["windows"]
    share = ((image - start) * weights[3]).sum(dim=1)[0]
    wanted = share.reshape(2, 3, 2, 3).sum(dim=(1, 3))
    np.testing.assert_allclose(windows, wanted, rtol=1e-9)
    with torch.no_grad():
        assert windows.sum() == pytest.approx(float((module(image) - module(start))[0, 3]))


def test_a_window_as_large_as_the_picture_gives_one_number(net, wrap, picture, run):
    module = net()
    model = wrap(module)
    image = picture(model)
    values = run(Occlusion(12, 14, 4, 4), model, image).values
    with torch.no_grad():
        fall = float((module(image) - module(baseline(model, image, "gray")))[0, 0])
    np.testing.assert_allclose(values, fall, rtol=1e-6)


class LeftHalf(nn.Module):
    def forward(self, x):
        return x[..., :6].square().sum(dim=(1, 2, 3))[:, None]


def test_what_the_net_does_not_see_gets_nothing(wrap, picture, run):
    model = wrap(LeftHalf(), (8, 12), mean=(0.5,), std=(0.5,))
    values = run(square(3, 3), model, picture(model)).values
    assert not values[..., 6:].any()
    assert values[..., :6].any()


def test_hiding_pixels_behind_themselves_changes_nothing(net, wrap, run):
    model = wrap(net())
    image = torch.full((1, 3, 12, 14), 0.4, dtype=torch.float64)
    assert np.abs(run(square(4, 2, fill="border"), model, image).values).max() < 1e-12


@pytest.mark.parametrize("style", ["module", "functional", "reused"])
@pytest.mark.parametrize(("window", "stride"), [((4, 4), (4, 4)), ((5, 4), (3, 4)), ((7, 5), (4, 2))])
def test_equals_captum_with_overhang(window, stride, style, net, wrap, picture, run, close):
    module = net(style)
    model = wrap(module)
    image = picture(model)
    theirs = attr.Occlusion(module).attribute(
        image,
        sliding_window_shapes=(3, *window),
        strides=(3, *stride),
        baselines=baseline(model, image, "gray"),
        target=4,
    )
    close(run(Occlusion(*window, *stride), model, image, 4).values[0], theirs[0, 0])


def test_equals_captum_on_trained_networks(lite0, digits_vgg, run, close):
    for (model, image, target), window, stride in ((lite0, 64, 48), (digits_vgg, 10, 7)):
        channels = image.shape[1]
        theirs = attr.Occlusion(model.module).attribute(
            image,
            sliding_window_shapes=(channels, window, window),
            strides=(channels, stride, stride),
            baselines=baseline(model, image, "gray"),
            target=target,
            perturbations_per_eval=4,
        )
        close(run(square(window, stride), model, image, target).values[0], theirs[0, 0], 1e-4)


def test_a_prefix_covers_the_picture(net, wrap, picture):
    model = wrap(net())
    model.remember(("batch size", False), lambda: 4)
    results = list(square(2, 2).steps(model, picture(model), model.target(0)))
    done = [int((~np.isnan(r.details["windows"])).sum()) for r in results]
    assert done == [*range(4, 42, 4), 42]
    assert all(np.isfinite(r.values).all() for r in results)
    rows, columns = np.nonzero(~np.isnan(results[0].details["windows"]))
    assert (np.ptp(rows), np.ptp(columns)) == (4, 4)
    for result in results:
        known = result.details["windows"][0, 0]
        np.testing.assert_allclose(result.values[0, :2, :2], known, rtol=1e-6)


@pytest.mark.parametrize("stride", [2, 5, 9])
def test_gaps_between_windows_get_nothing(stride, net, wrap, picture, run):
    model = wrap(net())
    result = run(square(1, stride), model, picture(model))
    windows = result.details["windows"]
    assert windows.shape == (-(-12 // stride), -(-14 // stride))
    assert np.isfinite(result.values).all()
    np.testing.assert_allclose(result.values[0, ::stride, ::stride], windows, rtol=1e-6)
    assert np.count_nonzero(result.values) == np.count_nonzero(windows) == windows.size


def test_a_hidden_unit_can_be_explained(net, wrap, picture, run, close):
    module = net()
    model = wrap(module)
    image = picture(model)
    result = run(square(4, 2, output="probability"), model, image, Target.hidden("second", 2))
    with torch.no_grad():
        inner = nn.Sequential(module.one, module.first, nn.MaxPool2d(2), module.two, module.second)
        wanted = slow(lambda x: inner(x)[0, 2].mean(), image, baseline(model, image, "gray"), (4, 4), (2, 2))
    close(result.values, wanted)
    assert result.unit == "activation"


def inpainted(score, image, window, stride):
    """The same map where a window is filled with the mean color of the pixels that touch it from outside."""
    height, width = image.shape[-2:]
    total, count = np.zeros((height, width)), np.zeros((height, width))
    whole = float(score(image))
    for top in range(0, height - window + 1, stride):
        for left in range(0, width - window + 1, stride):
            inside = [(r, c) for r in range(top, top + window) for c in range(left, left + window)]
            around = [
                (r, c)
                for r in range(top - 1, top + window + 1)
                for c in range(left - 1, left + window + 1)
                if (r, c) not in inside and 0 <= r < height and 0 <= c < width
            ]
            color = torch.stack([image[0, :, r, c] for r, c in around]).mean(dim=0)
            hidden = image.clone()
            for r, c in inside:
                hidden[0, :, r, c] = color
            fall = whole - float(score(hidden))
            for place in inside:
                total[place] += fall
                count[place] += 1
    return (total / count)[None]


@pytest.mark.parametrize("style", ["functional", "reused"])
def test_inpainting_takes_the_color_around_the_window(style, net, wrap, picture, run, close):
    module = net(style)
    model = wrap(module)
    image = picture(model)
    with torch.no_grad():
        wanted = inpainted(lambda x: module(x)[0, 2], image, 4, 2)
    close(run(square(4, 2, fill="inpaint"), model, image, 2).values, wanted)
    even = torch.full((1, 3, 12, 14), 0.4, dtype=torch.float64)
    assert np.abs(run(square(4, 2, fill="inpaint"), model, even).values).max() < 1e-12


@pytest.mark.parametrize("style", ["functional", "reused"])
def test_several_sizes_are_averaged(style, net, wrap, picture, run, close):
    module = net(style)
    model = wrap(module)
    image = picture(model)
    start = baseline(model, image, "gray")
    with torch.no_grad():
        sizes = [((7, 6), (4, 5)), ((3, 3), (2, 2)), ((1, 1), (1, 1))]
        maps = [slow(lambda x: module(x)[0, 2], image, start, *size) for size in sizes]
    names, sides = ["windows", "windows_2", "windows_3"], ["7 × 6", "3 × 3", "1 × 1"]
    for scales in (1, 2, 3, 4):
        result = run(Occlusion(7, 6, 4, 5, scales=scales), model, image, 2)
        few = min(scales, 3)  # a window of one pixel has no half
        close(result.values, np.mean(maps[:few], axis=0))
        assert [name for name in result.details if name.startswith("windows")] == names[:few]
        told = f"Mean of the maps of windows of {', '.join(sides[:few])} px (rows × columns)."
        assert result.notes == ((told,) if few > 1 else ())


def test_a_size_counts_by_its_share_of_windows_done(net, wrap, picture):
    model = wrap(net())
    model.remember(("batch size", False), lambda: 4)
    method = square(6, 6, scales=2)
    results = list(method.steps(model, picture(model), model.target(0)))
    first, second = (Grid((12, 14), (side, side), (side, side)) for side in (6, 3))
    assert method.cost((12, 14)) == (2 * 3 + 4 * 5 + 1, 0)
    assert len(results) == 7
    for result in results:
        one, two = result.details["windows"], result.details["windows_2"]
        share = (~np.isnan(two)).mean()
        wanted = first.spread(one) if not share else (first.spread(one) + share * second.spread(two)) / (1 + share)
        if not np.isnan(one).any():
            np.testing.assert_allclose(result.values[0], wanted, rtol=1e-5, atol=1e-7)


def test_what_is_done_and_what_is_a_neighbors_value(net, wrap, picture):
    model = wrap(net())
    model.remember(("batch size", False), lambda: 4)
    for method, grids in (
        (square(4, 2), [((4, 4), (2, 2))]),
        (square(4, 3, scales=2), [((4, 4), (3, 3)), ((2, 2), (1, 1))]),
    ):
        for result in method.steps(model, picture(model), model.target(0)):
            count, done = np.zeros((12, 14)), np.zeros((12, 14))
            for number, (window, stride) in enumerate(grids, 1):
                falls = result.details["windows" if number == 1 else f"windows_{number}"]
                grid = Grid((12, 14), window, stride)
                for place in np.ndindex(falls.shape):
                    top, left, bottom, right = grid.box(*place)
                    count[top:bottom, left:right] += 1
                    done[top:bottom, left:right] += not np.isnan(falls[place])
            np.testing.assert_allclose(result.details["done"], done / count, rtol=1e-6)
        assert (result.details["done"] == 1).all()
    gaps = next(square(1, 5).steps(model, picture(model), model.target(0)))
    assert gaps.details["done"][0, 1] == 1, "where no window lies, nothing is missing"


@pytest.mark.parametrize("style", ["functional", "reused"])
def test_the_top_quarter_is_refined(style, net, wrap, picture, run, close):
    module = net(style)
    model = wrap(module)
    image = picture(model)
    start = baseline(model, image, "gray")
    method = square(4, 4, refine=True)
    fine = Grid((12, 14), (2, 2), (2, 2))
    assert method.cost((12, 14)) == (12 + 11 + 1, 0), "a quarter of 42, rounded up"
    score = lambda x: float(module(x)[0, 2])
    with torch.no_grad():
        coarse = slow(score, image, start, (4, 4), (4, 4))[0]
        boxes = {place: fine.box(*place) for place in np.ndindex(fine.shape)}
        means = {place: coarse[top:end, left:side].mean() for place, (top, left, end, side) in boxes.items()}
        chosen = sorted(means, key=lambda place: -means[place])[:11]
        wanted, inside, falls = coarse.copy(), np.zeros((12, 14), bool), np.zeros((12, 14))
        for top, left, bottom, right in (boxes[place] for place in chosen):
            hidden = image.clone()
            hidden[..., top:bottom, left:right] = start[..., top:bottom, left:right]
            falls[top:bottom, left:right] = score(image) - score(hidden)
            inside[top:bottom, left:right] = True
    factor = min(max(coarse[inside].sum() / falls[inside].sum(), 1), 4)
    wanted[inside] = factor * falls[inside] + coarse[inside].mean() - factor * falls[inside].mean()
    result = run(method, model, image, 2)
    close(result.values, wanted[None])
    assert result.values.sum() == pytest.approx(coarse.sum(), rel=1e-5)
    assert {tuple(place) for place in np.argwhere(~np.isnan(result.details["refined"]))} == set(chosen)
    assert (result.details["done"] == 1).all()
    assert result.notes == ("Where it was largest, in 11 windows of 2 × 2 px, the map is a finer one, scaled.",)


def test_a_refined_linear_net_is_the_finer_map(linear, wrap, run):
    """Falls add up there, so a quarter of the area is a quarter of the fall and the factor is four."""
    module, weights = linear(8, 8)
    with torch.no_grad():
        weights.abs_()
    model = wrap(module, (8, 8))
    image = torch.rand((1, 3, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 1
    result = run(square(4, 4, refine=True, fill="black"), model, image, 3)
    fine = run(square(2, 2, fill="black"), model, image, 3)
    inside = np.kron(~np.isnan(result.details["refined"]), np.ones((2, 2), bool))
    assert inside.sum() == 16
    np.testing.assert_allclose(result.values[0][inside], 4 * fine.values[0][inside], rtol=1e-6)


def test_a_linear_net_gets_the_same_from_every_method(linear, wrap, picture, run, close):
    module, _ = linear(5, 6)
    model = wrap(module, (5, 6))
    image = picture(model)
    ours = run(square(1, 1, fill="black"), model, image, 3).values.sum(axis=0)
    others = [
        xw.GradientXInput(baseline="black"),
        xw.IntegratedGradients(points=2, baseline="black"),
        xw.DeepLiftRescale(baseline="black"),
        xw.DeepShap(references="black"),
        xw.ExpectedGradients(samples=2, references="black"),
        xw.GradientShap(samples=2, references="black", noise=0.0),
    ]
    for other in others:
        close(run(other, model, image, 3).values.sum(axis=0), ours)


def test_a_cancel_between_the_sizes_and_the_refinement_leaves_a_whole_map(net, wrap, picture):
    model = wrap(net())
    model.remember(("batch size", False), lambda: 4)
    running = square(4, 4, refine=True).steps(model, picture(model), model.target(0))
    results = [next(running) for _ in range(3)]
    plain = list(square(4, 4).steps(model, picture(model), model.target(0)))[-1]
    np.testing.assert_array_equal(results[-1].values, plain.values)
    later = list(running)
    assert [round(23 * one.progress) for one in (*results, *later)] == [4, 8, 12, 16, 20, 23]
    for one in (*results, *later):
        assert one.values.sum() == pytest.approx(plain.values.sum(), rel=1e-5) or one in results
    assert later[0].details["done"].min() < 1


def test_bad_windows_are_named(net, wrap, picture, run):
    model = wrap(net())
    image = picture(model)
    with pytest.raises(InvalidKnob, match="window_height must be at most the picture's 12 px; got 13"):
        run(Occlusion(13, 4), model, image)
    with pytest.raises(InvalidKnob, match="window_width must be at most the picture's 14 px; got 15"):
        run(Occlusion(4, 15), model, image)
    with pytest.raises(InvalidKnob, match="stride_height and stride_width must leave at most 20,000 windows"):
        square(1, 1).cost((224, 224))
    with pytest.raises(InvalidKnob, match=r"windows; 2 and 2 give 60,722\. Larger strides work, fewer scales too\.$"):
        square(8, 2, scales=2).cost((224, 224))
    with pytest.raises(InvalidKnob, match=r"windows; 2 and 2 give .* work, refine=False too\.$"):
        square(8, 2, refine=True).cost((224, 224))
    for name, value in (
        ("scales", 0),
        ("scales", 5),
        ("refine", 1),
        ("window_height", 0),
        ("stride_width", 513),
        ("fill", "grey"),
        ("output", "odds"),
    ):
        with pytest.raises(InvalidKnob, match=rf"^{name} must be"):
            Occlusion(**{name: value})
