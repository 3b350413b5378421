"""XRAI: the authors' program on the same path integrals, and what regions must fulfil."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from saliency.core import xrai
from skimage.transform import resize

from xaiwidgets import Target, Xrai
from xaiwidgets.engine import regions
from xaiwidgets.engine.baselines import baseline
from xaiwidgets.errors import InvalidKnob


def attribution_of(score, image, starts, points):
    """The mean over baselines of the midpoint rule, ``(C, H, W)``."""
    total = torch.zeros_like(image)
    for start in starts:
        for k in range(points):
            leaf = (start + (k + 0.5) / points * (image - start)).requires_grad_()
            total += (image - start) * torch.autograd.grad(score(leaf), leaf)[0] / points / len(starts)
    return total[0].detach().numpy()


@pytest.fixture(autouse=True)
def without_a_gray_border(monkeypatch):
    """The authors' photos fade to gray at the border where their size changes; ours keep their own colors."""
    monkeypatch.setattr(xrai, "resize", lambda *given, **options: resize(*given, **{**options, "mode": "edge"}))


def theirs(model, image, attribution, algorithm="full", segments=None, **experimental):
    """PAIR's map from ``(C, H, W)``, of which it takes the maximum over channels itself; segmented by it, too."""
    options = xrai.XRAIParameters(algorithm=algorithm)
    options.experimental_params.update(experimental)
    photo, values = model.to_pixels(image).astype(np.float64), attribution.transpose(1, 2, 0)
    return xrai.XRAI().GetMask(photo, None, base_attribution=values, segments=segments, extra_parameters=options)


def masks(model, image):
    """Our segments as masks, which take less time than theirs; that they are the same is tested with the regions."""
    photo = model.to_pixels(image)
    found = [s for scale in regions.SCALES for s in regions.segments_of(regions.labels_at(photo, scale))]
    drawn = np.zeros((len(found), *photo.shape[:2]), bool)
    for mask, segment in zip(drawn, found, strict=True):
        mask.ravel()[segment] = True
    return list(drawn)


def blobs(model, seed=0):
    """A random input that has segments; not flat, since max-pooling would find several largest values there."""
    generator = torch.Generator().manual_seed(seed)
    channels, height, width = model.input_shape
    coarse = torch.randn((1, channels, 5, 6), generator=generator, dtype=torch.float64)
    fine = torch.randn((1, channels, height, width), generator=generator, dtype=torch.float64)
    large = torch.nn.functional.interpolate(coarse, size=(height, width), mode="nearest")
    return (large + 0.01 * fine).to(model.like)


@pytest.mark.parametrize("algorithm", ["full", "fast"])
@pytest.mark.parametrize("style", ["functional", "reused"])
def test_equals_the_authors_program(style, algorithm, net, wrap, run, close):
    module = net(style)
    model = wrap(module, (60, 66))
    image = blobs(model)
    starts = [baseline(model, image, name) for name in ("black", "white")]
    values = attribution_of(lambda x: module(x)[0, 2], image, starts, 7)
    wanted = theirs(model, image, values, algorithm, None if style == "functional" else masks(model, image))
    result = run(Xrai(points=7, algorithm=algorithm), model, image, 2)
    close(result.values[0], wanted, 1e-6)
    close(result.details["attribution"], values.max(axis=0))
    assert len(result.details["gains"]) > 5
    assert result.score == pytest.approx(float(module(image)[0, 2].detach()))
    assert (result.unit, result.signed, result.gap) == ("logit", True, None)


def test_equals_the_authors_program_on_the_bundled_network(lite0, run, close):
    """In float32, as loaded, from our path integral and segments."""
    model, image, target = lite0
    result = run(Xrai(points=2), model, image, target)
    values = result.details["attribution"]
    wanted = theirs(model, image, np.stack([values] * 3), segments=masks(model, image))
    close(result.values[0], wanted, 1e-6)
    assert len(result.details["gains"]) > 50


@pytest.mark.parametrize("least", [1, 200])
def test_least_pixels_and_dilation(least, net, wrap, run, close, monkeypatch):
    module = net()
    model = wrap(module, (60, 66))
    image = blobs(model)
    starts = [baseline(model, image, name) for name in ("black", "white")]
    values = attribution_of(lambda x: module(x)[0, 0], image, starts, 3)
    plain = xrai._get_segments_felzenszwalb
    monkeypatch.setattr(xrai, "_get_segments_felzenszwalb", lambda photo: plain(photo, dilation_rad=2))
    wanted = theirs(model, image, values, min_pixel_diff=least)
    close(run(Xrai(points=3, least=least, dilation=2), model, image).values[0], wanted, 1e-6)


def test_the_photos_own_ends_as_baselines(net, wrap, run, close):
    module = net()
    model = wrap(module, (40, 44))
    image = blobs(model)
    starts = [torch.full_like(image, float(level)) for level in (image.min(), image.max())]
    values = attribution_of(lambda x: module(x)[0, 1], image, starts, 5)
    found = run(Xrai(points=5, baselines="darkest and brightest"), model, image, 1)
    close(found.details["attribution"], values.max(axis=0))


def test_summed_channels_are_complete(net, wrap, run, close):
    module = net()
    model = wrap(module, (40, 44))
    image = blobs(model)
    starts = [baseline(model, image, name) for name in ("black", "white")]
    values = attribution_of(lambda x: module(x)[0, 1], image, starts, 6).sum(axis=0)
    result = run(Xrai(points=6, channels="sum"), model, image, 1)
    close(result.details["attribution"], values)
    at = lambda x: float(module(x)[0, 1].detach())
    difference = at(image) - (at(starts[0]) + at(starts[1])) / 2
    assert result.details["explained"] == pytest.approx(difference)
    assert result.gap == pytest.approx(values.sum() - difference, abs=1e-9)
    finer = run(Xrai(points=200, channels="sum"), model, image, 1)
    assert abs(finer.gap) < 0.01 * abs(difference) + 0.1 * abs(result.gap)
    assert finer.values.sum(dtype=float) == pytest.approx(difference + finer.gap, rel=1e-5)


def test_every_result_tells_how_far_its_path_is_from_complete(net, wrap):
    """Before the path is done, too: the gap falls to that of the whole, and only a sum has one."""
    module = net()
    model = wrap(module, (40, 44))
    model.remember(("batch size", True), lambda: 4)
    image, path = blobs(model), 16
    starts = torch.cat([baseline(model, image, name) for name in ("black", "white")])
    with torch.no_grad():
        explained = float(module(image)[0, 1] - module(starts)[:, 1].mean())
    results = list(Xrai(points=path, channels="sum").steps(model, image, model.target(1)))
    for result in results[: path // 2]:
        assert result.gap == pytest.approx(result.values.sum(dtype=float) - explained, abs=1e-5)
    assert {result.gap for result in results[path // 2 :]} == {results[path // 2 - 1].gap}
    assert abs(results[0].gap) > abs(results[-1].gap)
    assert all(r.gap is None for r in Xrai(points=path).steps(model, image, model.target(1)))


def test_linear_net(linear, wrap, run, close):
    """Any number of points gives (x − 1/2 (black + white)) ⊙ w."""
    module, weights = linear(24, 30)
    model = wrap(module, (24, 30))
    image = blobs(model)
    middle = (baseline(model, image, "black") + baseline(model, image, "white")) / 2
    wanted = ((image - middle)[0] * weights[3]).sum(dim=0)
    result = run(Xrai(points=2, channels="sum"), model, image, 3)
    close(result.details["attribution"], wanted)
    assert abs(result.gap) < 1e-9
    regions_of = [result.details["order"] == k for k in range(1, 1 + len(result.details["gains"]))]
    for number, region in enumerate(regions_of):
        if all((region & other).sum() == 0 for other in regions_of[:number]):
            close(result.values[0][region], np.full(region.sum(), float(wanted.numpy()[region].mean())), 1e-6)


@pytest.mark.parametrize("method", [Xrai(), Xrai(algorithm="fast"), Xrai(channels="sum"), Xrai(area=0.3)], ids=repr)
def test_every_map_of_regions_sums_to_the_attribution(method, net, wrap):
    model = wrap(net(), (60, 66))
    image = blobs(model)
    model.remember(("batch size", True), lambda: 4)
    results = list(method.steps(model, image, model.target(1)))
    assert 12 + 6 < len(results) <= 12 + 6 + 16 + 1
    total = results[11].values.sum(dtype=float)
    for result in results[12:]:
        assert result.values.sum(dtype=float) == pytest.approx(total, rel=1e-4, abs=1e-6)
    assert [r.progress for r in results] == sorted({r.progress for r in results})
    assert results[-1].progress == 1


def test_the_list_of_regions_is_in_the_order_they_came(net, wrap):
    model = wrap(net(), (60, 66))
    image = blobs(model)
    *before, last = Xrai(points=4).steps(model, image, model.target(1))
    order, gains, areas = (last.details[name] for name in ("order", "gains", "areas"))
    assert len(gains) == len(areas) == order.max()
    for number in range(1, order.max() + 1):
        region = order == number
        assert region.mean() == pytest.approx(areas[number - 1])
        np.testing.assert_allclose(last.values[0][region], gains[number - 1], rtol=1e-6)
        assert last.details["attribution"][region].mean() == pytest.approx(gains[number - 1])
    counts = [len(r.details["gains"]) for r in before if "gains" in r.details]
    assert counts == sorted(set(counts))
    assert len(counts) > 3
    for result, count in zip([r for r in before if "gains" in r.details], counts, strict=True):
        np.testing.assert_array_equal(result.details["order"], np.where(order <= count, order, 0))
    first = regions.top(order, 0.2)
    assert first.mean() >= 0.2
    assert (order[first].max() < order[~first & (order > 0)]).all()


def test_stops_at_the_area_that_was_asked_for(net, wrap, run):
    model = wrap(net(), (60, 66))
    image = blobs(model)
    whole, part = run(Xrai(points=4), model, image, 1), run(Xrai(points=4, area=0.3), model, image, 1)
    assert 0.3 <= part.details["areas"].sum() < 0.9
    count = len(part.details["gains"])
    assert part.details["areas"][:-1].sum() < 0.3
    np.testing.assert_array_equal(part.details["gains"], whole.details["gains"][:count])
    rest = part.details["order"] == 0
    np.testing.assert_allclose(part.values[0][rest], part.details["attribution"][rest].mean(), rtol=1e-6)


def test_a_photo_of_one_color_is_one_region(net, wrap, run):
    model = wrap(net(), (20, 24))
    result = run(Xrai(points=3), model, torch.full((1, 3, 20, 24), 0.4, dtype=torch.float64))
    assert (result.details["order"] == 1).all()
    np.testing.assert_allclose(result.values, result.details["attribution"].mean(), rtol=1e-6)


def test_a_gray_network(wrap, net, run):
    model = wrap(net(channels=1), (30, 33), (0.5,), (0.25,))
    result = run(Xrai(points=3), model, blobs(model))
    assert result.values.shape == (1, 30, 33)
    assert len(result.details["gains"]) > 1


def test_a_hidden_unit_can_be_explained(net, wrap, run, close):
    module = net()
    model = wrap(module, (40, 44))
    image = blobs(model)
    starts = [baseline(model, image, name) for name in ("black", "white")]

    def score(x):
        kept = torch.nn.functional.max_pool2d(module.first(module.one(x)), 2)
        return module.two(kept)[0, 2].mean()

    result = run(Xrai(points=3), model, image, Target.hidden("two", 2))
    close(result.details["attribution"], attribution_of(score, image, starts, 3).max(axis=0))
    assert result.unit == "activation"


@pytest.mark.parametrize(
    ("name", "value"), [("points", 1), ("algorithm", "slow"), ("area", 0.0), ("channels", "mean"), ("least", 0)]
)
def test_bad_knobs_are_named(name, value):
    with pytest.raises(InvalidKnob, match=rf"^{name} must be"):
        Xrai(**{name: value})
