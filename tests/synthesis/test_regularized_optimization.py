"""Regularized optimization: one iteration written out in numpy, learning rates, and the pictures that are kept."""

from __future__ import annotations

import dataclasses

import nets
import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

import xaiwidgets as xw
from xaiwidgets.synthesis.presets import PRINTED
from xaiwidgets.synthesis.regularized_optimization import RegularizedOptimization
from xaiwidgets.synthesis.regularizers import blur_mirrored

MEAN = np.array([0.4, 0.5, 0.6], np.float32).astype(np.float64)[:, None, None] * 255


def run(model, target, **knobs):
    return list(RegularizedOptimization(**knobs).steps(model, None, model.target(target)))


def picture(found):
    return found.state.arrays["picture"][0]


def slope(model, target, x):
    std = torch.tensor([0.2, 0.25, 0.3]).to(model.like)[:, None, None] * 255
    inputs = torch.from_numpy(x.copy())[None] / std
    return (model.gradient(inputs.to(model.like), model.target(target)).input / std)[0].numpy()


def erased(x, importance, percent):
    return np.where(importance < np.percentile(importance, percent), 0, x) if percent else x


@pytest.mark.parametrize("every", [1, 2])
@pytest.mark.parametrize("name", PRINTED)
def test_every_iteration_is_that_of_the_papers_code(name, every, precise_net):
    """In numpy and scipy, in double precision: ascend, decay, blur, small norm, small contribution, clip to colors."""
    model = precise_net
    knobs = {**PRINTED[name].knobs, "blur_every": every, "iterations": 4}
    found = run(model, 2, **knobs)
    x = start_of(model)
    first = rms(slope(model, 2, x))
    for number in range(4):
        g = slope(model, 2, x)
        eta = {
            "first": knobs["step_size"] / first,
            "constant": knobs["eta"],
            "progress": min(knobs["eta"], knobs["progress"] / (g**2).sum()),
        }[knobs["rate"]]
        x = (1 - knobs["decay"]) * (x + eta * g)
        if knobs["blur_width"] and number % every == 0:
            x = np.stack([gaussian_filter(channel, knobs["blur_width"]) for channel in x])
        x = erased(x, np.linalg.norm(x, axis=0), knobs["clip_norm"])
        x = erased(x, np.abs((g * x).sum(axis=0)), knobs["clip_contribution"])
        x = np.clip(x, -MEAN, 255 - MEAN)
        np.testing.assert_allclose(picture(found[number]), x, atol=1e-5, err_msg=f"step {number + 1}")


def rms(values):
    return float(np.sqrt((values**2).mean()))


@pytest.mark.parametrize("width", [0.3, 0.5, 1.0, 2.7])
@pytest.mark.parametrize("side", [4, 17, 40])
def test_the_blur_is_that_of_scipy(width, side):
    pixels = torch.randn((1, 3, side, side + 2), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    wanted = np.stack([gaussian_filter(channel, width) for channel in pixels[0].numpy()])
    np.testing.assert_allclose(blur_mirrored(pixels, width)[0], wanted, atol=1e-12)
    assert blur_mirrored(pixels, 0.0) is pixels


def test_a_blur_changed_in_a_pause_is_a_run_scheduled_that_way(conv_net):
    goal, method = conv_net.target(2), RegularizedOptimization(iterations=10)
    wide = dataclasses.replace(method, blur_width=2.0)
    steps = method.steps(conv_net, None, goal)
    for _ in range(5):
        paused = next(steps)
    sent = [steps.send(wide), *steps][-1]
    resumed = list(wide.resume(paused.state).steps(conv_net, None, goal))[-1]
    assert np.array_equal(sent.image, resumed.image) and sent.events == resumed.events == ((6, "blur_width", 1.0, 2.0),)
    assert not np.array_equal(sent.image, list(method.steps(conv_net, None, goal))[-1].image)


def test_the_smoothed_score_rises(conv_net):
    curve = run(conv_net, 2, iterations=96)[-1].curve
    smooth = [float(curve[0])]
    for value in curve[1:]:
        smooth.append(0.9 * smooth[-1] + 0.1 * float(value))
    assert smooth[-1] >= smooth[48] >= smooth[19] > smooth[0]


def start_of(model):
    from xaiwidgets.synthesis.canvas import Canvas

    return Canvas(model).start("noise", None, torch.Generator().manual_seed(0))[0].numpy()


def test_the_first_step_is_blurred_and_then_every_so_many(conv_net):
    from dataclasses import replace

    method = RegularizedOptimization(blur_every=3, iterations=5)
    found = list(method.steps(conv_net, None, conv_net.target(1)))
    sharp = replace(method, blur_width=0.0)
    assert not np.array_equal(picture(found[0]), picture(run(conv_net, 1, blur_width=0.0, iterations=1)[0]))
    rest = list(sharp.resume(found[0].state).steps(conv_net, None, conv_net.target(1)))
    same = [np.array_equal(picture(one), picture(other)) for one, other in zip(found[1:], rest, strict=True)]
    assert same == [True, True, False, False]


def test_the_length_of_the_gradient_is_logged(conv_net):
    for one in run(conv_net, 1, iterations=3):
        assert one.curves["gradient"][-1] == pytest.approx(np.linalg.norm(one.state.arrays["gradient"]), rel=1e-5)


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


@pytest.mark.parametrize("position", ["mean", "max", "center"])
def test_the_first_that_is_the_highest_of_its_layer_is_kept(conv_net, position):
    unit = conv_net.unit("second", 3, position)
    knobs = {"iterations": 60, "decay": 0.0, "blur_width": 0.0, "step_size": 4.0}
    found = list(RegularizedOptimization(**knobs).steps(conv_net, None, unit))
    words = next(e.caption for e in found[-1].beside if e.caption.startswith("first that was the highest"))
    first = int(words.split("step ")[1])

    def highest(one):
        inputs = (
            torch.from_numpy(one.state.arrays["picture"].copy()) / (torch.tensor([0.2, 0.25, 0.3]) * 255)[:, None, None]
        )
        layer = conv_net.activations(inputs, ["second"])["second"][0]
        if position == "center":
            return float(layer[3, layer.shape[1] // 2, layer.shape[2] // 2]) == float(layer.max())
        values = layer.flatten(1)
        return int((values.mean(dim=1) if position == "mean" else values.amax(dim=1)).argmax()) == 3

    assert highest(found[first - 1]) and not any(highest(one) for one in found[: first - 1])


@pytest.mark.parametrize("make", [nets.reused, nets.f2, nets.f3], ids=["reused", "f2", "f3"])
def test_networks_of_other_builds_are_climbed(make):
    model = xw.Model(make(), size=nets.SIZE, mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3), name="net")
    curve = run(model, 1, iterations=30, step_size=4.0)[-1].curve
    assert curve[-5:].mean() > curve[:5].mean() > curve[0]


def test_a_narrow_blur_is_warned_of(conv_net):
    notes = run(conv_net, 1, blur_width=0.2, iterations=3)[-1].notes
    assert sum("only dims" in note for note in notes) == 1
    assert run(conv_net, 1, blur_width=0.3, iterations=2)[-1].notes == ()


def test_high_frequencies_are_taken_away():
    model = xw.load_model("shapes_gap")

    def share(found):
        x = picture(found)
        energy = np.abs(np.fft.fft2(x - x.mean(axis=(1, 2), keepdims=True))) ** 2
        fine = np.hypot(np.fft.fftfreq(x.shape[1])[:, None], np.fft.fftfreq(x.shape[2])[None]) > 0.25
        return energy[:, fine].sum() / energy.sum()

    bare = share(run(model, 1, decay=0.0, blur_width=0.0)[-1])
    assert share(run(model, 1)[-1]) < 0.7 * bare


@pytest.mark.lab
def test_the_bundled_network_is_certain():
    assert run(xw.load_model(), "espresso", iterations=128)[-1].terms["probability"] > 0.8
