"""Prediction difference: the weight of evidence against samples of a window, from first principles."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

import xaiwidgets as xw
from xaiwidgets import PredictionDifference, Target
from xaiwidgets.engine.baselines import baseline
from xaiwidgets.engine.references import images_of
from xaiwidgets.errors import InvalidKnob
from xaiwidgets.explainers.perturbation import prediction_difference
from xaiwidgets.model import references

SIZE = (12, 14)


@pytest.fixture(autouse=True)
def registry(monkeypatch):
    """Each test has a registry of its own."""
    monkeypatch.setattr(references, "_SETS", {})


@pytest.fixture
def photos():
    """Register six pictures of random squares, and return them as the nets see them."""

    def make(model, count=6, name="own"):
        rng = np.random.default_rng(8)
        pictures = [
            (255 * rng.random((*SIZE, 3)).repeat(3, axis=0).repeat(3, axis=1)).astype(np.uint8) for _ in range(count)
        ]
        xw.reference_set(name, pictures)
        return np.stack([model.input(one)[0].numpy() for one in pictures])

    return make


def flat(level):
    return np.full((32, 32, 3), level, np.uint8)


def bits(p, classes=5, observations=1_000_000):
    """log₂ of the odds after Laplace's correction."""
    p = (p * observations + 1) / (observations + classes)
    return math.log2(p / (1 - p))


def filled(image, references, window, stride, pad, samples, seed, sampler):
    """Yield (box, its filled copies), with every Gaussian fitted and conditioned by the textbook."""
    _, channels, height, width = image.shape
    side = window + 2 * pad
    for top in range(0, -(-(height - window) // stride) * stride + 1, stride):
        for left in range(0, -(-(width - window) // stride) * stride + 1, stride):
            bottom, right = min(top + window, height), min(left + window, width)
            copies = []
            for sample in range(samples):
                copy = image.clone()
                if sampler == "marginal":
                    turn = np.random.default_rng((seed, top, left, sample // len(references)))
                    picture = references[turn.permutation(len(references))[sample % len(references)]]
                    copy[0, :, top:bottom, left:right] = torch.as_tensor(picture[:, top:bottom, left:right])
                else:
                    shape = (channels, (bottom - top) * (right - left))
                    noise = np.random.default_rng((seed, top, left, sample)).standard_normal(shape)
                    for channel in range(channels):
                        patches = np.array([
                            one[channel, r : r + side, c : c + side].ravel()
                            for one in references
                            for r in range(height - side + 1)
                            for c in range(width - side + 1)
                        ])  # fmt: skip
                        covariance = np.cov(patches.T, bias=True)
                        covariance += 1e-3 * np.trace(covariance) / side**2 * np.eye(side**2)
                        above, before = max(top - pad, 0), max(left - pad, 0)
                        there = [
                            (r, c)
                            for r in range(above, min(bottom + pad, height))
                            for c in range(before, min(right + pad, width))
                        ]
                        number = [(r - above) * side + c - before for r, c in there]
                        value = np.array([float(image[0, channel, r, c]) for r, c in there])
                        inside = np.array([top <= r < bottom and left <= c < right for r, c in there])
                        mean = patches.mean(axis=0)[number]
                        block = covariance[np.ix_(number, number)]
                        gain = block[inside][:, ~inside] @ np.linalg.inv(block[~inside][:, ~inside])
                        middle = mean[inside] + gain @ (value - mean)[~inside]
                        spread = block[inside][:, inside] - gain @ block[~inside][:, inside]
                        drawn = middle + np.linalg.cholesky(spread) @ noise[channel]
                        drawn = torch.as_tensor(drawn).reshape(bottom - top, right - left)
                        low = (0 - (0.4, 0.5, 0.6)[channel]) / (0.2, 0.25, 0.3)[channel]
                        high = (1 - (0.4, 0.5, 0.6)[channel]) / (0.2, 0.25, 0.3)[channel]
                        copy[0, channel, top:bottom, left:right] = drawn.clamp(low, high)
                copies.append(copy)
            yield (slice(top, bottom), slice(left, right)), copies


def slow(score, measure, image, *how):
    total, count, errors = np.zeros(SIZE), np.zeros(SIZE), np.zeros(SIZE)
    whole = score(image)
    for box, copies in filled(image, *how):
        found = np.array([score(copy) for copy in copies])
        total[box] += measure(whole) - measure(found.mean())
        count[box] += 1
        errors[box] += found.var(ddof=1) / len(found)
    return (total / count)[None], (np.sqrt(errors) / count)[None]


@pytest.mark.parametrize("style", ["functional", "reused"])
@pytest.mark.parametrize("sampler", ["conditional", "marginal"])
@pytest.mark.parametrize("measure", ["evidence", "difference"])
def test_is_the_definition(measure, sampler, style, net, wrap, picture, run, close, photos):
    module = net(style)
    model = wrap(module)
    image, others = picture(model) * 0.8, photos(model)
    how = others, 3, 3, 1, 3, 2, sampler
    method = PredictionDifference(
        window=3, stride=3, pad=1, samples=3, seed=2, sampler=sampler, measure=measure, references="own"
    )
    with torch.no_grad():
        score = lambda x: float(module(x).softmax(1)[0, 2])
        wanted, error = slow(score, bits if measure == "evidence" else float, image, *how)
    result = run(method, model, image, 2)
    close(result.values, wanted, 1e-6)
    assert result.signed
    assert result.unit == ("bits" if measure == "evidence" else "probability")
    if measure == "difference":
        close(result.details["standard_error"], error, 1e-6)


def test_overlapping_windows_are_averaged_and_cut_off_at_the_border(net, wrap, picture, run, close, photos):
    module = net()
    model = wrap(module)
    image, others = picture(model), photos(model)
    method = PredictionDifference(window=4, stride=3, pad=2, samples=2, references="own", sampler="marginal")
    with torch.no_grad():
        wanted, _ = slow(lambda x: float(module(x).softmax(1)[0, 1]), bits, image, others, 4, 3, 2, 2, 0, "marginal")
    close(run(method, model, image, 1).values, wanted)


class Logistic(nn.Module):
    """Two classes with logits (w·x, 0) over one channel."""

    def __init__(self, weights):
        super().__init__()
        self.weights = nn.Parameter(weights)

    def forward(self, x):
        score = (x * self.weights).sum(dim=(1, 2, 3))
        return torch.stack([score, torch.zeros_like(score)], dim=1)


def test_binary_pixels_of_a_logistic_model_have_a_closed_form(wrap, run, close):
    """Both values of each pixel, once each: p(c|x∖i) = (σ(w·x with x_i = 0) + σ(w·x with x_i = 1)) / 2."""
    weights = torch.randn((1, 4, 5), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    model = wrap(Logistic(weights), (4, 5), (0.0,), (1.0,))
    xw.reference_set("binary", [flat(0), flat(255)])
    image = (torch.rand((1, 1, 4, 5), generator=torch.Generator().manual_seed(1)) < 0.5).double()
    z = float((image * weights).sum())
    off = z - (image * weights)[0].numpy()
    sigmoid = lambda z: 1 / (1 + np.exp(-z))
    p = (sigmoid(off) + sigmoid(off + weights.numpy())) / 2
    odds = np.vectorize(lambda p: bits(p, classes=2, observations=10**9))
    method = PredictionDifference(
        window=1, stride=1, samples=2, sampler="marginal", references="binary", observations=10**9
    )
    close(run(method, model, image, 0).values, odds(sigmoid(z)) - odds(p), 1e-6)
    without = odds(sigmoid(z))
    assert abs(without - z / math.log(2)) < 1e-6, "of a logistic model the odds are its score"


def test_the_true_content_tells_nothing(net, wrap, picture, run, monkeypatch):
    model = wrap(net())
    image = picture(model).clamp(-1.5, 1.2)
    truth = lambda _model, image, *_: lambda box, _n: image[:, box[0] : box[2], box[1] : box[3]]
    monkeypatch.setattr(prediction_difference, "conditional", truth)
    for knobs in ({}, {"colors": "together"}, {"measure": "difference"}):
        found = run(PredictionDifference(window=4, stride=2, **knobs), model, image)
        assert np.abs(found.values).max() < 1e-8


class LeftHalf(nn.Module):
    def forward(self, x):
        return torch.stack([x[..., :6].square().mean(dim=(1, 2, 3)), torch.zeros(len(x), dtype=x.dtype)], 1)


@pytest.mark.parametrize("sampler", ["conditional", "marginal"])
def test_what_the_net_does_not_see_gets_nothing(sampler, wrap, picture, run):
    model = wrap(LeftHalf(), (8, 12))
    found = run(PredictionDifference(window=3, stride=3, sampler=sampler), model, picture(model))
    assert np.abs(found.values[..., 6:]).max() < 1e-12
    assert np.abs(found.values[..., :6]).max() > 1e-3


class Sure(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.classes = classes

    def forward(self, x):
        found = torch.zeros((len(x), self.classes), dtype=x.dtype)
        found[:, 0] = 1e4 * x.mean(dim=(1, 2, 3))
        return found


@pytest.mark.parametrize(("classes", "target"), [(3, 0), (3, (0, 1, 2)), (1, 0)])
def test_a_sure_prediction_has_finite_evidence(classes, target, wrap, run):
    model = wrap(Sure(classes), (8, 8), (0.0,) * 3, (1.0,) * 3)
    image = torch.full((1, 3, 8, 8), 0.9, dtype=torch.float64)
    result = run(PredictionDifference(window=4, stride=4, observations=1000), model, image, target)
    assert result.score == 1
    assert np.isfinite(result.values).all()
    assert np.isfinite(result.details["standard_error"]).all()
    if target == 0 and classes == 3:
        assert bits(1.0, 3, 1000) == pytest.approx(math.log2(1001 / 2))


def test_hidden_units_and_differences_are_plain_differences(net, wrap, picture, run, close, photos):
    module = net()
    model = wrap(module)
    image, others = picture(model), photos(model)
    method = PredictionDifference(window=3, stride=4, samples=2, sampler="marginal", references="own")
    how = image, others, 3, 4, 2, 2, 0, "marginal"
    with torch.no_grad():
        hidden, _ = slow_with_gaps(lambda x: float(module.one(x)[0, 2].mean()), *how)
        apart, _ = slow_with_gaps(lambda x: float((p := module(x).softmax(1)[0])[1] - p[3]), *how)
    found = run(method, model, image, Target.hidden("one", 2))
    close(found.values, hidden)
    assert found.unit == "activation"
    found = run(method, model, image, Target.difference(1, 3))
    close(found.values, apart)
    assert found.unit == "probability"


def slow_with_gaps(score, image, *how):
    with np.errstate(invalid="ignore"):
        found, error = slow(score, float, image, *how)
    return np.nan_to_num(found), error


def test_the_sum_of_several_classes_has_its_own_correction(net, wrap, picture, run):
    model = wrap(net())
    image = picture(model)
    xw.reference_set("own", [flat(0), flat(255)])
    method = PredictionDifference(window=12, stride=12, samples=2, sampler="marginal", references="own", observations=9)
    result = run(method, model, image, (0, 2))
    odds = lambda p: math.log2((p * 9 + 2) / (9 + 5 - p * 9 - 2))
    score = lambda x: float(model.probabilities(x)[0, [0, 2]].sum())
    ends = []
    for one in ("black", "white"):
        hidden = image.clone()
        hidden[..., :12] = baseline(model, image, one)[..., :12]
        ends.append(score(hidden))
    assert result.details["windows"][0, 0] == pytest.approx(odds(score(image)) - odds(np.mean(ends)), rel=1e-7)


def test_a_prefix_is_the_mean_over_the_samples_so_far(net, wrap, picture, photos):
    model = wrap(net())
    image, others = picture(model), photos(model)
    model.remember(("batch size", False), lambda: 4)
    method = PredictionDifference(
        window=4, stride=4, samples=3, sampler="marginal", references="own", measure="difference"
    )
    assert method.cost(SIZE) == (3 * 12 + 1, 0)
    results = list(method.steps(model, image, model.target(1)))
    assert len(results) == 9
    first = results[0]
    whole, copies = float(model.probabilities(image)[0, 1]), {}
    for (rows, columns), found in filled(image, others, 4, 4, 2, 3, 0, "marginal"):
        copies[rows.start // 4, columns.start // 4] = [float(model.probabilities(one)[0, 1]) for one in found]
    known = ~np.isnan(first.details["windows"])
    assert known.sum() == 2, "three samples of the first window, and one of the second"
    assert first.details["windows"][0, 0] == pytest.approx(whole - np.mean(copies[0, 0]))
    (other,) = [tuple(place) for place in np.argwhere(known) if tuple(place) != (0, 0)]
    assert first.details["windows"][other] == pytest.approx(whole - copies[other][0])
    done = first.details["done"]
    assert (done[:4, :4] == 1).all()
    assert done.sum() == 16, "a window counts as done when all its samples are"
    assert (results[-1].details["done"] == 1).all()
    assert all(np.isfinite(one.values).all() and np.isfinite(one.details["standard_error"]).all() for one in results)
    single = PredictionDifference(window=4, samples=1)
    assert all("standard_error" not in one.details for one in single.steps(model, image, model.target(1)))


def test_where_the_patches_come_from_is_told(net, wrap, picture, run, photos):
    model = wrap(net())
    image = picture(model)
    photos(model, 4)
    few = {"window": 3, "stride": 6, "samples": 2}
    usual = run(PredictionDifference(**few), model, image)
    assert usual.notes[0].startswith("8 reference pictures of 'photos'")
    assert usual.notes[1].startswith("8 are few for what photos may look like: 64 or more are better")
    for knobs in ({"references": "own"}, {"references": "gray"}, {"references": "plain", "sampler": "marginal"}):
        found = run(PredictionDifference(**few, **knobs), model, image)
        (note,) = found.notes
        name = knobs["references"]
        assert note.startswith(f"{name!r} has too few photos to take patches from, so they come from this photo itself")
        assert note.endswith("xaiwidgets.reference_set(name, folder) adds your own.")
        assert found.values.any()
    assert run(PredictionDifference(**few, references="own", sampler="marginal"), model, image).notes[0].startswith("4")


def test_the_photo_does_not_fill_its_own_windows(net, wrap, run):
    model = wrap(net())
    image = model.input("coffee")
    xw.reference_set("pair", ["coffee", "rocket"])
    found = run(PredictionDifference(window=4, sampler="marginal", references="pair"), model, image)
    assert "come from this photo itself" in found.notes[0], "one other photo is too few"
    xw.reference_set("three", ["coffee", "rocket", "china"])
    many = run(
        PredictionDifference(window=12, stride=12, samples=2, sampler="marginal", references="three"), model, image
    )
    score = []
    for other in ("rocket", "china"):
        hidden = image.clone()
        hidden[..., :12] = model.input(other)[..., :12]
        score.append(float(model.probabilities(hidden)[0, 0]))
    whole = float(model.probabilities(image)[0, 0])
    assert many.details["windows"][0, 0] == pytest.approx(bits(whole) - bits(np.mean(score)), rel=1e-6)


def test_the_fit_is_made_once_for_a_set(net, wrap, picture, run, monkeypatch):
    model = wrap(net())
    fits = []
    plain = prediction_difference.PatchModel.fit
    monkeypatch.setattr(prediction_difference.PatchModel, "fit", lambda *a: fits.append(1) or plain(*a))
    for seed in range(3):
        run(PredictionDifference(window=3, stride=6, samples=1, seed=seed), model, picture(model, seed))
    assert len(fits) == 1
    run(PredictionDifference(window=3, stride=6, samples=1, colors="together"), model, picture(model))
    assert len(fits) == 2


def test_on_the_bundled_network(lite0):
    model, image, target = lite0
    method = PredictionDifference(window=32, stride=64, samples=2, sampler="marginal")
    result = list(method.steps(model, image, model.target(target)))[-1]
    others = images_of(model, "photos", 64)[1:]
    with torch.no_grad():
        whole = float(model.module(image).softmax(1)[0, target])
    windows = result.details["windows"]
    assert windows.shape == (4, 4)
    for place in (np.unravel_index(windows.argmax(), windows.shape), (0, 3)):
        top, left = (64 * int(index) for index in place)
        order = np.random.default_rng((0, top, left, 0)).permutation(len(others))
        score = []
        for number in order[:2]:
            hidden = image.clone()
            hidden[..., top : top + 32, left : left + 32] = others[number, :, top : top + 32, left : left + 32]
            with torch.no_grad():
                score.append(float(model.module(hidden).softmax(1)[0, target]))
        assert windows[place] == pytest.approx(bits(whole, 1000) - bits(np.mean(score), 1000), rel=1e-3, abs=1e-3)
    assert 64 * int(windows.argmax() // 4) < 128, "the coffee is in the upper half"


def test_bad_knobs_are_named(net, wrap, picture, run):
    for name, value in (
        ("window", 0), ("window", 65), ("samples", 0), ("sampler", "gibbs"), ("references", "no/path"),
        ("measure", "odds"), ("observations", 0), ("patches", 15), ("pad", 9), ("colors", "gray"),
    ):  # fmt: skip
        with pytest.raises(InvalidKnob, match=rf"^{name} must be"):
            PredictionDifference(**{name: value})
    with pytest.raises(InvalidKnob, match=r"references must be one of .*reference_set"):
        PredictionDifference(references="nowhere")
    with pytest.raises(InvalidKnob, match=r"window and twice pad must be at most 48 px .* got 47 \+ 2 · 2.*marginal"):
        PredictionDifference(window=47)
    PredictionDifference(window=47, sampler="marginal")
    model = wrap(net())
    with pytest.raises(InvalidKnob, match="window must be at most the picture's 12 px; got 16"):
        run(PredictionDifference(), model, picture(model))
    with pytest.raises(InvalidKnob, match="stride and samples must leave at most 50,000 passes; 1 and 4 give 174,724"):
        PredictionDifference(stride=1).cost((224, 224))
