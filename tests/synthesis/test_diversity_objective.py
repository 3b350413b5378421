"""Several pictures of one unit: kept apart by the weight, each scored, and what a unit of two digits shows."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

import xaiwidgets as xw
from tests import nets
from tests.synthesis.conftest import make_conv_net
from xaiwidgets.data.digits import resize
from xaiwidgets.errors import InvalidKnob, InvalidLayer
from xaiwidgets.model.objective_likeness import gram_cosines

PAIRS = ((0, 1), (4, 7), (2, 6), (3, 9), (5, 8))


def make(model, target, **knobs):
    return xw.synthesize(model, "diversity_objective", target=target, **knobs)


@pytest.mark.parametrize("channels", [5, 40])
def test_likeness_is_the_cosine_of_gram_matrices(channels):
    """Against the definition written out, for more and for fewer channels than places."""
    maps = torch.randn(3, channels, 4, 6, generator=torch.Generator().manual_seed(0)).relu()
    found = gram_cosines(maps)
    grams = np.einsum("ncp,ndp->ncd", *[maps.flatten(2).numpy()] * 2)
    for one in range(3):
        for other in range(3):
            norms = np.linalg.norm(grams[one]) * np.linalg.norm(grams[other])
            assert found[one, other] == pytest.approx((grams[one] * grams[other]).sum() / norms, abs=1e-5)
    assert gram_cosines(torch.zeros(2, 3, 2, 2)).abs().max() == 0


@pytest.mark.parametrize("net", [make_conv_net, lambda: xw.Model(nets.f3(), size=32, name="residual")])
def test_weight_keeps_pictures_apart(net):
    model = net()
    apart, alike = (make(model, 1, weight=w, iterations=40, transforms="none") for w in (3.0, 0.0))
    assert apart.terms["similarity"] < alike.terms["similarity"] - 0.1
    assert alike.score > alike.curve[0]


def test_what_is_told_of_the_pictures(conv_net):
    found = make(conv_net, 2, pictures=3, iterations=4)
    assert len(found.beside) == 3
    assert "2" in found.beside[0].caption
    assert found.beside[-1].image.shape == (96, 96, 3)
    scores = [found.terms[f"score_{i}"] for i in (1, 2, 3)]
    assert found.score == pytest.approx(np.mean(scores), rel=1e-5)
    pairs = [found.terms[f"similarity_{pair}"] for pair in ("1_2", "1_3", "2_3")]
    assert found.terms["similarity"] == pytest.approx(np.mean(pairs), rel=1e-5)
    assert len(found.curves["similarity"]) == 4
    assert 0 < found.terms["probability"] < 1


def test_a_unit_is_compared_in_its_own_layer(conv_net):
    unit = conv_net.unit("first", 3)
    same = make(conv_net, unit, iterations=2)
    named = make(conv_net, unit, iterations=2, compared_at="first")
    other = make(conv_net, unit, iterations=2, compared_at="second")
    assert np.array_equal(same.image, named.image)
    assert not np.array_equal(same.image, other.image)
    with pytest.raises(InvalidLayer, match="head"):
        make(conv_net, unit, compared_at="head")
    with pytest.raises(InvalidKnob, match="pictures"):
        make(conv_net, unit, pictures=1)


def test_pictures_that_start_from_one_photo_part(conv_net):
    photo = np.random.default_rng(1).random((16, 16, 3)).astype(np.float32)
    found = make(conv_net, 1, start="photo", image=photo, iterations=10, weight=20.0, transforms="none")
    assert np.abs(found.image - found.beside[0].image).max() > 0.01


def test_weight_moves_while_it_runs(conv_net):
    method = xw.DiversityObjective(iterations=30, weight=0.0, transforms="none")
    steps = xw.synthesize_steps(conv_net, method, target=1)
    for _ in range(10):
        before = next(steps)
    steps.send(dataclasses.replace(method, weight=5.0))
    *_, after = steps
    assert after.terms["similarity"] < before.terms["similarity"]


@pytest.mark.lab
def test_pictures_of_the_bundled_network_differ():
    model = xw.load_model()
    apart, alike = (make(model, "espresso", weight=w, iterations=64, transforms="standard") for w in (10.0, 0.0))
    print(f"similarity {apart.terms['similarity']:.2f} against {alike.terms['similarity']:.2f}")
    assert apart.terms["similarity"] < alike.terms["similarity"] - 0.1
    assert apart.terms["probability"] > 0.9


def train(labels, classes, seed):
    """Train a small network on scans of digits, 16 × 16; returns a Model."""
    from sklearn.datasets import load_digits

    images = torch.tensor(resize(load_digits().images / 16, 16)).float()[:, None]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(1024, 64), nn.ReLU(),
            nn.Linear(64, classes),
        )  # fmt: skip
        optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
        for _ in range(10):
            for part in torch.randperm(len(images)).split(64):
                optimizer.zero_grad()
                nn.functional.cross_entropy(net(images[part]), labels[part]).backward()
                optimizer.step()
    with torch.no_grad():
        assert (net(images).argmax(1) == labels).float().mean() > 0.98
    return xw.Model(net.eval(), size=16, mean=(0.0,), std=(1.0,), name="digits")


@pytest.mark.lab
def test_a_unit_of_two_digits_shows_both():
    """A network for pairs of digits, looked at by one for single digits.

    The goal is the log probability, which has an upper end: a logit grows on and outweighs any weight of this size.
    The starts matter as much as the weight: pictures from strong noise part on their own for most pairs.
    """
    from sklearn.datasets import load_digits

    digits = torch.tensor(load_digits().target)
    merged = torch.tensor([next(i for i, pair in enumerate(PAIRS) if int(d) in pair) for d in digits])
    model, other = train(merged, 5, 0), train(digits, 10, 1)
    knobs = {"transforms": "custom", "jitter": 1, "zoom": 0.0, "rotation": 0.0, "parameterization": "pixel"}
    both: dict[float, list[int]] = {0.0: [], 2.0: []}
    for weight, counts in both.items():
        for seed in range(3):
            shown = 0
            for unit, pair in enumerate(PAIRS):
                goal = xw.objectives.label(unit, "log_probability")
                found = make(model, goal, weight=weight, seed=seed, spread=0.5, iterations=96, **knobs)
                images = [found.image, *(one.image for one in found.beside[:-1])]
                seen = {int(other.logits(other.from_pixels(image[..., :1])).argmax()) for image in images}
                shown += seen >= set(pair)
                assert found.terms["probability"] > 0.9
            counts.append(shown)
    print("units that show both digits, of 5, by seed:", both)
    assert min(both[2.0]) >= 4
    assert sum(both[2.0]) > sum(both[0.0])
