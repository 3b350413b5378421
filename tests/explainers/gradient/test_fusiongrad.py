"""FusionGrad: explicitly perturbed copies of module and photo, and the methods it becomes when a noise is off."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from xaiwidgets import FusionGrad, NoiseGrad, Saliency, SmoothGrad, Target
from xaiwidgets.engine.noise import noisy_network
from xaiwidgets.errors import InvalidKnob

BASES = ["saliency", "grad_cam", "integrated_gradients"]


@pytest.mark.parametrize("style", ["functional", "inplace"])
def test_is_the_mean_over_perturbed_copies(style, net, wrap, picture, run, close):
    module = net(style)
    model = wrap(module)
    image = picture(model)
    model.remember(("batch size", True), lambda: 2)
    method = FusionGrad(samples=3, copies=3, noise=0.2, weight_noise=0.1, seed=2)
    spread = 0.2 * float(image.max() - image.min())
    maps = []
    for network in range(3):
        noisy = dict(noisy_network(model, 0.1, 2, network).module.named_parameters())
        twin = copy.deepcopy(module)
        with torch.no_grad():
            for name, parameter in twin.named_parameters():
                parameter.copy_(noisy[name])
        for number in range(3 * network, 3 * network + 3):
            generator = torch.Generator().manual_seed(2 * 1_000_003 + number)
            drawn = spread * torch.randn(image.shape[1:], generator=generator)
            leaf = (image + drawn).requires_grad_()
            maps.append(torch.autograd.grad(twin(leaf)[0, 1], leaf)[0][0].numpy())
    results = list(method.steps(model, image, model.target(1)))
    close(results[-1].values, np.mean(maps, 0))
    close(results[-1].details["standard_error"], np.std(maps, 0, ddof=1) / 3)
    done = [2, 3, 5, 6, 8, 9]
    assert [r.progress for r in results] == pytest.approx([n / 9 for n in done])
    for result, count in zip(results, done, strict=True):
        close(result.values, np.mean(maps[:count], 0))


@pytest.mark.parametrize("base", BASES)
def test_without_weight_noise_it_is_smoothgrad_of_all_copies(base, net, wrap, picture, run, close):
    model = wrap(net())
    image = picture(model)
    found = run(FusionGrad(samples=3, copies=4, noise=0.2, weight_noise=0.0, base=base, seed=3), model, image, 2)
    smooth = run(SmoothGrad(samples=12, noise=0.2, base=base, seed=3), model, image, 2)
    close(found.values, smooth.values, 1e-7)
    assert found.notes == smooth.notes


@pytest.mark.parametrize("base", BASES)
def test_with_one_unaltered_copy_it_is_noisegrad(base, net, wrap, picture, run):
    model = wrap(net())
    image = picture(model)
    found = run(FusionGrad(samples=3, copies=1, noise=0.0, weight_noise=0.1, base=base, seed=3), model, image, 2)
    noisy = run(NoiseGrad(samples=3, weight_noise=0.1, base=base, seed=3), model, image, 2)
    np.testing.assert_array_equal(found.values, noisy.values)
    assert found.notes == noisy.notes


def test_without_any_noise_it_is_the_base(net, wrap, picture, run, close):
    model = wrap(net())
    image = picture(model)
    found = run(FusionGrad(samples=2, copies=3, noise=0.0, weight_noise=0.0), model, image, 2)
    close(found.values, run(Saliency(), model, image, 2).values, 1e-7)


def test_a_hidden_unit_can_be_explained(net, wrap, picture, run):
    model = wrap(net())
    result = run(FusionGrad(samples=2), model, picture(model), Target.hidden("second", 2))
    assert np.abs(result.values).max() > 0
    assert "activation" in result.unit


@pytest.mark.parametrize("name", ["samples", "copies", "noise", "weight_noise", "base"])
def test_bad_knobs_are_named(name):
    with pytest.raises(InvalidKnob, match=rf"^{name} must be"):
        FusionGrad(**{name: -1})
