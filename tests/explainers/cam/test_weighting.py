"""A layer's activation and gradient, and their weighted sum."""

from __future__ import annotations

import pytest
import torch

from xaiwidgets import Target
from xaiwidgets.errors import InvalidLayer
from xaiwidgets.explainers.cam.weighting import grad_cam_map, layer_pair


def test_weights_are_mean_gradients():
    activation = torch.tensor([[[[1.0, 2], [3, 4]], [[5.0, 6], [7, 8]]]])
    gradient = torch.tensor([[[[4.0, 0], [0, 0]], [[-1.0, -1], [0, 0]]]])
    wanted = torch.tensor([[[[1 - 2.5, 2 - 3], [3 - 3.5, 4 - 4]]]])
    torch.testing.assert_close(grad_cam_map(activation, gradient, relu=False), wanted)
    torch.testing.assert_close(grad_cam_map(activation, gradient, relu=False, sign=-1.0), -wanted)
    assert not grad_cam_map(activation, gradient).any()
    torch.testing.assert_close(grad_cam_map(activation, gradient, sign=-1.0), -wanted)


def test_each_image_of_a_batch_has_its_own_weights(net, wrap, picture):
    model = wrap(net("inplace"))
    images = torch.cat([picture(model, seed) for seed in range(3)])
    activation, gradient, scores, name = layer_pair("grad_cam", model, images, model.target(1), "two")
    assert name == "two"
    for number in range(3):
        alone = layer_pair("grad_cam", model, images[number : number + 1], model.target(1), "two")
        for ours, wanted in zip((activation, gradient, scores), alone[:3], strict=True):
            torch.testing.assert_close(ours[number : number + 1], wanted)


@pytest.mark.parametrize("sharing", [False, True])
def test_the_default_is_the_last_stage_before_what_is_explained(sharing, net, wrap, picture):
    model = wrap(net()).sharing() if sharing else wrap(net())
    image = picture(model)
    assert layer_pair("grad_cam", model, image, model.target(0), "")[3] == model.stages[-1].name
    unit = model.target(Target.hidden("two", 0))
    found = layer_pair("grad_cam", model, image, unit, "")[3]
    assert found == "first"
    assert layer_pair("grad_cam", model, image, model.target(Target.hidden("one", 0)), "")[3] == "one"


def test_a_layer_must_give_a_map(net, wrap, picture):
    model = wrap(net())
    with pytest.raises(InvalidLayer, match="head"):
        layer_pair("grad_cam", model, picture(model), model.target(0), "head")
