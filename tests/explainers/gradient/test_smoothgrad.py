"""SmoothGrad: closed forms, captum with the same noise, and any other explainer inside."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from captum import attr
from scipy.stats import norm
from torch import nn

import xaiwidgets as xw
from xaiwidgets import SmoothGrad, Target
from xaiwidgets.core.cards import choices, resolve
from xaiwidgets.core.knobs import knobs_of
from xaiwidgets.errors import InvalidKnob, NotApplicable

BASES = [card.id for k in knobs_of(SmoothGrad) if k.name == "base" for card in choices(k.domain)]


def noises(method, image):
    """The noise that the method adds, copy by copy."""
    spread = method.noise * float(image.max() - image.min())
    drawn = []
    for number in range(method.samples):
        generator = torch.Generator().manual_seed(method.seed * 1_000_003 + number)
        drawn.append(spread * torch.randn(image.shape[1:], generator=generator))
    return torch.stack(drawn).to(image)


@pytest.mark.parametrize("style", ["functional", "reused"])
@pytest.mark.parametrize("moment", ["mean", "square", "variance"])
def test_is_the_moment_over_noisy_copies(moment, style, net, wrap, picture, run, close):
    module = net(style)
    model = wrap(module)
    image = picture(model)
    method = SmoothGrad(samples=9, moment=moment, seed=4)
    maps = []
    for noise in noises(method, image):
        leaf = (image + noise).requires_grad_()
        maps.append(torch.autograd.grad(module(leaf)[0, 1], leaf)[0][0].numpy())
    wanted = {"mean": np.mean(maps, 0), "square": np.mean(np.square(maps), 0), "variance": np.var(maps, 0)}[moment]
    result = run(method, model, image, 1)
    close(result.values, wanted)
    close(result.details["standard_error"], np.std(maps, 0, ddof=1) / 3)
    assert result.score == pytest.approx(float(module(image)[0, 1].detach()))
    assert result.unit == "logit per unit of input" if moment == "mean" else result.unit.endswith("²")


@pytest.mark.parametrize("base", BASES)
def test_without_noise_it_is_the_base(base, net, wrap, picture, run):
    model = wrap(net(), (34, 36))
    image = picture(model)
    alone = run(resolve(base), model, image, 2)
    found = run(SmoothGrad(samples=2, noise=0.0, base=base), model, image, 2)
    np.testing.assert_allclose(found.values, alone.values, rtol=0, atol=1e-7 * np.abs(alone.values).max())
    assert (found.unit, found.reduction, found.signed, found.layer) == (
        alone.unit,
        alone.reduction,
        alone.signed,
        alone.layer,
    )
    assert not found.details["standard_error"].any()


@pytest.mark.parametrize("base", ["saliency", "lrp", "integrated_gradients"])
def test_a_single_copy_without_noise_is_the_base_to_the_last_bit(base, net, wrap, picture, run):
    model = wrap(net().float())
    image = picture(model)
    alone = run(resolve(base), model, image, 2).values
    wanted = {"mean": alone, "square": np.square(alone.astype(float)).astype(np.float32), "variance": 0 * alone}
    for moment, values in wanted.items():
        found = run(SmoothGrad(samples=1, noise=0.0, base=base, moment=moment), model, image, 2)
        np.testing.assert_array_equal(found.values, values)


@pytest.mark.parametrize(("moment", "power"), [("mean", 1), ("square", 2)])
def test_linear_net_gives_its_weights(moment, power, linear, wrap, picture, run, close):
    module, weights = linear(5, 6)
    model = wrap(module, (5, 6))
    image = picture(model)
    close(run(SmoothGrad(noise=0.4, moment=moment), model, image, 3).values, weights[3] ** power)
    assert np.abs(run(SmoothGrad(noise=0.4, moment="variance"), model, image, 3).values).max() < 1e-12


class Rectified(nn.Module):
    def forward(self, x):
        return x.relu().sum(dim=(1, 2, 3))[:, None]


def test_smooths_a_kink_into_the_normal_distribution(wrap, run):
    """For f = Σ relu(x), the mean gradient at x is Φ(x / σ)."""
    model = wrap(Rectified(), (50, 50), mean=(0.0,), std=(1.0,))
    image = torch.full((1, 1, 50, 50), 0.3)
    image[..., 25:] = -0.2
    result = run(SmoothGrad(samples=64, noise=0.6), model, image)
    for part, level in ((result.values[..., :25], 0.3), (result.values[..., 25:], -0.2)):
        wanted = norm.cdf(level / (0.6 * 0.5))
        error = np.sqrt(wanted * (1 - wanted) / (64 * part.size))
        assert abs(part.mean(dtype=float) - wanted) < 4 * error


@pytest.mark.parametrize(
    ("moment", "theirs"), [("mean", "smoothgrad"), ("square", "smoothgrad_sq"), ("variance", "vargrad")]
)
@pytest.mark.parametrize("style", ["module", "functional"])
def test_equals_captum_with_the_same_noise(style, moment, theirs, net, wrap, picture, run, close, monkeypatch):
    module = net(style)
    model = wrap(module)
    image = picture(model)
    method = SmoothGrad(samples=6, moment=moment)
    drawn = noises(method, image)
    monkeypatch.setattr(torch, "normal", lambda mean, std, **_: drawn)
    found = attr.NoiseTunnel(attr.Saliency(module)).attribute(
        image.clone().requires_grad_(), nt_type=theirs, nt_samples=6, stdevs=1.0, abs=False, target=2
    )
    monkeypatch.undo()
    close(run(method, model, image, 2).values, found[0], 1e-5)


def test_equals_captum_on_the_bundled_network(lite0_double, run, close, monkeypatch):
    model, image, target = lite0_double
    method = SmoothGrad(samples=2)
    drawn = noises(method, image)
    monkeypatch.setattr(torch, "normal", lambda mean, std, **_: drawn)
    found = attr.NoiseTunnel(attr.Saliency(model.module)).attribute(
        image.clone().requires_grad_(), nt_samples=2, stdevs=1.0, abs=False, target=target
    )
    monkeypatch.undo()
    close(run(method, model, image, target).values, found[0])


def test_around_a_base_of_many_steps_it_yields_at_each_of_them(net, wrap, picture):
    model = wrap(net())
    image = picture(model)
    model.remember(("batch size", True), lambda: 4)
    results = list(SmoothGrad(samples=3, base="integrated_gradients").steps(model, image, model.target(0)))
    assert len(results) == 3 * 8
    assert [r.progress for r in results] == pytest.approx([(n + 1) / 24 for n in range(24)])


def test_a_kept_pass_of_the_picture_is_not_pushed_out_by_noisy_ones(net, wrap, picture, run):
    model = wrap(net()).sharing()
    image = picture(model)
    run(xw.GradCam(), model, image)
    run(SmoothGrad(base="grad_cam"), model, image)
    assert run(xw.GradCam(), model, image).provenance.passes == (0, 0)


@pytest.mark.parametrize("base", ["saliency", "grad_cam", "integrated_gradients", "guided_backprop"])
def test_a_hidden_unit_can_be_explained(base, net, wrap, picture, run):
    model = wrap(net())
    result = run(SmoothGrad(base=base, samples=3), model, picture(model), Target.hidden("second", 2))
    assert np.abs(result.values).max() > 0
    assert "activation" in result.unit


@pytest.mark.parametrize("base", ["smoothgrad", "sailency", "activation_maximization", "../x", 3])
def test_an_unknown_base_is_named(base):
    with pytest.raises(InvalidKnob, match=r"^base must be"):
        SmoothGrad(base=base)


def test_a_misspelled_base_gets_a_hint():
    with pytest.raises(InvalidKnob, match="Did you mean saliency"):
        SmoothGrad(base="sailency")


@pytest.mark.parametrize(
    ("name", "value"), [("samples", 0), ("noise", 1.5), ("noise", float("nan")), ("moment", "max")]
)
def test_bad_knobs_are_named(name, value):
    with pytest.raises(InvalidKnob, match=rf"^{name} must be"):
        SmoothGrad(**{name: value})


def test_a_base_that_does_not_apply_says_so(linear, wrap, picture):
    model = wrap(linear(5, 6)[0], (5, 6))
    with pytest.raises(NotApplicable, match="guided_backprop needs ReLU"):
        next(SmoothGrad(base="guided_backprop").steps(model, picture(model), model.target(0)))
