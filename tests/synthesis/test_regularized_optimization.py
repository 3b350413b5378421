"""Regularized optimization: one iteration written out in numpy, learning rates, and the pictures that are kept."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

import xaiwidgets as xw
from xaiwidgets.synthesis.presets import PRINTED
from xaiwidgets.synthesis.regularized_optimization import RegularizedOptimization

MEAN = np.array([0.4, 0.5, 0.6], np.float32)[:, None, None] * 255


def run(model, target, **knobs):
    return list(RegularizedOptimization(**knobs).steps(model, None, model.target(target)))


def picture(found):
    return found.state.arrays["picture"][0]


def slope(model, target, x):
    std = torch.tensor([0.2, 0.25, 0.3])[:, None, None] * 255
    inputs = torch.from_numpy(x.copy())[None].float() / std
    return (model.gradient(inputs, model.target(target)).input / std)[0].numpy()


def percentile_clip(x, importance, percent):
    dropped = int(percent * importance.size / 100)
    threshold = np.sort(importance, axis=None)[dropped]
    return np.where(importance < threshold, 0, x)


@pytest.mark.parametrize("name", PRINTED)
def test_an_iteration_is_that_of_the_paper(name, conv_net):
    """In numpy: clip to the pixel box, ascend, decay, blur, small norm, small contribution, in this order."""
    knobs = {**PRINTED[name].knobs, "blur_every": 1, "iterations": 3}
    found = run(conv_net, 2, **knobs)
    before, after = picture(found[0]), picture(found[1])
    g = slope(conv_net, 2, before)
    first = slope(conv_net, 2, start_of(conv_net))
    eta = {
        "first": knobs["step_size"] / np.sqrt((first.astype(np.float64) ** 2).mean()),
        "constant": knobs["eta"],
        "progress": min(knobs["eta"], knobs["progress"] / (g.astype(np.float64) ** 2).sum()),
    }[knobs["rate"]]
    x = (1 - knobs["decay"]) * (before + eta * g)
    if knobs["blur_width"]:
        x = np.stack([gaussian_filter(channel, knobs["blur_width"], mode="nearest", truncate=4.0) for channel in x])
    if knobs["clip_norm"]:
        x = percentile_clip(x, (x**2).sum(axis=0), knobs["clip_norm"])
    if knobs["clip_contribution"]:
        x = percentile_clip(x, np.abs((x * g).sum(axis=0)), knobs["clip_contribution"])
    np.testing.assert_allclose(after, np.clip(x, -MEAN, 255 - MEAN), atol=2e-2)


def start_of(model):
    from xaiwidgets.synthesis.canvas import Canvas

    return Canvas(model).start("noise", None, torch.Generator().manual_seed(0))[0].numpy()


def test_progress_raises_a_linear_score_by_what_is_asked_for(linear_net):
    knobs = {"rate": "progress", "progress": 1e-4, "eta": 1e8, "decay": 0.0, "blur_width": 0.0, "iterations": 6}
    curve = run(linear_net, 1, **knobs)[-1].curve
    np.testing.assert_allclose(np.diff(curve), 1e-4, rtol=1e-3)


def test_the_best_and_the_first_of_its_class_are_kept(conv_net):
    found = run(conv_net, 3, iterations=60, decay=0.0, blur_width=0.0)[-1]
    captions = [exhibit.caption for exhibit in found.beside]
    assert captions[0].startswith("best so far: step")
    best = int(captions[0].split("step ")[1].split(",")[0])
    assert found.curve[best - 1] == found.curve.max()
    model = xw.load_model("shapes_gap")
    shapes = run(model, 2, iterations=40)[-1]
    first = next(exhibit for exhibit in shapes.beside if exhibit.caption.startswith("first of its class"))
    inputs = model.from_pixels(first.image)
    assert int(model.logits(inputs)[0].argmax()) == 2


def test_a_narrow_blur_is_warned_of(conv_net):
    assert any("only dims" in note for note in run(conv_net, 1, blur_width=0.2, iterations=2)[-1].notes)


def test_high_frequencies_are_taken_away():
    model = xw.load_model("shapes_gap")

    def share(found):
        x = picture(found)
        energy = np.abs(np.fft.fft2(x - x.mean(axis=(1, 2), keepdims=True))) ** 2
        fine = np.hypot(np.fft.fftfreq(x.shape[1])[:, None], np.fft.fftfreq(x.shape[2])[None]) > 0.25
        return energy[:, fine].sum() / energy.sum()

    bare = share(run(model, 1, decay=0.0, blur_width=0.0)[-1])
    assert share(run(model, 1)[-1]) < 0.7 * bare


@pytest.mark.slow
def test_the_bundled_network_is_certain():
    assert run(xw.load_model(), "espresso", iterations=128)[-1].terms["probability"] > 0.8
