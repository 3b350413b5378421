"""Energies of pictures and their slopes, against numpy, autograd and finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from xaiwidgets.synthesis import priors


def pictures(count=2, shape=(3, 5, 6)):
    return torch.randn((count, *shape), generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def released_tv(x, beta):
    """Return value and slope of the authors' ``tv``, channel by channel, with the last difference of a row 0."""
    value, slope = 0.0, np.zeros_like(x)
    for c in range(len(x)):
        d1 = np.concatenate([x[c][:, 1:], x[c][:, -1:]], axis=1) - x[c]
        d2 = np.concatenate([x[c][1:], x[c][-1:]], axis=0) - x[c]
        v = np.sqrt(d1 * d1 + d2 * d2) ** beta
        value += v.sum()
        factor = np.maximum(v, 1e-5) ** (2 * (beta / 2 - 1) / beta)
        d1, d2 = factor * d1, factor * d2
        d11 = np.concatenate([d1[:, :1], d1[:, :-1]], axis=1) - d1
        d22 = np.concatenate([d2[:1], d2[:-1]], axis=0) - d2
        d11[:, 0], d22[0] = -d1[:, 0], -d2[0]
        slope[c] = beta * (d11 + d22)
    return value, slope


@pytest.mark.parametrize("beta", [1.0, 1.5, 2.0, 3.0])
def test_the_variation_is_the_released_codes(beta):
    found = pictures()
    values, slopes = priors.variation(found, beta), priors.variation_slope(found, beta)
    for one, value, slope in zip(found.numpy(), values, slopes.numpy(), strict=True):
        wanted, gradient = released_tv(one, beta)
        assert float(value) == pytest.approx(wanted, rel=1e-12)
        np.testing.assert_allclose(slope, gradient, rtol=1e-10, atol=1e-12)


def test_the_alpha_norm_and_the_color_norm_are_sums_of_powers():
    found = pictures()
    np.testing.assert_allclose(priors.alpha_norm(found, 6), (np.abs(found.numpy()) ** 6).sum((1, 2, 3)))
    length = np.sqrt((found.numpy() ** 2).sum(1))
    np.testing.assert_allclose(priors.color_norm(found, 6), (length**6).sum((1, 2)))


@pytest.mark.parametrize("energy", ["alpha_norm", "color_norm", "variation"])
@pytest.mark.parametrize("power", [1.5, 2.0, 6.0])
def test_slopes_are_derivatives(energy, power):
    found = pictures()
    measure, slope = getattr(priors, energy), getattr(priors, energy.replace("norm", "slope"))
    given = slope(found, power) if energy != "variation" else priors.variation_slope(found, power)
    leaf = found.clone().requires_grad_()
    (exact,) = torch.autograd.grad(measure(leaf, power).sum(), leaf)
    np.testing.assert_allclose(given, exact, rtol=1e-9, atol=1e-12)
    for place in ((0, 0, 0, 0), (0, 2, 4, 5), (1, 1, 2, 3)):
        moved = torch.zeros_like(found)
        moved[place] = 1e-5
        difference = float((measure(found + moved, power) - measure(found - moved, power)).sum()) / 2e-5
        assert float(given[place]) == pytest.approx(difference, rel=1e-3, abs=1e-6)


@pytest.mark.parametrize("power", [1.0, 1.5, 2.0])
def test_flat_and_empty_pictures_have_a_finite_slope(power):
    for flat in (torch.zeros(1, 3, 4, 4), torch.full((1, 3, 4, 4), 0.3)):
        for slope in (priors.alpha_slope, priors.color_slope, priors.variation_slope):
            assert slope(flat, power).isfinite().all()
        assert not priors.variation_slope(flat, power).any()


def test_bounded_colors_keep_their_hue():
    found = 10 * pictures()
    kept = priors.bounded(found, 8.0)
    assert float(priors.lengths(kept).max()) <= 8 + 1e-9
    inside = (priors.lengths(found) <= 8).expand_as(found)
    assert torch.equal(kept[inside], found[inside])
    np.testing.assert_allclose(torch.cosine_similarity(kept, found, dim=1), 1)
