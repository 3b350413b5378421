"""Artifacts: a linear network that reads nothing but a tag, and networks that have learned one (lab)."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

import xaiwidgets as xw
from xaiwidgets.data.scenes import Scene
from xaiwidgets.data.shapes import SHAPES, SIDE, TAG, shapes
from xaiwidgets.evaluation.uses.common import pasted, region_of, without

TAG_BOX = (SIDE - TAG[0] - 1, 1, SIDE - 1, TAG[1] + 1)
WEIGHT = 0.05


def reader():
    """Return a network whose score for a disk is the sum of the tag's pixels times a weight, and 0 for all others."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, 4))
    with torch.no_grad():
        net[1].weight.zero_()
        net[1].bias.zero_()
        top, left, bottom, right = TAG_BOX
        net[1].weight[0].view(3, SIDE, SIDE)[:, top:bottom, left:right] = WEIGHT
    return xw.Model(net, labels=list(SHAPES), mean=(0.0,) * 3, std=(1.0,) * 3, size=SIDE, crop=1.0)


def scenes(tag, count=20, label="disk"):
    pixels = np.full((SIDE, SIDE, 3), 0.25)
    if tag:
        top, left, bottom, right = TAG_BOX
        pixels[top:bottom, left:right] = 0.75
    return [Scene(pixels, label, name=f"{label} {k}") for k in range(count)]


def disk(total):
    return math.exp(WEIGHT * total) / (math.exp(WEIGHT * total) + 3)


def test_a_network_that_reads_the_tag_is_found_by_its_closed_form():
    model, others = reader(), scenes(tag=False, count=5, label="cross")
    found = xw.artifact_audit(model, scenes(tag=True), TAG_BOX, others=others, methods=["saliency", "gradient_x_input"])
    area = TAG[0] * TAG[1] / SIDE**2
    high, low = disk(3 * 40 * 0.75), disk(3 * 40 * 0.25)
    assert [row[1] for row in found.rows] == pytest.approx([1, 1])
    assert [row[5] for row in found.rows] == pytest.approx([1 / area, 1 / area])
    assert found.details["removal"] == pytest.approx(high - low, abs=1e-5)
    assert found.details["removal by mean color"] == pytest.approx(high - low, abs=1e-5)
    assert found.details["insertion"] == pytest.approx(high - low, abs=1e-5)
    assert found.details["verdict"] == ("uses the artifact" if high - low > 0.2 else "suspicious")
    assert found.verdict == ("fail" if found.value > 0.2 else "pass")


def test_maps_alone_are_a_suspicion_only():
    """The bundled network was trained without tags: it does not need one, wherever its maps may point."""
    found = shapes("test", 60, tags="random")
    tagged = [found.scene(k) for k in np.flatnonzero(found.tagged)][:20]
    model = xw.load_model("shapes_gap")
    reports = [r for r in xw.artifact_audit_steps(model, tagged, TAG_BOX, methods=["saliency"]) if r is not None]
    assert [r.progress for r in reports] == [0.5, 1]
    assert reports[-1].details["verdict"] != "uses the artifact"
    assert abs(reports[-1].details["removal"]) < 0.2
    assert "insertion" not in reports[-1].details


def test_filling_and_pasting_change_the_region_alone():
    rng = np.random.default_rng(0)
    pixels, source = rng.random((2, 3, 12, 14, 3), np.float32)
    mask = region_of((7, 1, 11, 5), (12, 14))
    for changed in (without(pixels, mask, "near"), without(pixels, mask, "mean"), pasted(pixels, mask, source)):
        assert np.array_equal(changed[:, ~mask], pixels[:, ~mask])
        assert not np.array_equal(changed[:, mask], pixels[:, mask])
    near = without(pixels, mask, "near")
    assert np.array_equal(near[:, 7:11, 1:5], pixels[:, 7:11, 5:9])
    wide = region_of((0, 0, 12, 8), (12, 14))  # nothing of that size beside it
    filled = without(pixels, wide, "near")
    assert np.allclose(filled[:, wide], pixels[:, ~wide].mean(axis=1, keepdims=True))


def test_few_scenes_are_told():
    found = xw.artifact_audit(reader(), scenes(tag=True, count=3), TAG_BOX, methods=["saliency"])
    assert "There are 3 scenes" in found.notes[0]


@pytest.mark.parametrize("region", [(0, 0, 48, 48), (3, 3, 3, 9), np.ones((5, 5)), "corner"], ids=str)
def test_a_region_that_is_none_is_refused(region):
    with pytest.raises(xw.errors.InvalidKnob, match="region must be a box"):
        xw.artifact_audit(reader(), scenes(tag=True, count=2), region)


def test_scenes_without_classes_are_refused():
    with pytest.raises(xw.errors.InvalidImage, match="scenes must have classes"):
        xw.artifact_audit(reader(), [Scene(np.zeros((SIDE, SIDE, 3)), name="bare")], TAG_BOX)
    with pytest.raises(xw.errors.InvalidImage, match="at least one Scene"):
        xw.artifact_audit(reader(), [], TAG_BOX)


@pytest.mark.lab
def test_a_network_that_has_learned_the_tag_and_one_that_has_not(hans, honest, tagged_disks):
    """Calibrated: removal 0.62 against 0.00, shares 0.24 to 0.49 against at most 0.02.

    Measured with this trainer at 15 epochs: removal 0.50 and 0.00; shares of saliency 0.084, gradient × input 0.26,
    integrated gradients 0.10, Grad-CAM 0.17, against 0.013, 0.046, 0.014 and 0.001.
    """
    others = shapes("test", 200).scenes()
    with_it, without_it = (xw.artifact_audit(m, tagged_disks, TAG_BOX, others=others) for m in (hans, honest))
    for one, other in zip(with_it.rows, without_it.rows, strict=True):
        assert one[1] >= 5 * other[1], one[0]
    assert with_it.details["removal"] > 0.3
    assert abs(without_it.details["removal"]) < 0.05
    assert with_it.details["verdict"] == "uses the artifact"
    assert without_it.details["verdict"] == "no sign of use"
    assert with_it.details["accuracy of others of the class"] < 0.6
    assert with_it.details["accuracy with it put in"] < with_it.details["accuracy of others"] - 0.2
    assert min(without_it.details["accuracy of others"], without_it.details["accuracy with it put in"]) >= 0.97


def test_the_place_is_found_where_none_is_given():
    found = xw.artifact_audit(reader(), scenes(tag=True, count=8), methods=["gradient_x_input"])
    seen = region_of(found.details["region"], (SIDE, SIDE))
    assert (seen & region_of(TAG_BOX, (SIDE, SIDE))).sum() >= 0.5 * TAG[0] * TAG[1]
    dark = [Scene(np.zeros((SIDE, SIDE, 3)), "disk", name=f"{k}") for k in range(8)]
    with pytest.raises(xw.errors.InvalidKnob, match="share no place"):
        xw.artifact_audit(reader(), dark)


@pytest.mark.lab
def test_the_place_to_look_is_found_without_being_told(hans, honest, tagged_disks):
    """The tag stays where it is, and disks move: evidence recurs there, and far more for the network that uses it."""
    found, other = (xw.strategies(model, tagged_disks, "gradient_x_input") for model in (hans, honest))
    top, left, bottom, right = found.suspect
    seen = region_of(found.suspect, (SIDE, SIDE))
    assert (seen & region_of(TAG_BOX, (SIDE, SIDE))).sum() >= 0.5 * TAG[0] * TAG[1]
    assert (bottom - top) * (right - left) < 0.1 * SIDE**2
    assert found.recurrence.max() > 2 * other.recurrence.max()
    audit = xw.artifact_audit(hans, tagged_disks, methods=["grad_cam"])
    assert audit.details["verdict"] == "uses the artifact"
