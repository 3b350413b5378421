"""HiResCAM: on plain passes, against a library, and the sum that it keeps."""

from __future__ import annotations

import nets
import numpy as np
import pytest
from pytorch_grad_cam import HiResCAM

from xaiwidgets import HiResCam
from xaiwidgets.errors import InvalidKnob, InvalidLayer


@pytest.mark.parametrize("relu", [True, False])
def test_is_its_definition_however_the_network_is_written(odd, relu, pair, wrap, picture, run, close):
    module, layers, size = odd
    model = wrap(module, size)
    image = picture(model)
    for layer in layers:
        result = run(HiResCam(layer=layer, relu=relu), model, image, 2)
        activation, gradient = pair(module, layer, image, 2)
        wanted = (activation * gradient).sum(axis=0)
        close(result.values[0], np.maximum(wanted, 0) if relu else wanted)
        assert (result.layer, result.unit, result.signed) == (layer, "logit", not relu)
        assert result.provenance.passes == (1, 1)


@pytest.mark.parametrize("layer", ["first", "second"])
def test_equals_a_library(layer, net, wrap, picture, run, close, jacobs):
    module = net("module")
    model = wrap(module)
    image = picture(model)
    close(run(HiResCam(layer=layer), model, image, 1).values, jacobs(HiResCAM, module, layer, image, 1))


def test_equals_a_library_at_stages_of_the_bundled_network(lite0_double, run, close, jacobs):
    model, image, target = lite0_double
    for stage in model.stages[::3]:
        theirs = jacobs(HiResCAM, model.module, stage.name, image, target)
        close(run(HiResCam(layer=stage.name), model, image, target).values, theirs)


@pytest.mark.parametrize("target", range(nets.CLASSES))
def test_before_one_linear_layer_it_sums_to_the_score_less_the_bias(target, wrap, picture, run):
    """Of a layer that is flattened, place by place: no mean, as a class activation map would need."""
    module = nets.f4().double()
    module.classifier = module.classifier[:1]
    model = wrap(module, (16, 16))
    for seed in range(3):
        result = run(HiResCam(relu=False), model, picture(model, seed), target)
        assert result.layer == model.stages[-1].name
        bias = float(module.classifier[0].bias[target].detach())
        assert float(result.values.sum(dtype=float)) == pytest.approx(result.score - bias, rel=1e-5)


def test_bad_input_is_named(net, wrap, picture, run):
    model = wrap(net())
    with pytest.raises(InvalidLayer, match=r"layer must give a spatial map.*'head'"):
        run(HiResCam(layer="head"), model, picture(model))
    with pytest.raises(InvalidKnob, match=r"^layer must be the name of a layer"):
        HiResCam(layer=None)
