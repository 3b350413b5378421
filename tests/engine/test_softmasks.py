"""Learned masks: what they are by definition, and that the derivatives are theirs."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from xaiwidgets.engine import softmasks
from xaiwidgets.engine.softmasks import NEARLY, Cells, Seeds, area_error, total_variation

LIKE = torch.zeros((), dtype=torch.float64)


def random(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def enlarged(cells, size, cell, sigma):
    """Interpolate, cut to size, and convolve with a Gaussian over repeated edges."""
    shape = tuple(cell * n for n in cells.shape)
    large = functional.interpolate(cells[None, None], size=shape, mode="bilinear", align_corners=False)
    large = large[..., : size[0], : size[1]]
    if not sigma:
        return large[0, 0]
    radius = int(3 * sigma + 0.5)
    steps = torch.arange(-radius, radius + 1, dtype=torch.float64)
    kernel = torch.exp(-(steps**2) / (2 * sigma**2))
    kernel = torch.outer(kernel, kernel) / kernel.sum() ** 2
    padded = functional.pad(large, (radius,) * 4, mode="replicate")
    return functional.conv2d(padded, kernel[None, None])[0, 0]


@pytest.mark.parametrize(
    ("size", "cell", "sigma"), [((24, 16), 8, 5), ((13, 22), 4, 2), ((9, 7), 1, 0), ((8, 8), 3, 0)]
)
def test_cells_are_interpolated_and_smoothed(size, cell, sigma):
    grid = Cells(size, cell, sigma, LIKE)
    cells = random(*grid.shape)
    assert grid.shape == tuple(-(-side // cell) for side in size)
    torch.testing.assert_close(grid.mask(cells), enlarged(cells, size, cell, sigma), rtol=0, atol=1e-12)
    cells.requires_grad_()
    slopes = random(*size, seed=1)
    (wanted,) = torch.autograd.grad((enlarged(cells, size, cell, sigma) * slopes).sum(), cells)
    torch.testing.assert_close(grid.back(slopes), wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_nothing_and_all_are_exact_in_float32(value):
    grid = Cells((224, 224), 8, 5, torch.zeros(()))
    mask = grid.mask(torch.full(grid.shape, value))
    assert mask.dtype == torch.float32
    torch.testing.assert_close(mask, torch.full((224, 224), value), rtol=0, atol=1e-6)
    assert mask.min() >= 0
    assert mask.max() <= 1
    if not value:
        assert not mask.any()


def test_a_disc_lies_in_the_middle():
    grid = Cells((80, 40), 4, 0, LIKE)
    disc = grid.disc(1.0)
    assert torch.equal(disc, disc.flip(0))
    assert torch.equal(disc, disc.flip(1))
    assert float(disc.sum()) * 16 == pytest.approx(torch.pi * 20**2, rel=0.05)
    assert not disc[:5].any()
    assert float(grid.disc(0.5).sum()) == pytest.approx(float(disc.sum()) / 4, rel=0.25)


def smooth_maximum(seeds, size, step, sigma, edge):
    """Do it pixel by pixel, over all seeds near enough; beyond the border lie seeds of 0."""
    reach = max(1, -(-4 * sigma // (3 * step)))
    rows = []
    for y in range(-edge, size[0] + edge):
        for x in range(-edge, size[1] + edge):
            values = []
            for i in range(y // step - reach, y // step + reach + 1):
                for j in range(x // step - reach, x // step + reach + 1):
                    inside = 0 <= i < seeds.shape[0] and 0 <= j < seeds.shape[1]
                    down, across = y - (step * i + (step - 1) / 2), x - (step * j + (step - 1) / 2)
                    z = (down**2 + across**2) ** 0.5 / sigma
                    kernel = torch.exp(torch.tensor(-2.0 * max(z - 0.5, 0) ** 2, dtype=torch.float64))
                    values.append(kernel * seeds[i, j] if inside else seeds.new_zeros(()))
            stacked = torch.stack(values)
            rows.append(((20 * stacked).softmax(0) * stacked).sum())
    return torch.stack(rows).reshape(size[0] + 2 * edge, size[1] + 2 * edge)


@pytest.mark.parametrize(
    ("size", "step", "sigma", "margin"), [((9, 12), 3, 6, 0), ((8, 7), 4, 3, 0), ((8, 7), 4, 3, 3)]
)
def test_seeds_are_joined_by_the_smooth_maximum(size, step, sigma, margin, monkeypatch):
    monkeypatch.setattr(softmasks, "AT_ONCE", 5 * step**2 * 25)  # some cells at a time
    grid = Seeds(size, step, sigma, LIKE, margin)
    seeds = random(*grid.shape).requires_grad_()
    wanted = smooth_maximum(seeds, size, step, sigma, -(-margin // step) * step)
    mask, by_seeds = grid.mask(seeds.detach())
    torch.testing.assert_close(mask, wanted.detach(), rtol=0, atol=1e-12)
    slopes = random(*mask.shape, seed=1) - 0.5
    (back,) = torch.autograd.grad((wanted * slopes).sum(), seeds)
    torch.testing.assert_close(grid.back(slopes, by_seeds), back, rtol=0, atol=1e-12)
    assert torch.equal(mask[grid.picture], Seeds(size, step, sigma, LIKE).mask(seeds.detach())[0])


def test_one_seed_is_a_soft_disc():
    grid = Seeds((63, 63), 7, 21, LIKE)
    seeds = torch.zeros(grid.shape, dtype=torch.float64)
    seeds[4, 4] = 1
    mask, _ = grid.mask(seeds)
    assert float(mask[31, 31]) == pytest.approx(1, abs=1e-6)
    assert float(mask[31, 31 + 10]) == pytest.approx(1, abs=1e-6)  # flat up to half of sigma
    assert float(mask[31, 31 + 21]) == pytest.approx(torch.exp(torch.tensor(-0.5)).item(), abs=1e-3)
    assert float(mask.max()) <= 1


@pytest.mark.parametrize("power", [1.0, 2.0, 3.0, 4.5])
def test_the_variation_of_a_half_plane_is_its_border(power):
    cells = torch.zeros((28, 28), dtype=torch.float64)
    cells[:, 14:] = 1
    assert float(total_variation(cells, power)[0]) == 28
    assert float(total_variation(cells.T.contiguous(), power)[0]) == 28


@pytest.mark.parametrize("power", [1.5, 2.0, 3.0])
def test_the_variations_slope(power):
    cells = random(5, 7).requires_grad_()
    wanted = cells.diff(dim=0).abs().pow(power).sum() + cells.diff(dim=1).abs().pow(power).sum()
    total, slopes = total_variation(cells.detach(), power)
    torch.testing.assert_close(total, wanted.detach())
    torch.testing.assert_close(slopes, torch.autograd.grad(wanted, cells)[0])


@pytest.mark.parametrize(("area", "held"), [(0.1, 0), (0.25, 5), (0.6, 5)])
def test_area_error_by_its_definition(area, held):
    mask = random(8, 10)
    top = round(area * 80)
    ideal = torch.cat([torch.ones(top), torch.zeros(80 - top)]).double()
    ordered = mask.flatten().sort(descending=True).values
    error, slopes = area_error(mask, 80 * area, 80, held)
    torch.testing.assert_close(error, (ordered - ideal).square().mean() + held * (mask.mean() - area) ** 2)
    flat, wanted = mask.flatten(), []
    for value in flat:
        near = (ordered - value).abs() <= NEARLY
        wanted.append(2 * (value - ideal[near].mean() + held * (mask.mean() - area)) / 80)
    torch.testing.assert_close(slopes.flatten(), torch.stack(wanted))


def test_a_sharp_mask_of_the_area_is_at_rest_and_an_even_one_too():
    sharp = torch.zeros((10, 10), dtype=torch.float64)
    sharp[:2] = 1
    error, slopes = area_error(sharp, 20, 100)
    assert float(error) == 0
    assert not slopes.any()
    even = torch.full((10, 10), 0.2, dtype=torch.float64)
    assert area_error(even, 20, 100)[1].abs().max() < 1e-12
    assert (area_error(even, 50, 100)[1] < 0).all()
