from __future__ import annotations

import pytest
import traitlets

from xaiwidgets.widgets.closing import close_tree
from xaiwidgets.widgets.unit import UnitChooser


@pytest.fixture
def calls():
    return []


@pytest.fixture
def chooser(calls):
    found = UnitChooser(lambda: calls.append(found.chosen))
    yield found
    close_tree(*found.controls.values())


def test_nothing_is_chosen_before_a_model_is_known(chooser):
    assert chooser.chosen is None


def test_the_layers_of_the_model_and_a_stage_first(chooser, calls, digits):
    chooser.set_model(digits)
    assert [v for _, v in chooser.layer.options] == [
        layer.name for layer in digits.layers if len(layer.shape) in (1, 3) and "#" not in layer.name
    ]
    assert chooser.chosen == (digits.stages[len(digits.stages) // 2].name, 0, "mean")
    assert calls == []
    chooser.layer.value = "features.0"
    chooser.set_model(digits)
    assert chooser.chosen == ("features.0", 0, "mean")


def test_showing_a_unit_calls_nobody_and_leaves_out_what_is_not_offered(chooser, calls, digits):
    chooser.set_model(digits)
    chooser.show("features.3", 5, "center")
    assert chooser.chosen == ("features.3", 5, "center")
    assert chooser.channel.max == digits.layer("features.3").shape[0] - 1
    chooser.show("no.such", 10**7, "(3, 4)")
    assert chooser.chosen == ("features.3", chooser.channel.max, "center")
    assert calls == []


def test_the_channel_that_a_browser_sends_is_moved_into_its_layer(chooser, calls, digits, send):
    chooser.set_model(digits)
    chooser.show("features.0", 0, "mean")
    top = digits.layer("features.0").shape[0] - 1
    send(chooser.channel, max=10**9, value=10**6)
    assert chooser.chosen == ("features.0", top, "mean")
    send(chooser.channel, min=-5, value=-5)
    assert chooser.chosen == ("features.0", 0, "mean")
    assert {channel for _, channel, _ in calls} <= {0, top}
    with pytest.raises(traitlets.TraitError):
        chooser.layer.set_state({"index": 99})
    chooser.layer.set_state({"index": None})
    assert chooser.chosen is None
