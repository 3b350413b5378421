"""Meaningful perturbation: a loop by hand with autograd and PyTorch's Adam, invariants, and live changes."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from xaiwidgets import MeaningfulPerturbation
from xaiwidgets.engine.baselines import gaussian_blur
from xaiwidgets.engine.run import drive, last
from xaiwidgets.errors import InvalidKnob

SMALL = {"cell": 3, "smoothing": 1, "blur": 2, "start": "whole"}


def shifts(jitter, seed, step):
    if jitter < 2:
        return 0, 0
    generator = torch.Generator().manual_seed(seed * 1_000_003 + 500_000 + step)
    return torch.randint(1 - jitter, jitter, (2,), generator=generator).tolist()


def moved(image, down, right):
    rows = (torch.arange(image.shape[2]) - down).clamp(0, image.shape[2] - 1)
    columns = (torch.arange(image.shape[3]) - right).clamp(0, image.shape[3] - 1)
    return image[:, :, rows][..., columns]


def mask_of(cells, method, size):
    large = functional.interpolate(cells[None, None], scale_factor=method.cell, mode="bilinear", align_corners=False)[
        ..., : size[0], : size[1]
    ]
    return gaussian_blur(large, method.smoothing)


def by_hand(module, image, score, method, change=None):
    """Return the map, and the objective by step; ``change`` are knobs that act from a step on."""
    size = image.shape[-2:]
    hidden = gaussian_blur(image, method.blur)
    sign = 1 if method.game == "deletion" else -1
    cells = torch.full(tuple(-(-side // method.cell) for side in size), float(sign < 0), dtype=image.dtype)
    with torch.no_grad():
        scale = abs(float(score(module(image)) - score(module(hidden))))
    adam = torch.optim.Adam([cells], lr=method.step_size, eps=1e-5)
    knobs, curve = {"sparsity": method.sparsity, "smoothness": method.smoothness, "power": method.power}, []
    for step in range(1, method.iterations + 1):
        knobs.update((change or {}).get(step, {}))
        x, blurry = (moved(each, *shifts(method.jitter, method.seed, step)) for each in (image, hidden))
        cells.requires_grad_()
        region = mask_of(cells, method, size)
        seen = x + region * (blurry - x) if sign > 0 else blurry + region * (x - blurry)
        rough = cells.diff(dim=0).abs().pow(knobs["power"]).sum() + cells.diff(dim=1).abs().pow(knobs["power"]).sum()
        cost = knobs["sparsity"] * cells.sum() + knobs["smoothness"] * rough
        objective = cost + sign * score(module(seen)) / scale
        curve.append(float(objective.detach()))
        (cells.grad,) = torch.autograd.grad(objective, cells)
        cells.requires_grad_(False)
        adam.step()
        cells.clamp_(0, 1)
    return mask_of(cells, method, size)[0], np.array(curve)


def probability(outputs):
    return outputs.softmax(1)[0, 2]


@pytest.mark.parametrize("style", ["functional", "inplace", "reused"])
@pytest.mark.parametrize("game", ["deletion", "preservation"])
def test_is_the_papers_loop(game, style, net, wrap, picture, run, close):
    module = net(style)
    model = wrap(module)
    image = picture(model)
    method = MeaningfulPerturbation(game=game, iterations=12, jitter=3, seed=4, power=2.0, sparsity=2e-3, **SMALL)
    wanted, curve = by_hand(module, image, probability, method)
    result = run(method, model, image, 2)
    close(result.values, wanted, 1e-6)
    np.testing.assert_allclose(result.details["curves"]["objective"], curve, rtol=1e-6)
    assert result.unit == f"share {'hidden to lower' if game == 'deletion' else 'kept to hold'} the probability"


@pytest.mark.parametrize("style", ["functional", "method"])
def test_what_is_sent_in_acts_from_the_next_step_on_and_adam_goes_on(style, net, wrap, picture, close):
    module = net(style)
    model = wrap(module)
    image = picture(model)
    method = MeaningfulPerturbation(game="preservation", iterations=10, sparsity=1e-3, **SMALL)
    changes = {4: {"sparsity": 0.3}, 8: {"smoothness": 1.0, "power": 1.5}}
    wanted, _ = by_hand(module, image, probability, method, changes)
    result = moved_by(drive(method, model, image, model.target(2)), changes)
    close(result.values, wanted, 1e-6)
    events = ((4, "sparsity", 1e-3, 0.3), (8, "smoothness", 1e-2, 1.0), (8, "power", 3.0, 1.5))
    assert result.details["events"] == events
    assert result.provenance.knobs["sparsity"] == 1e-3  # as it was asked for
    assert "Moved while it ran" in result.notes[-1]
    assert "sparsity 0.001 → 0.3 at step 4" in result.notes[-1]
    untouched = last(drive(method, model, image, model.target(2)))
    assert untouched.details["events"] == ()
    assert not any("Moved" in note for note in untouched.notes)
    assert np.abs(untouched.values - result.values).max() > 0.01


def moved_by(running, changes):
    """Run to the end, and send in what is to act from a step on."""
    result = next(running)
    while result.progress < 1:
        result = running.send(changes.get(result.details["step"] + 1))
    return result


def test_the_events_of_a_result_give_it_again(net, wrap, picture):
    model = wrap(net())
    image = picture(model)
    method = MeaningfulPerturbation(iterations=9, **SMALL | {"start": "disc"})
    first = moved_by(drive(method, model, image, model.target(1)), {3: {"jitter": 0}, 6: {"step_size": 0.3}})
    changes = {}
    for step, name, _, new in first.details["events"]:
        changes.setdefault(step, {})[name] = new
    again = moved_by(drive(method, model, image, model.target(1)), changes)
    np.testing.assert_array_equal(again.values, first.values)
    assert again.details["events"] == first.details["events"]


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        ({"sparsity": -1.0}, "sparsity must be a number from 0.0 to 10.0; got -1.0"),
        ({"iterations": 7}, "iterations must stay 5 while a run goes on; got 7.*These may be moved: sparsity"),
        ({"sparsty": 0.1}, "no hyper-parameter 'sparsty'.*Did you mean sparsity"),
        (0.1, "must be a dict of its live hyper-parameters.*got 0.1"),
    ],
)
def test_what_cannot_be_sent_in(sent, message, net, wrap, picture):
    model = wrap(net())
    running = drive(MeaningfulPerturbation(iterations=5, **SMALL), model, picture(model), model.target(0))
    next(running)
    with pytest.raises(InvalidKnob, match=message):
        running.send(sent)


def test_a_method_can_be_sent_in_too_and_one_like_it_changes_nothing(net, wrap, picture):
    model = wrap(net())
    method = MeaningfulPerturbation(iterations=4, **SMALL)
    running = drive(method, model, picture(model), model.target(0))
    next(running)
    assert running.send(method).details["events"] == ()
    moved = MeaningfulPerturbation(iterations=4, sparsity=0.5, **SMALL)
    assert running.send(moved).details["events"] == ((3, "sparsity", 3e-4, 0.5),)


class Brightness(nn.Module):
    """The logit of class 0 rises with every pixel that is as in the photo."""

    def __init__(self, image):
        super().__init__()
        mean = image.mean(dim=(2, 3), keepdim=True)
        self.weight = nn.Parameter((image - mean).sign(), requires_grad=False)

    def forward(self, x):
        score = (x * self.weight).mean(dim=(1, 2, 3))
        return torch.stack([score, 0 * score], dim=1)


def test_without_regularizers_all_that_matters_goes(wrap, picture, run, net):
    image = picture(wrap(net()))
    model = wrap(Brightness(image))
    method = MeaningfulPerturbation(
        sparsity=0.0, smoothness=0.0, perturbation="constant", output="logit", iterations=15, jitter=0, cell=3, blur=2
    )
    np.testing.assert_array_equal(run(method, model, image).values, 1)
    kept = MeaningfulPerturbation(
        game="preservation", sparsity=0.0, smoothness=0.0, perturbation="constant", output="logit", iterations=15,
        jitter=0, cell=3, blur=2,
    )  # fmt: skip
    np.testing.assert_array_equal(run(kept, model, image).values, 1)


@pytest.mark.parametrize("game", ["deletion", "preservation"])
def test_large_sparsity_leaves_nothing(game, net, wrap, picture, run):
    model = wrap(net())
    method = MeaningfulPerturbation(game=game, sparsity=10.0, iterations=15, **SMALL)
    assert not run(method, model, picture(model)).values.any()


def test_more_sparsity_never_hides_more(net, wrap, picture, run):
    model = wrap(net())
    image = picture(model)
    areas = [
        run(MeaningfulPerturbation(sparsity=one, iterations=60, **SMALL), model, image, 2).values.mean()
        for one in (1e-3, 1e-2, 1e-1, 1.0)
    ]
    assert areas == sorted(areas, reverse=True)
    assert areas[0] > areas[-1]


def test_the_mask_stays_a_share_and_the_end_is_told(net, wrap, picture):
    model = wrap(net())
    image = picture(model)
    method = MeaningfulPerturbation(iterations=8, step_size=0.5, **SMALL)
    results = list(drive(method, model, image, model.target(2)))
    for result in results:
        assert result.values.min() >= 0
        assert result.values.max() <= 1
    end = results[-1]
    kept = 1 - torch.tensor(end.values).double()
    seen = image * kept + gaussian_blur(image, 2) * (1 - kept)
    assert end.details["under"] == pytest.approx(float(model.module(seen).softmax(1)[0, 2].detach()), rel=1e-5)
    assert f"the probability goes from {end.score:.3g} to {end.details['under']:.3g}" in end.notes[0]
    assert [len(result.details["curves"]["score"]) for result in results] == [*range(1, 9), 8]
    assert end.details["planned"] == end.details["step"] == 8


def test_the_smallest_disc_that_is_enough_is_the_start(wrap, net, picture):
    image = picture(wrap(net()))

    class Middle(nn.Module):
        """Class 0 lives on the four pixels in the middle."""

        def forward(self, x):
            there = (x[..., 5:7, 6:8] - image[..., 5:7, 6:8]).abs().amax(dim=(1, 2, 3)) < 1e-9
            score = 5.0 * there.to(x) + 0 * x.sum(dim=(1, 2, 3))
            return torch.stack([score, 0 * score], dim=1)

    model = wrap(Middle())
    method = MeaningfulPerturbation(cell=1, smoothing=0, blur=3, iterations=1, sparsity=0.0, jitter=0)
    first = next(drive(method, model, image, model.target(0)))
    assert first.details["step"] == 0
    np.testing.assert_array_equal(first.values[0, 5:7, 6:8], 1)
    assert first.values.sum() < 12 * 14 / 4  # the first disc that covers them, and no larger one


def test_without_regularization_it_scatters(net, wrap, picture, run):
    model = wrap(net())
    image = picture(model)
    method = MeaningfulPerturbation(iterations=40, sparsity=0.0, **SMALL)
    smooth = run(method, model, image, 2)
    scattered = run(dataclasses.replace(method, regularize=False), model, image, 2)
    assert scattered.details["mask"].shape == (12, 14)

    def roughness(values):
        return np.abs(np.diff(values[0], axis=0)).sum() + np.abs(np.diff(values[0], axis=1)).sum()

    assert roughness(scattered.values) / scattered.values.mean() > 3 * roughness(smooth.values) / smooth.values.mean()
    assert scattered.details["under"] < smooth.details["under"]


def test_an_early_stop_says_so(net, wrap, picture, run):
    model = wrap(net())
    result = run(MeaningfulPerturbation(iterations=300, tolerance=0.2, **SMALL), model, picture(model), 2)
    assert result.progress == 1
    assert result.details["step"] < 300
    assert f"Stopped after {result.details['step']} of 300 steps" in " ".join(result.notes)
    assert result.provenance.passes == (result.details["step"] + 3, result.details["step"])


@pytest.mark.parametrize("perturbation", ["noise", "constant"])
def test_what_hides(perturbation, net, wrap, picture, run):
    model = wrap(net())
    image = picture(model)
    method = MeaningfulPerturbation(perturbation=perturbation, iterations=3, seed=5, **SMALL)
    hidden = method._levels(image, 0).copies[:1]
    mean, std = image.mean(dim=(2, 3)), image.std(dim=(2, 3))
    if perturbation == "constant":
        torch.testing.assert_close(hidden, mean[..., None, None].expand_as(image))
    else:
        assert (hidden.std(dim=(2, 3)) / std - 1).abs().max() < 0.3
        assert not torch.equal(hidden, method._levels(image, 1).copies[:1])
    with torch.no_grad():
        wanted = float(model.module(hidden).softmax(1)[0, 1])
    assert run(method, model, image, 1).details["hidden_score"] == pytest.approx(wanted, rel=1e-5)


def test_on_a_photo_the_class_goes_with_less_than_half(lite0):
    model, image, target = lite0
    method = MeaningfulPerturbation(iterations=60)
    result = last(drive(method, model, image, model.target(target)))
    assert result.details["under"] <= 0.1 * result.score
    assert result.values.mean() < 0.5
    assert result.values[0, 40:140, 60:180].mean() > 2 * result.values[0, 190:, :60].mean()  # the cup, not the table
