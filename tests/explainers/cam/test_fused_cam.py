"""Fused maps: the parts are those of the single methods, one pass gives them all, and two libraries agree."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pytorch_grad_cam import LayerCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch.nn import functional
from torchcam.methods import LayerCAM as TorchLayerCAM

import xaiwidgets as xw
from xaiwidgets import FusedCam, Target
from xaiwidgets.core.cards import card
from xaiwidgets.errors import InvalidKnob, InvalidLayer, NotApplicable
from xaiwidgets.explainers.cam.maps import MEMBERS
from xaiwidgets.model import passes


def parts(member, layers, model, image, target, run):
    return [run(card(member).make(layer=layer), model, image, target).values for layer in layers]


def enlarged(values, size):
    return functional.interpolate(torch.tensor(np.array(values))[None].double(), size=size, mode="bilinear")[0].numpy()


@pytest.mark.parametrize("member", MEMBERS)
@pytest.mark.parametrize("combination", ["max", "mean"])
def test_its_parts_are_the_maps_of_the_single_methods(member, combination, odd, wrap, picture, run, close):
    module, _, size = odd
    model = wrap(module, size)
    image = picture(model)
    result = run(FusedCam(member=member, combination=combination), model, image, 2)
    large = []
    for number, one in enumerate(parts(member, result.details["layers"], model, image, 2, run), 1):
        scaled = one / one.max() if one.any() else one
        large.append(enlarged(scaled if number == len(result.details["layers"]) else np.tanh(2 * scaled), size))
    wanted = np.maximum.reduce(large) if combination == "max" else sum(large) / len(large)
    close(result.values, wanted)
    assert result.values.shape == (1, *size)
    assert 0 <= result.values.min() <= result.values.max() <= 1
    assert (result.unit, result.signed) == ("share of each layer's largest logit", False)
    assert result.layer == result.details["layers"][-1]


def test_all_layers_come_from_one_forward_and_one_backward_pass(lite0, run, monkeypatch):
    model, image, target = lite0
    seen = []
    for name in ("forward", "gradient"):
        plain = getattr(passes, name)
        monkeypatch.setattr(
            passes, name, lambda *a, name=name, plain=plain, **k: seen.append((name, len(a[1]))) or plain(*a, **k)
        )
    result = run(FusedCam(sizes=5), model, image, target)
    assert result.details["layers"] == ("blocks.0", "blocks.1", "blocks.2", "blocks.4", "bn2")
    assert seen == [("gradient", 1)]
    assert result.provenance.passes == (1, 1)
    assert result.values.shape == (1, 224, 224)


@pytest.mark.parametrize(
    ("layer", "sizes", "wanted"),
    [
        ("", 1, ["bn2"]),
        ("", 3, ["blocks.2", "blocks.4", "bn2"]),
        ("blocks.5", 2, ["blocks.4", "blocks.5"]),
        ("blocks.3", 8, ["blocks.0", "blocks.1", "blocks.2", "blocks.3"]),
        ("blocks.3.0", 2, ["blocks.2", "blocks.3.0"]),
        ("bn1", 4, ["bn1"]),
    ],
)
def test_one_layer_of_each_size_up_to_the_chosen_one(layer, sizes, wanted, lite0, run):
    model, image, target = lite0
    result = run(FusedCam(layer=layer, sizes=sizes), model, image, target)
    assert list(result.details["layers"]) == wanted
    assert result.layer == wanted[-1]
    assert result.notes[0] == f"Fused from {', '.join(wanted)}."


def test_one_size_alone_is_the_single_map_enlarged(net, wrap, picture, run, close):
    model = wrap(net())
    image = picture(model)
    found = run(FusedCam(sizes=1, scaling="none", member="grad_cam"), model, image, 1)
    close(found.values[0], run(xw.GradCam(), model, image, 1).heatmap())
    assert found.unit == "logit"


def test_equals_a_library_that_takes_the_mean(net, wrap, picture, run, close):
    """It stretches each map to [0, 1] and the mean once more: the same where the least value is 0."""
    module = net("module")
    with torch.no_grad():
        module.head.weight.abs_()
        for part, less in ((module.one, 0.6), (module.two, 0.15)):
            part.bias.sub_(less)  # so that nothing responds in some places
    model = wrap(module)
    image = picture(model)
    ours = run(FusedCam(combination="mean", scaling="largest"), model, image, 1)
    assert ours.details["layers"] == ("first", "second")
    with LayerCAM(model=module, target_layers=[module.first, module.second]) as cam:
        theirs = cam(image, [ClassifierOutputTarget(1)])
    for one in parts("layer_cam", ours.details["layers"], model, image, 1, run):
        assert one.min() == 0 < one.max()
    close((ours.values - ours.values.min()) / np.ptp(ours.values), theirs, 1e-4)


@pytest.mark.parametrize("scaling", ["largest", "tanh"])
def test_equals_a_library_that_takes_the_maximum(scaling, net, wrap, picture, run, close):
    """It lifts every map by tanh; here, the last one is not."""
    module = net("module")
    model = wrap(module)
    image = picture(model)
    ours = run(FusedCam(scaling=scaling), model, image, 1).values
    with TorchLayerCAM(module, ["first", "second"], input_shape=(3, 12, 14)) as cam:
        maps = cam(1, module(image), normalized=False)
    first, second = (one / one.max() for one in maps)
    if scaling == "tanh":  # the first map twice: what they fuse is lifted and enlarged
        first = TorchLayerCAM.fuse_cams([first, first], (12, 14))
    close(ours, TorchLayerCAM.__base__.fuse_cams([first, second], (12, 14)))


def test_the_lift_raises_what_earlier_layers_say(net, wrap, picture, run):
    model = wrap(net())
    image = picture(model)
    plain = run(FusedCam(scaling="largest"), model, image, 1).values
    for gamma in (2.0, 4.0):
        lifted = run(FusedCam(gamma=gamma), model, image, 1).values
        assert lifted.mean() > plain.mean()
        plain = lifted


def test_a_kept_pass_serves_it(net, wrap, picture, run, close):
    model = wrap(net())
    image = picture(model)
    shared = model.sharing()
    assert run(FusedCam(), shared, image, 2).provenance.passes == (1, 1)
    for layer in ("first", "second"):
        found = run(FusedCam(layer=layer), shared, image, 2)
        assert found.provenance.passes == (0, 0)
        close(found.values, run(FusedCam(layer=layer), model, image, 2).values)


def test_a_layer_that_is_no_stage_costs_one_pass_with_all_stages(lite0, run):
    model, image, target = lite0
    shared = model.sharing()
    assert run(FusedCam(layer="blocks.3.0"), shared, image, target).provenance.passes == (1, 1)
    assert run(FusedCam(layer="blocks.3"), shared, image, target).provenance.passes == (0, 0)


def test_a_hidden_unit_is_explained_by_layers_before_it(net, wrap, picture, run):
    model = wrap(net())
    image = picture(model)
    result = run(FusedCam(), model, image, Target.hidden("two", 3))
    assert result.details["layers"] == ("first",)
    assert "activation" in result.unit
    with pytest.raises(NotApplicable, match=r"fused_cam needs a layer before the explained unit \(one\)"):
        run(FusedCam(layer="second"), model, image, Target.hidden("one", 0))


def test_what_no_layer_says_stays_nothing(net, wrap, picture, run):
    module = net()
    with torch.no_grad():
        module.head.weight.zero_()
    model = wrap(module)
    assert not run(FusedCam(), model, picture(model)).values.any()


def test_what_grad_cam_pp_takes_for_granted_is_said_once(lite0, run):
    model, image, target = lite0
    notes = run(FusedCam(member="grad_cam_pp"), model, image, target).notes
    assert len(notes) == 2
    assert "activations for not negative" in notes[1]


def test_bad_input_is_named(net, wrap, picture, run):
    model = wrap(net())
    with pytest.raises(InvalidLayer, match=r"layer must be one of.*'secnod'.*Did you mean second"):
        run(FusedCam(layer="secnod"), model, picture(model))
    for name, value in (("member", "cam"), ("sizes", 0), ("combination", "sum"), ("scaling", "minmax"), ("gamma", 0.0)):
        with pytest.raises(InvalidKnob, match=rf"^{name} must be"):
            FusedCam(**{name: value})
