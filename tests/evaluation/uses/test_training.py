"""Maps over checkpoints: scores in their order, and shapes that are learned (lab)."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scenes import MadeMap

import xaiwidgets as xw
from xaiwidgets.data.shapes import shapes
from xaiwidgets.learned.recipes import train_steps, untrained


@pytest.fixture(scope="module")
def model():
    return xw.load_model("shapes_gap")


@pytest.fixture(scope="module")
def scenes():
    return shapes("test", 6).scenes()


def test_a_point_for_each_checkpoint(model, scenes):
    checkpoints = [(0, untrained("shapes")), (456, model)]
    reports = [r for r in xw.maps_while_training_steps(checkpoints, scenes, detail="energy") if r is not None]
    last = reports[-1]
    assert [r.progress for r in reports] == [0.5, 1, 1]
    assert [row[0] for row in last.rows] == ["0", "456"]
    assert last.rows[1][1] == 1
    energy = [xw.evaluate(model, s, "grad_cam", "pointing_game").details["energy"] for s in scenes]
    assert last.items[1] == pytest.approx(np.nanmean(energy))
    assert last.value == pytest.approx(last.items[1] - last.items[0])
    assert last.curves[0].x.tolist() == [0, 456]
    assert last.provenance.passes == (2 * (6 + 6), 2 * 6)  # answers and maps
    assert (last.provenance.method, last.provenance.image) == ("grad_cam", scenes[-1].name)


def test_names_are_ticks_and_missing_values_are_told(model, scenes):
    nothing = MadeMap(lambda model, image, target: np.zeros((48, 48)))
    found = xw.maps_while_training([("early", model), ("late", model)], scenes[:2], method=nothing)
    assert found.curves[0].ticks == ("early", "late")
    assert np.isnan(found.value)
    assert found.notes == ("At some checkpoints no map has a value.",)


def test_what_is_wrong_is_named(model, scenes):
    with pytest.raises(xw.errors.InvalidKnob, match="checkpoints must be at least one"):
        xw.maps_while_training([], scenes)
    with pytest.raises(xw.errors.InvalidKnob, match="detail must be a number"):
        xw.maps_while_training([(0, model)], scenes[:1], detail="beauty")


def test_an_untrained_network_is_where_its_training_begins():
    images, labels = shapes("train", 64).images, shapes("train", 64).labels
    states = list(train_steps("shapes", images=images, labels=labels, epochs=2, seed=3, models=True))
    assert all(state.model is not None for state in states)
    first, last = (state.model.module.classifier.weight for state in states)
    start = untrained("shapes", seed=3).module.classifier.weight
    assert torch.equal(start, untrained("shapes", seed=3).module.classifier.weight)
    assert 0 < (first - start).abs().max() < 0.1
    assert not torch.equal(first, last)


@pytest.mark.lab
def test_maps_get_better_as_shapes_are_learned():
    """Energy of Grad-CAM inside the object: at the end it must be above that after one epoch (38 steps)."""
    scenes = shapes("test", 40).scenes()
    found = xw.maps_while_training(xw.while_training("shapes"), scenes, detail="energy", count=5)
    steps = {row[0]: row for row in found.rows}
    assert list(steps) == ["0", "38", "114", "304", "456"]
    assert steps["456"][2] > steps["38"][2]
    assert steps["456"][1] >= 0.98
