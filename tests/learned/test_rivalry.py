"""The adversarial loss: its gradient, who learns what and when, and that pictures become as sharp as real ones."""

from __future__ import annotations

import copy

import pytest
import torch

from xaiwidgets.errors import InvalidKnob
from xaiwidgets.learned.decoders import as_inputs
from xaiwidgets.learned.decoding import train_generator, train_generator_steps
from xaiwidgets.learned.fitting import Fitting
from xaiwidgets.learned.recipes import train, untrained
from xaiwidgets.learned.rivalry import AHEAD, Rivalry
from xaiwidgets.learned.teaching import Pictures, digit_pictures, digits16

OPTIONS = {"feature": "classifier.1", "size": 16, "epochs": 1, "rate": 1e-3, "seed": 0, "weight": 0.5}


def pictures(train_count=300, test_count=32):
    return Pictures(digit_pictures("train", 16)[0][:train_count], digit_pictures("test", 16)[0][:test_count])


@pytest.fixture
def rivalry():
    return Rivalry((1, 16, 16), torch.zeros(4), torch.ones(4), (0.9, 0.999), 0)


def batches(count=16):
    """Return bright and dark pictures, and codes that say nothing."""
    random = torch.Generator().manual_seed(0)
    noise = 0.2 * torch.rand(count, 1, 16, 16, generator=random)
    return 0.8 + noise, noise, torch.zeros(count, 4)


def test_a_step_has_the_gradient_of_all_three_losses():
    """Against one graph through generator, encoder and critic."""
    model = untrained(digits16())
    fit = Fitting(model, pictures(32, 8), {**OPTIONS, "adversarial": 2.0}, None, "x")
    list(fit._prepare())
    for part in torch.split(torch.arange(32), 8):  # the last layer begins with zeros, which lets no gradient through
        list(fit._step(part))
    twin, critic, part = copy.deepcopy(fit.network), copy.deepcopy(fit.rivalry.critic), torch.arange(8)
    list(fit._step(part))
    made, net = twin(fit.codes[part]), copy.deepcopy(model.module)
    code = net.classifier[1](net.classifier[0](net.flatten(net.features(as_inputs(model, made)))))
    loss = (made - fit.wished[part]).square().mean()
    loss = loss + 0.5 * ((code - fit.codes[part]) / fit.unit_of_code).square().mean()
    without = torch.autograd.grad(loss, list(twin.parameters()), retain_graph=True)
    loss = loss - 2.0 * torch.sigmoid(critic(made, fit.codes[part])).log().mean()
    expected = torch.autograd.grad(loss, list(twin.parameters()))
    for parameter, right, plain in zip(fit.network.parameters(), expected, without, strict=True):
        assert torch.allclose(parameter.grad, right, rtol=1e-3, atol=1e-6)
        assert not torch.allclose(right, plain, rtol=1e-2, atol=1e-6)
    assert not equal(critic, fit.rivalry.critic), "it has learned in this step, too"


def equal(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def test_the_critic_learns_to_tell_them_apart_and_then_waits(rivalry):
    real, made, codes = batches()
    losses = [rivalry.learn(real, made, codes, 4e-3) for _ in range(80)]
    assert losses[0] == pytest.approx(2 * 0.693, rel=0.1), "at first it can only guess"
    assert losses[-1] < 0.3 * losses[0]
    assert rivalry.waits
    assert losses[-1] < AHEAD * float(rivalry.loss(made, codes).detach())
    kept = copy.deepcopy(rivalry.critic)
    rivalry.learn(real, made, codes, 4e-3)
    assert equal(kept, rivalry.critic)
    rivalry.learn(made, real, codes, 4e-3)  # now it is all wrong
    assert not rivalry.waits
    assert not equal(kept, rivalry.critic)


def test_a_picture_of_another_code_is_told_from_its_own(rivalry):
    """What it is told counts: the same pictures twice, once with codes that fit them and once with those of others."""
    real, made, _ = batches()
    both, random = torch.cat([real, made]), torch.Generator().manual_seed(1)
    fits = torch.cat([torch.ones(16, 4), torch.zeros(16, 4)]) + 0.01 * torch.randn(32, 4, generator=random)
    rivalry.optimizer.param_groups[0]["lr"] = 4e-3
    for _ in range(100):
        odds, wrong = rivalry.critic(both, fits), rivalry.critic(both, fits.flip(0))
        loss = torch.nn.functional.softplus(-odds).mean() + torch.nn.functional.softplus(wrong).mean()
        rivalry.optimizer.zero_grad()
        loss.backward()
        rivalry.optimizer.step()
    with torch.no_grad():
        assert (rivalry.critic(both, fits) > 0).all()
        assert (rivalry.critic(both, fits.flip(0)) < 0).all()


def test_the_generators_loss_leaves_the_critic_as_it_is(rivalry):
    _, made, codes = batches()
    leaf = made.clone().requires_grad_(True)
    loss = rivalry.loss(leaf, codes)
    with torch.no_grad():
        wanted = -torch.sigmoid(rivalry.critic(made, codes)).log().mean()
    assert torch.allclose(loss.detach(), wanted, rtol=1e-5)
    loss.backward()
    assert leaf.grad.abs().sum() > 0
    assert all(weight.grad is None and weight.requires_grad for weight in rivalry.critic.parameters())


def test_none_is_trained_by_default_and_only_after_the_pixels_if_so_asked(monkeypatch):
    learned = []
    plain = Rivalry.learn
    monkeypatch.setattr(Rivalry, "learn", lambda self, *given: learned.append(1) or plain(self, *given))
    model = untrained(digits16())
    train_generator(model, pictures(), epochs=2, name="x")
    assert not learned
    train_generator(model, pictures(), epochs=2, name="x", adversarial_weight=0.01, feature_after=0.5)
    assert len(learned) == 5  # batches of 64 of the second epoch
    with pytest.raises(InvalidKnob, match="adversarial_weight must be"):
        train_generator(model, pictures(), adversarial_weight=-1.0)


def test_it_can_be_interrupted_and_leaves_the_random_state_and_the_network(tmp_path):
    model, path = untrained(digits16()), tmp_path / "checkpoint.pt"
    options = {"epochs": 3, "adversarial_weight": 0.05}
    state, weights = torch.random.get_rng_state(), copy.deepcopy(model.module)
    whole = train_generator(model, pictures(), **options)
    running = train_generator_steps(model, pictures(), checkpoint=path, **options)
    assert next(one for one in running if one is not None).epoch == 1
    running.close()
    rest = train_generator(model, pictures(), checkpoint=path, **options)
    assert equal(rest.network, whole.network)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert equal(model.module, weights)
    with pytest.raises(InvalidKnob, match="differs in adversarial"):
        train_generator(model, pictures(), checkpoint=path, epochs=3, adversarial_weight=0.1)


def roughness(images):
    """Return the squared differences of neighbors, relative to the variance of each picture."""
    centered = images - images.mean(dim=(2, 3), keepdim=True)
    return float((centered[..., 1:] - centered[..., :-1]).square().sum() / centered.square().sum())


@pytest.mark.lab
def test_pictures_become_as_sharp_as_real_ones():
    """Measured: 0.239 without, 0.252 with a weight of 0.01, 0.254 of real digits; held-out errors 0.218 and 0.223."""
    model = train(digits16())
    images = digit_pictures("test", 16)[0][:300]
    inputs, real = torch.cat([model.from_pixels(one) for one in images]), torch.from_numpy(images.transpose(0, 3, 1, 2))
    soft, sharp = (train_generator(model, name=f"rival {w}", adversarial_weight=w) for w in (0.0, 0.01))
    found = [roughness(one.reconstruct(model, inputs)) for one in (soft, sharp)]
    assert abs(found[1] - roughness(real)) < 0.5 * abs(found[0] - roughness(real))
    assert sharp.error < 1.05 * soft.error
