from __future__ import annotations

import json

import pytest

from xaiwidgets.core.knobs import knobs_of
from xaiwidgets.synthesis.activation_maximization import ActivationMaximization
from xaiwidgets.synthesis.presets import PRESETS

KNOBS = {knob.name: knob for knob in knobs_of(ActivationMaximization)}


def test_the_first_preset_is_the_default():
    name, calm = next(iter(PRESETS.items()))
    assert name == "calm"
    assert ActivationMaximization(**calm.knobs) == ActivationMaximization()


@pytest.mark.parametrize("name", PRESETS)
def test_presets_name_every_live_knob_and_no_other(name):
    preset = PRESETS[name]
    assert set(preset.knobs) == {knob.name for knob in KNOBS.values() if knob.live}
    made = ActivationMaximization(**preset.knobs)
    assert {key: getattr(made, key) for key in preset.knobs} == dict(preset.knobs)
    assert json.loads(json.dumps(dict(preset.knobs))) == dict(preset.knobs)
    assert preset.title and preset.idea


def test_presets_differ():
    assert len({tuple(sorted(preset.knobs.items())) for preset in PRESETS.values()}) == len(PRESETS)


def test_without_regularizers_all_are_off():
    off = PRESETS["none"].knobs
    assert {name for name, value in off.items() if value} == {"step_size", "blur_every", "radius"}
