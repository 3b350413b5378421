"""AGG-Mean, AGG-Var and the disagreement map: by NumPy from the members' own maps, and their laws."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

import xaiwidgets as xw
from xaiwidgets import AggMean, AggVar, Disagreement
from xaiwidgets.core.cards import resolve
from xaiwidgets.engine.alike import alike
from xaiwidgets.engine.cost import passes
from xaiwidgets.engine.run import drive
from xaiwidgets.errors import InvalidKnob, NotApplicable

ALL = (AggMean, AggVar, Disagreement)
MEMBERS = "saliency,grad_cam,occlusion"


@pytest.fixture
def model(net, wrap):
    """A network whose pictures are as large as occlusion's default window."""
    return wrap(net("functional"), (36, 40))


@pytest.fixture
def maps(model, picture, run):
    """Return the members' maps, each of unit mass."""
    image = picture(model)
    return [
        np.abs(h) / np.abs(h).sum() for h in (run(resolve(n), model, image, 2).heatmap() for n in MEMBERS.split(","))
    ]


def test_equal_numpy(model, picture, run, maps):
    image = picture(model)
    mean, deviation = np.mean(maps, axis=0), np.std(maps, axis=0)
    found = run(AggMean(members=MEMBERS), model, image, 2)
    np.testing.assert_allclose(found.values[0], mean, rtol=1e-5)
    np.testing.assert_allclose(found.details["maps"], maps, rtol=1e-5)
    assert found.values.sum() == pytest.approx(1, rel=1e-5)
    assert found.details["members"] == ("Saliency", "Grad-CAM", "Occlusion")
    assert found.notes[0] == "Of 3: Saliency, Grad-CAM, Occlusion."
    found = run(AggVar(members=MEMBERS, epsilon=0.3), model, image, 2)
    np.testing.assert_allclose(found.values[0], mean / (deviation + 0.3 * deviation.mean()), rtol=1e-4)
    found = run(Disagreement(members=MEMBERS), model, image, 2)
    np.testing.assert_allclose(found.values[0], deviation, rtol=1e-4, atol=1e-9)


def test_the_mean_is_never_farther_from_any_map_than_its_members(model, picture, run, maps):
    """Jensen's inequality, for whatever is taken for the truth: an object, noise, or one of the members."""
    mean = run(AggMean(members=MEMBERS), model, picture(model), 2).values[0].astype(np.float64)
    chance = np.random.default_rng(0)
    square = np.zeros(mean.shape)
    square[8:20, 10:22] = 1 / 144
    for truth in (square, *maps, *(chance.normal(scale=1e-3, size=mean.shape) for _ in range(50))):
        typical = np.mean([((one - truth) ** 2).mean() for one in maps])
        assert ((mean - truth) ** 2).mean() < typical * (1 + 1e-6)


@pytest.mark.parametrize("method", ALL)
def test_the_order_of_members_does_not_matter_and_a_method_counts_once(method, model, picture, run):
    image = picture(model)
    one, other = (run(method(members=names), model, image) for names in (MEMBERS, "occlusion,grad_cam,saliency"))
    np.testing.assert_allclose(one.values, other.values, rtol=1e-5, atol=1e-12)
    assert method(members="saliency, saliency,grad_cam").members == "saliency,grad_cam"


@pytest.mark.parametrize("count", [2, 3, 7])
def test_equal_maps_agree_to_the_last_bit(count, maps):
    """Where the mean of equal numbers is rounded, their deviation is still none."""
    one = maps[0].astype(np.float64)
    same = [one] * count
    assert not Disagreement().combine(same).any()
    np.testing.assert_allclose(AggMean().combine(same), one, rtol=1e-14)
    np.testing.assert_allclose(AggVar().combine(same), one, rtol=1e-14)
    nearly = [one * (1 + 1e-9 * n) for n in range(count)]
    np.testing.assert_allclose(AggVar().combine(nearly), one, rtol=1e-7)


def test_equal_members_agree(model, picture, run):
    """Without local normalization, DeSaliNet is guided backpropagation."""
    image, same = picture(model), "guided_backprop,desalinet"
    alone = np.abs(run(resolve("guided_backprop"), model, image, 2).heatmap())
    assert not run(Disagreement(members=same), model, image, 2).values.any()
    for method in (AggMean, AggVar):
        found = run(method(members=same), model, image, 2).values[0]
        np.testing.assert_allclose(found / found.sum(), alone / alone.sum(), rtol=1e-5)


def test_a_large_epsilon_gives_the_mean_up_to_scale(model, picture, run):
    image = picture(model)
    mean = run(AggMean(members=MEMBERS), model, image).values
    far = run(AggVar(members=MEMBERS, epsilon=100.0), model, image).values
    assert np.corrcoef(mean.ravel(), far.ravel())[0, 1] > 0.999


@pytest.mark.parametrize("how", ["mass", "range", "signed mass"])
def test_maps_are_made_alike(how):
    heat = np.array([[1.0, -3.0], [0.0, 4.0]])
    wanted = {
        "mass": [[0.125, 0.375], [0, 0.5]],
        "range": [[0.25, 0.75], [0, 1]],
        "signed mass": [[0.125, -0.375], [0, 0.5]],
    }[how]
    np.testing.assert_array_equal(alike(heat, how), wanted)
    np.testing.assert_array_equal(alike(7 * heat, how), wanted)
    assert not alike(np.zeros((2, 2)), how).any()


def test_signs_are_kept_where_they_are_asked_for(model, picture, run):
    found = run(AggMean(members="saliency,gradient_x_input", normalize="signed mass"), model, picture(model))
    assert found.signed
    assert found.values.min() < 0
    assert not run(AggMean(members="saliency,gradient_x_input"), model, picture(model)).signed


class Smooth(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 3)

    def forward(self, x):
        return self.head(nn.functional.silu(self.conv(x)).mean(dim=(2, 3)))


def test_a_member_that_does_not_apply_is_left_out_and_said(wrap, picture, run):
    torch.manual_seed(0)
    model = wrap(Smooth().double().eval())
    image = picture(model)
    method = AggMean(members="saliency,guided_backprop,gradient_x_input")
    found = run(method, model, image)
    assert found.details["members"] == ("Saliency", "Gradient × input")
    assert any(note.startswith("Guided backpropagation is left out: it needs ReLU-like") for note in found.notes)
    assert found.provenance.passes == passes(method, model, (12, 14)) == (2, 2)
    with pytest.raises(NotApplicable, match=r"agg_mean needs at least two members.*These would work: .*saliency"):
        run(AggMean(members="guided_backprop,deconvnet"), model, image)


@pytest.mark.parametrize("members", ["saliency,cam,gradient_x_input", "saliency,gradient_x_input,cam"])
def test_a_member_that_refuses_what_is_asked_is_left_out_and_said(members, model, picture):
    """A class activation map is not of one place of a hidden unit; that shows only when it is run."""
    target = xw.Target.hidden("two", 1, (2, 3))
    results = list(drive(AggMean(members=members), model, picture(model), model.target(target)))
    assert results[-1].progress == 1
    assert all(a.progress < b.progress for a, b in pairwise(results))
    assert results[-1].details["members"] == ("Saliency", "Gradient × input")
    assert [note for note in results[-1].notes if note.startswith("CAM is left out: it needs ")]
    both = list(drive(AggMean(members="saliency,gradient_x_input"), model, picture(model), model.target(target)))
    np.testing.assert_array_equal(results[-1].values, both[-1].values)
    with pytest.raises(NotApplicable, match=r"agg_mean needs at least two members.*CAM is left out"):
        list(drive(AggMean(members="cam,saliency"), model, picture(model), model.target(target)))


def test_what_it_yields_on_the_way_is_what_the_members_have_said(model, picture, run):
    image = picture(model)
    results = list(drive(AggMean(members="grad_cam,rise"), model, image, model.target(2)))
    first, *middle, last = results
    np.testing.assert_allclose(first.values[0], alike(run(resolve("grad_cam"), model, image, 2).heatmap(), "mass"))
    assert len(middle) > 10
    assert {len(result.details["maps"]) for result in middle} == {2}
    rise = next(iter(resolve("rise").steps(model, image, model.target(2)))).heatmap()
    np.testing.assert_allclose(middle[0].values[0], (first.values[0] + alike(rise, "mass")) / 2, rtol=1e-4)
    assert last.provenance.passes == passes(AggMean(members="grad_cam,rise"), model, (36, 40))
    assert first.progress == pytest.approx(2 / sum(last.provenance.passes))


@pytest.mark.parametrize("method", ALL)
def test_bad_members_are_named(method):
    with pytest.raises(InvalidKnob, match=r"^members must be 2 to 12 ids of other methods.*got 1"):
        method(members="saliency")
    with pytest.raises(InvalidKnob, match=r"^members must be explainers.*'salency'.*Did you mean saliency"):
        method(members="salency,grad_cam")
    with pytest.raises(InvalidKnob, match=r"^members must be 2 to 12.*'agg_mean' cannot be one of them"):
        method(members="agg_mean,grad_cam")
    with pytest.raises(InvalidKnob, match=r"^members must be 2 to 12.*; got 3"):
        method(members=3)


def test_on_the_bundled_network_and_a_real_photo():
    model = xw.load_model()
    found = xw.explain(model, "coffee", "agg_mean", members="saliency,grad_cam,lrp")
    assert found.values.sum() == pytest.approx(1, rel=1e-4)
    heat = found.heatmap()
    assert heat[60:170, 60:170].mean() > 2 * heat[:30].mean()
