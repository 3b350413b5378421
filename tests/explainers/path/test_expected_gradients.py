"""Expected gradients: GradientSHAP without noise over photos, and the agreement of all path methods on a linear net."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from captum import attr

import xaiwidgets as xw
from xaiwidgets import ExpectedGradients, GradientShap, GradientXInput, GuidedIG, IntegratedGradients, Occlusion, Target
from xaiwidgets.engine.baselines import baseline
from xaiwidgets.engine.references import images_of
from xaiwidgets.errors import InvalidKnob
from xaiwidgets.model.references import reference_set
from xaiwidgets.model.samples import samples


def slow(score, method, image, references):
    which, at = method.plan()
    total = torch.zeros_like(image)
    for reference, share in zip(which, at, strict=True):
        start = references[reference][None]
        leaf = (start + float(share) * (image - start)).requires_grad_()
        total += (image - start) * torch.autograd.grad(score(leaf), leaf)[0]
    return total[0] / method.samples


@pytest.mark.parametrize("positions", ["stratified", "random"])
@pytest.mark.parametrize("style", ["functional", "reused"])
def test_is_the_mean_over_photos_and_points(positions, style, net, wrap, picture, run, close):
    module = net(style)
    model = wrap(module)
    image = picture(model)
    method = ExpectedGradients(samples=11, positions=positions)
    result = run(method, model, image, 2)
    references = images_of(model, "photos", 8)
    close(result.values, slow(lambda x: module(x)[0, 2], method, image, references))
    assert result.provenance.passes == method.cost((12, 14)) == (11 + 1 + 8, 11)
    assert (result.unit, result.signed) == ("logit", True)


def test_is_gradient_shap_without_noise(net, wrap, picture, run):
    model = wrap(net())
    image = picture(model)
    for name, positions in (("photos", "stratified"), ("plain", "random")):
        ours = run(ExpectedGradients(references=name, positions=positions), model, image, 2)
        theirs = run(GradientShap(references=name, positions=positions), model, image, 2)
        np.testing.assert_array_equal(ours.values, theirs.values)
        assert ours.gap == theirs.gap


def test_a_note_tells_which_photos_and_that_they_are_few(net, wrap, picture, run, registry):
    model = wrap(net())
    image = picture(model)
    told, few = run(ExpectedGradients(samples=8), model, image).notes
    assert told.startswith("8 reference pictures of 'photos': coffee, ")
    assert all(sample.name in told for sample in samples())
    assert few.startswith("8 are few for a mean over a data set")
    reference_set("mine", [np.full((20, 20, 3), n, np.uint8) for n in range(16)])
    (told,) = run(ExpectedGradients(samples=16, references="mine"), model, image).notes
    assert told.startswith("16 reference pictures of 'mine'")
    assert run(ExpectedGradients(samples=4, references="plain"), model, image).notes == (
        "4 reference pictures of 'plain': black, white, mean, blur.",
    )


def test_a_set_that_is_registered_later_can_be_used_then(net, wrap, picture, run, registry):
    with pytest.raises(InvalidKnob, match=r"^references must be one of photos, .*got 'later'"):
        ExpectedGradients(references="later")
    reference_set("later", ["coffee"])
    model = wrap(net())
    assert run(ExpectedGradients(references="later"), model, picture(model)).values.any()


@pytest.mark.parametrize("positions", ["stratified", "random"])
def test_linear_net_gives_weights_times_the_difference_from_the_mean_reference(
    positions, linear, wrap, picture, run, close
):
    module, weights = linear(5, 6)
    model = wrap(module, (5, 6))
    image = picture(model)
    method = ExpectedGradients(samples=16, positions=positions)
    drawn = images_of(model, "photos", 8)[method.plan()[0]].mean(dim=0)
    result = run(method, model, image, 3)
    close(result.values, weights[3] * (image[0] - drawn))
    assert abs(result.gap) < 1e-5


@pytest.mark.parametrize("size", [(5, 6), (7, 4)], ids=str)
@pytest.mark.parametrize("name", ["black", "white", "gray"])
def test_x4_all_agree_on_a_linear_net(size, name, linear, wrap, picture, run, close):
    module, weights = linear(*size)
    model = wrap(module, size)
    image = picture(model)
    exact = (weights[3] * (image - baseline(model, image, name)))[0]
    for method in (
        GradientXInput(baseline=name),
        IntegratedGradients(points=3, baseline=name),
        GuidedIG(points=3, baseline=name),
        ExpectedGradients(samples=3, references=name),
        GradientShap(samples=3, references=name),
    ):
        close(run(method, model, image, 3).values, exact)
    single = Occlusion(window_height=1, window_width=1, stride_height=1, stride_width=1, fill=name)
    close(run(single, model, image, 3).map(), exact.sum(dim=0))
    start = baseline(model, image, name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Captum's hooks
        theirs = attr.DeepLift(module).attribute(image.clone(), baselines=start, target=3)
    close(theirs[0], exact)
    close(attr.ShapleyValueSampling(module).attribute(image, baselines=start, target=3, n_samples=1)[0], exact)


def test_x2_against_zero_it_is_gradient_times_input_without_biases(net, wrap, picture, run, close):
    model = wrap(net("functional", bias=False))
    image = picture(model)
    product = run(GradientXInput(), model, image, 2).values
    close(run(ExpectedGradients(references="mean", samples=5), model, image, 2).values, product)


def test_digits_are_compared_with_digits(run):
    loaded = xw.load_model("digits_gap")
    image = images_of(loaded, "digits", 64)[5:6]
    result = run(ExpectedGradients(references="digits", samples=64), loaded, image, int(loaded.logits(image).argmax()))
    assert result.notes[0].startswith("16 reference pictures of 'digits'")
    assert len(result.notes) == 1, "16 are enough"
    assert result.details["explained"] > 0, "the others are mostly other digits"
    assert abs(result.gap) <= 4 * result.details["sum_standard_error"]


def test_a_hidden_unit_can_be_explained(net, wrap, picture, run, close):
    module = net()
    model = wrap(module)
    image = picture(model)
    method = ExpectedGradients(samples=6)
    found = run(method, model, image, Target.hidden("first", 2))
    references = images_of(model, "photos", method.count)
    close(found.values, slow(lambda x: module.first(module.one(x))[0, 2].mean(), method, image, references))
    assert found.unit == "activation"


@pytest.mark.parametrize(
    ("knobs", "named"),
    [
        ({"samples": 10**6}, "samples"),
        ({"references": "nowhere"}, "references"),
        ({"references": "/etc"}, "references"),
        ({"references": None}, "references"),
        ({"positions": "x"}, "positions"),
        ({"pictures": 10**6}, "pictures"),
        ({"seed": 0.5}, "seed"),
    ],
)
def test_bad_knobs_are_named(knobs, named):
    with pytest.raises(InvalidKnob, match=rf"^{named} must be"):
        ExpectedGradients(**knobs)
