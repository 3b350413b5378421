"""Occlusion: the fall of the score, window by window."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from captum import attr
from torch import nn

from xaiwidgets import Occlusion, Target
from xaiwidgets.engine.baselines import baseline
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


def test_bad_windows_are_named(net, wrap, picture, run):
    model = wrap(net())
    image = picture(model)
    with pytest.raises(InvalidKnob, match="window_height must be at most the picture's 12 px; got 13"):
        run(Occlusion(13, 4), model, image)
    with pytest.raises(InvalidKnob, match="window_width must be at most the picture's 14 px; got 15"):
        run(Occlusion(4, 15), model, image)
    with pytest.raises(InvalidKnob, match="stride_height and stride_width must leave at most 20,000 windows"):
        square(1, 1).cost((224, 224))
    for name, value in (("window_height", 0), ("stride_width", 513), ("fill", "grey"), ("output", "odds")):
        with pytest.raises(InvalidKnob, match=rf"^{name} must be"):
            Occlusion(**{name: value})
