"""Grad-CAM of any layer, against its definition, two libraries, and CAM where both are defined."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from captum import attr
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import nn
from torch.nn import functional

import xaiwidgets as xw
from xaiwidgets import GradCam, Target
from xaiwidgets.errors import InvalidKnob, InvalidLayer, NotApplicable


def slow(module, layer, image, target, relu=True):
    """Selvaraju et al. 2017, eq. 1 and 2, with a hook."""
    kept = []

    def keep(_module, _inputs, output):
        kept.append(output)
        return output.clone()  # what comes next may work in place

    hook = module.get_submodule(layer).register_forward_hook(keep)
    scores = module(image.clone().requires_grad_())
    hook.remove()
    gradient = torch.autograd.grad(scores[0, target], kept[0])[0]
    total = (gradient.mean(dim=(2, 3), keepdim=True) * kept[0]).sum(dim=1)
    return total.relu() if relu else total


@pytest.mark.parametrize("layer", ["one", "first", "two", "second"])
@pytest.mark.parametrize("relu", [True, False])
def test_is_the_weighted_sum_of_a_layer(layer, relu, net, wrap, picture, run, close):
    module = net("inplace")
    model = wrap(module)
    image = picture(model)
    result = run(GradCam(layer=layer, relu=relu), model, image, 2)
    close(result.values, slow(module, layer, image, 2, relu))
    assert (result.layer, result.unit, result.signed) == (layer, "logit", not relu)


@pytest.mark.parametrize("style", ["functional", "reused", "method"])
def test_does_not_depend_on_how_the_relus_are_written(style, net, wrap, picture, run, close):
    for layer in ("one", "two"):
        maps = [run(GradCam(layer=layer), m, picture(m), 1).values for m in (wrap(net(style)), wrap(net("module")))]
        close(*maps)


@pytest.mark.parametrize("style", ["module", "inplace"])
@pytest.mark.parametrize("layer", ["one", "first", "second"])
def test_equals_captum(layer, style, net, wrap, picture, run, close):
    module = net(style)
    model = wrap(module)
    image = picture(model)
    theirs = attr.LayerGradCam(module, module.get_submodule(layer)).attribute(image.clone().requires_grad_(), target=3)
    close(run(GradCam(layer=layer, relu=False), model, image, 3).values, theirs[0])


def test_equals_captum_at_every_stage_of_the_bundled_network(lite0_double, run, close):
    model, image, target = lite0_double
    assert len(model.stages) >= 6
    for stage in model.stages:
        module = model.module.get_submodule(stage.name)
        theirs = attr.LayerGradCam(model.module, module).attribute(
            image.clone().requires_grad_(), target=target, relu_attributions=True
        )
        close(run(GradCam(layer=stage.name), model, image, target).values, theirs[0])


def stretched(values, size):
    """What pytorch-grad-cam does to a map: stretched to [0, 1], enlarged, and stretched again."""
    for step in range(2):
        values = (values - values.min()) / (values.max() - values.min())
        if step == 0:
            values = functional.interpolate(torch.tensor(values)[None], size=size, mode="bilinear")[0].numpy()
    return values[0]


def test_equals_pytorch_grad_cam_on_the_bundled_network(lite0, run, close):
    """In float32, as loaded."""
    model, image, target = lite0
    result = run(GradCam(), model, image, target)
    assert result.layer == model.stages[-1].name
    module = model.module.get_submodule(result.layer)
    with GradCAM(model=model.module, target_layers=[module]) as cam:
        theirs = cam(image, [ClassifierOutputTarget(target)])[0]
    close(stretched(result.values, (224, 224)), theirs, 1e-4)


@pytest.mark.parametrize("layer", ["first", "second"])
def test_equals_pytorch_grad_cam_on_modules(layer, net, wrap, picture, run, close):
    module = net("module")
    model = wrap(module)
    image = picture(model)
    with GradCAM(model=module, target_layers=[getattr(module, layer)]) as cam:
        theirs = cam(image, [ClassifierOutputTarget(1)])[0]
    close(stretched(run(GradCam(layer=layer), model, image, 1).values, (12, 14)), theirs, 1e-4)


def test_is_cam_where_the_head_is_a_mean_and_a_linear_layer(net, wrap, picture, run, close):
    module = net()
    model = wrap(module)
    image = picture(model)
    result = run(GradCam(layer="second", relu=False), model, image, 2)
    kept = functional.relu(module.two(functional.max_pool2d(functional.relu(module.one(image)), 2)))
    cam = torch.einsum("k,nkhw->nhw", module.head.weight[2], kept)
    close(result.values * result.values.size, cam)
    bias = float(module.head.bias[2].detach())
    assert float(result.values.sum(dtype=float)) == pytest.approx(result.score - bias, rel=1e-5)


def test_counterfactual_is_the_map_of_the_negative_score(net, wrap, picture, run, close):
    module, negative = net(), net()
    with torch.no_grad():
        negative.head.weight.neg_()
        negative.head.bias.neg_()
    model, other = wrap(module), wrap(negative)
    image = picture(model)
    found = run(GradCam(layer="two", counterfactual=True), model, image, 1).values
    close(found, run(GradCam(layer="two"), other, image, 1).values)


def test_scales_with_the_score(net, wrap, picture, run, close):
    module, larger = net(), net()
    with torch.no_grad():
        larger.head.weight.mul_(7)
    image = picture(wrap(module))
    close(run(GradCam(), wrap(larger), image).values, 7 * run(GradCam(), wrap(module), image).values)


def test_no_gradient_gives_a_map_of_zeros(net, wrap, picture, run):
    module = net()
    with torch.no_grad():
        module.head.weight.zero_()
    model = wrap(module)
    result = run(GradCam(), model, picture(model))
    assert not result.values.any()
    assert not result.heatmap().any()


def test_one_kept_pass_serves_all_layers(lite0, run):
    model, image, target = lite0
    shared = model.sharing()
    passes = []
    for stage in model.stages:
        found = run(GradCam(layer=stage.name), shared, image, target)
        alone = run(GradCam(layer=stage.name), model, image, target)
        np.testing.assert_array_equal(found.values, alone.values)
        passes.append(found.provenance.passes)
    assert passes == [(1, 1)] + [(0, 0)] * (len(model.stages) - 1)


@pytest.mark.parametrize("sharing", [False, True])
def test_a_hidden_unit_is_explained_by_the_stage_before_it(sharing, net, wrap, picture, run, close):
    module = net()
    model = wrap(module).sharing() if sharing else wrap(module)
    image = picture(model)
    unit = Target.hidden("two", 3)
    result = run(GradCam(relu=False), model, image, unit)
    assert result.layer == "first"
    kept = module.first(module.one(image)).detach().requires_grad_()
    gradient = torch.autograd.grad(module.two(functional.max_pool2d(kept, 2))[0, 3].mean(), kept)[0]
    close(result.values, (gradient.mean(dim=(2, 3), keepdim=True) * kept).sum(dim=1))
    first = run(GradCam(relu=False), model, image, Target.hidden(model.stages[0].name, 3))
    assert first.layer == model.stages[0].name


def test_a_layer_after_the_hidden_unit_is_refused(net, wrap, picture, run):
    model = wrap(net())
    with pytest.raises(NotApplicable, match=r"a layer before the explained unit \(one\); second comes after it"):
        run(GradCam(layer="second"), model, picture(model), Target.hidden("one", 0))


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("secnod", r"layer must be one of.*'secnod'.*Did you mean second"),
        ("head", r"layer must give a spatial map.*'head'"),
    ],
)
def test_a_bad_layer_is_named(layer, message, net, wrap, picture, run):
    model = wrap(net())
    with pytest.raises(InvalidLayer, match=message):
        run(GradCam(layer=layer), model, picture(model))


def test_bad_knobs_are_named():
    with pytest.raises(InvalidKnob, match=r"^layer must be the name of a layer"):
        GradCam(layer=3)
    with pytest.raises(InvalidKnob, match=r"^relu must be True or False"):
        GradCam(relu=1)


def test_a_net_without_maps_is_refused(wrap):
    module = nn.Sequential(nn.Flatten(), nn.Linear(30, 4), nn.ReLU(), nn.Linear(4, 2))
    model = xw.Model(module, size=(5, 6), mean=(0.5,), std=(0.5,))
    with pytest.raises(NotApplicable, match="grad_cam needs a layer that gives a spatial map"):
        xw.explain(model, np.zeros((20, 24, 3), np.uint8), "grad_cam", target=0)
