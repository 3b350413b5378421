from __future__ import annotations

import copy
import dataclasses
import pickle

import numpy as np
import pytest
import torch

import xaiwidgets as xw
from xaiwidgets.engine.run import drive
from xaiwidgets.errors import InvalidKnob
from xaiwidgets.synthesis.activation_maximization import ActivationMaximization
from xaiwidgets.synthesis.ascent import Ascent

PLAIN = {"decay": 0.0, "blur_width": 0.0, "jitter": 0, "momentum": 0.0, "total_variation": 0.0}


def finish(method, model, target, start=None):
    return list(method.steps(model, start, target))[-1]


def test_live_changes_act_at_the_next_step_as_if_scheduled(conv_net):
    method, target = ActivationMaximization(iterations=24), conv_net.target(1)
    changed = dataclasses.replace(method, blur_width=2.0, step_size=3.0, jitter=1)
    steps, sent = method.steps(conv_net, None, target), None
    for _ in range(24):
        found = steps.send(sent)
        sent = changed if found.step == 10 else None
        if found.step == 10:
            tenth = found
    assert found.events == ((11, "step_size", 16.0, 3.0), (11, "blur_width", 1.5, 2.0), (11, "jitter", 4, 1))
    assert tenth.events == ()
    scheduled = finish(changed.resume(tenth.state), conv_net, target)
    unchanged = finish(method, conv_net, target)
    assert np.array_equal(found.image, scheduled.image) and np.array_equal(found.curve, scheduled.curve)
    assert scheduled.events == found.events
    assert np.array_equal(found.curve[:10], unchanged.curve[:10])
    assert found.curve[10] != unchanged.curve[10]


def test_a_run_equals_the_loop_written_out(conv_net):
    from xaiwidgets.synthesis import regularizers

    method = ActivationMaximization(**PLAIN | {"decay": 0.01}, start="mean", iterations=12)
    target, std = conv_net.target(3), torch.tensor([0.2, 0.25, 0.3])[:, None, None] * 255
    steps, sent, picture = method.steps(conv_net, None, target), None, torch.zeros(1, 3, 16, 16)
    for step in range(1, 13):
        found = steps.send(sent)
        sent = dataclasses.replace(method, blur_width=1.0, blur_every=2) if step == 5 else sent
        slope = (conv_net.gradient(picture / std, target).input / std).contiguous()
        slope = slope / slope.abs().max()
        picture = 0.99 * (picture + method.step_size * slope / slope.square().mean().sqrt())
        if step > 5 and step % 2 == 0:
            picture = regularizers.blur(picture, 1.0)
        mean = torch.tensor([0.4, 0.5, 0.6])[:, None, None] * 255
        picture = picture.clamp(-mean, 255 - mean)
        np.testing.assert_allclose(found.state.arrays["picture"], picture, atol=2e-3)


@pytest.mark.parametrize("knobs", [{"jitter": 2}, {"rotation": 30.0}, {"zoom": 0.3}, {"jitter": 1, "rotation": 20.0}])
def test_the_gradient_is_that_of_the_view_brought_back(linear_net, knobs):
    """A linear score of a view is a linear score of the picture, with weights brought back from the view."""
    from xaiwidgets.synthesis.poses import draw_pose

    method = ActivationMaximization(**PLAIN | knobs, start="mean", iterations=3)
    weight = (linear_net.module[1].weight[1].detach() / (255 * 0.25)).reshape(1, 1, 6, 6)
    random = torch.Generator().manual_seed(0)
    poses = [draw_pose(random, method.jitter, method.rotation, method.zoom) for _ in range(4)]
    assert len(set(poses)) > 1
    for found, pose in zip(method.steps(linear_net, None, linear_net.target(1)), poses[1:], strict=True):
        np.testing.assert_allclose(found.state.arrays["gradient"], pose.back(weight), rtol=1e-9, atol=1e-12)
        seen = float((pose.show(torch.from_numpy(found.state.arrays["picture"].copy())) * weight).sum())
        assert found.score == pytest.approx(seen, rel=1e-6)


def test_a_saved_run_goes_on_bit_for_bit(conv_net):
    method, target = ActivationMaximization(iterations=20, clip_norm=10, total_variation=0.1), conv_net.target(2)
    whole = list(method.steps(conv_net, None, target))
    state = pickle.loads(pickle.dumps(whole[9].state))
    rest = list(drive(method.resume(state), conv_net, None, target))
    assert [one.step for one in rest] == list(range(11, 21))
    for one, other in zip(whole[10:], rest, strict=True):
        assert np.array_equal(one.image, other.image) and one.terms == other.terms
    one, other = whole[-1].state, rest[-1].state
    assert set(one.arrays) == {"picture", "gradient", "motion"}
    for name, array in one.arrays.items():
        assert np.array_equal(array, other.arrays[name])
    assert np.array_equal(one.random, other.random)
    assert np.array_equal(one.curves["objective"], other.curves["objective"])
    longer = dataclasses.replace(method, iterations=25).resume(whole[-1].state)
    assert finish(longer, conv_net, target).step == 25
    assert [one.step for one in method.resume(whole[-1].state).steps(conv_net, None, target)] == [20]


def test_a_saved_run_keeps_its_target_and_its_fixed_knobs(conv_net, linear_net):
    method = ActivationMaximization(iterations=4)
    state = finish(method, conv_net, conv_net.target(2)).state
    with pytest.raises(ValueError, match=r"target must be that of the saved run"):
        finish(method.resume(state), conv_net, conv_net.target(1))
    with pytest.raises(InvalidKnob, match=r"state must be the \.state of an earlier result; got int"):
        finish(method.resume(7), conv_net, conv_net.target(2))
    gray = finish(method, linear_net, linear_net.target(1)).state
    with pytest.raises(InvalidKnob, match=r"of shape \(3, 16, 16\); got \(1, 6, 6\)"):
        finish(method.resume(gray), conv_net, conv_net.target(1))
    with pytest.raises(InvalidKnob, match=r"seed must stay 0 .* got 5\. Start a new run"):
        finish(ActivationMaximization(iterations=8, seed=5).resume(state), conv_net, conv_net.target(2))


def test_a_saved_run_goes_on_with_its_own_weights_only(conv_net):
    """What is kept of a run, such as its last gradient, is wrong for another network, even of the same shape."""
    method = ActivationMaximization(iterations=4)
    state = finish(method, conv_net, conv_net.target(2)).state
    same, other = (
        xw.Model(copy.deepcopy(conv_net.module), size=16, mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3)) for _ in range(2)
    )
    assert finish(dataclasses.replace(method, iterations=5).resume(state), same, same.target(2)).step == 5
    with torch.no_grad():
        other.module.first.bias[0] += 1.0
    with pytest.raises(InvalidKnob, match=r"with the weights it has now; got one of other weights.*start='photo'"):
        finish(method.resume(state), other, other.target(2))


@pytest.mark.parametrize(("part", "name"), [("arrays", "motion"), ("values", "nudges"), ("knobs", "zoom")])
def test_a_state_of_another_version_says_what_differs(conv_net, part, name):
    method = ActivationMaximization(iterations=4)
    state = finish(method, conv_net, conv_net.target(2)).state
    kept = dict(getattr(state, part))
    less = dataclasses.replace(state, **{part: {key: value for key, value in kept.items() if key != name}})
    more = dataclasses.replace(state, **{part: {**kept, "sharpness": 1}})
    for odd, words in ((less, name), *([] if part == "arrays" else [(more, "sharpness")])):
        with pytest.raises(InvalidKnob, match=f"of this version of activation_maximization; {words} differ"):
            finish(method.resume(odd), conv_net, conv_net.target(2))


@pytest.mark.parametrize("change", [{"start": "mean"}, {"iterations": 9}, {"normalization": "max"}, {"seed": 1}])
def test_fixed_knobs_cannot_be_sent(conv_net, change):
    method = ActivationMaximization(iterations=5)
    steps = method.steps(conv_net, None, conv_net.target(0))
    next(steps)
    with pytest.raises(InvalidKnob, match=f"{next(iter(change))} must stay .* Start a new run"):
        steps.send(dataclasses.replace(method, **change))


def test_only_methods_can_be_sent(conv_net):
    steps = ActivationMaximization().steps(conv_net, None, conv_net.target(0))
    next(steps)
    with pytest.raises(InvalidKnob, match=r"must be a ActivationMaximization; got 'faster'\."):
        steps.send("faster")


def test_a_dead_unit_is_noted_and_stops(dead_net):
    found = list(ActivationMaximization(start="mean", iterations=50).steps(dead_net, None, dead_net.target(0)))
    assert [one.step for one in found] == [1, 2, 2]
    assert [len(one.notes) for one in found] == [1, 2, 3]
    assert "gradient was exactly zero" in found[0].notes[0]
    assert "Start from noise" in found[-1].notes[-1] and found[-1].progress == 1.0
    assert np.isfinite(found[-1].image).all()
    resumed = list(
        ActivationMaximization(start="mean").resume(found[-1].state).steps(dead_net, None, dead_net.target(0))
    )
    assert [one.notes for one in resumed] == [found[-1].notes]


def test_a_run_that_was_saved_between_two_nudges_makes_the_second(dead_net):
    method, target = ActivationMaximization(start="mean", iterations=50), dead_net.target(0)
    whole = list(method.steps(dead_net, None, target))
    rest = list(method.resume(whole[0].state).steps(dead_net, None, target))
    assert "noise of 20 gray levels" in rest[0].notes[-1]
    assert [one.step for one in rest] == [one.step for one in whole[1:]] and rest[-1].notes == whole[-1].notes


def test_a_sleeping_unit_is_woken_by_noise(sleeping_net):
    found = finish(ActivationMaximization(start="mean", iterations=20), sleeping_net, sleeping_net.target(0))
    assert found.step == 20 and found.score > 0
    assert found.notes == ("Step 1: the gradient was exactly zero, so noise of 5 gray levels was added.",)


def test_nudges_are_counted_in_a_row(sleeping_net):
    """A unit that goes off again, later, is woken by faint noise first."""
    run = Ascent(ActivationMaximization(start="mean", iterations=20), sleeping_net, sleeping_net.target(0))
    run.begin()
    run.advance()
    run.advance()
    run.gradient = torch.zeros_like(run.gradient)
    run.advance()
    assert run.step == 3 and run.notes[-1].startswith("Step 3:") and "noise of 5 gray levels" in run.notes[-1]


def test_a_score_that_is_no_number_stops_with_the_last_good_picture(cliff_net):
    found = list(ActivationMaximization(**PLAIN, iterations=200).steps(cliff_net, None, cliff_net.target(0)))
    assert "not finite" in found[-1].notes[-1] and found[-1].progress == 1.0
    assert found[-1].step == found[-2].step < 200
    assert np.array_equal(found[-1].image, found[-2].image) and np.isfinite(found[-1].score)
    assert (
        np.isfinite(found[-1].state.arrays["picture"]).all() and np.isfinite(found[-1].state.arrays["gradient"]).all()
    )
    calmer = ActivationMaximization(**PLAIN, iterations=200, step_size=0.1).resume(found[-1].state)
    assert [one.step for one in calmer.steps(cliff_net, None, cliff_net.target(0))] == [found[-1].step]


def test_a_start_without_a_finite_score_is_said(cliff_net):
    weights = cliff_net.module.linear.weight[0].detach().reshape(1, 1, 6, 6)
    method = ActivationMaximization(start="photo", jitter=0)
    found = list(method.steps(cliff_net, 2 * weights.sign(), cliff_net.target(0)))
    assert len(found) == 1 and found[0].step == 0
    assert "choose another start" in found[0].notes[0]


def test_closing_half_way_leaves_everything_as_it_was(conv_net):
    module = conv_net.module
    before = {name: value.clone() for name, value in module.state_dict().items()}
    flags = [(parameter.requires_grad, parameter.grad) for parameter in module.parameters()]
    target, seed = conv_net.target(0), torch.get_rng_state()
    whole = finish(ActivationMaximization(iterations=4), conv_net, target)
    steps = ActivationMaximization(iterations=40).steps(conv_net, None, target)
    next(steps)
    assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled()
    next(steps)
    steps.close()
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert flags == [(parameter.requires_grad, parameter.grad) for parameter in module.parameters()]
    assert not any(child._forward_hooks or child._backward_hooks for child in module.modules())
    assert torch.equal(torch.get_rng_state(), seed)
    assert np.array_equal(finish(ActivationMaximization(iterations=4), conv_net, target).image, whole.image)
