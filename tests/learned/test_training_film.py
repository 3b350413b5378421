"""Films of a training: the pictures of all checkpoints are those that the method makes there alone."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

import xaiwidgets as xw
from xaiwidgets.errors import InvalidKnob, InvalidModel, NotApplicable
from xaiwidgets.learned.checkpoints import checkpoints, find_checkpoints, train_checkpoints
from xaiwidgets.learned.recipes import untrained


@pytest.fixture(scope="module")
def trained():
    return train_checkpoints("digits8", at=(0, 1), epochs=4, name="film of digits")


def film(model, technique="class_model_visualization", iterations=24):
    knobs = {"technique": technique, "iterations": iterations, "checkpoints": "film of digits"}
    return xw.synthesize(model, "training_film", target=3, **knobs)


def test_checkpoints_are_in_order_and_get_better(trained):
    assert [point.label for point in trained.points] == ["untrained", "epoch 1", "epoch 4"]
    assert np.isnan(trained.points[0].accuracy)
    assert trained.points[2].accuracy > trained.points[1].accuracy + 0.2
    assert trained.points[0].caption == "untrained"
    assert trained.points[2].caption.startswith("epoch 4, accuracy 0.")


def test_the_film_shows_what_each_checkpoint_wants(trained):
    found = film(trained.points[-1].model)
    assert [e.caption.split(":")[0] for e in found.beside] == [p.caption for p in trained.points]
    for exhibit, point in zip(found.beside, trained.points, strict=True):
        alone = xw.synthesize(point.model, "class_model_visualization", target=3, iterations=24)
        assert np.array_equal(exhibit.image, alone.image)
        assert found.curves[point.label][-1] == pytest.approx(alone.score)
    assert np.array_equal(found.image, found.beside[-1].image)
    assert float(found.beside[-1].caption.split()[-1]) > float(found.beside[0].caption.split()[-1]) + 0.3


def test_all_checkpoints_share_the_seed_and_the_settings(trained):
    """Each picture is what the technique makes with this seed, and other seeds give others."""
    goal = trained.points[-1].model.target(3)
    shots = []
    for seed in (0, 1):
        method = xw.TrainingFilm(
            technique="regularized_optimization", iterations=1, seed=seed, checkpoints="film of digits"
        )
        shots.append(next(method.steps(trained.points[-1].model, None, goal)).beside)
    one, two = (shot[0].image.ravel() for shot in shots)
    assert not np.array_equal(one, two)
    alone = xw.RegularizedOptimization(iterations=1, seed=0)
    for exhibit, point in zip(shots[0], trained.points, strict=True):
        assert np.array_equal(exhibit.image, next(alone.steps(point.model, None, goal)).image)


def test_small_pictures_are_neither_moved_nor_blurred_away(trained):
    """A jitter of 4 px and a blur of 1.5 px are for pictures of 64 px and more; those here have 8."""
    found = film(trained.points[-1].model, "activation_maximization", 64)
    assert float(found.beside[-1].caption.split()[-1]) > 0.9


def test_a_finished_film_can_be_opened_again_and_made_longer(trained):
    model = trained.points[-1].model
    method = xw.TrainingFilm(iterations=4, technique="class_model_visualization", checkpoints="film of digits")
    goal = model.target(3)
    done = list(method.steps(model, None, goal))[-1]
    again = list(method.resume(done.state).steps(model, None, goal))
    assert len(again) == 1
    assert all(np.array_equal(a.image, b.image) for a, b in zip(again[0].beside, done.beside, strict=True))
    longer = list(dataclasses.replace(method, iterations=6).resume(done.state).steps(model, None, goal))[-1]
    whole = list(dataclasses.replace(method, iterations=6).steps(model, None, goal))[-1]
    assert longer.step == 6
    assert all(np.array_equal(a.image, b.image) for a, b in zip(longer.beside, whole.beside, strict=True))


def test_a_users_own_checkpoints_and_those_of_others():
    torch.manual_seed(0)
    mine = xw.Model(nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(16, 3)), size=4, mean=(0.5,), std=(0.5,))
    with pytest.raises(NotApplicable, match=r"xaiwidgets\.checkpoints\(model"):
        xw.synthesize(mine, "training_film", target=0, iterations=2)
    state = mine.module.state_dict()
    kept = checkpoints(mine, [(0, {name: value * 0.1 for name, value in state.items()}), ("end", state)], name="mine")
    assert find_checkpoints(mine, "") is kept
    assert [point.label for point in kept.points] == ["0", "end"]
    assert len(xw.synthesize(mine, "training_film", target=0, iterations=2).beside) == 2
    with pytest.raises(InvalidKnob, match="'mine' is none"):
        find_checkpoints(untrained("digits8"), "mine")
    with pytest.raises(InvalidKnob, match="states must be 2 to"):
        checkpoints(mine, [(0, state)])
    with pytest.raises(InvalidModel, match="weights must be named"):
        checkpoints(mine, [(0, state), (1, {"nope": state["0.bias"]})])


def test_a_run_does_not_go_on_with_other_checkpoints(trained):
    model = trained.points[-1].model
    weights = model.module.state_dict()
    checkpoints(model, [(0, weights), (1, weights)], name="changing")
    method = xw.TrainingFilm(iterations=3, technique="class_model_visualization", checkpoints="changing")
    state = next(method.steps(model, None, model.target(3))).state
    checkpoints(model, [(0, weights), (1, {"classifier.2.bias": weights["classifier.2.bias"] + 1})], name="changing")
    with pytest.raises(InvalidKnob, match="checkpoints must name those"):
        next(method.resume(state).steps(model, None, model.target(3)))


@pytest.mark.parametrize("at", [(), (-1,), (9,), (1.5,), (True,)])
def test_epochs_that_are_none_are_refused(at):
    with pytest.raises(InvalidKnob, match="at must be"):
        train_checkpoints("digits8", at=at, epochs=4)
