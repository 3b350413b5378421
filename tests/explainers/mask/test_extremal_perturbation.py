"""Extremal perturbation: a loop by hand, the area that was asked for, and what may be moved on the way."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import xaiwidgets as xw
from xaiwidgets import ExtremalPerturbation
from xaiwidgets.engine.baselines import gaussian_blur
from xaiwidgets.engine.run import drive, last
from xaiwidgets.engine.softmasks import NEARLY
from xaiwidgets.errors import InvalidKnob
from xaiwidgets.explainers.mask.extremal_perturbation import AREAS

SMALL = {"seed_step": 4, "width": 4, "blur": 3}


def mask_of(seeds, step, sigma, size, beyond):
    """The smooth maximum of all discs, as one sum over seeds near enough, seeds of 0 beyond the border."""
    reach = -(-4 * sigma // (3 * step))
    rows, columns = seeds.shape
    padded = nn.functional.pad(seeds, (reach + beyond,) * 4)
    edge = beyond * step
    down, across = (torch.arange(-edge, n + edge, dtype=torch.float64) for n in size)
    values = []
    for i in range(-reach - beyond, rows + reach + beyond):
        for j in range(-reach - beyond, columns + reach + beyond):
            away = torch.hypot(
                (down - step * i - (step - 1) / 2)[:, None], (across - step * j - (step - 1) / 2)[None, :]
            )
            near = ((down // step - i).abs() <= reach)[:, None] & ((across // step - j).abs() <= reach)[None, :]
            kernel = torch.exp(-2 * (away / sigma - 0.5).clamp_min(0) ** 2)
            value = kernel * padded[i + reach + beyond, j + reach + beyond]
            values.append(torch.where(near, value, torch.full_like(value, -float("inf"))))
    stacked = torch.stack(values)
    weights = (20 * stacked).softmax(dim=0)
    return (weights * stacked.clamp_min(0)).sum(dim=0)


def under(image, mask, blur):
    """Each pixel from the two nearest of eight levels of blur."""
    copies = torch.cat([gaussian_blur(image, blur * (1 - n / 7)) for n in range(8)])
    weights = (1 - (7 * mask[None, None] - torch.arange(8).reshape(8, 1, 1, 1)).abs()).clamp_min(0)
    return (copies * weights).sum(dim=0, keepdim=True)


def area_slope(full, pixels, whole, held):
    """By pixel: its value less the mean ideal of all pixels of that value, and the sum held to the area."""
    ordered = full.flatten().sort(descending=True).values
    ideal = (torch.arange(full.numel()) < round(pixels)).double()
    found = [
        v - ideal[(ordered - v).abs() <= NEARLY].mean() + held * (full.sum() - pixels) / whole for v in full.flatten()
    ]
    return 2 * torch.stack(found).reshape(full.shape) / whole


def by_hand(module, image, score, method, areas):
    with torch.no_grad():
        fall = abs(float(score(module(image)) - score(module(gaussian_blur(image, method.blur)))))
    size, keeps = tuple(image.shape[-2:]), method.game == "preservation"
    whole, beyond = size[0] * size[1], -(-method.width // method.seed_step)
    edge = beyond * method.seed_step
    inside = slice(edge, edge + size[0]), slice(edge, edge + size[1])
    masks = []
    for area in areas:
        seeds = torch.ones(tuple(-(-side // method.seed_step) for side in size), dtype=torch.float64)
        mean = torch.zeros_like(seeds)
        for step in range(method.iterations):
            seeds.requires_grad_()
            full = mask_of(seeds, method.seed_step, method.width, size, beyond)
            mask = full[inside]
            seen = under(image, mask if keeps else 1 - mask, method.blur)
            seen = seen.flip(-1) if method.flip and step % 2 == 0 else seen
            reward = 10 / fall * score(module(seen)) * (1 if keeps else -1)
            weight = method.constraint * 16.4 ** (step / method.iterations)
            late = max(0, 2 * step / method.iterations - 1)
            free = late * float((full.sum() - mask.sum()).detach())
            push = weight * area_slope(full.detach(), area * whole + free, whole, 5 * late)
            (slope,) = torch.autograd.grad((push * full).sum() - reward, seeds)
            mean = 0.9 * mean + 0.1 * slope
            seeds = (seeds.detach() - method.step_size * seeds.numel() / 1024 * mean).clamp(0, 1)
        masks.append(mask_of(seeds, method.seed_step, method.width, size, beyond)[inside])
    return torch.stack(masks).mean(dim=0)[None]


@pytest.mark.parametrize("style", ["functional", "reused"])
@pytest.mark.parametrize("game", ["preservation", "deletion"])
def test_is_the_papers_loop(game, style, net, wrap, picture, run, close):
    module = net(style)
    model = wrap(module)
    image = picture(model)
    method = ExtremalPerturbation(game=game, area=0.3, iterations=6, **SMALL)
    wanted = by_hand(module, image, lambda z: z.log_softmax(1)[0, 2], method, [0.3])
    close(run(method, model, image, 2).values, wanted, 1e-5)


def test_several_areas_are_the_mean_of_each(net, wrap, picture, run, close):
    module = net()
    model = wrap(module)
    image = picture(model)
    method = ExtremalPerturbation(several=True, iterations=3, flip=False, output="logit", **SMALL)
    result = run(method, model, image, 1)
    close(result.values, by_hand(module, image, lambda z: z[0, 1], method, AREAS), 1e-5)
    assert result.details["areas"] == AREAS
    assert result.details["mask"].shape == (6, 3, 4)
    assert len(result.details["under"]) == len(result.notes) == 6
    assert result.details["step"] == 3


@pytest.fixture(scope="module")
def digit():
    """The bundled digits net with a picture, and settings for its size."""
    model = xw.load_model("digits_gap")
    return model, model.input("coffee"), {"seed_step": 4, "width": 4, "blur": 4, "flip": False}


@pytest.mark.parametrize("game", ["preservation", "deletion"])
def test_the_area_is_the_one_asked_for_and_more_of_it_does_more(game, digit):
    model, image, knobs = digit
    target = model.target(None, image)
    ends = []
    for area in (0.1, 0.3, 0.6):
        found = last(drive(ExtremalPerturbation(game=game, area=area, **knobs), model, image, target))
        assert found.values.min() >= 0
        assert found.values.max() <= 1
        assert abs(float(found.values.mean()) - area) < 0.02
        ends.append(found.details["under"][0] * (1 if game == "preservation" else -1))
    slack = 0.05 * abs(found.score - found.details["hidden_score"])
    assert ends[0] <= ends[1] + slack
    assert ends[1] <= ends[2] + slack
    assert ends[2] > ends[0]


class Texture(nn.Module):
    """Its first score is how rough a picture is, wherever that may be."""

    def forward(self, x):
        rough = (x - nn.functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False)).square().mean(dim=(1, 2, 3))
        return torch.stack([20 * rough, torch.zeros_like(rough)], dim=1)


def test_corners_are_not_cheap(wrap, picture, run):
    """At the border, discs pay for what they cover beyond it: a quarter of a disc would do in a corner."""
    model = wrap(Texture(), size=(40, 40))
    found = run(ExtremalPerturbation(flip=False, seed_step=4, width=8, blur=4), model, picture(model), 0).values[0]
    corners = [
        found[rows, columns].mean() for rows in (slice(6), slice(-6, None)) for columns in (slice(6), slice(-6, None))
    ]
    assert np.mean(corners) < found.mean() == pytest.approx(0.2, abs=0.03)


def test_the_area_can_be_moved_while_it_runs(digit):
    model, image, knobs = digit
    target = model.target(None, image)
    running = drive(ExtremalPerturbation(area=0.1, **knobs), model, image, target)
    result = next(running)
    while result.progress < 1:
        result = running.send({"area": 0.4} if result.details["step"] == 100 else None)
    assert result.details["events"] == ((101, "area", 0.1, 0.4),)
    assert abs(float(result.values.mean()) - 0.4) < 0.03
    areas = result.details["curves"]["area"]
    assert abs(areas[100] - 0.1) < 0.05
    assert areas[-1] > areas[100] + 0.2
    assert result.details["areas"] == (0.4,)
    assert "area 0.1 → 0.4 at step 101" in result.notes[-1]


def test_two_runs_that_differ_by_rounding_are_as_good(digit):
    """Which of two regions wins may be chance; what it is worth is not."""
    model, image, knobs = digit
    target = model.target(None, image)
    method = ExtremalPerturbation(area=0.3, **knobs)
    one = last(drive(method, model, image, target))
    other = last(drive(method, model, image * (1 + 1e-6), target))
    fall = abs(one.score - one.details["hidden_score"])
    assert abs(one.details["under"][0] - other.details["under"][0]) < 0.25 * fall


class Constant(nn.Module):
    def forward(self, x):
        return 0 * x.sum(dim=(1, 2, 3))[:, None] + x.new_tensor([3.0, 1.0])


def test_where_nothing_matters_the_map_is_empty_and_says_so(wrap, picture, run):
    model = wrap(Constant())
    result = run(ExtremalPerturbation(iterations=3, **SMALL), model, picture(model))
    assert not result.values.any()
    assert "stayed the same" in result.notes[0]


@pytest.mark.parametrize(("name", "value"), [("area", 0.0), ("seed_step", 1), ("width", 100), ("output", "loss")])
def test_bad_settings(name, value):
    with pytest.raises(InvalidKnob, match=f"^{name} must be"):
        ExtremalPerturbation(**{name: value})


def test_bigger_seeds_give_a_smoother_mask(digit):
    model, image, knobs = digit
    target = model.target(None, image)

    def roughness(width):
        method = ExtremalPerturbation(**{**knobs, "width": width, "iterations": 60})
        values = last(drive(method, model, image, target)).values[0]
        return np.abs(np.diff(values, axis=0)).sum() + np.abs(np.diff(values, axis=1)).sum()

    assert roughness(12) < roughness(3)
