"""Wrong answers: a linear network in closed form, shapes that are misread, and one that is not."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import xaiwidgets as xw
from xaiwidgets.data.shapes import shapes


@pytest.fixture(scope="module")
def model():
    return xw.load_model("shapes_gap")


@pytest.fixture(scope="module")
def scene():
    return next(s for s in shapes("test", 20).scenes() if s.label == "disk")


def test_a_right_answer_is_not_an_error(model, scene):
    found = xw.why_wrong(model, scene)
    assert found.notes[0].startswith("Not an error")
    assert not found.details["wrong"]
    assert found.maps == {}


def test_a_wrong_answer_is_taken_apart(model, scene):
    """The truth is said to be another class, so that the network is wrong by definition."""
    others = shapes("test", 8).scenes()
    found = xw.why_wrong(model, scene, "cross", pictures=others)
    logits = model.logits(model.from_pixels(scene.pixels))[0]
    assert (found.details["said"], found.details["true"]) == ("disk", "cross")
    assert found.value == pytest.approx(float(logits[0] - logits[3]), abs=1e-4)
    said, true, difference = (found.maps[k] for k in ("said: disk", "true: cross", "difference"))
    assert np.allclose(said - true, difference)
    assert found.progress == 1
    assert len(found.pictures) == 1 + len(found.rows)
    shares = [row[2] for row in found.rows]
    assert shares == sorted(shares, reverse=True)
    assert 0 < sum(shares) <= 1 + 1e-9


def test_channels_add_up_on_a_pooled_head(model, scene):
    """With global average pooling, activation times gradient over all channels is the margin less the biases."""
    found = xw.why_wrong(model, scene, "cross", layer="features.7")
    weight, bias = (value.detach().numpy() for value in model.module.classifier.parameters())
    acts = model.activations(model.from_pixels(scene.pixels), ["features.7"])["features.7"][0].mean(dim=(1, 2)).numpy()
    parts = (weight[0] - weight[3]) * acts
    best = np.argsort(-parts)[:5]
    assert found.details["channels"] == tuple(best)
    assert [row[1] for row in found.rows] == pytest.approx(parts[best], rel=1e-4)
    assert parts.sum() + float(bias[0] - bias[3]) == pytest.approx(found.value, abs=1e-3)


def test_patches_are_those_that_excite_a_channel_most(model, scene):
    others = shapes("test", 30).scenes()
    found = xw.why_wrong(model, scene, "cross", pictures=others)
    layer = found.details["layer"]
    inputs = torch.cat([model.from_pixels(one.pixels) for one in (scene, *others)])
    acts = model.activations(inputs, [layer])[layer].amax(dim=(2, 3))
    for channel, (value, _) in found.details["excited"].items():
        assert value == pytest.approx(float(acts[:, channel].max()), rel=1e-4)


def test_reports_come_before_the_patches_and_photos_need_a_class(model, scene):
    steps = [r for r in xw.why_wrong_steps(model, scene, "square") if r is not None]
    assert [r.progress for r in steps] == [0.5, 1]
    with pytest.raises(xw.errors.InvalidTarget, match="label must be the true class"):
        xw.why_wrong(model, np.zeros((48, 48, 3)))
    with pytest.raises(xw.errors.InvalidLayer):
        xw.why_wrong(model, scene, "square", layer="classifier")


def test_photos_and_other_networks():
    lite = xw.load_model()
    found = xw.why_wrong(lite, "rocket", "projectile", method="grad_cam")
    assert found.details["said"] != found.details["true"]
    assert set(found.maps) == {f"said: {found.details['said']}", "true: projectile", "difference"}
