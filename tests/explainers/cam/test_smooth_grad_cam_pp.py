"""Smooth Grad-CAM++: on plain passes over noisy copies, and Grad-CAM++ where there is no noise."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchcam.methods import SmoothGradCAMpp

from xaiwidgets import GradCamPP, SmoothGradCamPP
from xaiwidgets.engine.noise import noisy_copies
from xaiwidgets.errors import InvalidKnob, InvalidLayer


def slow(pair, module, layer, image, target, *, noise, copies, top, seed=0):
    """Omeiza et al. 2019, eq. 6 and 7: copy by copy, place by place."""
    activation = pair(module, layer, image, target)[0]
    noisy = [noisy_copies(image, range(n, n + 1), noise, seed) for n in range(copies)]
    gradients = [pair(module, layer, copy, target)[1] for copy in noisy]
    weights = np.zeros(len(activation))
    for k, i, j in np.ndindex(*activation.shape):
        one, two, three = (sum(g[k, i, j] ** p for g in gradients) / copies for p in (1, 2, 3))
        below = 2 * two + activation[k].sum() * three
        if below:
            weights[k] += {"d2": two, "paper": one}[top] / below * max(one, 0)
    return np.einsum("k,khw->hw", weights, activation)


@pytest.mark.parametrize(("top", "relu"), [("d2", True), ("d2", False), ("paper", True)])
def test_is_its_definition_however_the_network_is_written(odd, top, relu, pair, wrap, picture, run, close):
    module, layers, size = odd
    model = wrap(module, size)
    image = picture(model)
    for layer in layers[:2]:
        method = SmoothGradCamPP(layer=layer, samples=5, noise=0.05, numerator=top, relu=relu)
        result = run(method, model, image, 2)
        wanted = slow(pair, module, layer, image, 2, noise=0.05, copies=5, top=top)
        close(result.values[0], np.maximum(wanted, 0) if relu else wanted)
        assert (result.layer, result.signed) == (layer, not relu)
        assert result.unit == ("logit" if top == "d2" else "activation")
        assert result.provenance.passes == (6, 6)
        assert result.details["standard_error"].shape == result.values.shape
        assert result.details["standard_error"].any()


@pytest.mark.parametrize("samples", [1, 2, 12])
@pytest.mark.parametrize("batch", [1, 4])
def test_without_noise_it_is_grad_cam_pp(batch, samples, odd, wrap, picture, run):
    module, layers, size = odd
    model = wrap(module, size)
    model.remember(("batch size", True), lambda: batch)
    image = picture(model)
    for layer in layers:
        wanted = run(GradCamPP(layer=layer), model, image, 1).values
        found = run(SmoothGradCamPP(layer=layer, noise=0.0, samples=samples), model, image, 1)
        if batch == 1:
            np.testing.assert_array_equal(found.values, wanted)
        np.testing.assert_allclose(found.values, wanted, rtol=1e-6, atol=1e-7 * wanted.max())
        assert found.details["standard_error"].max() <= 1e-10 * wanted.max()


def test_without_noise_it_is_grad_cam_pp_on_the_bundled_network(lite0, run, close):
    model, image, target = lite0
    for layer in ("bn2", "bn1"):
        wanted = run(GradCamPP(layer=layer), model, image, target).values
        found = run(SmoothGradCamPP(layer=layer, noise=0.0, samples=2), model, image, target).values
        close(found, wanted, 1e-4)


def test_the_seed_draws_the_noise(net, wrap, picture, run, close, pair):
    module = net()
    model = wrap(module)
    image = picture(model)
    maps = [run(SmoothGradCamPP(layer="first", samples=3, seed=seed), model, image, 1).values for seed in (0, 5)]
    assert np.abs(maps[0] - maps[1]).max() > 0.01 * maps[0].max()
    wanted = slow(pair, module, "first", image, 1, noise=0.15, copies=3, top="d2", seed=5)
    close(maps[1][0], np.maximum(wanted, 0))


def test_where_gradients_are_constant_the_noise_changes_nothing(net, wrap, picture, run, close):
    """A mean and a linear layer follow."""
    model = wrap(net())
    image = picture(model)
    result = run(SmoothGradCamPP(), model, image, 1)
    close(result.values, run(GradCamPP(), model, image, 1).values)
    assert result.details["standard_error"].max() <= 1e-10 * result.values.max()


def test_every_prefix_is_the_map_of_fewer_copies(net, wrap, picture, run):
    model = wrap(net())
    model.remember(("batch size", True), lambda: 4)
    image = picture(model)
    method = SmoothGradCamPP(layer="first", samples=10, noise=0.1)
    results = list(method.steps(model, image, model.target(2)))
    assert [r.progress for r in results] == [0.4, 0.8, 1.0]
    for count, result in zip((4, 8, 10), results, strict=True):
        fewer = run(SmoothGradCamPP(layer="first", samples=count, noise=0.1), model, image, 2)
        np.testing.assert_allclose(result.values, fewer.values, rtol=1e-6)
        np.testing.assert_allclose(
            result.details["standard_error"], fewer.details["standard_error"], rtol=1e-4, atol=1e-12
        )


def test_a_kept_pass_saves_the_photos_own(net, wrap, picture, run):
    model = wrap(net()).sharing()
    image = picture(model)
    run(GradCamPP(), model, image, 2)
    assert run(SmoothGradCamPP(layer="first", samples=3), model, image, 2).provenance.passes == (3, 3)


def test_a_library_is_not_grad_cam_pp_without_noise(net, wrap, picture, run, torchcams):
    """It multiplies each activation by the cube at its own place, where the sum of activations belongs."""
    module = net("module")
    model = wrap(module)
    image = picture(model)
    with torch.random.fork_rng():
        theirs = torchcams(SmoothGradCAMpp, module, "first", image, 3, std=1e-9)[0]
    ours = run(GradCamPP(layer="first"), model, image, 3).values[0]
    assert np.abs(ours / ours.max() - theirs / theirs.max()).max() > 0.01


def test_bad_input_is_named(net, wrap, picture, run):
    model = wrap(net())
    with pytest.raises(InvalidLayer, match=r"layer must be one of.*'secnod'.*Did you mean second"):
        run(SmoothGradCamPP(layer="secnod"), model, picture(model))
    for name, value in (("samples", 0), ("noise", -0.1), ("numerator", "d1"), ("relu", None), ("seed", -1)):
        with pytest.raises(InvalidKnob, match=rf"^{name} must be"):
            SmoothGradCamPP(**{name: value})
