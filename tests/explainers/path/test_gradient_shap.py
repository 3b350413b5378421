"""GradientSHAP: a slow mean over the drawn samples, closed forms, and the expectation by Captum's draws."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from captum import attr

from xaiwidgets import GradientShap, GradientXInput, IntegratedGradients, Target
from xaiwidgets.engine.baselines import baseline
from xaiwidgets.engine.noise import noisy_copies
from xaiwidgets.engine.references import images_of
from xaiwidgets.errors import InvalidKnob
from xaiwidgets.model.references import reference_set


@pytest.fixture
def own(registry):
    """Register pictures of their own under a name, and return their inputs."""

    def make(model, count=3):
        rng = np.random.default_rng(1)
        reference_set("mine", [rng.integers(0, 256, (30, 30, 3), dtype=np.uint8) for _ in range(count)])
        return images_of(model, "mine", count)

    return make


def drawn(method, image, references):
    """Return each sample's reference, point of the gradient and factor."""
    which, at = method.plan()
    noisy = noisy_copies(image, range(method.samples), method.noise, method.seed)
    for number in range(method.samples):
        start, end = references[which[number]][None], noisy[number][None]
        yield start, start + float(at[number]) * (end - start), (end if method.noisy_difference else image) - start


def slow(score, method, image, references):
    total = torch.zeros_like(image)
    for _, point, factor in drawn(method, image, references):
        leaf = point.clone().requires_grad_()
        total += factor * torch.autograd.grad(score(leaf), leaf)[0]
    return total[0] / method.samples


MADE = [
    GradientShap(samples=7),
    GradientShap(samples=7, positions="random", seed=5),
    GradientShap(samples=7, noise=0.2),
    GradientShap(samples=7, noise=0.2, noisy_difference=True, positions="random"),
]


@pytest.mark.parametrize("method", MADE, ids=lambda m: f"{m.positions}-{m.noise}-{m.noisy_difference}")
@pytest.mark.parametrize("style", ["functional", "reused"])
def test_is_the_mean_over_its_samples(method, style, net, wrap, picture, run, close):
    module = net(style, pool=False)  # on a plain color, rounding decides a tie in max-pooling
    model = wrap(module)
    image = picture(model)
    references = images_of(model, "plain", 5, image)
    result = run(method, model, image, 2)
    close(result.values, slow(lambda x: module(x)[0, 2], method, image, references))
    starts = torch.cat([start for start, _, _ in drawn(method, image, references)])
    reference = float(module(starts)[:, 2].mean().detach())
    assert result.details["baseline_score"] == pytest.approx(reference)
    assert result.details["explained"] == pytest.approx(result.score - reference)
    assert result.gap == pytest.approx(float(result.values.sum(dtype=float)) - result.score + reference, abs=1e-6)
    assert result.provenance.passes == method.cost((12, 14)) == (7 + 1 + 5, 7)
    assert (result.unit, result.signed) == ("logit", True)
    assert result.notes == ("5 reference pictures of 'plain': black, white, gray, mean, blur.",)


@pytest.mark.parametrize("name", ["blur", "white", "border"])
@pytest.mark.parametrize("samples", [1, 6, 16])
def test_one_baseline_and_even_points_are_midpoint_integrated_gradients(name, samples, net, wrap, picture, run, close):
    model = wrap(net("functional"))
    image = picture(model)
    ours = run(GradientShap(samples=samples, references=name), model, image, 2)
    plain = run(IntegratedGradients(points=max(samples, 2), baseline=name), model, image, 2)
    if samples > 1:
        close(ours.values, plain.values)
        assert ours.gap == pytest.approx(plain.gap, abs=1e-6)


@pytest.mark.parametrize("positions", ["stratified", "random"])
@pytest.mark.parametrize("noise", [0.0, 0.3])
@pytest.mark.parametrize("noisy", [False, True])
def test_linear_net_gives_weights_times_the_difference(positions, noise, noisy, linear, wrap, picture, run, close, own):
    module, weights = linear(5, 6)
    model = wrap(module, (5, 6))
    references, image = own(model), picture(model)
    method = GradientShap(
        samples=8, references="mine", positions=positions, noise=noise, noisy_difference=noisy, pictures=3
    )
    result = run(method, model, image, 3)
    factor = torch.cat([part for _, _, part in drawn(method, image, references)]).mean(dim=0)
    close(result.values, weights[3] * factor)
    if not (noise and noisy):
        assert abs(result.gap) < 1e-5


def test_x2_against_zero_it_is_gradient_times_input_without_biases(net, wrap, picture, run, close):
    model = wrap(net("reused", bias=False))
    image = picture(model)
    product = run(GradientXInput(), model, image, 2).values
    for positions in ("stratified", "random"):
        close(run(GradientShap(references="mean", samples=5, positions=positions), model, image, 2).values, product)


def test_the_sum_approaches_the_difference_of_the_scores(net, wrap, picture, run, own):
    model = wrap(net())
    own(model, 4)
    image = picture(model)
    for seed in range(2):
        method = GradientShap(samples=256, references="mine", positions="random", seed=seed)
        result = run(method, model, image, 2)
        scores = model.scores(images_of(model, "mine", 4), model.target(2))
        expected = result.score - float(scores.mean())
        total = float(result.values.sum(dtype=float))
        assert abs(total - expected) <= 4 * result.details["sum_standard_error"]
        assert result.details["sum_standard_error"] < 0.3 * abs(expected)


def test_even_points_leave_a_smaller_gap_than_random_ones(net, wrap, picture, run, own):
    model = wrap(net())
    own(model, 4)
    image = picture(model)
    gaps = {
        positions: np.mean(
            [
                abs(run(GradientShap(samples=32, references="mine", positions=positions, seed=s), model, image, 2).gap)
                for s in range(5)
            ]
        )
        for positions in ("stratified", "random")
    }
    assert gaps["stratified"] < 0.5 * gaps["random"]


@pytest.mark.parametrize("style", ["module", "functional"])
@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_agrees_with_captum_within_the_error(style, noise, net, wrap, picture, run, own):
    module = net(style)
    model = wrap(module)
    references, image = own(model, 4), picture(model)
    method = GradientShap(samples=256, references="mine", positions="random", noise=noise, noisy_difference=True)
    ours = run(method, model, image, 2)
    spread = noise * float(image.max() - image.min())
    state = np.random.get_state()  # noqa: NPY002 - Captum draws from NumPy's global state
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        np.random.seed(0)  # noqa: NPY002
        theirs = attr.GradientShap(module).attribute(image, references, n_samples=256, stdevs=spread, target=2)[0]
    np.random.set_state(state)  # noqa: NPY002
    error = np.sqrt(2) * ours.details["standard_error"]  # of the difference of two such means
    off = np.abs(ours.values - theirs.detach().numpy()) / error
    assert off.max() < 5
    assert 0.7 < np.sqrt((off**2).mean()) < 1.3, "and no nearer than chance would have it"


def test_every_reference_comes_as_often_as_any_and_nowhere_always(own, wrap, net):
    own(wrap(net()), 4)
    which, at = GradientShap(samples=64, references="mine").plan()
    assert np.bincount(which).tolist() == [16, 16, 16, 16]
    np.testing.assert_allclose(np.sort(at), (np.arange(64) + 0.5) / 64)
    for reference in range(4):
        lower = (at[which == reference] < 0.5).sum()
        assert 4 <= lower <= 12, "spread over the way"
    for prefix in (4, 8, 20):
        assert np.bincount(which[:prefix]).tolist() == [prefix // 4] * 4
    other, _ = GradientShap(samples=64, references="mine", seed=1).plan()
    assert (other != which).any()
    which, at = GradientShap(samples=512, references="mine", positions="random").plan()
    assert np.abs(np.bincount(which) - 128).max() < 5 * np.sqrt(512 * 0.25 * 0.75)
    assert abs(at.mean() - 0.5) < 5 * np.sqrt(1 / 12 / 512)
    shorter = GradientShap(samples=100, references="mine", positions="random").plan()
    np.testing.assert_array_equal(shorter[0], which[:100])
    np.testing.assert_array_equal(shorter[1], at[:100])


def test_the_map_comes_first_and_the_gap_last(net, wrap, picture):
    model = wrap(net())
    image = picture(model)
    model.remember(("batch size", True), lambda: 4)
    results = list(GradientShap(samples=12).steps(model, image, model.target(2)))
    assert [round(r.progress * (3 * 12 + 5)) for r in results] == [12, 24, 36, 40, 41]
    assert [r.gap is None for r in results] == [True] * 4 + [False]
    for result in results[3:]:
        np.testing.assert_array_equal(result.values, results[2].values)


def test_few_pictures_of_a_large_set_and_no_more_than_samples(net, wrap, picture, run, own):
    model = wrap(net())
    own(model, 10)
    image = picture(model)
    method = GradientShap(references="mine", pictures=4, samples=9)
    assert run(method, model, image).provenance.passes == method.cost((12, 14)) == (9 + 1 + 4, 9)
    method = GradientShap(references="mine", pictures=8, samples=2)
    assert run(method, model, image).provenance.passes == method.cost((12, 14)) == (2 + 1 + 2, 2)


def test_the_picture_as_its_own_reference_gets_nothing(net, wrap, run):
    model = wrap(net())
    image = baseline(model, torch.zeros(1, 3, 12, 14, dtype=torch.float64), "white")
    result = run(GradientShap(references="white", samples=4), model, image)
    assert not result.values.any()
    assert result.gap == pytest.approx(0, abs=1e-12)


def test_a_hidden_unit_can_be_explained(net, wrap, picture, run, close):
    module = net(pool=False)
    model = wrap(module)
    image = picture(model)
    method = GradientShap(samples=6)
    found = run(method, model, image, Target.hidden("first", 2))
    references = images_of(model, "plain", 5, image)
    close(found.values, slow(lambda x: module.first(module.one(x))[0, 2].mean(), method, image, references))
    assert found.unit == "activation"


@pytest.mark.parametrize(
    ("knobs", "named"),
    [
        ({"samples": 0}, "samples"),
        ({"references": "nowhere"}, "references"),
        ({"references": "../photos"}, "references"),
        ({"noise": -0.1}, "noise"),
        ({"noisy_difference": 1}, "noisy_difference"),
        ({"positions": "sobol"}, "positions"),
        ({"pictures": 0}, "pictures"),
        ({"seed": -1}, "seed"),
    ],
)
def test_bad_knobs_are_named(knobs, named):
    with pytest.raises(InvalidKnob, match=rf"^{named} must be"):
        GradientShap(**knobs)
