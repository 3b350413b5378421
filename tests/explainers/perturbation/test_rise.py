"""RISE: the authors' formula on the same masks, and its closed forms."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from xaiwidgets import Rise, Target
from xaiwidgets.engine import masks
from xaiwidgets.engine.baselines import baseline
from xaiwidgets.engine.run import drive
from xaiwidgets.errors import InvalidKnob


def drawn(method, size):
    made = masks.RandomMasks(size, method.samples, method.cells, method.keep, method.seed)
    return made.draw(range(method.samples)).double()


def weights_of(score, method, image, cover):
    kept = drawn(method, tuple(image.shape[-2:])).to(image)
    with torch.no_grad():
        return kept.double(), score(image * kept + cover * (1 - kept)).double()


@pytest.mark.parametrize("style", ["functional", "reused"])
@pytest.mark.parametrize("normalize", ["share", "coverage"])
@pytest.mark.parametrize("output", ["probability", "logit", "log_probability"])
def test_is_the_authors_formula(output, normalize, style, net, wrap, picture, run, close):
    """S = 1/(N·p) Σ f(x ⊙ M) M, eq. 6; the mean-colored cover is zero in input space, as in the paper."""
    module = net(style)
    model = wrap(module)
    image = picture(model)
    method = Rise(samples=90, cells=4, keep=0.35, normalize=normalize, output=output, seed=3)
    outputs = {
        "probability": lambda z: z.softmax(1),
        "logit": lambda z: z,
        "log_probability": lambda z: z.log_softmax(1),
    }[output]
    kept, weights = weights_of(lambda x: outputs(module(x))[:, 2], method, image, torch.zeros_like(image))
    total = (weights[:, None, None, None] * kept).sum(dim=0)
    wanted = total / (90 * 0.35) if normalize == "share" else total / kept.sum(dim=0)
    result = run(method, model, image, 2)
    close(result.values, wanted, 1e-5)
    assert result.unit == output.replace("_", " ")
    assert result.signed == (output != "probability")
    if normalize == "share":
        error = (weights[:, None, None, None] * kept).std(dim=0, unbiased=False) / 90**0.5 / 0.35
        close(result.details["standard_error"], error, 1e-5)


@pytest.mark.parametrize("fill", ["mean", "black", "gray", "white", "blur", "border"])
def test_every_fill(fill, net, wrap, picture, run, close):
    module = net()
    model = wrap(module)
    image = picture(model)
    method = Rise(samples=20, fill=fill)
    cover = baseline(model, image, fill)
    kept, weights = weights_of(lambda x: module(x).softmax(1)[:, 1], method, image, cover)
    close(run(method, model, image, 1).values, (weights[:, None, None, None] * kept).sum(dim=0) / 10, 1e-5)


@pytest.mark.parametrize("which", ["lite0", "digits_vgg"])
def test_on_trained_networks(which, request, run, close):
    model, image, target = request.getfixturevalue(which)
    method = Rise(samples=12)
    kept, weights = weights_of(lambda x: model.module(x).softmax(1)[:, target], method, image, torch.zeros(()))
    wanted = (weights[:, None, None, None] * kept).sum(dim=0) / 6
    close(run(method, model, image, target).values, wanted, 1e-4)


class Constant(nn.Module):
    def forward(self, x):
        return 0 * x.sum(dim=(1, 2, 3))[:, None] + x.new_tensor([3.0, 1.0])


def test_a_constant_score_gives_the_share_of_the_masks(wrap, picture, run, close):
    model = wrap(Constant())
    image = picture(model)
    method = Rise(samples=50, output="logit")
    close(run(method, model, image).values, 3 * drawn(method, (12, 14)).sum(dim=0) / 25)
    covered = run(Rise(samples=50, output="logit", normalize="coverage"), model, image).values
    np.testing.assert_allclose(covered, 3, rtol=1e-6)


class AllGrids:
    """All 512 masks of 3 × 3 cells, unshifted, enlarged to the nearest cell."""

    def __init__(self, size, count, cells, keep, seed, *, pairs):
        grids = torch.tensor(list(itertools.product((0.0, 1.0), repeat=9))).reshape(512, 1, 3, 3)
        self.masks = grids.repeat_interleave(size[0] // 3, 2).repeat_interleave(size[1] // 3, 3)

    def draw(self, numbers):
        return self.masks[numbers.start : numbers.stop]


class Shuffled(AllGrids):
    def __init__(self, *what, **how):
        super().__init__(*what, **how)
        self.masks = self.masks[torch.randperm(512, generator=torch.Generator().manual_seed(0))]


def test_all_masks_of_a_linear_net_give_the_closed_form(linear, wrap, picture, run, close, monkeypatch):
    module, weights = linear(6, 9)
    model = wrap(module, (6, 9))
    image = picture(model)
    monkeypatch.setattr(masks, "RandomMasks", AllGrids)
    result = run(Rise(samples=512, cells=3, output="logit"), model, image, 3)
    share = (image[0] * weights[3]).sum(dim=0)
    cells = share.reshape(3, 2, 3, 3).sum(dim=(1, 3)).repeat_interleave(2, 0).repeat_interleave(3, 1)
    wanted = module[1].bias[3] + share.sum() / 2 + cells / 2
    close(result.values, wanted[None], 1e-6)
    monkeypatch.setattr(masks, "RandomMasks", Shuffled)
    close(run(Rise(samples=512, cells=3, output="logit"), model, image, 3).values, result.values, 1e-6)


def test_more_samples_of_a_seed_go_on_with_its_prefix(net, wrap, picture):
    """Any prefix is the mean over the masks so far."""
    module = net()
    model = wrap(module)
    image = picture(model)
    model.remember(("batch size", False), lambda: 8)
    method = Rise(samples=40)
    kept, weights = weights_of(lambda x: module(x).softmax(1)[:, 0], method, image, torch.zeros_like(image))
    for number, result in enumerate(method.steps(model, image, model.target(0)), 1):
        done = 8 * number
        wanted = (weights[:done, None, None, None] * kept[:done]).sum(dim=0) / done / 0.5
        np.testing.assert_allclose(result.values, wanted, rtol=1e-5)
        assert result.progress == done / 40


def test_differences_and_hidden_units_are_signed(net, wrap, picture, run, close):
    module = net()
    model = wrap(module)
    image = picture(model)
    method = Rise(samples=30)
    found = run(method, model, image, Target.difference(1, 2))
    kept, weights = weights_of(
        lambda x: (p := module(x).softmax(1))[:, 1] - p[:, 2], method, image, torch.zeros_like(image)
    )
    close(found.values, (weights[:, None, None, None] * kept).sum(dim=0) / 15, 1e-5)
    assert found.signed
    hidden = run(method, model, image, Target.hidden("one", 2))
    kept, weights = weights_of(lambda x: module.one(x)[:, 2].mean(dim=(1, 2)), method, image, torch.zeros_like(image))
    close(hidden.values, (weights[:, None, None, None] * kept).sum(dim=0) / 15, 1e-5)
    assert hidden.signed
    assert hidden.unit == "activation"


def prefixes(method, model, image, every=96):
    """Return the maps after every so many masks, from all of them at once."""
    kept, weights = weights_of(lambda x: model.module(x).softmax(1)[:, 1], method, image, torch.zeros_like(image))
    sums = (weights[:, None, None, None] * kept).cumsum(dim=0)
    counts = range(every, method.samples + 1, every)
    return {count: (sums[count - 1] / (count * method.keep)).numpy() for count in counts}


def change(values, before):
    moved, contrast = values - before, values - values.mean()
    return np.linalg.norm(moved - moved.mean()) / np.linalg.norm(contrast)


def test_it_stops_when_the_map_hardly_changes(net, wrap, picture):
    model = wrap(net())
    image = picture(model)
    maps = prefixes(Rise(samples=960), model, image)
    changes = {count: change(maps[count], maps[count - 96]) for count in maps if count > 96}
    ordered = sorted(changes)
    tolerance = round(np.mean([changes[ordered[2]], changes[ordered[3]]]), 4)
    stop = next(count for count in ordered if changes[count] < tolerance)
    assert 192 < stop < 960
    for batch in (1, 4, 16):
        model = wrap(net())
        model.remember(("batch size", False), lambda batch=batch: batch)
        results = list(drive(Rise(samples=960, tolerance=tolerance), model, image, model.target(1)))
        last = results[-1]
        assert last.provenance.passes == (stop + 1, 0)
        assert last.progress == 1
        assert last.notes == (f"Stopped after {stop} of 960 masks: the map hardly changes.",)
        assert last.details["change"] == pytest.approx(changes[stop], rel=1e-4)
        np.testing.assert_allclose(last.values, maps[stop], rtol=1e-5)
        assert all(one.progress < 1 and not one.notes for one in results[:-1])
    assert "change" not in results[0].details


def test_it_does_not_stop_unless_told_to(net, wrap, picture, run):
    model = wrap(net())
    image = picture(model)
    maps = prefixes(Rise(samples=300), model, image)
    found = run(Rise(samples=300), model, image, 1)
    assert found.provenance.passes == (301, 0)
    assert found.details["change"] == pytest.approx(change(maps[288], maps[192]), rel=1e-4)
    assert run(Rise(samples=192, tolerance=0.5), model, image, 1).notes == (), "all masks were drawn"


def test_what_every_pixel_has_alike_does_not_hide_a_change(wrap, picture, run):
    """A constant score moves with the masks alone: the map is far from settled, though its mean hardly moves."""
    model = wrap(Constant())
    found = run(Rise(samples=960, output="logit", tolerance=0.02), model, picture(model))
    assert found.provenance.passes == (961, 0)
    assert found.details["change"] > 0.1
    assert run(Rise(samples=960, output="logit", normalize="coverage"), model, picture(model)).details["change"] < 1e-5


@pytest.mark.parametrize("style", ["functional", "reused"])
@pytest.mark.parametrize("batch", [1, 3, 8])
def test_pairs_are_the_formula_on_paired_masks(batch, style, net, wrap, picture, close):
    module = net(style)
    model = wrap(module)
    model.remember(("batch size", False), lambda: batch)
    image = picture(model)
    method = Rise(samples=40, cells=3, keep=0.4, antithetic=True)
    kept = masks.RandomMasks((12, 14), 40, 3, 0.4, 0, pairs=True).draw(range(40)).double()
    with torch.no_grad():
        weights = module(image * kept).softmax(1)[:, 2]
    parts = (weights[:, None, None, None] * kept).numpy()
    found = list(method.steps(model, image, model.target(2)))[-1]
    close(found.values, parts.sum(axis=0) / (40 * 0.4), 1e-5)
    pairs = parts.reshape(20, 2, *parts.shape[1:]).sum(axis=1) / (2 * 0.4)
    close(found.details["standard_error"], pairs.std(axis=0) / 20**0.5, 1e-4)


def test_pairs_show_every_pixel_equally_often(wrap, picture, run):
    model = wrap(Constant())
    found = run(Rise(samples=50, output="logit", antithetic=True), model, picture(model))
    np.testing.assert_allclose(found.values, 3, rtol=1e-6)
    assert found.details["standard_error"].max() < 1e-6


@pytest.mark.parametrize("batch", [1, 4, 32, 64])
def test_the_error_of_a_constant_score_divided_by_coverage_is_nothing(batch, wrap, picture, run):
    model = wrap(Constant())
    model.remember(("batch size", False), lambda: batch)
    image = picture(model)
    assert (
        run(Rise(samples=50, output="logit", normalize="coverage"), model, image).details["standard_error"].max() < 1e-6
    )
    assert run(Rise(samples=50, output="logit"), model, image).details["standard_error"].min() > 0.05


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("samples", 9),
        ("cells", 1),
        ("keep", 1.0),
        ("fill", "noise"),
        ("output", "x"),
        ("seed", -1),
        ("tolerance", 0.6),
        ("tolerance", -0.01),
        ("antithetic", 2),
    ],
)
def test_bad_knobs_are_named(name, value):
    with pytest.raises(InvalidKnob, match=rf"^{name} must be"):
        Rise(**{name: value})


# -- one run serves several classes ------------------------------------------------------------------------------------


@pytest.fixture
def wide(wrap):
    """Return a network of 14 classes, more than are kept, that sees four pictures a pass."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        module = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Linear(54, 14))
    model = wrap(module.double())
    model.remember(("batch size", False), lambda: 4)
    return model


def ranked(model, image):
    return model.logits(image)[0].argsort(descending=True).tolist()


def same(found, wanted):
    np.testing.assert_array_equal(found.values, wanted.values)
    np.testing.assert_array_equal(found.details["standard_error"], wanted.details["standard_error"])
    assert found.details.get("change") == wanted.details.get("change")
    for name in ("score", "unit", "signed", "progress", "notes"):
        assert getattr(found, name) == getattr(wanted, name), name


@pytest.mark.parametrize(
    "method",
    [
        Rise(samples=30),
        Rise(samples=30, output="logit", normalize="coverage"),
        Rise(samples=30, output="log_probability", antithetic=True, fill="blur", keep=0.3, cells=3),
    ],
    ids=["default", "logit", "log_probability"],
)
def test_another_of_the_ten_likeliest_classes_costs_no_pass_and_equals_a_run_of_its_own(method, wide, picture, run):
    image = picture(wide)
    order, shared = ranked(wide, image), wide.sharing()
    first = run(method, shared, image, order[0])
    same(first, run(method, wide, image, order[0]))
    assert first.provenance.passes == (31, 0)
    for target in (order[1], order[9], [order[2], order[3]], Target.difference(order[4], order[0])):
        kept, alone = run(method, shared, image, target), run(method, wide, image, target)
        same(kept, alone)
        assert np.abs(kept.values - first.values).max() > 0
        assert (kept.provenance.passes, alone.provenance.passes) == ((0, 0), (31, 0))


def test_what_was_kept_comes_step_by_step_like_a_run_of_its_own(wide, picture):
    image = picture(wide)
    order, shared = ranked(wide, image), wide.sharing()
    list(drive(Rise(samples=30), shared, image, wide.target(order[0])))
    kept, alone = (list(drive(Rise(samples=30), m, image, wide.target(order[1]))) for m in (shared, wide))
    assert [one.progress for one in kept] == [one.progress for one in alone]
    for one, other in zip(kept, alone, strict=True):
        same(one, other)


def test_a_less_likely_class_is_run_and_serves_the_likely_ones(wide, picture, run):
    image, method = picture(wide), Rise(samples=30)
    order, shared = ranked(wide, image), wide.sharing()
    run(method, shared, image, order[0])
    rare = run(method, shared, image, order[12])
    assert rare.provenance.passes == (31, 0)
    same(rare, run(method, wide, image, order[12]))
    assert run(method, shared, image, order[12]).provenance.passes == (0, 0)
    assert run(method, shared, image, order[11]).provenance.passes == (31, 0)
    other = wide.sharing()
    run(method, other, image, order[12])
    found = run(method, other, image, order[5])
    assert found.provenance.passes == (0, 0)
    same(found, run(method, wide, image, order[5]))


@pytest.mark.parametrize("steps", [1, 3, 7])
def test_a_run_that_was_closed_leaves_what_is_right_and_the_next_goes_on(steps, wide, picture, run):
    image, method = picture(wide), Rise(samples=30)
    order, shared = ranked(wide, image), wide.sharing()
    running = drive(method, shared, image, wide.target(order[0]))
    for _ in range(steps):
        next(running)
    running.close()
    found = run(method, shared, image, order[1])
    assert found.provenance.passes == (30 - 4 * steps, 0)
    same(found, run(method, wide, image, order[1]))


def test_runs_that_advance_in_turn_share_every_pass(wide, picture, run):
    image, method = picture(wide), Rise(samples=30)
    order, shared = ranked(wide, image), wide.sharing()
    running = [drive(method, shared, image, wide.target(one)) for one in order[:3]]
    found = [list(results)[-1] for results in zip(*zip(*running, strict=True), strict=True)]
    for one, target in zip(found, order[:3], strict=True):
        same(one, run(method, wide, image, target))
    assert sum(one.provenance.passes[0] for one in found) == 31


def test_a_class_that_stops_early_leaves_the_rest_to_one_that_does_not(net, wrap, picture, run):
    model = wrap(net())
    image, shared = picture(model), model.sharing()
    order = ranked(model, image)
    changes = [one.details.get("change", 1) for one in drive(Rise(samples=960), model, image, model.target(order[0]))]
    tolerance = round(sorted(set(changes))[4] + 1e-4, 4)
    early = run(Rise(samples=960, tolerance=tolerance), shared, image, order[0])
    assert early.notes[0].startswith("Stopped after")
    full = run(Rise(samples=960), shared, image, order[1])
    assert full.provenance.passes == (961 - early.provenance.passes[0], 0)
    same(full, run(Rise(samples=960), model, image, order[1]))


@pytest.mark.parametrize(
    "change",
    [
        {"samples": 32},
        {"cells": 5},
        {"keep": 0.4},
        {"fill": "black"},
        {"seed": 1},
        {"output": "logit"},
        {"antithetic": True},
    ],
    ids=str,
)
def test_other_masks_or_scores_are_not_mixed_up(change, wide, picture, run):
    image, shared, order = picture(wide), wide.sharing(), ranked(wide, picture(wide))
    run(Rise(samples=30), shared, image, order[0])
    other = Rise(**{"samples": 30, **change})
    found = run(other, shared, image, order[1])
    assert found.provenance.passes == (other.samples + 1, 0)
    same(found, run(other, wide, image, order[1]))


def test_another_picture_or_other_weights_are_not_mixed_up(wide, picture, run):
    image, shared, order, method = picture(wide), wide.sharing(), ranked(wide, picture(wide)), Rise(samples=30)
    run(method, shared, image, order[0])
    assert run(method, shared, image + 0.5, order[0]).provenance.passes == (31, 0)
    with torch.no_grad():
        wide.module[0].weight.mul_(1.5)
    changed = run(method, shared, image, order[0])
    assert changed.provenance.passes == (31, 0)
    same(changed, run(method, wide, image, order[0]))


def test_hidden_units_are_run_each_by_itself(net, wrap, picture, run):
    model = wrap(net())
    image, shared = picture(model), model.sharing()
    for channel in (1, 2):
        found = run(Rise(samples=30), shared, image, Target.hidden("one", channel))
        same(found, run(Rise(samples=30), model, image, Target.hidden("one", channel)))
        assert found.provenance.passes == (31, 0)


@pytest.mark.parametrize("which", ["lite0", "digits_vgg"])
def test_another_class_of_a_trained_network_costs_no_pass(which, request, run):
    model, image, target = request.getfixturevalue(which)
    shared, method = model.sharing(), Rise(samples=20)
    assert run(method, shared, image, target).provenance.passes == (21, 0)
    second = ranked(model, image)[1]
    found = run(method, shared, image, second)
    same(found, run(method, model, image, second))
    assert found.provenance.passes == (0, 0)
