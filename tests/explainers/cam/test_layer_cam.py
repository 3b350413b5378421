"""LayerCAM of any layer, on plain passes, against two libraries, and its relatives where they agree."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pytorch_grad_cam import LayerCAM
from torchcam.methods import LayerCAM as TorchLayerCAM

from xaiwidgets import HiResCam, LayerCam
from xaiwidgets.errors import InvalidKnob, InvalidLayer


def slow(activation, gradient):
    return (np.maximum(gradient, 0) * activation).sum(axis=0)


@pytest.mark.parametrize("relu", [True, False])
def test_is_its_definition_however_the_network_is_written(odd, relu, pair, wrap, picture, run, close):
    module, layers, size = odd
    model = wrap(module, size)
    image = picture(model)
    for layer in layers:
        result = run(LayerCam(layer=layer, relu=relu), model, image, 2)
        wanted = slow(*pair(module, layer, image, 2))
        close(result.values[0], np.maximum(wanted, 0) if relu else wanted)
        assert (result.layer, result.unit, result.signed) == (layer, "logit", not relu)
        assert result.provenance.passes == (1, 1)


@pytest.mark.parametrize("layer", ["first", "second"])
def test_equals_two_libraries(layer, net, wrap, picture, run, close, jacobs, torchcams):
    module = net("module")
    model = wrap(module)
    image = picture(model)
    found = run(LayerCam(layer=layer), model, image, 3).values
    close(found, jacobs(LayerCAM, module, layer, image, 3))
    close(found, torchcams(TorchLayerCAM, module, layer, image, 3))


def test_equals_a_library_at_every_stage_of_the_bundled_network(lite0_double, run, close, torchcams):
    model, image, target = lite0_double
    for stage in model.stages[::2]:
        theirs = torchcams(TorchLayerCAM, model.module, stage.name, image, target)
        close(run(LayerCam(layer=stage.name), model, image, target).values, theirs, 3e-6)


def test_is_hirescam_where_no_gradient_is_negative(net, wrap, picture, run, close):
    module = net()
    with torch.no_grad():
        module.two.weight.abs_()
        module.head.weight.abs_()
    model = wrap(module)
    image = picture(model)
    close(run(LayerCam(layer="first"), model, image).values, run(HiResCam(layer="first"), model, image).values)


def test_with_a_mean_and_a_linear_head_it_is_the_positive_part_of_cam(net, wrap, picture, run, close, pair):
    module = net()
    model = wrap(module)
    image = picture(model)
    activation = pair(module, "second", image, 1)[0]
    weights = module.head.weight[1].detach().clamp_min(0).numpy() / activation[0].size
    close(run(LayerCam(), model, image, 1).values[0], np.einsum("k,khw->hw", weights, activation))


def test_bad_input_is_named(net, wrap, picture, run):
    model = wrap(net())
    with pytest.raises(InvalidLayer, match=r"layer must be one of.*'secnod'.*Did you mean second"):
        run(LayerCam(layer="secnod"), model, picture(model))
    with pytest.raises(InvalidKnob, match=r"^relu must be True or False"):
        LayerCam(relu="yes")
