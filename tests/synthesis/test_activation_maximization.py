from __future__ import annotations

import numpy as np
import pytest
import torch

from xaiwidgets.core.cards import card
from xaiwidgets.core.knobs import knobs_of
from xaiwidgets.engine.run import drive, synthesize
from xaiwidgets.errors import InvalidKnob
from xaiwidgets.synthesis.activation_maximization import ActivationMaximization

PLAIN = {"decay": 0.0, "blur_width": 0.0, "jitter": 0, "momentum": 0.0, "total_variation": 0.0}


def finish(method, model, target, start=None):
    return list(method.steps(model, start, target))[-1]


def pixel_weights(model, index):
    """Return the slope of a linear net's score by gray levels."""
    return model.module[1].weight[index].detach().numpy() / (255 * 0.25)


def cosine(first, second):
    first, second = np.ravel(first), np.ravel(second)
    return float(first @ second / np.linalg.norm(first) / np.linalg.norm(second))


def ema(curve):
    smooth = [float(curve[0])]
    for value in curve[1:]:
        smooth.append(0.9 * smooth[-1] + 0.1 * float(value))
    return smooth


def test_linear_score_with_decay_ends_at_its_closed_form(linear_net):
    rate, size = 0.05, 1000.0
    method = ActivationMaximization(
        **PLAIN | {"decay": rate, "step_size": size}, normalization="none", start="mean", iterations=600
    )
    found = finish(method, linear_net, linear_net.target(1))
    # the fixed point of x = (1 - rate) (x + size w), which is w / (2 lambda) for lambda = rate / (2 size (1 - rate))
    wanted = pixel_weights(linear_net, 1) / (2 * rate / (2 * size * (1 - rate)))
    np.testing.assert_allclose(found.state.arrays["picture"].ravel(), wanted, rtol=1e-9)
    assert np.abs(wanted).max() < 127


@pytest.mark.parametrize("normalization", ["rms", "mean", "max", "first", "none"])
def test_first_step_points_along_the_gradient_at_the_start(conv_net, normalization):
    target = conv_net.target(2)
    method = ActivationMaximization(**PLAIN, start="mean", iterations=1, normalization=normalization)
    moved = finish(method, conv_net, target).state.arrays["picture"]
    slope = (
        conv_net.gradient(torch.zeros(1, 3, 16, 16), target).input
        / (torch.tensor([0.2, 0.25, 0.3]) * 255)[:, None, None]
    )
    assert cosine(moved, slope) > 1 - 1e-6
    if normalization == "rms":
        assert np.sqrt((moved**2).mean()) == pytest.approx(method.step_size, rel=1e-5)


def test_best_picture_of_a_filter_of_the_first_layer_is_the_filter(conv_net):
    target = conv_net.unit("first", 3, "center")
    method = ActivationMaximization(**PLAIN | {"decay": 0.05, "step_size": 1.0}, start="noise", iterations=128)
    picture = finish(method, conv_net, target).state.arrays["picture"][0]
    seen = picture[:, 6:11, 6:11] / (255 * np.array([0.2, 0.25, 0.3]))[:, None, None]
    weights = conv_net.module.first.weight[3].detach().numpy() / np.array([0.2, 0.25, 0.3])[:, None, None] ** 2
    assert cosine(seen, weights) > 0.99


def test_smoothed_score_rises(conv_net):
    for target in (conv_net.target(1), conv_net.unit("second", 4)):
        method = ActivationMaximization(jitter=0, step_size=1.0, blur_width=0.4, iterations=100)
        curve = ema(finish(method, conv_net, target).curve)
        assert curve[-1] >= curve[50] >= curve[20] > curve[0]


def test_score_belongs_to_the_picture_that_is_shown(conv_net):
    target = conv_net.target(1)
    for found in ActivationMaximization(jitter=0, iterations=5).steps(conv_net, None, target):
        inputs = conv_net.from_pixels(found.image)
        assert found.score == pytest.approx(float(conv_net.scores(inputs, target)[0]), abs=1e-4)
        assert found.terms["probability"] == pytest.approx(float(conv_net.probabilities(inputs)[0, 1]), abs=1e-5)
        assert found.terms["objective"] == found.score == found.curve[-1]


def test_every_step_is_yielded_with_all_that_is_known(conv_net):
    found = list(drive(ActivationMaximization(iterations=7), conv_net, None, conv_net.target(0)))
    assert [one.step for one in found] == list(range(1, 8))
    assert [one.progress for one in found] == [step / 7 for step in range(1, 8)]
    assert [len(one.curve) for one in found] == list(range(1, 8))
    last = found[-1]
    assert last.image.shape == (16, 16, 3) and last.image.dtype == np.float32
    assert last.image.min() >= 0 and last.image.max() <= 1
    assert last.unit == "logit" and set(last.terms) == {"objective", "probability", "norm", "total_variation"}
    assert last.terms["norm"] == pytest.approx(float(np.linalg.norm(last.state.arrays["picture"])), rel=1e-5)
    assert last.provenance.passes == (8, 8)  # one a step, and one for the start picture
    with pytest.raises(ValueError, match="read-only"):
        found[0].curve[0] = 0


def test_hidden_channels_and_positions_work(conv_net):
    for layer, channel, position in (("first", 2, "mean"), ("second", 3, (1, 5)), ("second", 3, "max")):
        target = conv_net.unit(layer, channel, position)
        found = finish(ActivationMaximization(**PLAIN, iterations=20), conv_net, target)
        assert found.unit == "activation" and "probability" not in found.terms
        assert found.score > found.curve[0] + 1


def test_a_unit_of_the_last_layer_is_its_class(conv_net):
    method = ActivationMaximization(iterations=6)
    by_unit = finish(method, conv_net, conv_net.unit("head", 2))
    by_class = finish(method, conv_net, conv_net.target(2))
    np.testing.assert_allclose(by_unit.image, by_class.image, atol=1e-5)
    assert by_unit.terms["probability"] == pytest.approx(by_class.terms["probability"], abs=1e-5)


def test_gray_networks_give_color_pictures(linear_net):
    found = synthesize(linear_net, "activation_maximization", target=0, iterations=3)
    assert found.image.shape == (6, 6, 3) and np.ptp(found.image, axis=2).max() == 0


def test_starts_and_seeds_matter_and_repeat(conv_net):
    target = conv_net.target(0)
    photo = torch.rand((1, 3, 16, 16), generator=torch.Generator().manual_seed(0))
    pictures = [
        finish(ActivationMaximization(iterations=3, start=start, seed=seed), conv_net, target, photo).image
        for start, seed in (("noise", 0), ("noise", 1), ("mean", 0), ("zero", 0), ("photo", 0), ("noise", 0))
    ]
    assert np.array_equal(pictures[0], pictures[-1])
    assert all(not np.array_equal(pictures[0], other) for other in pictures[1:-1])


def test_start_photo_without_a_photo_says_what_to_do(conv_net):
    with pytest.raises(InvalidKnob, match="pass image="):
        synthesize(conv_net, "activation_maximization", target=0, start="photo")


@pytest.mark.parametrize("knob", knobs_of(ActivationMaximization), ids=lambda knob: knob.name)
def test_bad_knobs_are_named(knob):
    for bad in (None, "much", -1, 1e10, float("nan")):
        with pytest.raises(InvalidKnob, match=f"^{knob.name} must be"):
            ActivationMaximization(**{knob.name: bad})


def test_zero_turns_every_regularizer_off(conv_net):
    target, off = conv_net.target(0), PLAIN | {"clip_norm": 0.0, "clip_contribution": 0.0}
    plain = finish(ActivationMaximization(**off, iterations=8), conv_net, target)
    for knob, value in (
        ("decay", 0.1), ("blur_width", 1.0), ("jitter", 3), ("total_variation", 0.5), ("momentum", 0.5),
        ("clip_norm", 30.0), ("clip_contribution", 30.0), ("rotation", 30.0), ("zoom", 0.3),
    ):  # fmt: skip
        other = finish(ActivationMaximization(**off | {knob: value}, iterations=8), conv_net, target)
        assert not np.array_equal(plain.image, other.image), knob


def test_the_card_shows_what_it_is():
    found = card("activation_maximization")
    assert (found.kind, found.family, found.section) == ("synthesizer", "maximization", "2.1")
    live = [knob.name for knob in found.knobs if knob.live]
    assert live == ["step_size", "momentum", "decay", "blur_width", "blur_every", "total_variation", "jitter",
                    "rotation", "zoom", "clip_norm", "clip_contribution", "radius"]  # fmt: skip
    assert found.idea and found.how and found.formula and found.caution
    assert {"resume_from"}.isdisjoint(knob.name for knob in found.knobs)
