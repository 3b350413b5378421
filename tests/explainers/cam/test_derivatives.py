"""Running derivatives: the order and the batches of copies play no part, and the error is what repeating shows."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from xaiwidgets.explainers.cam.derivatives import GROUPS, Derivatives
from xaiwidgets.explainers.cam.maps import curvature_weights, grad_cam_pp_map


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


ACTIVATION = drawn(1, 5, 3, 4).abs()


def gathered(gradients, batch=1, activation=ACTIVATION):
    found = Derivatives(activation)
    for start in range(0, len(gradients), batch):
        numbers = range(start, min(start + batch, len(gradients)))
        found.add(gradients[start : numbers.stop], numbers)
    return found


@pytest.mark.parametrize("by", ["d2", "paper"])
@pytest.mark.parametrize("count", [1, 2, 7, 20])
def test_is_the_map_of_mean_powers(count, by):
    gradients = drawn(count, 5, 3, 4, seed=1)
    means = [gradients.pow(p).mean(dim=0, keepdim=True) for p in (1, 2, 3)]
    weights = curvature_weights(ACTIVATION, *means, by=by)
    wanted = (weights * ACTIVATION).sum(dim=1, keepdim=True)
    for relu in (True, False):
        found, error = gathered(gradients).map(by, relu=relu)
        torch.testing.assert_close(found, wanted.clamp_min(0) if relu else wanted)
        assert error.shape == found.shape == (1, 1, 3, 4)
        assert bool(error.any()) == (count > 1)


def test_neither_batches_nor_the_order_of_copies_matter():
    gradients = drawn(13, 5, 3, 4, seed=2)
    wanted, error = gathered(gradients).map()
    for batch in (4, 13):
        for ours, theirs in zip(gathered(gradients, batch).map(), (wanted, error), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=0)
    torch.testing.assert_close(gathered(gradients.flip(0)).map()[0], wanted)


@pytest.mark.parametrize("count", [1, 2, 4, 12])
def test_copies_without_noise_are_one(count):
    gradient = drawn(1, 5, 3, 4, seed=3).float()
    activation = ACTIVATION.float()
    found, error = gathered(gradient.expand(count, -1, -1, -1), activation=activation).map()
    assert torch.equal(found, grad_cam_pp_map(activation, gradient))
    assert float(error.max()) < 1e-5 * float(found.max())


@pytest.mark.parametrize("count", [GROUPS, 40])
def test_the_error_is_what_repeating_shows(count):
    """Where gradients keep their sign; where they do not, factors have no bound, and neither has any error."""
    center = drawn(1, 5, 3, 4, seed=5)
    center = center.sign() * (center.abs() + 0.5)
    maps, errors = [], []
    for seed in range(200):
        found, error = gathered(center + 0.1 * drawn(count, 5, 3, 4, seed=100 + seed), batch=count).map(relu=False)
        maps.append(found.numpy())
        errors.append(error.numpy())
    ratio = np.sqrt(np.mean(np.square(errors), axis=0)) / np.std(maps, axis=0)
    assert 0.8 < float(np.median(ratio)) < 1.4
    assert ratio.min() > 0.6
    assert ratio.max() < 2
