from __future__ import annotations

import numpy as np
import pytest
import torch

from xaiwidgets.synthesis import regularizers
from xaiwidgets.synthesis.activation_maximization import ActivationMaximization
from xaiwidgets.synthesis.climb import climb, direction, follow, is_finite, rms

OFF = {"decay": 0.0, "blur_width": 0.0, "jitter": 0, "momentum": 0.0}


def noise(seed: int) -> torch.Tensor:
    return torch.randn((1, 3, 12, 12), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_directions_are_the_gradient_divided_by_their_name():
    gradient = noise(0) * 1e-3
    values = gradient.numpy()
    sizes = {
        "rms": np.sqrt((values**2).mean()),
        "mean": np.abs(values).mean(),
        "max": np.abs(values).max(),
        "first": 0.25,
        "none": 1.0,
    }
    for name, size in sizes.items():
        np.testing.assert_allclose(direction(gradient, name, 0.25).numpy(), values / size, rtol=1e-12)
    assert rms(gradient) == pytest.approx(sizes["rms"], rel=1e-12)
    assert rms(torch.zeros(1, 3, 4, 4)) == 0.0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_one_bad_value_is_seen_and_large_ones_are_not_bad(bad):
    values = noise(4)
    assert is_finite(values) and is_finite(values.float() * 1e37)
    assert is_finite(torch.tensor([-3e38, 3e38])), "their difference is not, they are"
    values[0, 1, 5, 7] = bad
    assert not is_finite(values)


@pytest.mark.parametrize("name", ["rms", "mean", "max"])
def test_tiny_gradients_do_not_vanish(name):
    gradient = noise(0).float() * 1e-30
    expected = direction(noise(0).float(), name, 1.0)
    assert torch.allclose(direction(gradient, name, 1.0), expected, rtol=1e-4)
    assert rms(gradient) == pytest.approx(1e-30 * rms(noise(0)), rel=1e-4)


def test_decay_alone_shrinks_the_norm_by_its_power():
    method = ActivationMaximization(**OFF | {"decay": 0.02})
    start = picture = noise(1) * 30
    still = torch.zeros_like(picture)
    for step in range(1, 41):
        picture = climb(picture, still, still, method, step)
    assert float(picture.norm()) == pytest.approx(0.98**40 * float(start.norm()), rel=1e-12)


def test_order_is_ascent_decay_blur_norm_contribution():
    method = ActivationMaximization(
        step_size=3.0, decay=0.1, blur_width=0.8, blur_every=2, total_variation=0.2, clip_norm=20, clip_contribution=30
    )
    picture, gradient, motion = noise(1) * 20, noise(2), noise(3)
    wanted = picture + 3.0 * (motion - 0.2 * regularizers.tv_gradient(picture))
    wanted = regularizers.decay(wanted, 0.1)
    unblurred = regularizers.clip_contribution(regularizers.clip_norm(wanted, 20), gradient, 30)
    wanted = regularizers.blur(wanted, 0.8)
    wanted = regularizers.clip_contribution(regularizers.clip_norm(wanted, 20), gradient, 30)
    assert torch.equal(climb(picture, gradient, motion, method, 2), wanted)
    assert torch.equal(climb(picture, gradient, motion, method, 3), unblurred)


def test_momentum_is_a_running_mean_of_directions():
    first, second = noise(1), noise(2)
    motion = follow(follow(torch.zeros_like(first), first, 0.6), second, 0.6)
    torch.testing.assert_close(motion, 0.6 * 0.4 * first + 0.4 * second)
    assert torch.equal(follow(first, second, 0.0), second)
