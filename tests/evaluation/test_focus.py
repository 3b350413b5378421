"""Focus: maps that know the two cells, uniform ones, Quantus' formula, and photos."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scenes import MadeMap

import xaiwidgets as xw
from xaiwidgets.data.shapes import shapes
from xaiwidgets.evaluation.focus import focus

PHOTOS = ["chelsea", "coffee", "rocket", "china"]


@pytest.fixture(scope="module")
def model():
    return xw.load_model("shapes_gap")


@pytest.fixture(scope="module")
def pool():
    return shapes("test", 40).scenes()


def test_a_map_that_knows_scores_1_a_uniform_one_half_and_none_nothing(model, pool):
    known = [(model.from_pixels(one.pixels), model.labels.index(one.label)) for one in pool]

    def make(_, image, target):
        found = np.zeros((96, 96))
        for row in (0, 48):
            for column in (0, 48):
                cell = image[:, :, row : row + 48, column : column + 48]
                label = next(label for picture, label in known if torch.equal(picture, cell))
                found[row : row + 48, column : column + 48] = label == target.classes[0]
        return found

    found = xw.evaluate(model, pool[0], MadeMap(make), "focus", data=pool)
    assert found.value == 1
    assert len(found.items) == 10
    uniform = MadeMap(lambda model, image, target: np.ones((96, 96)))
    assert xw.evaluate(model, pool[0], uniform, "focus", data=pool).value == pytest.approx(0.5)
    none = xw.evaluate(model, pool[0], MadeMap(lambda *_: -np.ones((96, 96))), "focus", data=pool)
    assert np.isnan(none.value)
    assert none.warnings == ("W_DEGENERATE",)
    assert "10 maps have no positive evidence" in none.notes[0]


def test_the_order_of_the_cells_does_not_matter():
    values = np.random.default_rng(1).normal(size=(20, 20))
    right = np.array([[True, False], [False, True]])
    turned = np.concatenate([values[10:], values[:10]])
    assert focus(turned, right[::-1]) == pytest.approx(focus(values, right))


def test_quantus_agrees():
    quantus = pytest.importorskip("quantus")
    metric = quantus.Focus(normalise=False, disable_warnings=True)
    rng = np.random.default_rng(2)
    maps = rng.normal(size=(8, 1, 40, 40))
    right = np.array([rng.permutation([1, 1, 0, 0]) for _ in range(8)])
    theirs = metric.evaluate_batch(a_batch=maps, c_batch=right)
    ours = [focus(one[0], order.astype(bool).reshape(2, 2)) for one, order in zip(maps, right, strict=True)]
    assert np.allclose(theirs, ours, atol=1e-6)


def test_photos():
    """On bundled photos with a mirror image as the second one; Grad-CAM must be above 0.8."""
    lite = xw.load_model()
    found = xw.evaluate(lite, "coffee", "grad_cam", "focus", mosaics=5, data=PHOTOS)
    assert found.value > 0.8
    assert found.details["mirrored"]
    assert any("mirror image" in note for note in found.notes)
    saliency = xw.evaluate(lite, "coffee", "saliency", "focus", mosaics=3, data=PHOTOS)
    assert saliency.value < found.value - 0.1


def test_the_class_that_draws_most_evidence_is_named(model, pool):
    found = xw.evaluate(model, pool[0], "saliency", "focus", data=pool, mosaics=6)
    shares = [row[2] for row in found.rows]
    assert shares == sorted(shares, reverse=True)
    assert found.details["confuser"] == found.rows[0][0] != pool[0].label
    assert sum(row[1] for row in found.rows) == 12


def test_digits_of_one_size_only_are_shrunk():
    model = xw.load_model("digits_vgg")
    found = xw.evaluate(model, xw.scenes("digits", model, 1)[0], "grad_cam", "focus", mosaics=2)
    assert found.warnings == ("W_OOD",)
    assert 0 <= found.value <= 1


def test_what_is_missing_is_named(model, pool):
    disks = [one for one in pool if one.label == pool[0].label]
    with pytest.raises(xw.errors.NotApplicable, match="two pictures of other classes"):
        xw.evaluate(model, pool[0], "saliency", "focus", data=disks)
