"""Reports say what they cost, and a cancel leaves nothing behind."""

from __future__ import annotations

import copy

import pytest
import torch

import xaiwidgets as xw
from xaiwidgets.data.shapes import shapes
from xaiwidgets.model.meter import CURRENT

STEPS = {
    "artifact_audit": lambda model, scenes: xw.artifact_audit_steps(model, scenes, (40, 0, 48, 8)),
    "compare_models": lambda model, scenes: xw.compare_models_steps(model, model, scenes),
    "why_wrong": lambda model, scenes: xw.why_wrong_steps(model, scenes[0], "square"),
    "diagnose_architectures": lambda model, scenes: xw.diagnose_architectures_steps(model, model, scenes),
    "maps_while_training": lambda model, scenes: xw.maps_while_training_steps([(0, model)], scenes),
}


@pytest.fixture(scope="module")
def model():
    return xw.load_model("shapes_gap")


@pytest.fixture(scope="module")
def scenes():
    return [s for s in shapes("test", 20).scenes() if s.label == "disk"][:3]


@pytest.mark.parametrize("name", STEPS)
def test_reports_rise_to_the_whole_say_their_cost_and_change_nothing(name, model, scenes):
    before = copy.deepcopy(model.module.state_dict())
    found = [one for one in STEPS[name](model, scenes) if one is not None]
    shares = [one.progress for one in found]
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert found[-1].metric == name
    assert found[-1].unit
    forward, _ = found[-1].provenance.passes
    assert forward >= 3
    assert found[-1].provenance.seconds > 0
    assert found[-1].provenance.versions
    assert CURRENT.get() is None
    assert all(torch.equal(before[key], value) for key, value in model.module.state_dict().items())


@pytest.mark.parametrize("name", STEPS)
def test_a_cancel_leaves_no_account_behind(name, model, scenes):
    steps = STEPS[name](model, scenes)
    next(steps)
    steps.close()
    assert CURRENT.get() is None
    assert torch.is_grad_enabled()
