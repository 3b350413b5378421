from __future__ import annotations

import pytest
import traitlets
from torch import nn

from xaiwidgets.errors import InvalidLayer, InvalidTarget
from xaiwidgets.model.model import Model
from xaiwidgets.widgets.goal import Goal


@pytest.fixture(scope="module")
def named():
    """A network with names for its classes, one of them a number, and layers of 6 and 3 channels."""
    net = nn.Sequential(
        nn.Conv2d(3, 6, 3),
        nn.ReLU(),
        nn.Conv2d(6, 3, 3),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(3, 4),
    )
    return Model(net, size=12, labels=["red cat", "blue cat", "1", "<b>dog</b>"])


@pytest.fixture
def make_goal():
    def make(model=None, first="red cat"):
        calls = []
        goal = Goal(lambda: calls.append(goal.words), first)
        if model is not None:
            goal.set_model(model)
        return goal, calls

    return make


def browser(widget, **state):
    """Do what a message from a browser does."""
    widget.set_state(state)


def test_a_class_by_name_part_index_or_wordnet_id(make_goal, named):
    goal, calls = make_goal(named)
    assert goal.target(named).classes == (0,)
    goal.category.value = "blue cat"
    assert goal.target(named).classes == (1,)
    goal.category.value = "3"
    assert goal.target(named).classes == (3,)
    goal.category.value = "1"  # a label comes before an index
    assert goal.target(named).classes == (2,)
    goal.category.value = "  dog  "
    assert goal.words.strip() == "dog"
    assert calls == ["blue cat", "3", "1", "  dog  "]


@pytest.mark.parametrize("text", ["", "nothing like it", "4", "-1", "9" * 150, "x" * 5000, "²", "1.5", "None"])
def test_a_class_that_is_not_there(make_goal, named, text):
    goal, _ = make_goal(named)
    goal.category.value = text
    with pytest.raises(InvalidTarget):
        goal.target(named)


def test_all_classes_are_offered_and_a_first_one_that_is_not_there_is_replaced(make_goal, named, digits):
    goal, calls = make_goal(named, "espresso")
    assert goal.category.options == ("red cat", "blue cat", "1", "<b>dog</b>")
    assert goal.category.value == "red cat"
    goal.set_model(digits)
    assert goal.category.value == goal.category.options[0]
    assert len(goal.category.options) == digits.classes
    assert calls == []  # nobody chose anything


def test_switching_between_a_class_and_a_channel(make_goal, named):
    goal, calls = make_goal(named)
    assert goal._unit.layout.display == "none"
    goal.kind.value = "unit"
    assert goal._unit.layout.display == ""
    assert goal.category.layout.display == "none"
    target = goal.target(named)
    assert target.layer == goal.layer.value
    assert (target.channel, target.position) == (0, "mean")
    goal.kind.value = "class"
    assert goal.category.layout.display == ""
    assert goal.target(named).classes == (0,)
    assert calls == [f"{goal.layer.value} channel 0", "red cat"]


def test_a_channel_is_bounded_by_its_layer(make_goal, named):
    goal, calls = make_goal(named)
    goal.kind.value = "unit"
    goal.layer.value = "0"
    assert goal.channel.max == 5
    goal.channel.value = 5
    calls.clear()
    goal.layer.value = "2"
    assert (goal.channel.max, goal.channel.value) == (2, 2)
    assert calls == ["2 channel 2"]  # one choice, one run
    browser(goal.channel, value=77)
    assert goal.channel.value == 2
    assert goal.target(named).channel == 2


def test_every_layer_offered_has_its_first_and_last_channel(make_goal, digits):
    goal, _ = make_goal(digits)
    goal.kind.value = "unit"
    offered = [value for _, value in goal.layer.options]
    assert offered == [layer.name for layer in digits.layers if len(layer.shape) in (1, 3) and "#" not in layer.name]
    assert {stage.name for stage in digits.stages} <= set(offered)
    for layer in offered:
        goal.layer.value = layer
        shape = digits.layer(layer).shape
        assert goal.channel.max == shape[0] - 1
        assert goal.position.disabled == (len(shape) == 1)
        for channel in (0, shape[0] - 1):
            goal.channel.value = channel
            target = goal.target(digits)
            assert (target.layer, target.channel) == (layer, channel)


def test_positions(make_goal, named):
    goal, _ = make_goal(named)
    goal.kind.value = "unit"
    for position in ("mean", "max", "center"):
        goal.position.value = position
        assert goal.target(named).position == position


def test_a_browser_cannot_choose_what_is_not_there(make_goal, named):
    goal, _ = make_goal(named)
    goal.kind.value = "unit"
    goal.layer.value = "0"
    for widget, state in (
        (goal.layer, {"index": 99}),
        (goal.layer, {"index": "0"}),
        (goal.position, {"index": -7}),
        (goal.kind, {"index": 5}),
        (goal.channel, {"value": "many"}),
    ):
        with pytest.raises(traitlets.TraitError):
            browser(widget, **state)
    assert (goal.kind.value, goal.layer.value, goal.channel.value, goal.position.value) == ("unit", "0", 0, "mean")
    browser(goal.channel, max=10**9, value=10**6)  # the bound is a trait that a page can move as well
    with pytest.raises(InvalidTarget, match="channel must be a whole number from 0 to 5"):
        goal.target(named)
    browser(goal.layer, index=None)
    with pytest.raises(InvalidLayer):
        goal.target(named)


def test_before_a_model_is_known(make_goal, named):
    goal, calls = make_goal()
    assert goal.target(named).classes == (0,)
    goal.category.value = "blue cat"
    goal.kind.value = "unit"
    assert len(calls) == 2
    goal.set_model(named)
    assert goal.kind.value == "unit"  # what was chosen meanwhile stays
    assert goal.category.value == "blue cat"
    assert len(calls) == 2


def test_controls_have_words(make_goal):
    goal, _ = make_goal()
    for control in (goal.category, goal.layer, goal.channel, goal.position):
        assert control.description
        assert control.tooltip
