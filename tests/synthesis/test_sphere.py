"""Maximization at one distance from the mean color (Erhan et al. 2009): optima that are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import xaiwidgets as xw
from xaiwidgets.synthesis.activation_maximization import ActivationMaximization

BARE = {"decay": 0.0, "blur_width": 0.0, "jitter": 0, "momentum": 0.0, "total_variation": 0.0, "constraint": "sphere"}


def finish(method, model, target):
    return list(method.steps(model, None, target))


def cosine(one, other):
    one, other = one.ravel().astype(np.float64), other.ravel().astype(np.float64)
    return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))


def test_the_best_picture_of_a_linear_score_is_its_weight(linear_net):
    found = finish(ActivationMaximization(**BARE, iterations=50, radius=20.0), linear_net, linear_net.target(1))
    weight = linear_net.module[1].weight[1].detach().numpy()
    picture = found[-1].state.arrays["picture"]
    assert cosine(picture, weight) > 0.9999
    rho = 20.0 * np.sqrt(picture.size)
    score = rho * np.linalg.norm(weight) / (0.25 * 255)
    assert found[-1].score == pytest.approx(score, rel=1e-3)


@pytest.mark.parametrize("net", ["conv", "bundled"])
def test_the_best_picture_of_a_first_unit_is_its_filter(net, conv_net):
    model = conv_net if net == "conv" else xw.load_model("shapes_gap")
    first = model.stages[0] if net == "bundled" else model.layer("first")
    conv = model.module.get_submodule(first.name) if net == "conv" else next(
        m for m in model.module.modules() if isinstance(m, torch.nn.Conv2d)
    )  # fmt: skip
    name = next(layer.name for layer in model.layers if len(layer.shape) == 3)
    unit = model.unit(name, 2, "center")
    found = finish(ActivationMaximization(**BARE, iterations=60, step_size=40.0), model, unit)[-1]
    picture = found.state.arrays["picture"][0]
    row, column = model.layer(name).shape[1] // 2, model.layer(name).shape[2] // 2
    size, pad, stride = conv.kernel_size[0], conv.padding[0], conv.stride[0]
    top, left = row * stride - pad, column * stride - pad
    seen = picture[:, top : top + size, left : left + size] / np.asarray(model.preprocessing.std)[:, None, None]
    std = np.asarray(model.preprocessing.std)[:, None, None]
    # on the sphere of pictures, the best direction is the filter by gray levels: the weight over the deviation
    assert cosine(seen * std, conv.weight[2].detach().numpy() / std) > 0.99


def test_every_picture_is_on_the_sphere_and_the_score_rises(conv_net):
    found = finish(ActivationMaximization(**BARE, iterations=40, step_size=4.0), conv_net, conv_net.target(2))
    rho = 63.75 * np.sqrt(3 * 16 * 16)
    for one in found:
        assert np.linalg.norm(one.state.arrays["picture"]) == pytest.approx(rho, rel=1e-5)
    smooth = np.convolve(found[-1].curve, np.ones(5) / 5, "valid")
    assert (np.diff(smooth) > -1e-3 * abs(smooth).max()).all()


def test_without_a_constraint_the_norm_grows(conv_net):
    knobs = {**BARE, "constraint": "none", "iterations": 30, "step_size": 30.0}
    found = finish(ActivationMaximization(**knobs), conv_net, conv_net.target(2))[-1]
    picture = found.state.arrays["picture"]
    assert np.abs(picture).max() > 255
    assert found.image.min() >= 0 and found.image.max() <= 1
