"""Where the family must agree, and where hooks of other libraries silently explain another layer than the named one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pytorch_grad_cam import GradCAM
from torchcam.methods import GradCAM as TorchGradCAM

import xaiwidgets as xw
from xaiwidgets.core.cards import card

FAMILY = ("grad_cam", "hirescam", "xgrad_cam")


def slow_grad_cam(activation, gradient):
    return np.einsum("k,khw->hw", gradient.mean(axis=(1, 2)), activation)


def differ(ours, theirs):
    return np.abs(ours - theirs).max() / np.abs(ours).max()


@pytest.mark.parametrize("target", range(5))
@pytest.mark.parametrize("style", ["module", "inplace", "reused"])
def test_with_a_mean_and_a_linear_head_all_are_cam(style, target, net, wrap, picture, run, close):
    """Before the ReLU, times the number of places; and with the bias they sum to the score."""
    module = net(style)
    model = wrap(module)
    image = picture(model)
    layer = "relu#2" if style == "reused" else "second"
    plain = net("module")
    kept = plain.second(plain.two(torch.nn.functional.max_pool2d(plain.first(plain.one(image)), 2)))
    cam = torch.einsum("k,khw->hw", plain.head.weight[target], kept[0])
    bias = float(plain.head.bias[target].detach())
    for name in FAMILY:
        result = run(card(name).make(layer=layer, relu=False), model, image, target)
        close(result.values[0] * kept[0, 0].numel(), cam)
        assert float(result.values.sum(dtype=float)) + bias == pytest.approx(result.score, rel=1e-5)


def test_all_are_cam_on_the_bundled_network(lite0_double, run, close, pair):
    model, image, target = lite0_double
    activation, _ = pair(model.module, "bn2", image, target)
    cam = np.einsum("k,khw->hw", model.module.classifier.weight[target].detach().numpy(), activation)
    for name in FAMILY:
        result = run(card(name).make(relu=False), model, image, target)
        assert result.layer == "bn2"
        close(result.values[0] * 49, cam)


@pytest.mark.parametrize("name", [*FAMILY, "grad_cam_pp", "layer_cam", "eigen_cam", "fused_cam"])
def test_does_not_depend_on_how_the_relus_are_written(name, net, wrap, picture, run, close):
    for layer in ("one", "two"):
        wanted = None
        for style in ("module", "inplace", "functional", "reused", "method"):
            model = wrap(net(style))
            found = run(card(name).make(layer=layer), model, picture(model), 1).values
            wanted = found if wanted is None else wanted
            close(found, wanted)


def test_grad_cam_is_its_definition_however_the_network_is_written(odd, pair, wrap, picture, run, close):
    module, layers, size = odd
    model = wrap(module, size)
    image = picture(model)
    for layer in layers:
        found = run(xw.GradCam(layer=layer, relu=False), model, image, 2).values[0]
        close(found, slow_grad_cam(*pair(module, layer, image, 2)))


@pytest.mark.parametrize("name", [*FAMILY, "grad_cam_pp", "layer_cam"])
def test_scrubbing_all_stages_is_one_pass_and_changes_no_map(name, odd, wrap, picture, run, close):
    module, _, size = odd
    model = wrap(module, size)
    shared, image = model.sharing(), picture(model)
    spent = np.zeros(2, int)
    for stage in model.stages:
        found = run(card(name).make(layer=stage.name, relu=False), shared, image, 2)
        close(found.values, run(card(name).make(layer=stage.name, relu=False), model, image, 2).values)
        spent += found.provenance.passes
    assert spent.tolist() == [1, 1]


# -- where others are silently wrong -------------------------------------------------------------------------------


def test_pytorch_grad_cam_mixes_two_layers_before_a_relu_in_place(net, wrap, picture, run, close, jacobs, pair):
    """It keeps the convolution's gradient, and the memory of its activation, which the ReLU has written to since."""
    module = net("inplace")
    model = wrap(module)
    image = picture(model)
    ours = run(xw.GradCam(layer="one"), model, image, 1).values[0]
    theirs = jacobs(GradCAM, module, "one", image, 1)[0]
    close(ours, jacobs(GradCAM, net("module"), "one", image, 1)[0])
    assert differ(ours, theirs) > 0.1
    convolution, relu = (pair(module, name, image, 1) for name in ("one", "first"))
    close(theirs, np.maximum(slow_grad_cam(relu[0], convolution[1]), 0))


def test_torchcam_explains_the_relu_after_the_layer_it_was_given(net, wrap, picture, run, close, torchcams):
    module = net("inplace")
    model = wrap(module)
    image = picture(model)
    theirs = torchcams(TorchGradCAM, module, "one", image, 1)[0]
    close(theirs, run(xw.GradCam(layer="first"), model, image, 1).values[0])
    ours = run(xw.GradCam(layer="one"), model, image, 1).values[0]
    close(ours, torchcams(TorchGradCAM, net("module"), "one", image, 1)[0])
    assert differ(ours, theirs) > 0.1


def test_both_are_wrong_on_the_last_layer_of_a_densenet(densenet, wrap, picture, run, close, jacobs, torchcams, pair):
    """Its forward ends in a functional ReLU in place, and ``features`` is the layer that their pages recommend."""
    model = wrap(densenet, (32, 32))
    image = picture(model)
    ours = run(xw.GradCam(layer="features", relu=False), model, image, 1).values[0]
    close(ours, slow_grad_cam(*pair(densenet, "features", image, 1)))
    assert differ(np.maximum(ours, 0), jacobs(GradCAM, densenet, "features", image, 1)[0]) > 0.1
    assert differ(np.maximum(ours, 0), torchcams(TorchGradCAM, densenet, "features", image, 1)[0]) > 0.1


def test_of_a_reused_relu_one_shows_the_first_call_and_the_other_the_last(
    reuser, wrap, picture, run, close, jacobs, torchcams
):
    """Neither says which of them; here, each call has a name."""
    model = wrap(reuser, (10, 12))
    image = picture(model)
    calls = [run(xw.GradCam(layer=name), model, image, 2).values[0] for name in ("relu", "relu#2", "relu#3")]
    close(torchcams(TorchGradCAM, reuser, "relu", image, 2)[0], calls[2])
    close(jacobs(GradCAM, reuser, "relu", image, 2)[0], calls[0])
    assert differ(calls[0], calls[2]) > 0.1
    assert differ(calls[1], calls[2]) > 0.1
