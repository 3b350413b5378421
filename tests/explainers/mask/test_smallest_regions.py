"""Smallest sufficient and smallest destroying region: a slow search by definition, and regions known beforehand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import xaiwidgets as xw
from xaiwidgets import SmallestDestroyingRegion, SmallestSufficientRegion, Target
from xaiwidgets.engine.baselines import baseline
from xaiwidgets.engine.run import drive
from xaiwidgets.errors import InvalidKnob, NotApplicable

BOTH = pytest.mark.parametrize("cls", [SmallestSufficientRegion, SmallestDestroyingRegion])


def curve(module, image, cover, heat, levels, keeps, score):
    """Return the score at each area: the deletion (or insertion) curve of RISE's evaluation."""
    order = np.argsort(-heat.ravel(), kind="stable")
    found = []
    for level in range(levels + 1):
        top = torch.zeros(heat.size, dtype=torch.bool)
        top[order[: round(level * heat.size / levels)].copy()] = True
        top = top.reshape(heat.shape)
        with torch.no_grad():
            found.append(float(score(module(torch.where(top == keeps, image, cover)))))
    return np.array(found)


def first(share, keeps, tau):
    """Return the first level at which the score is held (lost), and still is at the next one."""
    for level in range(len(share)):
        reached = [s >= tau if keeps else s <= 1 - tau for s in share[level : level + 2]]
        if all(reached):
            return level
    return None


@BOTH
@pytest.mark.parametrize("style", ["functional", "reused"])
@pytest.mark.parametrize(("fill", "levels", "tau"), [("blur", 24, 0.9), ("gray", 10, 0.5), ("white", 7, 0.75)])
def test_is_the_least_area_of_the_curve(cls, style, fill, levels, tau, net, wrap, picture, run):
    module = net(style)
    model = wrap(module)
    image = picture(model)
    method = cls(base="saliency", fill=fill, levels=levels, threshold=tau)
    heat = run(xw.Saliency(), model, image, 2).heatmap()
    keeps = cls is SmallestSufficientRegion
    cover = baseline(model, image, fill)
    wanted = curve(module, image, cover, heat, levels, keeps, lambda z: z.softmax(1)[0, 2])
    result = run(method, model, image, 2)
    np.testing.assert_allclose(result.details["curves"]["score"], wanted, rtol=1e-6)
    whole, hidden = (wanted[-1], wanted[0]) if keeps else (wanted[0], wanted[-1])
    level = first((wanted - hidden) / (whole - hidden), keeps, tau)
    assert result.details["level"] == level
    region = result.values[0].astype(bool)
    assert region.sum() == round(level * 168 / levels)
    assert result.details["area"] == region.sum() / 168
    assert heat[region].min() >= heat[~region].max(initial=-np.inf)
    assert {*np.unique(result.values)} <= {0, 1}
    # the ends of the curve are the photo and the hidden photo
    with torch.no_grad():
        ends = [float(module(x).softmax(1)[0, 2]) for x in (image, cover)]
    np.testing.assert_allclose([whole, hidden], ends, rtol=1e-6)


@BOTH
def test_the_rectangle_and_the_saliency_metric(cls, net, wrap, picture, run):
    module = net()
    model = wrap(module)
    image = picture(model)
    found = run(cls(base="saliency", levels=12, threshold=0.3), model, image, 1)
    rows, columns = np.nonzero(found.values[0])
    top, left, bottom, right = rows.min(), columns.min(), rows.max() + 1, columns.max() + 1
    assert found.details["box"] == (top, left, bottom, right)
    cut = functional.interpolate(image[..., top:bottom, left:right], size=(12, 14), mode="bilinear")
    with torch.no_grad():
        alone = float(module(cut).softmax(1)[0, 1])
    assert found.details["crop_score"] == pytest.approx(alone, rel=1e-6)
    area = (bottom - top) * (right - left) / 168
    assert found.details["saliency_metric"] == pytest.approx(math.log(max(area, 0.05)) - math.log(alone), rel=1e-6)


class Patch(nn.Module):
    """A hidden unit that is the share of a patch of 4 × 4 pixels that is as in the photo; nothing else matters."""

    def __init__(self, image):
        super().__init__()
        self.image = nn.Parameter(image, requires_grad=False)
        self.unit = nn.Identity()

    def forward(self, x):
        same = ((x - self.image).abs() < 1e-9).all(dim=1)[:, 3:7, 5:9].to(x).mean(dim=(1, 2))
        far = torch.tanh((x - self.image).abs().sum(dim=1))[:, 3:7, 5:9]
        score = self.unit((same + 0 * far.sum(dim=(1, 2)))[:, None])
        return torch.cat([10 * score, 0 * score], dim=1)


class Ideal:
    """Stands for a map that knows the patch, or that knows nothing."""

    def __init__(self, heat):
        self.heat = heat

    def __call__(self, _name, **_knobs):
        return self

    def cost(self, _size):
        return 0, 0

    def steps(self, model, image, target):
        yield xw.Attribution(self.heat[None], "logit", True, (12, 14), score=0.0)


@BOTH
def test_of_a_perfect_map_it_is_the_patch(cls, net, wrap, picture, run, monkeypatch):
    image = picture(wrap(net()))
    model = wrap(Patch(image))
    heat = np.zeros((12, 14), np.float32)
    heat[3:7, 5:9] = 1
    method = cls(base="saliency", levels=168, threshold=0.999)
    target = Target.hidden("unit", 0)
    monkeypatch.setattr("xaiwidgets.explainers.mask.region.resolve", Ideal(heat))
    monkeypatch.setattr("xaiwidgets.engine.run.check_applicable", lambda *_: None)
    found = run(method, model, image, target)
    assert found.details["area"] == pytest.approx(16 / 168)
    np.testing.assert_array_equal(found.values[0], heat)
    assert found.details["box"] == (3, 5, 7, 9)
    assert "saliency_metric" not in found.details  # the activation of a unit is no probability
    for seed in range(3):
        noise = np.random.default_rng(seed).random((12, 14)).astype(np.float32)
        monkeypatch.setattr("xaiwidgets.explainers.mask.region.resolve", Ideal(noise))
        assert run(method, model, image, target).details["area"] > 16 / 168


@BOTH
def test_more_of_the_score_takes_more_of_the_photo(cls, net, wrap, picture, run):
    model = wrap(net())
    image = picture(model)
    areas = [run(cls(threshold=tau, levels=40), model, image, 2).details["area"] for tau in (0.2, 0.5, 0.8, 1.0)]
    assert areas == sorted(areas)
    assert 0 < areas[0] < areas[-1] <= 1


@BOTH
def test_measured_from_zero_there_may_be_no_such_region(cls, net, wrap, picture, run):
    model = wrap(net())
    image = picture(model)
    found = run(cls(nothing="zero", threshold=0.8, levels=8), model, image, 2)
    with torch.no_grad():
        hidden = float(model.module(baseline(model, image, "blur")).softmax(1)[0, 2])
    if cls is SmallestSufficientRegion:  # blurred all over it still has most of its probability
        assert hidden > 0.8 * found.score
        assert found.details["area"] == 0
    else:
        assert math.isnan(found.details["area"])
        assert "There is no such region" in found.notes[0]
    assert not found.values.any()
    assert "box" not in found.details


@BOTH
def test_the_learned_mask_plays_the_game_that_fits(cls):
    game = "preservation" if cls is SmallestSufficientRegion else "deletion"
    assert cls(base="meaningful_perturbation")._ranking() == xw.MeaningfulPerturbation(game=game)


@BOTH
def test_coarse_areas_come_first(cls, net, wrap, picture):
    model = wrap(net())
    model.remember(("batch size", False), lambda: 4)
    results = list(drive(cls(base="saliency", levels=16), model, picture(model), model.target(2)))
    known = [np.flatnonzero(~np.isnan(result.details["curves"]["score"])).tolist() for result in results]
    assert known[0] == [16 if cls is SmallestSufficientRegion else 0]  # the photo; the map comes first
    assert known[1] == [0, 4, 8, 12, 16]
    assert known[-1] == list(range(17))
    assert "under way" in results[0].notes[0]


def test_bad_bases(net, wrap, picture, run):
    with pytest.raises(InvalidKnob, match=r"base must be the id of another method.*'sdr'"):
        SmallestSufficientRegion(base="sdr")
    with pytest.raises(InvalidKnob, match=r"base must be one of the explainers.*'nothing'"):
        SmallestDestroyingRegion(base="nothing")
    flat = nn.Sequential(nn.Flatten(), nn.Linear(3 * 12 * 14, 5)).double()
    with pytest.raises(NotApplicable, match=r"^grad_cam needs"):
        run(SmallestSufficientRegion(), wrap(flat), picture(wrap(flat)))
    assert run(SmallestSufficientRegion(base="saliency", levels=8), wrap(flat), picture(wrap(flat))).values.any()
