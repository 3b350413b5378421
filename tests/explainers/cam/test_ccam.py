"""CCAM against its definition, what it says of sets, and what it finds on pairs of digits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

import xaiwidgets as xw
from xaiwidgets import Cam, Ccam, Target, common_components
from xaiwidgets.data.digits import digits
from xaiwidgets.engine.run import drive
from xaiwidgets.errors import InvalidImage, InvalidKnob, NotApplicable


def pixels(seed, size=(24, 28)):
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def slow(model, pictures, components, vector="softmax"):
    """Li et al. 2018, with loops: the maps of all pictures, and the group vector."""
    weight = model.module.head.weight.detach().double()
    seen = []
    with torch.no_grad():
        for picture in pictures:
            image = model.input(picture)
            x = torch.nn.functional.max_pool2d(model.module.one(image).relu(), 2)
            seen.append((model.module.two(x).relu()[0].double(), model.module(image)[0].double()))
    describe = {
        "softmax": lambda a, z: z.softmax(0),
        "logit": lambda a, z: z,
        "gap_feature": lambda a, z: a.mean((1, 2)),
    }
    group = torch.stack([describe[vector](maps, scores) for maps, scores in seen]).mean(dim=0)
    first = group.argsort(descending=True)[:components]
    found = []
    for maps, _ in seen:
        total = torch.zeros_like(maps[0])
        for c in first.tolist():
            own = maps[c] if vector == "gap_feature" else torch.einsum("k,khw->hw", weight[c], maps)
            total += group[c] * own
        found.append(total[None].numpy())
    return found, group.numpy()


@pytest.fixture
def small(net, wrap):
    """A small network whose scores differ from picture to picture."""
    module = net()
    with torch.no_grad():
        module.head.weight.mul_(20)
    return wrap(module)


@pytest.mark.parametrize("vector", ["softmax", "logit", "gap_feature"])
@pytest.mark.parametrize("components", [1, 2, 5])
def test_is_the_weighted_sum_of_the_first_components(vector, components, small, close):
    pictures = [pixels(seed) for seed in range(4)]
    found = common_components(small, pictures, components=components, vector=vector)
    maps, group = slow(small, pictures, components, vector)
    assert len(found) == 4
    for ours, theirs in zip(found, maps, strict=True):
        close(ours.values, theirs, 1e-5)
        close(ours.details["group"], group, 1e-5)
        rows = ours.details["components"]
        assert [row[0] for row in rows] == group.argsort()[::-1][:components].tolist()
        assert [row[2] for row in rows] == pytest.approx(group[[row[0] for row in rows]].tolist(), rel=1e-5)
        assert ours.details["pictures"] == 4
    bias = 0 if vector == "gap_feature" else sum(w * float(small.module.head.bias[c].detach()) for c, _, w in rows)
    assert ours.score == pytest.approx(float(ours.values.mean(dtype=float)) + bias, rel=1e-4)
    names = [f"channel {row[0]}" if vector == "gap_feature" else small.labels.short(row[0]) for row in rows]
    assert [row[1] for row in rows] == names
    assert ours.notes[0].startswith(f"Components of 4 pictures: {names[0]} (")


def test_the_steps_are_those_of_the_set_one_picture_after_the_other(small, close):
    pictures = [pixels(seed) for seed in range(5)]
    xw.reference_set("ccam test", pictures[1:])
    image = small.input(pictures[0])
    steps = list(drive(Ccam(references="ccam test", components=2), small, image, small.target(0)))
    assert len(steps) == 5
    for count, result in enumerate(steps, 1):
        alone = common_components(small, pictures[:count], components=2)[0]
        close(result.values, alone.values)
        close(result.details["group"], alone.details["group"])
        assert result.details["components"] == alone.details["components"]
        assert (result.progress, result.provenance.passes) == (count / 5, (count, 0))
    assert "A single picture has nothing in common" in " ".join(steps[0].notes)
    assert "A single picture" not in " ".join(steps[1].notes)
    assert "The class that was chosen plays no part." in steps[-1].notes
    assert any("4 reference pictures of 'ccam test'" in note for note in steps[-1].notes)


def test_of_one_picture_and_one_component_it_is_its_cam_times_the_probability(lite0, run, close):
    model, image, top = lite0
    found = common_components(model, ["coffee"], components=1)[0]
    assert found.details["components"][0][0] == top
    chance = float(model.probabilities(image)[0, top])
    close(found.values, chance * run(Cam(), model, image, top).values, 1e-5)
    same = common_components(model, ["coffee"] * 3, components=1)
    for other in same:
        close(other.values, found.values, 1e-5)


def test_all_components_are_one_linear_map(small, close):
    pictures = [pixels(seed) for seed in range(3)]
    found = common_components(small, pictures, components=50)
    group = torch.as_tensor(found[0].details["group"], dtype=torch.float64)
    kernel = group @ small.module.head.weight.detach()
    for ours, picture in zip(found, pictures, strict=True):
        maps = small.pooled(small.input(picture))[0][0]
        close(ours.values[0], torch.einsum("k,khw->hw", kernel, maps), 1e-5)
    assert len(found[0].details["components"]) == 5


def test_the_order_of_the_pictures_does_not_matter(small):
    pictures = [pixels(seed) for seed in range(6)]
    ours = common_components(small, pictures)
    theirs = common_components(small, pictures[::-1])[::-1]
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one.values, other.values, rtol=1e-6, atol=1e-7)


def test_one_distractor_of_n_moves_no_component_by_more_than_an_nth(small):
    pictures = [pixels(seed) for seed in range(6)]
    before = common_components(small, pictures)[0].details["group"]
    for seed in range(10, 16):
        after = common_components(small, [*pictures[:5], pixels(seed)])[0].details["group"]
        assert 0 < np.abs(after - before).max() <= 1 / 6 + 1e-7


def test_a_picture_that_is_in_the_set_counts_once(small, run, close):
    pictures = [pixels(seed) for seed in range(3)]
    xw.reference_set("ccam with itself", [*pictures[1:], pictures[0]])
    found = run(Ccam(references="ccam with itself"), small, small.input(pictures[0]))
    close(found.values, common_components(small, pictures)[0].values)
    assert found.details["pictures"] == 3
    assert found.provenance.passes == (4, 0)


def test_the_class_that_is_asked_for_plays_no_part_and_a_unit_is_refused(small, picture, run):
    image = picture(small)
    one, other = (run(Ccam(pictures=2), small, image, target) for target in (0, 4))
    np.testing.assert_array_equal(one.values, other.values)
    with pytest.raises(NotApplicable, match=r"ccam needs classes; one channel 2 is a hidden unit.*cam, grad_cam"):
        run(Ccam(pictures=2), small, image, Target.hidden("one", 2))


@pytest.mark.parametrize("positive", [True, False])
def test_the_box_is_cut_out_of_the_positive_parts_range(positive, net, wrap):
    module = net()
    with torch.no_grad():
        module.head.weight.copy_(module.head.weight.abs() if positive else module.head.weight[[3, 0, 3, 0, 3]])
    model = wrap(module)
    for seed in range(4):
        result = common_components(model, [pixels(seed), pixels(seed + 1)], components=1, threshold=0.4)[0]
        heat, low = result.heatmap(), max(0.0, float(result.values.min()))
        assert (low > 0) == positive
        labels, count = ndimage.label(heat >= low + 0.4 * (heat.max() - low))
        sizes = ndimage.sum(labels > 0, labels, range(1, count + 1))
        rows, columns = ndimage.find_objects((labels == 1 + int(np.argmax(sizes))).astype(int))[0]
        assert result.details["box"] == (rows.start, columns.start, rows.stop, columns.stop)


def test_wrong_sets_are_named(small):
    with pytest.raises(InvalidKnob, match=r"^references must be one of photos.*'nobody'"):
        Ccam(references="nobody")
    for given, message in (([], "got none"), ("coffee", "got one str"), (7, "got one int")):
        with pytest.raises(InvalidImage, match=f"^images must.*{message}"):
            common_components(small, given)
    with pytest.raises(InvalidKnob, match=r"^components must be a whole number from 1 to 50; got 0"):
        common_components(small, ["coffee"], components=0)
    with pytest.raises(InvalidKnob, match=r"^vector must be one of softmax, logit, gap_feature"):
        common_components(small, ["coffee"], vector="sum")
    with pytest.raises(NotApplicable, match=r"^ccam needs a head of global average pooling"):
        common_components(xw.load_model("digits_vgg"), ["coffee"])


def test_finds_the_digit_that_six_pairs_share():
    """The strongest place lies on the common digit more often by a quarter than that of the first class's own map."""
    model, canvases = xw.load_model("digits_gap"), digits("pairs", "test", 160)

    def hit(result, number, digit):
        row, column = np.unravel_index(result.heatmap().argmax(), result.size)
        top, left, bottom, right = canvases.boxes[number, list(canvases.labels[number]).index(digit)]
        return top <= row < bottom and left <= column < right

    ours, alone = [], []
    for digit in range(10):
        members = [n for n in range(len(canvases)) if digit in canvases.labels[n]]
        for start in range(0, len(members) - 5, 6):
            group = members[start : start + 6]
            found = common_components(model, [canvases.images[n] for n in group], components=1)
            ours += [hit(result, n, digit) for n, result in zip(group, found, strict=True)]
            alone += [hit(xw.explain(model, canvases.images[n], "cam"), n, digit) for n in group]
    assert len(ours) > 200
    assert np.mean(ours) >= 0.85
    assert np.mean(ours) >= np.mean(alone) + 0.25
