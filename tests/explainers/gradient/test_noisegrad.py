"""NoiseGrad: explicitly perturbed copies of the module, closed forms, and any other explainer inside."""

from __future__ import annotations

import copy

import nets
import numpy as np
import pytest
import torch

import xaiwidgets as xw
from xaiwidgets import IntegratedGradients, NoiseGrad, Target
from xaiwidgets.core.cards import resolve
from xaiwidgets.engine.noise import noisy_network
from xaiwidgets.errors import InvalidKnob, NotApplicable


def perturbed(method, model, module):
    """Copies of the user's module with the noisy weights of each sample, put there one by one."""
    for number in range(method.samples):
        noisy = dict(noisy_network(model, method.weight_noise, method.seed, number).module.named_parameters())
        twin = copy.deepcopy(module)
        with torch.no_grad():
            for name, parameter in twin.named_parameters():
                parameter.copy_(noisy[name])
        yield twin


def gradient_of(module, image, target):
    leaf = image.clone().requires_grad_()
    score = module(leaf)[0, target]
    return torch.autograd.grad(score, leaf)[0][0].numpy(), float(score.detach())


@pytest.mark.parametrize("style", ["functional", "reused"])
def test_is_the_mean_over_perturbed_copies(style, net, wrap, picture, run, close):
    module = net(style)
    model = wrap(module)
    image = picture(model)
    method = NoiseGrad(samples=7, weight_noise=0.1, seed=4)
    found = [gradient_of(twin, image, 1) for twin in perturbed(method, model, module)]
    maps, scores = zip(*found, strict=True)
    result = run(method, model, image, 1)
    close(result.values, np.mean(maps, 0))
    close(result.details["standard_error"], np.std(maps, 0, ddof=1) / np.sqrt(7))
    close(result.details["scores"], scores)
    assert result.score == pytest.approx(gradient_of(module, image, 1)[1])
    assert len({m.sum() for m in maps}) == 7


def test_batch_normalization_is_perturbed_too(wrap, run, close):
    module = nets.f3().double()
    model = wrap(module, (nets.SIZE, nets.SIZE))
    image = nets.images().double()
    method = NoiseGrad(samples=4, weight_noise=0.1)
    maps = [gradient_of(twin, image, 2)[0] for twin in perturbed(method, model, module)]
    close(run(method, model, image, 2).values, np.mean(maps, 0))


def test_around_a_method_of_many_steps(net, wrap, picture, run, close):
    """Long enough for a fast copy of each noisy network."""
    module = net()
    model = wrap(module)
    image = picture(model)
    method = NoiseGrad(samples=3, weight_noise=0.1, base="integrated_gradients")
    maps = [run(IntegratedGradients(), wrap(twin), image, 2).values for twin in perturbed(method, model, module)]
    close(run(method, model, image, 2).values, np.mean(maps, 0))
    model.remember(("batch size", True), lambda: 8)
    results = list(method.steps(model, image, model.target(2)))
    assert [r.progress for r in results] == pytest.approx([(n + 1) / len(results) for n in range(len(results))])


def test_linear_net_has_the_variance_of_its_noise(linear, wrap, picture, run):
    """For f = w · x the gradient is w ⊙ η: mean w, and variance σ² w² / N of the mean."""
    module, weights = linear(20, 20)
    model = wrap(module, (20, 20))
    result = run(NoiseGrad(samples=16, weight_noise=0.3), model, picture(model), 3)
    relative = result.values / weights[3].numpy() - 1
    assert abs(relative.mean()) < 5 * 0.3 / np.sqrt(16 * relative.size)
    assert relative.std() == pytest.approx(0.3 / 4, rel=5 / np.sqrt(2 * relative.size))
    claimed = result.details["standard_error"] / np.abs(weights[3].numpy())
    assert np.square(claimed).mean() == pytest.approx(0.09 / 16, rel=5 * np.sqrt(2 / 15 / relative.size))


@pytest.mark.parametrize("base", ["saliency", "grad_cam", "guided_backprop", "integrated_gradients", "occlusion"])
@pytest.mark.parametrize("samples", [1, 3])
def test_without_noise_it_is_the_base_to_the_last_bit(samples, base, net, wrap, picture, run):
    model = wrap(net().float(), (34, 36))
    image = picture(model)
    alone = run(resolve(base), model, image, 2)
    found = run(NoiseGrad(samples=samples, weight_noise=0.0, base=base), model, image, 2)
    np.testing.assert_array_equal(found.values, alone.values)
    assert (found.unit, found.reduction, found.signed, found.layer) == (
        alone.unit,
        alone.reduction,
        alone.signed,
        alone.layer,
    )
    assert found.notes == alone.notes
    assert not found.details["standard_error"].any()


def test_the_network_under_study_is_never_changed(net, wrap, picture):
    module = net()
    before = {name: (value.data_ptr(), value._version, value.clone()) for name, value in module.state_dict().items()}
    model = wrap(module)
    running = NoiseGrad(weight_noise=0.5).steps(model, picture(model), model.target(0))
    next(running)
    for name, value in module.state_dict().items():  # in the middle of the run
        assert (value.data_ptr(), value._version) == before[name][:2]
        assert torch.equal(value, before[name][2])
    running.close()


def test_another_seed_gives_other_networks(net, wrap, picture, run):
    model = wrap(net())
    image = picture(model)
    first, again, other = (run(NoiseGrad(samples=2, seed=seed), model, image).values for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0


def test_it_says_whether_the_level_was_calibrated(net, wrap, picture, run):
    model = wrap(net())
    image = picture(model)
    note = run(NoiseGrad(samples=3), model, image).notes[-1]
    assert note.startswith("Weight noise of 0.02, not calibrated for this network")
    assert "calibrate_noise" in note
    assert "score moves from" in note
    with pytest.warns(UserWarning, match="few"):
        level = xw.calibrate_noise(model, image, [int(model.logits(image).argmax())], networks=1)
    note = run(NoiseGrad(samples=3, weight_noise=level), model, image).notes[-1]
    assert ", calibrated on this network: the score moves from" in note


@pytest.mark.parametrize("base", ["saliency", "grad_cam", "guided_backprop"])
def test_a_hidden_unit_can_be_explained(base, net, wrap, picture, run):
    model = wrap(net())
    result = run(NoiseGrad(base=base, samples=3), model, picture(model), Target.hidden("second", 2))
    assert np.abs(result.values).max() > 0
    assert "activation" in result.unit


@pytest.mark.parametrize("base", ["noisegrad", "smoothgrad", "fusiongrad", "sailency", 3])
def test_an_unknown_base_is_named(base):
    with pytest.raises(InvalidKnob, match=r"^base must be"):
        NoiseGrad(base=base)


@pytest.mark.parametrize(("name", "value"), [("samples", 0), ("weight_noise", 1.5), ("weight_noise", float("nan"))])
def test_bad_knobs_are_named(name, value):
    with pytest.raises(InvalidKnob, match=rf"^{name} must be"):
        NoiseGrad(**{name: value})


def test_a_base_that_does_not_apply_says_so(linear, wrap, picture):
    model = wrap(linear(5, 6)[0], (5, 6))
    with pytest.raises(NotApplicable, match="guided_backprop needs ReLU"):
        next(NoiseGrad(base="guided_backprop").steps(model, picture(model), model.target(0)))
