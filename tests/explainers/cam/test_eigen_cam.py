"""Eigen-CAM: the singular vectors of a plain pass, a library up to the sign, and no class in it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pytorch_grad_cam import EigenCAM

from xaiwidgets import EigenCam, GradCam
from xaiwidgets.errors import InvalidKnob, InvalidLayer


@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("relu", [True, False])
def test_is_its_definition_however_the_network_is_written(odd, relu, center, pair, wrap, picture, run, close):
    module, layers, size = odd
    model = wrap(module, size)
    image = picture(model)
    for layer in layers:
        result = run(EigenCam(layer=layer, relu=relu, center=center), model, image, 2)
        activation = pair(module, layer, image, 2)[0]
        table = activation.reshape(len(activation), -1).T
        table = table - table.mean(axis=0) if center else table
        wanted = (table @ np.linalg.svd(table)[2][0]).reshape(activation.shape[1:])
        wanted = -wanted if -wanted.min() > wanted.max() else wanted
        close(result.values[0], np.maximum(wanted, 0) if relu else wanted)
        assert (result.layer, result.unit, result.signed) == (layer, "activation", not relu)
        assert result.provenance.passes == (2, 0)


@pytest.mark.parametrize("layer", ["first", "second"])
def test_equals_a_library_up_to_the_sign(layer, net, wrap, picture, run, close, jacobs):
    module = net("module")
    model = wrap(module)
    image = picture(model)
    ours = run(EigenCam(layer=layer, relu=False), model, image).values
    theirs = jacobs(EigenCAM, module, layer, image, 0, relu=False)
    close(ours, theirs * np.sign((ours * theirs).sum()))


def test_equals_a_library_up_to_the_sign_on_the_bundled_network(lite0, run, close, jacobs):
    model, image, _ = lite0
    for layer in ("bn2", "blocks.4"):
        ours = run(EigenCam(layer=layer, relu=False), model, image).values
        theirs = jacobs(EigenCAM, model.module, layer, image, 0, relu=False)
        close(ours, theirs * np.sign((ours * theirs).sum()), 1e-4)


def test_no_class_enters(net, wrap, picture, run):
    module, other = net(), net()
    with torch.no_grad():
        other.head.weight.normal_(generator=torch.Generator().manual_seed(0))
    model = wrap(module)
    image = picture(model)
    results = [run(EigenCam(layer="two"), model, image, c) for c in range(5)]
    results.append(run(EigenCam(layer="two"), wrap(other), image))
    for result in results:
        np.testing.assert_array_equal(result.values, results[0].values)
        assert result.notes[0].startswith("Class-agnostic")
    assert results[0].score != results[1].score
    assert "class-agnostic" in EigenCam.card.title
    assert EigenCam.card.needs == ("spatial",)


def test_a_kept_pass_serves_it_too(net, wrap, picture, run):
    model = wrap(net())
    image = picture(model)
    shared = model.sharing()
    run(GradCam(), shared, image, 2)
    for stage in model.stages:
        found = run(EigenCam(layer=stage.name), shared, image, 2)
        assert found.provenance.passes == (0, 0)
        alone = run(EigenCam(layer=stage.name), model, image, 2)
        np.testing.assert_allclose(found.values, alone.values, rtol=1e-6, atol=1e-9)
        assert found.score == pytest.approx(alone.score)


def test_bad_input_is_named(net, wrap, picture, run):
    model = wrap(net())
    with pytest.raises(InvalidLayer, match=r"layer must give a spatial map.*'head'"):
        run(EigenCam(layer="head"), model, picture(model))
    for name in ("relu", "center"):
        with pytest.raises(InvalidKnob, match=rf"^{name} must be True or False"):
            EigenCam(**{name: 1})
