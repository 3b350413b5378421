"""Facets of a unit: groups that are known, means, and what is painted from them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

import xaiwidgets as xw
from xaiwidgets.core.cards import resolve
from xaiwidgets.errors import InvalidKnob, NotApplicable
from xaiwidgets.learned.recipes import recipe, train
from xaiwidgets.synthesis.facets import Crops, find_facets, groups_for, mean_image_init, scatter
from xaiwidgets.synthesis.multifaceted import Multifaceted

#: Digits that are one class together, so that the facets of each class are known.
PAIRS = ((0, 1), (4, 7), (2, 6), (3, 9), (5, 8))


def clouds(sizes=(40, 20, 12), dimensions=64):
    rng = np.random.default_rng(0)
    centers = 8 * rng.normal(size=(len(sizes), dimensions))
    codes = np.concatenate([c + rng.normal(size=(n, dimensions)) for c, n in zip(centers, sizes, strict=True)])
    return codes, np.repeat(np.arange(len(sizes)), sizes)


@pytest.mark.parametrize("embedding", ["tsne", "pca"])
def test_clouds_are_found_the_largest_first(embedding):
    codes, truth = clouds()
    found = find_facets(codes, 3, embedding=embedding)
    assert (found.labels == truth).all()
    assert found.count == 3 and found.places.shape == (72, 2)
    assert [len(near) for near in found.nearest] == [15, 15, 12]
    for number, near in enumerate(found.nearest):
        assert (truth[near] == number).all()
        center = found.places[truth == number].mean(axis=0)
        away = np.linalg.norm(found.places - center, axis=1)
        assert set(near) == set(np.flatnonzero(truth == number)[np.argsort(away[truth == number])][: len(near)])


def test_the_same_seed_gives_the_same_groups():
    codes, _ = clouds((20, 20), 8)
    one, other = find_facets(codes, 2, seed=5), find_facets(codes, 2, seed=5)
    np.testing.assert_array_equal(one.places, other.places)


def test_too_few_pictures_are_refused():
    with pytest.raises(NotApplicable, match="at least 3 pictures"):
        find_facets(np.zeros((2, 4)), 1)
    assert [groups_for(n, 4) for n in (10, 15, 29, 30, 60, 600)] == [1, 1, 1, 2, 4, 4]


@pytest.mark.parametrize("embedding", ["tsne", "pca"])
@pytest.mark.parametrize("different", [1, 2, 3])
def test_pictures_that_the_layer_does_not_tell_apart_are_refused(embedding, different):
    """t-SNE would end the process by a segmentation fault where all are the same."""
    codes = np.random.default_rng(0).normal(size=(different, 8))[np.arange(40) % different]
    with pytest.raises(NotApplicable, match=rf"at least 4 pictures .* {different} different codes? for 40 pictures"):
        find_facets(codes, 4, embedding=embedding)


def test_groups_without_pictures_are_left_out():
    """Codes that differ may have one place."""
    codes = np.zeros((40, 8))
    codes[:20, 0], codes[20:, 0] = 9.0, -9.0
    codes[:20, 1], codes[10:30, 1] = 5.0, -5.0
    codes[np.arange(40), 2 + np.arange(40) % 4] += 1e-200
    with pytest.warns(Warning, match="distinct clusters"):
        found = find_facets(codes, 6, embedding="pca")
    assert found.count < 6 and all(len(near) for near in found.nearest)
    assert set(found.labels) == set(range(found.count))


def test_a_network_without_maps_needs_a_code_layer(linear_net):
    knobs = {"target": 0, "pictures": "digits", "crops": 0, "used": 30, "facets": 2, "iterations": 1}
    with pytest.raises(NotApplicable, match="needs a code layer; linear has no spatial stage"):
        xw.synthesize(linear_net, "multifaceted_visualization", **knobs)
    with pytest.raises(NotApplicable, match="needs a code layer"):
        mean_image_init(linear_net, 0, "digits", crops=0)
    name = linear_net.layers[-1].name
    found = xw.synthesize(linear_net, "multifaceted_visualization", **knobs, code_layer=name)
    assert found.step == 2 and len(found.beside) == 5


def test_a_facet_that_cannot_go_on_is_named(dead_net):
    knobs = {"pictures": "digits", "crops": 0, "used": 30, "facets": 2, "iterations": 5}
    found = xw.synthesize(
        dead_net, "multifaceted_visualization", target=0, **knobs, code_layer=dead_net.layers[-1].name
    )
    for number, note in enumerate(found.notes[:2], start=1):
        assert note.startswith(f"Facet {number} stopped after 2 steps: the gradient is exactly zero")
        assert note.endswith("another unit.")
    assert found.notes[2:] == ("Stopped after 4 steps: no facet can go on.",)
    assert (found.progress, found.step) == (1, 4)


class Brink(torch.nn.Module):
    """The brighter a picture, the higher its score; not a number beyond a brightness that a few steps lead to."""

    def __init__(self, limit):
        super().__init__()
        self.limit = limit
        self.look = torch.nn.Conv2d(3, 3, 1)

    def forward(self, x):
        score = self.look(x).mean(dim=(1, 2, 3))
        # its slope is 0 on this side, and not a number on the other
        return torch.stack([score + 0 * (self.limit - x.mean(dim=(1, 2, 3))).sqrt(), -score], dim=1)


def brink(limit):
    net = Brink(limit)
    with torch.no_grad():
        net.look.weight.copy_(torch.eye(3)[:, :, None, None])
        net.look.bias.zero_()
    return xw.Model(net.eval(), size=16, mean=(0.5,) * 3, std=(0.25,) * 3)


def dark_and_bright():
    rng = np.random.default_rng(0)
    levels = np.repeat([0.3, 0.6], 20)[:, None, None, None]
    return [one.astype(np.float32) for one in levels + 0.02 * rng.normal(size=(40, 16, 16, 3))]


KNOBS = {
    "pictures": "dark and bright", "crops": 0, "used": 40, "facets": 2, "embedding": "pca", "iterations": 12,
    "code_layer": "look", "decay": 0.0, "blur_width": 0.0, "jitter": 0,
}  # fmt: skip


def test_a_facet_that_diverges_ends_alone_and_says_so():
    xw.reference_set("dark and bright", dark_and_bright())
    model = brink(0.8)  # of a mean of 0.7 in colors: bright pictures reach it within twelve steps, dark ones do not
    found = list(xw.synthesize_steps(model, "multifaceted_visualization", target=0, **KNOBS))
    last = found[-1]
    (note,) = last.notes
    assert "stopped after" in note and note.endswith("is not finite. Lower the step size and start anew.")
    gone = int(note.split()[1])
    done = int(note.split()[4])
    assert 1 <= done < 12
    assert last.step == len(last.curve) == 12 + done and last.progress == 1 and not last.state.stopped
    assert np.isfinite(last.curve).all() and np.isfinite(last.image).all()
    progress = [one.progress for one in found]
    assert progress == sorted(progress)
    captions = [exhibit.caption for exhibit in last.beside[2::2]]
    assert [f", stopped after {done} steps" in caption for caption in captions] == [gone == 1, gone == 2]
    alone = next(one for one in found if one.notes)
    pictures = [[one.beside[2 * number].image for one in (alone, last)] for number in (gone, 3 - gone)]
    assert np.array_equal(*pictures[0]), "it keeps its last good picture"
    assert np.abs(np.subtract(*pictures[1])).min() > 0.02, "the other goes on"
    # a run that was saved after one has stopped goes on as it would have
    method = resolve("multifaceted_visualization", **KNOBS)
    rest = list(method.resume(alone.state).steps(model, None, model.target(0)))
    assert len(rest) == len(found) - 1 - found.index(alone)
    np.testing.assert_array_equal(rest[-1].image, last.image)
    assert rest[-1].notes == last.notes


def test_a_facet_that_cannot_even_begin_is_told(monkeypatch):
    """As where a mean of pictures lies where the network gives no number, though it does for each of them."""
    xw.reference_set("dark and bright", dark_and_bright())
    model = brink(0.8)
    plain = Multifaceted._ascent

    def brighter(self, number, state=None):
        if number == 0 and state is None:
            self.means = torch.cat([torch.full_like(self.means[:1], 1.5), self.means[1:]])
        return plain(self, number, state)

    monkeypatch.setattr(Multifaceted, "_ascent", brighter)
    last = xw.synthesize(model, "multifaceted_visualization", target=0, **{**KNOBS, "iterations": 2})
    assert last.notes[0].startswith(
        "Facet 1 stopped after 0 steps: the score or its gradient is not finite on the start"
    )
    assert (last.step, last.progress, len(last.notes)) == (2, 1, 1)
    assert "at its start, stopped after 0 steps" in last.beside[2].caption


def test_crops_are_parts_of_their_picture():
    images = torch.stack([torch.full((3, 20, 24), value) for value in (0.25, 0.75)])
    crops = Crops(images, 3, torch.Generator().manual_seed(1))
    found = crops.take(range(len(crops)))
    assert torch.equal(crops.take(np.array([7, 0, 3])), found[[7, 0, 3]])
    assert found.shape == (8, 3, 20, 24)
    assert [round(float(one.mean()), 6) for one in found] == [0.25, 0.75] * 4
    ramp = torch.arange(24.0).expand(1, 1, 20, 24)
    spans = [float(one.max() - one.min()) for one in Crops(ramp, 6, torch.Generator().manual_seed(1)).take(range(1, 7))]
    assert max(spans) < 22 and len({round(s, 2) for s in spans}) >= 3


def test_the_layout_shows_each_picture_once():
    codes, _ = clouds((6, 6), 8)
    pictures = np.ones((12, 8, 8, 3), np.float32) * np.linspace(0.2, 0.8, 12, dtype=np.float32)[:, None, None, None]
    shown = scatter(find_facets(codes, 2), pictures)
    assert shown.shape == (448, 448, 3) and shown.min() >= 0 and shown.max() <= 1
    assert len(np.unique((shown.reshape(-1, 3) * 255).round(), axis=0)) >= 10


@pytest.fixture(scope="module")
def shapes():
    return xw.load_model("shapes_gap")


def test_a_mean_image_is_the_mean_of_its_pictures(shapes):
    from xaiwidgets.data.shapes import shapes as drawn

    pictures = [np.round(scene.pixels * 255) / 255 for scene in drawn("test", 15).scenes()]  # as files have them
    found = mean_image_init(shapes, 1, pictures, crops=0)
    np.testing.assert_allclose(found, np.mean(pictures, axis=0), atol=1e-5)


def test_a_mean_image_excites_its_own_class():
    """More than gray does, in the mean over classes: there are six canvases of each digit only, with other digits."""
    model = xw.load_model("digits_gap")
    starts = [mean_image_init(model, label, "digits", crops=0, used=15)[..., :1] for label in range(model.classes)]
    logits = torch.cat([model.logits(model.from_pixels(one)) for one in starts])
    gray = model.logits(model.from_pixels(np.full_like(starts[0], 0.5)))[0]
    assert float((logits.diagonal() - gray).mean()) > 1


def test_arguments_are_named(shapes):
    with pytest.raises(InvalidKnob, match="facet must be a whole number from 0 to 1; got 2"):
        mean_image_init(shapes, 0, "photos", facet=2, facets=2)
    with pytest.raises(InvalidKnob, match="pictures must be one of photos"):
        xw.synthesize(shapes, "multifaceted_visualization", target=0, pictures="nothing")
    with pytest.raises(NotApplicable, match="plain colors"):
        xw.synthesize(shapes, "multifaceted_visualization", target=0, pictures="plain")


def test_each_facet_is_painted_from_its_mean(shapes):
    found = list(xw.synthesize_steps(
        shapes, "multifaceted_visualization", target=2, pictures="photos", facets=3, used=45, iterations=6
    ))  # fmt: skip
    last = found[-1]
    side = shapes.input_shape[1]
    assert last.image.shape == (2 * side, 2 * side, 3)
    captions = [exhibit.caption for exhibit in last.beside]
    assert captions[0] == "45 exciting pictures, laid out by t-SNE"
    assert [c.split(":")[0] for c in captions[1:]] == [f"facet {n}" for n in (1, 1, 2, 2, 3, 3)]
    assert last.step == len(last.curve) == 18
    assert last.curve[-1] > last.curve[0]
    assert [one.step for one in found].count(0) > 3, "looking pictures through counts no steps"


def test_fewer_pictures_give_fewer_facets_and_say_so(shapes):
    found = xw.synthesize(
        shapes, "multifaceted_visualization", target=0, pictures="digits", crops=0, used=20, facets=4, iterations=1
    )
    assert found.notes == ("20 pictures are enough for 1 facet(s) of 15 pictures.",)


@pytest.mark.lab
def test_facets_of_merged_digits_are_the_digits():
    """Five classes of two digits: groups are pure (0.77), and another network tells what is painted apart (4 of 5)."""
    plain = recipe("digits8")

    def load(part):
        images, labels = plain.load(part)
        pair = np.array([next(n for n, two in enumerate(PAIRS) if digit in two) for digit in range(10)])
        return images, pair[labels]

    def make():
        net = plain.make()
        name, last = [(n, m) for n, m in net.named_modules() if isinstance(m, torch.nn.Linear)][-1]
        parent = net.get_submodule(name.rpartition(".")[0])
        setattr(parent, name.rpartition(".")[2], torch.nn.Linear(last.in_features, 5))
        return net

    merged = dataclasses.replace(plain, id="pairs", make=make, load=load, labels=tuple("ABCDE"))
    model, independent = train(merged), train("digits8")
    images, digits = plain.load("train")
    images = images.repeat(2, axis=1).repeat(2, axis=2).repeat(3, axis=3)  # as pictures, which have 16 px and colors
    purity, apart, gain = [], 0, []
    for label, pair in enumerate(PAIRS):
        mine = np.flatnonzero(np.isin(digits, pair))[:160]
        xw.reference_set(f"pair {label}", list(images[mine]))
        found = list(xw.synthesize_steps(
            model, "multifaceted_visualization", target=label, pictures=f"pair {label}", crops=0, used=160, facets=2,
            iterations=60, blur_width=0.0, decay=0.0, jitter=0, step_size=1.0,
        ))  # fmt: skip
        codes = np.concatenate([
            model.activations(model.input(images[k]), [model.stages[-1].name])[
                model.stages[-1].name].flatten(2).mean(2).numpy() for k in mine
        ])  # fmt: skip
        groups = find_facets(codes.astype(np.float64), 2).labels
        truth = digits[mine] == pair[1]
        purity.append(max((groups == truth).mean(), (groups != truth).mean()))
        seen = [
            pair[
                int(
                    np.argmax(
                        [float(independent.logits(independent.from_pixels(e.image[..., :1]))[0, d]) for d in pair]
                    )
                )
            ]
            for e in found[-1].beside[2::2]
        ]
        apart += len(set(seen)) == 2
        first = next(one for one in found if one.step == 2)
        gain.append(found[-1].score / max(first.score, 1e-3))
    print(f"purity {np.round(purity, 2)}, told apart {apart} of 5, gain {np.round(gain, 1)}")
    assert np.mean(purity) >= 0.75
    assert apart >= 4
    assert min(gain) > 1.5
