"""Training from nothing: it learns, it can be cancelled, and it leaves the random state alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from xaiwidgets.errors import InvalidImage, InvalidKnob, NotApplicable
from xaiwidgets.learned.recipes import Recipe, permuted, recipe, recipes, train, train_steps


def halves(split):
    """Pictures whose label says which half is bright."""
    rng = np.random.default_rng(["train", "test"].index(split))
    labels = rng.integers(2, size=200 if split == "train" else 50)
    images = rng.uniform(0, 0.3, (len(labels), 6, 6, 1)).astype(np.float32)
    for image, label in zip(images, labels, strict=True):
        image[:, 3 * label : 3 * label + 3] += 0.5
    return images, labels


TINY = Recipe(
    "halves", "Halves", lambda: nn.Sequential(nn.Flatten(), nn.Linear(36, 2)), halves, ("left", "right"),
    mean=(0.5,), std=(0.5,), epochs=6, rate=0.05,
)  # fmt: skip


def test_it_learns_and_says_how_it_went():
    states = list(train_steps(TINY))
    assert [s.epoch for s in states] == [1, 2, 3, 4, 5, 6]
    assert [s.progress for s in states] == pytest.approx([n / 6 for n in range(1, 7)])
    last = states[-1]
    assert last.losses[-1] < last.losses[0]
    assert last.accuracies[-1] > 0.95
    assert last.test_accuracy > 0.95
    assert all(s.model is None for s in states[:-1])
    images, labels = halves("test")
    inputs = torch.cat([last.model.from_pixels(image) for image in images])
    assert float((last.model.logits(inputs).argmax(1).numpy() == labels).mean()) == last.test_accuracy
    assert last.model.labels.short(1) == "right"


def test_the_same_seed_gives_the_same_weights_and_the_global_state_stays():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, two, other = train(TINY, epochs=2), train(TINY, epochs=2), train(TINY, epochs=2, seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    weights = [m.module[1].weight for m in (one, two, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_it_stops_at_the_wanted_accuracy():
    states = list(train_steps(TINY, until=0.9, epochs=50))
    assert states[-1].epoch < 50
    assert states[-1].accuracies[-1] >= 0.9
    assert all(a < 0.9 for a in states[-1].accuracies[:-1])
    assert states[-1].progress == 1


def test_random_labels_are_learned_by_heart_only_if_there_is_room():
    """The same classes, as often as before; a linear map cannot learn them."""
    labels = halves("train")[1]
    mixed = permuted(labels, 0)
    assert np.array_equal(np.bincount(mixed), np.bincount(labels))
    assert not np.array_equal(mixed, labels)
    assert list(train_steps(TINY, labels=mixed, until=0.95, epochs=10))[-1].accuracies[-1] < 0.95


def test_closing_it_ends_it():
    steps = train_steps(TINY)
    next(steps)
    steps.close()
    with pytest.raises(StopIteration):
        next(steps)


def test_bad_arguments_are_named():
    with pytest.raises(NotApplicable, match="shapes, digits8, shapes_robust"):
        recipe("imagenet")
    with pytest.raises(InvalidKnob, match="epochs must be"):
        next(train_steps(TINY, epochs=0))
    with pytest.raises(InvalidKnob, match="until must be"):
        next(train_steps(TINY, until=1.5))
    with pytest.raises(InvalidImage, match="as many"):
        next(train_steps(TINY, labels=np.zeros(3, np.int64)))


@pytest.mark.slow
def test_the_bundled_net_of_digits_learns():
    assert list(train_steps("digits8", epochs=12))[-1].test_accuracy >= 0.96


def test_bundled_recipes_have_data_of_their_own():
    for one in recipes():
        (images, labels), (others, _) = one.load("train"), one.load("test")
        assert images.dtype == np.float32
        assert labels.dtype == np.int64
        assert images.min() >= 0
        assert images.max() <= 1
        assert set(np.unique(labels)) == set(range(len(one.labels)))
        seen = {image.tobytes() for image in images}
        assert sum(other.tobytes() in seen for other in others) == 0
