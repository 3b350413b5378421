from __future__ import annotations

import numpy as np
import pytest
import torch

from xaiwidgets.synthesis import regularizers


@pytest.fixture
def picture() -> torch.Tensor:
    return torch.randn((1, 3, 20, 25), generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 40


@pytest.fixture
def gradient() -> torch.Tensor:
    return torch.randn((1, 3, 20, 25), generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def close(found: torch.Tensor, wanted: np.ndarray) -> None:
    np.testing.assert_allclose(found.numpy(), wanted, rtol=0, atol=1e-6)


def test_every_operator_is_the_identity_at_zero(picture, gradient):
    assert torch.equal(regularizers.decay(picture, 0.0), picture)
    assert torch.equal(regularizers.blur(picture, 0.0), picture)
    assert torch.equal(regularizers.clip_norm(picture, 0.0), picture)
    assert torch.equal(regularizers.clip_contribution(picture, gradient, 0.0), picture)


def test_decay_shrinks_the_norm_geometrically(picture):
    shrunk = picture
    for _ in range(30):
        shrunk = regularizers.decay(shrunk, 0.03)
    close(shrunk, 0.97**30 * picture.numpy())
    assert float(shrunk.norm()) == pytest.approx(0.97**30 * float(picture.norm()), rel=1e-12)


@pytest.mark.parametrize("width", [0.3, 1.0, 2.5])
def test_blur_is_a_normalized_gaussian_with_repeated_edges(picture, width):
    radius = max(1, int(3 * width + 0.5))
    kernel = np.exp(-(np.arange(-radius, radius + 1) ** 2) / (2 * width**2))
    kernel /= kernel.sum()
    wanted = picture.numpy()
    for axis in (2, 3):
        pad = [(0, 0)] * 4
        pad[axis] = (radius, radius)
        wanted = np.apply_along_axis(np.convolve, axis, np.pad(wanted, pad, mode="edge"), kernel, "valid")
    close(regularizers.blur(picture, width), wanted)


def test_blur_keeps_channel_means_away_from_borders():
    inner = torch.zeros((1, 3, 40, 40))
    inner[..., 12:28, 12:28] = torch.rand((1, 3, 16, 16), generator=torch.Generator().manual_seed(0))
    blurred = regularizers.blur(inner, 2.0)
    assert torch.allclose(blurred.mean((2, 3)), inner.mean((2, 3)), rtol=1e-3)


def numpy_tv(values: np.ndarray) -> float:
    total = 0.0
    for channel in values[0]:
        for row in range(channel.shape[0]):
            for column in range(channel.shape[1]):
                down = channel[row + 1, column] - channel[row, column] if row + 1 < channel.shape[0] else 0.0
                right = channel[row, column + 1] - channel[row, column] if column + 1 < channel.shape[1] else 0.0
                total += np.sqrt(down**2 + right**2 + regularizers.FLAT) - np.sqrt(regularizers.FLAT)
    return total


def test_total_variation_is_its_definition(picture):
    assert float(regularizers.total_variation(picture)) == pytest.approx(numpy_tv(picture.numpy()), rel=1e-12)
    assert float(regularizers.total_variation(torch.full((1, 3, 5, 5), 7.0))) == 0.0


def test_tv_gradient_is_the_derivative(picture):
    leaf = picture.clone().requires_grad_()
    (wanted,) = torch.autograd.grad(regularizers.total_variation(leaf).sum(), leaf)
    close(regularizers.tv_gradient(picture), wanted.numpy())
    nudged = picture.clone()
    nudged[0, 1, 7, 9] += 1e-5
    slope = (numpy_tv(nudged.numpy()) - numpy_tv(picture.numpy())) / 1e-5
    assert float(regularizers.tv_gradient(picture)[0, 1, 7, 9]) == pytest.approx(slope, abs=1e-4)


def numpy_clip(values: np.ndarray, importance: np.ndarray, percent: float) -> np.ndarray:
    dropped = int(percent * importance.size / 100)
    smallest = np.argsort(importance, axis=None)[:dropped]
    kept = np.ones(importance.size, bool)
    kept[smallest] = False
    return values * kept.reshape(importance.shape)


@pytest.mark.parametrize("percent", [1, 29, 50, 95])
def test_clips_drop_exactly_the_stated_share(picture, gradient, percent):
    values, slopes = picture.numpy(), gradient.numpy()
    by_norm = regularizers.clip_norm(picture, percent)
    close(by_norm, numpy_clip(values, np.linalg.norm(values[0], axis=0), percent))
    by_contribution = regularizers.clip_contribution(picture, gradient, percent)
    close(by_contribution, numpy_clip(values, np.abs((values * slopes).sum(axis=1))[0], percent))
    for clipped in (by_norm, by_contribution):
        assert int((clipped == 0).all(dim=1).sum()) == int(percent * 500 / 100)


def test_clips_keep_ties():
    flat = torch.full((1, 3, 10, 10), 5.0)
    assert torch.equal(regularizers.clip_norm(flat, 50), flat)
    half = flat.clone()
    half[..., :5, :] = 1.0
    assert int((regularizers.clip_norm(half, 50) == 0).all(dim=1).sum()) == 50


@pytest.mark.parametrize("name", ["decay", "blur", "clip_norm", "clip_contribution", "tv_gradient"])
def test_operators_never_change_their_input(picture, gradient, name):
    before = picture.clone()
    arguments = {"tv_gradient": (), "clip_contribution": (gradient, 30.0)}.get(name, (0.4,))
    getattr(regularizers, name)(picture, *arguments)
    assert torch.equal(picture, before)
