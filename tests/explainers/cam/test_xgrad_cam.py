"""XGrad-CAM: on plain passes, against two libraries, and the sum that it keeps."""

from __future__ import annotations

import numpy as np
import pytest
from pytorch_grad_cam import XGradCAM
from torchcam.methods import XGradCAM as TorchXGradCAM

from xaiwidgets import XGradCam
from xaiwidgets.errors import InvalidKnob, InvalidLayer


def slow(activation, gradient):
    sums = activation.sum(axis=(1, 2))
    weights = np.array([(g * a).sum() / s if s else 0.0 for a, g, s in zip(activation, gradient, sums, strict=True)])
    return np.einsum("k,khw->hw", weights, activation)


@pytest.mark.parametrize("relu", [True, False])
def test_is_its_definition_however_the_network_is_written(odd, relu, pair, wrap, picture, run, close):
    module, layers, size = odd
    model = wrap(module, size)
    image = picture(model)
    for layer in layers:
        result = run(XGradCam(layer=layer, relu=relu), model, image, 2)
        wanted = slow(*pair(module, layer, image, 2))
        close(result.values[0], np.maximum(wanted, 0) if relu else wanted)
        assert (result.layer, result.unit, result.signed) == (layer, "logit", not relu)
        assert result.provenance.passes == (1, 1)


@pytest.mark.parametrize("layer", ["first", "second"])
def test_equals_two_libraries(layer, net, wrap, picture, run, close, jacobs, torchcams):
    """They add 1e-7 and 1e-8 to each channel's sum."""
    module = net("module")
    model = wrap(module)
    image = picture(model)
    found = run(XGradCam(layer=layer), model, image, 1).values
    close(found, jacobs(XGradCAM, module, layer, image, 1), 1e-5)
    close(found, torchcams(TorchXGradCAM, module, layer, image, 1), 1e-5)


def test_equals_a_library_on_the_bundled_network(lite0_double, run, close, torchcams):
    model, image, target = lite0_double
    for layer in ("", "bn1"):
        name = model.layer(layer).name
        theirs = torchcams(TorchXGradCAM, model.module, name, image, target)
        close(run(XGradCam(layer=layer), model, image, target).values, theirs, 1e-5)


@pytest.mark.parametrize("layer", ["one", "first", "two", "second"])
def test_sums_to_gradient_times_activation(layer, net, wrap, picture, run, pair):
    module = net("inplace")
    model = wrap(module)
    image = picture(model)
    activation, gradient = pair(module, layer, image, 2)
    live = activation.sum(axis=(1, 2)) != 0
    wanted = (activation * gradient)[live].sum()
    found = run(XGradCam(layer=layer, relu=False), model, image, 2).values.sum(dtype=float)
    assert found == pytest.approx(wanted, rel=1e-5)


def test_bad_input_is_named(net, wrap, picture, run):
    model = wrap(net())
    with pytest.raises(InvalidLayer, match=r"layer must give a spatial map.*'head'"):
        run(XGradCam(layer="head"), model, picture(model))
    with pytest.raises(InvalidKnob, match=r"^relu must be True or False"):
        XGradCam(relu=2)
