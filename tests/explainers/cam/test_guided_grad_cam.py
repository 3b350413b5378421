"""Guided Grad-CAM is the product of its parents."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from captum import attr
from torch.nn import functional

from xaiwidgets import GradCam, GuidedBackprop, GuidedGradCam, Target
from xaiwidgets.errors import InvalidLayer, NotApplicable


def enlarged(cam, size):
    return functional.interpolate(torch.tensor(cam)[None], size=size, mode="bilinear")[0].numpy()


@pytest.mark.parametrize("style", ["functional", "reused", "inplace"])
@pytest.mark.parametrize("layer", ["one", "two"])
def test_is_the_product_of_its_parents(layer, style, net, wrap, picture, run, close):
    model = wrap(net(style))
    image = picture(model)
    guided = run(GuidedBackprop(), model, image, 2)
    cam = run(GradCam(layer=layer), model, image, 2)
    found = run(GuidedGradCam(layer=layer), model, image, 2)
    close(found.values, guided.values * enlarged(cam.values, (12, 14)))
    assert not found.values[(guided.values == 0)].any()
    agree = np.sign(found.values) == np.sign(guided.values)
    assert agree[found.values != 0].all()
    assert found.notes == guided.notes


@pytest.mark.parametrize("layer", ["first", "second"])
def test_equals_captum_on_modules(layer, net, wrap, picture, run, close):
    module = net("module")
    model = wrap(module)
    image = picture(model)
    with pytest.warns(UserWarning, match="Setting backward hooks"):
        theirs = attr.GuidedGradCam(module, getattr(module, layer)).attribute(
            image.clone().requires_grad_(), target=1, interpolate_mode="bilinear"
        )
    close(run(GuidedGradCam(layer=layer), model, image, 1).values, theirs[0], 1e-5)


@pytest.mark.parametrize("style", ["functional", "reused", "method"])
def test_does_not_depend_on_how_the_relus_are_written(style, net, wrap, picture, run, close):
    twin, model = wrap(net("module")), wrap(net(style))
    image = picture(model)
    found, wanted = (run(GuidedGradCam(layer="two"), m, image, 3).values for m in (model, twin))
    close(found, wanted)


def test_equals_captum_on_fully_connected_layers(digits_vgg, run, close):
    model, image, target = digits_vgg
    layer = model.stages[-1].name
    with pytest.warns(UserWarning, match="Setting backward hooks"):
        theirs = attr.GuidedGradCam(model.module, model.module.get_submodule(layer)).attribute(
            image.clone().requires_grad_(), target=target, interpolate_mode="bilinear"
        )
    close(run(GuidedGradCam(layer=layer), model, image, target).values, theirs[0], 1e-5)


def test_is_the_product_on_the_bundled_network(lite0_double, run, close):
    model, image, target = lite0_double
    guided, cam = run(GuidedBackprop(), model, image, target), run(GradCam(), model, image, target)
    close(run(GuidedGradCam(), model, image, target).values, guided.values * enlarged(cam.values, (224, 224)))


def test_a_hidden_unit_can_be_explained(net, wrap, picture, run, close):
    model = wrap(net())
    image, unit = picture(model), Target.hidden("two", 3)
    guided, cam = (run(method, model, image, unit).values for method in (GuidedBackprop(), GradCam()))
    close(run(GuidedGradCam(), model, image, unit).values, guided * enlarged(cam, (12, 14)))


def test_bad_layers_and_nets_are_named(net, linear, wrap, picture, run):
    model = wrap(net())
    with pytest.raises(InvalidLayer, match=r"layer must give a spatial map.*'head'"):
        run(GuidedGradCam(layer="head"), model, picture(model))
    with pytest.raises(NotApplicable, match="guided_grad_cam needs a layer before the explained unit"):
        run(GuidedGradCam(layer="two"), model, picture(model), Target.hidden("one", 0))
    flat = wrap(linear(5, 6)[0], (5, 6))
    with pytest.raises(NotApplicable, match="guided_grad_cam needs ReLU-like"):
        run(GuidedGradCam(), flat, picture(flat))
