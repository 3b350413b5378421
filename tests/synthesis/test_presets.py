from __future__ import annotations

import json

import numpy as np
import pytest

from xaiwidgets import synthesize
from xaiwidgets.core.cards import card, cards
from xaiwidgets.model.zoo import load_model
from xaiwidgets.synthesis.presets import PRESETS, PRINTED, presets_of

ALL = [(made, name) for made in cards("synthesizer") for name in presets_of(made.id)]


@pytest.mark.parametrize("method", ["activation_maximization", "regularized_optimization"])
def test_the_first_preset_is_the_default(method):
    first = next(iter(presets_of(method).values()))
    assert card(method).make(**first.knobs) == card(method).make()


def test_most_methods_have_none():
    assert presets_of("class_model_visualization") == {}


@pytest.mark.parametrize(("made", "name"), ALL, ids=[f"{made.id}-{name}" for made, name in ALL])
def test_presets_name_every_live_knob_and_no_other(made, name):
    preset = presets_of(made.id)[name]
    assert set(preset.knobs) == {knob.name for knob in made.knobs if knob.live}
    made = made.make(**preset.knobs)
    assert {key: getattr(made, key) for key in preset.knobs} == dict(preset.knobs)
    assert json.loads(json.dumps(dict(preset.knobs))) == dict(preset.knobs)
    assert preset.title and preset.idea


def test_printed_ones_say_for_which_network_their_steps_were_chosen_and_what_others_take():
    default, *printed = PRINTED.values()
    assert default.note == "" and len(printed) == 4
    for preset in printed:
        assert "chosen for CaffeNet" in preset.note and f"“{default.title}”, the default" in preset.note
    assert not any(preset.note for preset in PRESETS.values())


@pytest.mark.lab
def test_what_the_notes_say_of_the_bundled_network_is_so():
    """Measured for espresso and goldfinch: 0.5, 0.1, 0.7, 0.1 gray levels as printed; 13 and 14 by the default."""
    model = load_model("efficientnet_lite0")
    mean = np.asarray(model.preprocessing.mean)
    away = {}
    for name, preset in PRINTED.items():
        made = synthesize(model, "regularized_optimization", target="espresso", iterations=96, **preset.knobs)
        away[name] = 255 * float(np.sqrt(np.square(made.image - mean).mean()))
    assert away.pop("third") == pytest.approx(13, abs=1)
    assert max(away.values()) < 1


def test_presets_differ():
    for presets in (PRESETS, PRINTED):
        assert len({tuple(sorted(preset.knobs.items())) for preset in presets.values()}) == len(presets)


def test_without_regularizers_all_are_off():
    off = PRESETS["none"].knobs
    assert {name for name, value in off.items() if value} == {"step_size", "blur_every", "radius"}
