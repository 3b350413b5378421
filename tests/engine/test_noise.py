"""Noise on photos and weights: independent draws that do not depend on the company, and a level found by bisection."""

from __future__ import annotations

import copy
import warnings

import nets
import numpy as np
import pytest
import torch
from scipy.stats import norm
from torch import nn

import xaiwidgets as xw
from xaiwidgets.engine.noise import HALVINGS, is_calibrated, noisy_copies, noisy_network
from xaiwidgets.errors import InvalidImage, InvalidKnob, InvalidTarget


def model_of(module, **options):
    return xw.Model(module, size=nets.SIZE, mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3), **options)


def tensors(module):
    return {name: value.detach().clone() for name, value in (*module.named_parameters(), *module.named_buffers())}


# -- on the photo ---------------------------------------------------------------------------------------------------


def test_a_copy_does_not_depend_on_its_company():
    image = nets.images()
    together = noisy_copies(image, range(7), 0.3, seed=5)
    for number in range(7):
        alone = noisy_copies(image, range(number, number + 1), 0.3, seed=5)
        assert torch.equal(alone[0], together[number])
    assert len({float(copy.sum()) for copy in together}) == 7
    assert not torch.equal(together, noisy_copies(image, range(7), 0.3, seed=6))


def test_the_noise_on_a_photo_is_normal_with_a_share_of_its_range():
    image = nets.images(size=64)
    noise = noisy_copies(image, range(8), 0.2, seed=0) - image
    spread = 0.2 * float(image.max() - image.min())
    assert float(noise.std()) == pytest.approx(spread, rel=0.02)
    assert abs(float(noise.mean())) < 5 * spread / noise.numel() ** 0.5


def test_without_noise_the_copies_are_the_photo():
    image = nets.images()
    assert torch.equal(noisy_copies(image, range(3), 0.0, seed=0), image.expand(3, -1, -1, -1))


# -- on the weights -------------------------------------------------------------------------------------------------


def test_every_parameter_is_multiplied_and_no_statistic_is():
    module = nets.f3()
    before = tensors(module)
    after = tensors(noisy_network(model_of(module), 0.1, seed=1, number=2).module)
    learnable = [name for name, _ in module.named_parameters()]
    assert {"conv1.bias", "bn1.weight", "bn1.bias", "head.weight"} <= set(learnable)
    factors = []
    for name, value in before.items():
        if name in learnable:
            factors.append((after[name] / value).flatten())
        else:
            assert torch.equal(after[name], value)
    noise = torch.cat(factors) - 1
    assert all(bool((factor != 1).any()) for factor in factors)
    assert abs(float(noise.mean())) < 5 * 0.1 / len(noise) ** 0.5
    assert float(noise.std()) == pytest.approx(0.1, rel=5 / (2 * len(noise)) ** 0.5)
    assert all(torch.equal(value, before[name]) for name, value in tensors(module).items())


def test_the_same_seed_and_number_give_the_same_network():
    model = model_of(nets.f2())
    kinds = {
        (seed, number): tensors(noisy_network(model, 0.1, seed, number).module)["0.weight"]
        for seed in (0, 1, 2**31 - 1)
        for number in (0, 1, 11)
    }
    for (seed, number), weight in kinds.items():
        assert torch.equal(weight, tensors(noisy_network(model, 0.1, seed, number).module)["0.weight"])
    assert len({float(weight.double().sum()) for weight in kinds.values()}) == len(kinds)


def test_parameters_of_one_shape_get_noise_of_their_own():
    module = nn.Sequential(nn.Conv2d(3, 3, 3), nn.ReLU(), nn.Conv2d(3, 3, 3), nn.Flatten(), nn.LazyLinear(2))
    module(nets.images())
    with torch.no_grad():
        module[2].weight.copy_(module[0].weight)
    noisy = noisy_network(model_of(module), 0.1, 0, 0).module
    assert not torch.equal(noisy[0].weight, noisy[2].weight)


def test_a_shared_parameter_stays_shared():
    module = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1), nn.Flatten(), nn.LazyLinear(2))
    module(nets.images())
    module[1].weight = module[0].weight
    noisy = noisy_network(model_of(module), 0.1, 0, 0).module
    assert noisy[1].weight is noisy[0].weight


def test_without_noise_it_is_the_network_itself():
    model = model_of(nets.f2())
    assert noisy_network(model, 0.0, 3, 4) is model


@pytest.mark.parametrize("make", [nets.f2, nets.f3, nets.f5, nets.new_weight_norm], ids=lambda make: make.__name__)
def test_its_scores_are_those_of_a_copy_with_these_weights(make):
    module = make()
    noisy = noisy_network(model_of(module), 0.1, 0, 1)
    twin = copy.deepcopy(module)
    with torch.no_grad():
        for name, parameter in twin.named_parameters():
            parameter.copy_(dict(noisy.module.named_parameters())[name])
        wanted = twin(nets.images(3))
    torch.testing.assert_close(noisy.logits(nets.images(3)), wanted, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(noisy.exactly().scores(nets.images(3), noisy.target(1)), wanted[:, 1])


def test_the_global_random_state_is_not_touched():
    before = torch.get_rng_state()
    noisy_network(model_of(nets.f2()), 0.1, 0, 0)
    noisy_copies(nets.images(), range(2), 0.1, 0)
    assert torch.equal(torch.get_rng_state(), before)


# -- the level that fits --------------------------------------------------------------------------------------------


class Switches(nn.Module):
    """Class 0 if the weight under the one bright pixel is positive: right until noise turns its sign."""

    def __init__(self, side):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(side * side))

    def forward(self, x):
        score = x.flatten(1) @ self.weight
        return torch.stack([score, torch.zeros_like(score)], dim=1)


def test_the_level_is_the_closed_form():
    """A sign turns with probability Φ(−1/σ), and 1 − (A − ½)/½ = 2 Φ(−1/σ) is lost."""
    side, networks = 24, 4
    model = xw.Model(Switches(side), size=side, mean=(0.0,), std=(1.0,))
    images = torch.eye(side * side).reshape(-1, 1, side, side)
    for drop in (0.05, 0.2):
        level = xw.calibrate_noise(model, images, [0] * len(images), drop, networks=networks)
        lost = 2 * norm.cdf(-1 / level)
        error = 2 * np.sqrt(lost / 2 * (1 - lost / 2) / (networks * len(images)))
        assert abs(lost - drop) < 5 * error


@pytest.fixture(scope="module")
def digits():
    from xaiwidgets.data.digits import digits

    canvases = digits("single", "test", 200)
    return [np.repeat(image[..., None], 3, axis=2) for image in canvases.images], canvases.labels.tolist()


def accuracy(module, inputs, labels):
    with torch.no_grad():
        return float((module(inputs).argmax(1) == torch.tensor(labels)).double().mean())


def test_the_level_costs_what_was_asked_for_on_real_digits(digits):
    images, labels = digits
    model = xw.load_model("digits_gap")
    level = xw.calibrate_noise(model, images, [str(label) for label in labels], 0.1, networks=1)
    inputs = torch.cat([model.input(image) for image in images])
    clean = accuracy(model.module, inputs, labels)
    lost = []
    for tried in (level, level + 2**-HALVINGS):
        noisy = accuracy(noisy_network(model, tried, 0, 0).module, inputs, labels)
        lost.append(1 - (noisy - 0.1) / (clean - 0.1))
    assert 0.02 < level < 0.3
    assert lost[0] <= 0.1 < lost[1]


def test_a_model_knows_its_level_until_its_weights_change(digits):
    module = nets.f2()
    model = xw.Model(module, size=nets.SIZE)
    images = nets.images(8)
    labels = model.logits(images).argmax(1).tolist()
    with pytest.warns(UserWarning, match="8 images are few"):
        level = xw.calibrate_noise(model, images, labels, 0.3, networks=1)
    assert is_calibrated(model, level)
    assert not is_calibrated(model, level + 0.01)
    with torch.no_grad():
        module[0].weight.mul_(1.5)
    assert not is_calibrated(model, level)


def test_noise_that_cannot_hurt_gives_the_largest_level():
    model = xw.Model(Switches(4), size=4, mean=(0.0,), std=(1.0,))
    with pytest.warns(UserWarning, match="few"):
        level = xw.calibrate_noise(model, torch.zeros(2, 1, 4, 4), [0, 0])
    assert level == pytest.approx(1, abs=2**-9)


@pytest.mark.parametrize("drop", [0, 1, -0.1, float("nan")])
def test_a_bad_drop_is_named(drop):
    with pytest.raises(InvalidKnob, match=r"^drop must be"):
        xw.calibrate_noise(model_of(nets.f2()), nets.images(2), [0, 0], drop)


def test_what_cannot_be_calibrated_on_is_named():
    model = model_of(nets.f2())
    with pytest.raises(InvalidImage, match=r"^images must hold"):
        xw.calibrate_noise(model, [], [])
    with pytest.raises(InvalidTarget, match=r"^labels must name one class for each of 3 images; got 2"):
        xw.calibrate_noise(model, nets.images(3), [0, 1])
    with pytest.raises(InvalidTarget):
        xw.calibrate_noise(model, nets.images(1), ["no such class"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        wrong = (model.logits(nets.images(4)).argmax(1) + 1) % nets.CLASSES
        with pytest.raises(InvalidTarget, match="no better than chance"):
            xw.calibrate_noise(model, nets.images(4), wrong.tolist())
