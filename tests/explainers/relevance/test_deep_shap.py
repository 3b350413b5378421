"""DeepSHAP: the mean of DeepLIFT over backgrounds, against SHAP's own library and captum."""

from __future__ import annotations

import warnings

import nets
import numpy as np
import pytest
from captum import attr
from torch import nn

import xaiwidgets as xw
from xaiwidgets import DeepLiftRescale, DeepShap, Target
from xaiwidgets.engine.references import images_of
from xaiwidgets.errors import InvalidKnob, NotApplicable
from xaiwidgets.model import references
from xaiwidgets.model.references import PLAIN, reference_set


@pytest.fixture(autouse=True)
def registry(monkeypatch):
    """Each test has a registry of its own."""
    monkeypatch.setattr(references, "_SETS", {})


def noise(name, count, side=24):
    """Register random photos."""
    generator = np.random.default_rng(0)
    return reference_set(name, [generator.integers(0, 255, (side, side, 3), np.uint8) for _ in range(count)])


def test_is_the_mean_of_deeplift_over_the_references(net, wrap, picture, run, close):
    model = wrap(net())
    image = picture(model)
    result = run(DeepShap(references="plain"), model, image, 2)
    singles = np.stack([run(DeepLiftRescale(baseline=color), model, image, 2).values for color in PLAIN])
    close(result.values, singles.mean(0), 1e-6)
    close(result.details["standard_error"], singles.std(0, ddof=1) / len(PLAIN) ** 0.5, 1e-5)
    assert result.details["backgrounds"] == len(PLAIN)
    assert result.provenance.passes == (2 * len(PLAIN), 2 * len(PLAIN))


@pytest.mark.parametrize("color", ["black", "blur"])
def test_one_reference_is_deeplift(color, net, wrap, picture, run):
    model = wrap(net("functional"))
    image = picture(model)
    one, other = run(DeepShap(references=color), model, image), run(DeepLiftRescale(baseline=color), model, image)
    np.testing.assert_array_equal(one.values, other.values)
    assert one.details["explained"] == other.details["explained"]


@pytest.mark.parametrize("make", nets.GOOD, ids=lambda make: make.__name__)
def test_adds_up_to_the_score_less_the_mean_score(make, picture, run):
    model = xw.Model(make().double(), size=nets.SIZE)
    noise("noise", 5)
    image = picture(model)
    backgrounds = images_of(model, "noise", 5)
    for target in (1, Target.difference(3, 0)):
        result = run(DeepShap(references="noise"), model, image, target)
        found = model.target(target)
        wanted = float(model.scores(image, found) - model.scores(backgrounds, found).mean())
        assert result.details["explained"] == pytest.approx(wanted, rel=1e-9)
        assert abs(result.gap / wanted) < 1e-10
        assert result.values.sum(dtype=float) == pytest.approx(wanted, rel=1e-4)


def test_every_prefix_is_the_mean_so_far(net, wrap, picture):
    model = wrap(net())
    image = picture(model)
    model.remember(("batch size", True), lambda: 4)
    results = list(DeepShap(references="plain").steps(model, image, model.target(2)))
    assert [r.details["backgrounds"] for r in results] == [2, 4, 5]
    assert [r.progress for r in results] == pytest.approx([0.4, 0.8, 1.0])
    assert all(abs(r.gap / r.details["explained"]) < 1e-10 for r in results)


def test_a_linear_net_gives_weight_times_difference_from_the_mean(linear, wrap, picture, run, close):
    module, weights = linear(5, 6)
    model = wrap(module, (5, 6))
    noise("noise", 7)
    image = picture(model)
    mean = images_of(model, "noise", 7).mean(0, keepdim=True)
    close(run(DeepShap(references="noise"), model, image, 3).values, ((image - mean) * weights[3])[0])


def test_fewer_references_than_asked_for_cost_less(net, wrap, picture, run):
    model = wrap(net())
    noise("noise", 3)
    assert DeepShap(references="noise", count=100).cost((12, 14)) == (6, 6)
    assert DeepShap(references="noise", count=2).cost((12, 14)) == (4, 4)
    result = run(DeepShap(references="noise", count=2), model, picture(model))
    assert result.details["backgrounds"] == 2
    assert result.notes[0].startswith("2 reference pictures of 'noise'")


def test_says_if_the_picture_is_one_of_its_references(net, wrap, run, picture):
    model = wrap(net())
    itself = model.input("coffee")
    told = run(DeepShap(), model, itself).notes
    assert any("the picture itself" in note for note in told)
    assert not any("the picture itself" in note for note in run(DeepShap(), model, picture(model)).notes)


def mlp():
    return nn.Sequential(
        nn.Flatten(), nn.Linear(3 * 12 * 14, 8), nn.Tanh(), nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 5)
    )


def test_equals_captum_where_it_is_right(net, wrap, picture, run, close):
    noise("noise", 4)
    for module in (net(pool=False), mlp().double()):
        model = wrap(module)
        image = picture(model)
        backgrounds = images_of(model, "noise", 4).contiguous()
        leaves = (image.clone().requires_grad_(), backgrounds.clone().requires_grad_())
        with pytest.warns(UserWarning, match="hooks"):
            theirs = attr.DeepLiftShap(module).attribute(*leaves, target=2)
        close(run(DeepShap(references="noise"), model, image, 2).values, theirs[0])


@pytest.fixture(scope="module")
def shap():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("shap")


def test_equals_shap(shap, wrap, picture, run, close):
    """With max-pooling right behind activations, too."""
    noise("noise", 4)
    for module in (nets.f2().double(), mlp().double()):
        model = wrap(module)
        image = picture(model)
        backgrounds = images_of(model, "noise", 4).contiguous()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = shap.DeepExplainer(module, backgrounds).shap_values(image, check_additivity=False)
        close(run(DeepShap(references="noise"), model, image, 2).values, np.asarray(theirs)[0, ..., 2])


def test_a_hidden_unit_can_be_explained(net, wrap, picture, run):
    model = wrap(net())
    result = run(DeepShap(references="plain"), model, picture(model), Target.hidden("first", 2, "max"))
    assert result.unit == "activation"
    assert abs(result.gap / result.details["explained"]) < 1e-10


def test_a_network_that_takes_one_image_at_a_time_is_refused(picture, run):
    model = xw.Model(nets.one_at_a_time(), size=nets.SIZE)
    with pytest.raises(NotApplicable, match=r"^deep_shap needs picture and reference in one batch"):
        run(DeepShap(), model, picture(model))


def test_unknown_references_are_named(net, wrap, picture, run):
    model = wrap(net())
    with pytest.raises(InvalidKnob, match=r"^references must be one of .*got 'nowhere'"):
        run(DeepShap(references="nowhere"), model, picture(model))
    with pytest.raises(InvalidKnob, match=r"^count must be"):
        DeepShap(count=0)
