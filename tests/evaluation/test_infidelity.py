"""Infidelity: closed forms on linear models, the optimal map of a toy, and captum with the same disturbances."""

from __future__ import annotations

import nets
import numpy as np
import pytest
import torch
from scenes import MadeMap, fixed
from torch import nn

import xaiwidgets as xw
from xaiwidgets.data.shapes import shapes
from xaiwidgets.evaluation.judge import case_of
from xaiwidgets.model.model import Model

ID = "infidelity"
PICTURE = np.random.default_rng(0).random((16, 16, 3)).astype(np.float32)


def linear():
    torch.manual_seed(0)
    return Model(nn.Sequential(nn.Flatten(), nn.Linear(3 * 256, 3)).double(), size=16)


@pytest.mark.parametrize("perturbation", ["gaussian", "noisy_baseline", "square", "all_squares"])
def test_slopes_of_a_linear_model_are_right_for_every_disturbance(perturbation):
    score = xw.evaluate(linear(), PICTURE, "saliency", ID, target=1, perturbation=perturbation, scaled=False)
    assert score.value < 1e-8
    assert score.details["values"] == "slope"
    assert score.details["beta"] == pytest.approx(1, abs=1e-4)
    assert score.details["unexplained"] < 1e-6


@pytest.mark.parametrize("perturbation", ["gaussian", "noisy_baseline", "square", "all_squares"])
def test_shares_of_a_linear_model_are_right_against_their_own_baseline(perturbation):
    method = ("gradient_x_input", {"baseline": "black"})
    score = xw.evaluate(linear(), PICTURE, method, ID, target=1, perturbation=perturbation, scaled=False)
    assert score.details["values"] == "share"
    assert score.value < 1e-8
    other = xw.evaluate(linear(), PICTURE, "gradient_x_input", ID, perturbation="square", scaled=False)
    assert other.value > 1e-3  # its shares are against the mean color


def test_a_map_of_zeros_gets_the_mean_squared_change():
    model = xw.load_model("shapes_gap")
    scene = shapes("test", 1).scene(0)
    score = xw.evaluate(model, scene, fixed(np.zeros((48, 48))), ID, scaled=False, samples=20)
    metric, case = xw.Infidelity(samples=20), case_of(model, scene, "saliency")
    changes = []
    for number in range(20):
        noise, _ = metric.draw(case, torch.zeros_like(case.image), number)
        changes.append(float(model.scores(case.image, case.target) - model.scores(case.image - noise, case.target)))
    assert score.value == pytest.approx(np.mean(np.square(changes)), rel=1e-4)
    assert score.value == score.controls["map of zeros"]
    assert score.warnings == ("W_OOD", "W_DEGENERATE")
    assert score.details["actual"] == pytest.approx(changes, rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("factor", [-3.0, 0.01, 1e4])
def test_scaling_the_map_changes_nothing_if_scaled(factor):
    model = xw.load_model("shapes_gap")
    scene = shapes("test", 1).scene(0)
    values = xw.explain(model, scene.pixels, "saliency", target=scene.label).values
    one, other = (xw.evaluate(model, scene, fixed(v), ID, form="slope", samples=20) for v in (values, factor * values))
    assert one.value == pytest.approx(other.value, rel=1e-4)
    assert one.value <= one.details["raw"] * (1 + 1e-9)
    assert other.details["beta"] == pytest.approx(one.details["beta"] / factor, rel=1e-3)
    assert one.value <= one.controls["map of zeros"]


def test_the_optimum_in_closed_form_is_a_minimum():
    """(E[IIᵀ])⁻¹ E[I Δf] of 10 features, over the draws themselves (proposition 2.1 of the paper)."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(10, 8), nn.Tanh(), nn.Linear(8, 2)).double()
    model = Model(net, size=(2, 5), mean=(0.0,), std=(1.0,))
    picture = np.random.default_rng(1).random((2, 5, 1)).astype(np.float32)
    scene = xw.Scene(picture, label=0)
    metric, case = xw.Infidelity(samples=60, deviation=0.5), case_of(model, scene, "saliency")
    zero = torch.zeros_like(case.image)
    noises = np.stack([metric.draw(case, zero, n)[0].flatten().numpy() for n in range(60)])
    others = torch.cat([case.image - metric.draw(case, zero, n)[0] for n in range(60)])
    changes = (model.scores(case.image, case.target) - model.scores(others, case.target)).numpy()
    best = np.linalg.solve(noises.T @ noises, noises.T @ changes).reshape(1, 2, 5)
    knobs = {"samples": 60, "deviation": 0.5, "form": "slope", "scaled": False}
    least = xw.evaluate(model, scene, fixed(best), ID, **knobs).value
    rng = np.random.default_rng(2)
    for size in (1e-3, 1e-2, 0.1):
        for _ in range(3):
            other = best + size * rng.standard_normal(best.shape)
            assert xw.evaluate(model, scene, fixed(other), ID, **knobs).value > least
    assert xw.evaluate(model, scene, "saliency", ID, **knobs).value >= least


def test_smoothed_gradients_predict_noise_better():
    """Of the same noise as the disturbance, the mean gradient is the best map there is, by Stein's lemma.

    Enough of them are needed: the mean of 50 is worse than the gradient alone. Of 4 pictures 0.84 and 0.87 of the
    squared change stay unexplained.
    """
    model = xw.load_model("shapes_gap")
    plain, smooth = (
        np.mean([
            xw.evaluate(model, s, m, ID, samples=200, deviation=0.02, form="slope", scaled=False).value
            for s in shapes("test", 4).scenes()
        ])
        for m in ("saliency", ("smoothgrad", {"samples": 300, "noise": 0.02}))
    )  # fmt: skip
    assert smooth < plain


@pytest.mark.parametrize("make", [nets.f3, nets.in_place_input], ids=lambda f: f.__name__)
@pytest.mark.parametrize(("method", "perturbation"), [("saliency", "gaussian"), ("gradient_x_input", "square")])
@pytest.mark.parametrize("scaled", [False, True])
def test_captum_agrees_with_the_same_disturbances(make, method, perturbation, scaled):
    from captum.metrics import infidelity, infidelity_perturb_func_decorator

    model = Model(make(), size=nets.SIZE)
    method = (method, {"baseline": "black"}) if method == "gradient_x_input" else method
    metric = xw.Infidelity(samples=12, perturbation=perturbation, scaled=scaled)
    case = case_of(model, PICTURE, method, target=1)
    score = xw.evaluate(model, PICTURE, method, metric, target=1)
    from xaiwidgets.engine.baselines import baseline

    start = baseline(model, case.image, "black")
    drawn = iter(range(12))

    def noise(images):
        return torch.cat([metric.draw(case, start, next(drawn))[0] for _ in range(len(images))])

    if method == "saliency":

        def perturb(images):
            found = noise(images)
            return found, images - found
    else:

        @infidelity_perturb_func_decorator(True)
        def perturb(images, baselines):
            return images - noise(images)

    values = torch.from_numpy(xw.explain(model, PICTURE, case.method, target=1).values.copy())[None]
    options = {"baselines": start} if method != "saliency" else {}
    peer = infidelity(
        model.logits,
        perturb,
        case.image.contiguous(),
        values,
        target=1,
        n_perturb_samples=12,
        max_examples_per_batch=12,
        normalize=scaled,
        **options,
    )
    assert score.value == pytest.approx(float(peer), rel=1e-3, abs=1e-9)


def test_draws_are_nested_and_their_error_shrinks():
    model = xw.load_model("shapes_gap")
    scene = shapes("test", 1).scene(0)
    few, many = (xw.evaluate(model, scene, "saliency", ID, samples=n, scaled=False) for n in (20, 160))
    assert many.items[:20] == pytest.approx(few.items, rel=1e-3, abs=1e-7)
    assert many.standard_error < few.standard_error
    assert abs(many.value - few.value) < 5 * few.standard_error
    assert many.curves[0].y[-1] == pytest.approx(many.value)
    scores = [s for s in xw.evaluate_steps(model, scene, "saliency", ID, samples=160) if s is not None]
    assert len(scores) > 1


ALL = {"perturbation": "all_squares", "scaled": False}


def by_hand(model, case, values, squares):
    """Return the squared error for each square that is set to black, of a map of shares ``(H, W)``."""
    black = model.from_pixels(np.zeros((*case.size, 3), np.float32))
    plain, errors = float(model.scores(case.image, case.target)), []
    for side, top, left in squares:
        changed = case.image.clone()
        inside = np.s_[..., top : top + side, left : left + side]
        changed[inside] = black[inside]
        answered = plain - float(model.scores(changed, case.target))
        errors.append((values[top : top + side, left : left + side].sum() - answered) ** 2)
    return np.array(errors)


def test_all_squares_are_those_of_a_loop():
    """Of sides 4 and 8 by 2 px: 7² and 5² of them, each side with half of the weight."""
    model = Model(nets.f2(), size=nets.SIZE)
    values = np.random.default_rng(3).normal(size=(16, 16)).astype(np.float32) * 0.01
    case = case_of(model, PICTURE, fixed(values), target=1)
    score = xw.evaluate(model, PICTURE, fixed(values), ID, target=1, smallest=0.25, largest=0.5, **ALL)
    wanted = [(s, top, left) for s in (4, 8) for top in range(0, 17 - s, 2) for left in range(0, 17 - s, 2)]
    assert sorted(map(tuple, score.details["squares"].tolist())) == wanted
    errors = dict(zip(wanted, by_hand(model, case, values, wanted), strict=True))
    small, large = ([e for (side, *_), e in errors.items() if side == s] for s in (4, 8))
    assert score.value == pytest.approx((np.mean(small) + np.mean(large)) / 2, rel=1e-4)
    assert score.details["by_side"] == pytest.approx({4: np.mean(small), 8: np.mean(large)}, rel=1e-4)
    assert score.items == pytest.approx([errors[tuple(s)] for s in score.details["squares"].tolist()], rel=1e-2)
    corner = errors[4, 0, 0] / 49 + errors[8, 0, 0] / 25
    assert score.maps["error"][0, 0] == pytest.approx(corner / (1 / 49 + 1 / 25), rel=1e-3)
    assert score.standard_error == 0
    assert score.curves[0].low is None
    assert score.curves[0].y[-1] == pytest.approx(score.value)


def test_all_squares_are_what_drawn_ones_estimate():
    model = xw.load_model("shapes_gap")
    scene = shapes("test", 1).scene(0)
    knobs = {"smallest": 0.1, "largest": 0.5, "lengths": 3, "scaled": True}
    whole = xw.evaluate(model, scene, "gradient_x_input", ID, perturbation="all_squares", step=1, **knobs)
    drawn = xw.evaluate(model, scene, "gradient_x_input", ID, perturbation="square", samples=1500, **knobs)
    sides = (5, 14, 24)
    assert len(whole.items) == sum((49 - side) ** 2 for side in sides)
    assert abs(drawn.value - whole.value) < 3 * drawn.standard_error
    assert drawn.standard_error < 0.1 * whole.value
    wrong = np.mean(whole.items)  # without weights: mostly the small squares, of which there are more
    assert abs(drawn.value - wrong) > 3 * drawn.standard_error


def test_all_squares_ask_no_seed_and_the_first_stand_for_all():
    model = xw.load_model("shapes_gap")
    scene = shapes("test", 1).scene(0)
    one, other = (xw.evaluate(model, scene, "saliency", ID, seed=seed, **ALL) for seed in (0, 1))
    assert one.value == pytest.approx(other.value, rel=1e-4)  # batches may be of other sizes
    assert np.array_equal(one.details["squares"], other.details["squares"])
    assert not one.details["squares"].flags.writeable  # the next evaluation has the same
    few, sides = np.array(one.items[:130]), one.details["squares"][:130, 0]
    assert 40 < (sides == sides[0]).sum() < 90
    assert abs(few.mean() - np.mean(one.items)) < 4 * few.std() / np.sqrt(len(few))
    for one_so_far in xw.evaluate_steps(model, scene, "saliency", ID, **ALL):
        if one_so_far is not None and one_so_far.progress < 1:
            assert one_so_far.standard_error > 0
            assert one_so_far.curves[0].low is not None


def test_occlusion_is_the_optimum_of_all_single_pixels():
    """Of one pixel at a time the best map is what its removal changes (Yeh et al., section 2.2)."""
    model = Model(nets.f2(), size=nets.SIZE)
    one = dict.fromkeys(("window_height", "window_width", "stride_height", "stride_width"), 1)
    occluded = ("occlusion", {**one, "fill": "black"})
    single = {"smallest": 1 / 16, "largest": 1 / 16, "step": 1, **ALL}
    score = xw.evaluate(model, PICTURE, occluded, ID, target=1, **single)
    assert len(score.items) == 256
    zeros = score.controls["map of zeros"]
    assert score.value < 1e-6 * zeros
    assert xw.evaluate(model, PICTURE, "integrated_gradients", ID, target=1, **single).value > 1e-3 * zeros
    assert xw.evaluate(model, PICTURE, occluded, ID, target=1, **ALL).details["raw"] > 1e-3 * zeros


@pytest.mark.parametrize("scaled", [False, True])
def test_the_optimum_for_all_squares_is_a_minimum(scaled):
    """(E[IIᵀ])⁻¹ E[I Δf] by weighted least squares (proposition 2.1), of more squares than pixels."""
    model = Model(
        nets.seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(192, 8), nn.Tanh(), nn.Linear(8, 2)))(), size=8
    )
    picture = xw.Scene(np.random.default_rng(1).random((8, 8, 3)).astype(np.float32), label=1)
    knobs = {
        "smallest": 0.125,
        "largest": 0.5,
        "lengths": 4,
        "step": 1,
        "perturbation": "all_squares",
        "scaled": scaled,
    }
    zeros = xw.evaluate(model, picture, fixed(np.zeros((8, 8))), ID, target=1, **knobs)
    squares, changes = zeros.details["squares"], zeros.details["actual"]
    inside = np.zeros((len(squares), 8, 8))
    for place, (side, top, left) in zip(inside, squares, strict=True):
        place[top : top + side, left : left + side] = 1
    weight = np.array([1 / np.sum(squares[:, 0] == side) / 4 for side in squares[:, 0]])
    root = np.sqrt(weight)[:, None]
    best = np.linalg.lstsq(root * inside.reshape(-1, 64), root[:, 0] * changes, rcond=None)[0].reshape(8, 8)
    least = xw.evaluate(model, picture, fixed(best), ID, target=1, **knobs)
    assert least.value == pytest.approx(weight @ ((inside * best).sum((1, 2)) - changes) ** 2, rel=1e-3)
    assert least.value < 0.2 * zeros.value
    rng = np.random.default_rng(2)
    for size in (0.03, 0.3):
        other = best + size * np.abs(best).max() * rng.standard_normal(best.shape)
        assert xw.evaluate(model, picture, fixed(other), ID, target=1, **knobs).value > least.value
    for method in ("gradient_x_input", "integrated_gradients"):
        assert xw.evaluate(model, picture, method, ID, target=1, **knobs).value > least.value


def test_squares_reach_the_edges_whatever_the_step():
    from xaiwidgets.evaluation.squares import all_squares, sides_of

    squares = all_squares((4,), 5, (10, 8))
    assert sorted(map(tuple, squares.tolist())) == [(4, top, left) for top in (0, 5, 6) for left in (0, 4)]
    assert sides_of(1 / 28, 10 / 28, 10, (28, 28)) == tuple(range(1, 11))  # the paper's on digits
    assert sides_of(0.01, 0.02, 5, (20, 30)) == (1,)
    whole = xw.evaluate(linear(), PICTURE, "saliency", ID, smallest=1.0, lengths=1, **ALL)
    assert whole.details["squares"].tolist() == [[16, 0, 0]]


def test_maps_without_channels_are_spread():
    model = linear()
    case = case_of(model, PICTURE, "saliency", target=1)
    weight = model.module[1].weight[1].detach().reshape(3, 16, 16)
    part = (weight * (case.image[0] - (0 - torch.tensor(model.preprocessing.mean).reshape(3, 1, 1))
                      / torch.tensor(model.preprocessing.std).reshape(3, 1, 1))).sum(0).numpy()  # fmt: skip
    shown = MadeMap(lambda m, image, target: part)
    score = xw.evaluate(model, PICTURE, shown, ID, target=1, perturbation="square", scaled=False)
    assert score.value < 1e-8


def test_it_says_that_the_network_sees_pictures_unlike_those_it_knows():
    """Noise and squares alike, as for every measure that changes the picture."""
    score = xw.evaluate(linear(), PICTURE, "saliency", ID, samples=4)
    assert score.warnings == ("W_OOD",)
    empty = xw.evaluate(linear(), PICTURE, fixed(np.zeros((16, 16))), ID, samples=4, perturbation="square")
    assert empty.warnings == ("W_OOD", "W_DEGENERATE")


def test_bad_input():
    with pytest.raises(xw.errors.InvalidKnob, match="perturbation must be one of gaussian"):
        xw.Infidelity(perturbation="gauss")
    with pytest.raises(xw.errors.InvalidKnob, match="samples"):
        xw.Infidelity(samples=1)
