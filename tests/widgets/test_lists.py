"""Lists of methods, classes and layers: what is offered, what is chosen, and what a browser may not do."""

from __future__ import annotations

import pytest

from xaiwidgets.core.cards import cards
from xaiwidgets.studio.frame import Prediction
from xaiwidgets.widgets.lists import ClassList, LayerList, MethodList

FIVE = tuple(Prediction(n, f"label {n}", 0.5 / (n + 1), 1.0) for n in (3, 1, 4, 0, 5))


@pytest.fixture
def heard():
    return []


@pytest.fixture
def methods(heard):
    def note(name):
        return lambda value: heard.append((name, value))

    return MethodList(note("chosen"), note("removed"), note("doubled"), note("added"))


def test_methods_are_chosen_taken_away_and_doubled(methods, heard):
    methods.show(["Saliency", "RISE"], 1)
    first, second = methods._rows.children
    assert ["xai-on" in row.children[0]._dom_classes for row in (first, second)] == [False, True]
    first.children[0].click()
    second.children[1].click()
    methods.double.click()
    assert heard == [("chosen", 0), ("removed", 1), ("doubled", 1)]
    methods.show(["Saliency", "RISE"], 0)
    assert methods._rows.children == (first, second)
    methods.show(["RISE"], 0)
    assert len(methods._rows.children) == 1


def test_one_method_at_a_time_is_added(methods, heard, send):
    adder = methods.adder.widget
    assert len(adder.options) == 1 + len(cards("explainer"))
    adder.value = "rise"
    assert adder.value == ""
    adder.value = "rise"
    assert heard == [("added", "rise")] * 2
    heard.clear()
    send(adder, index=5000)
    send(adder, _options_labels=["x"], index=1)
    assert heard == []


def test_methods_that_do_not_apply_say_so(methods):
    methods.limit({"rise": "", "guided_backprop": "ReLUs"})
    last, name = methods.adder.widget.options[-1]
    assert name == "guided_backprop"
    assert "not here: needs ReLUs" in last


@pytest.fixture
def classes(heard, digits):
    made = ClassList(lambda index, rank: heard.append((index, rank)), heard.append)
    made.set_labels(digits.labels)
    return made


def test_classes_are_marked_and_toggled_by_rank(classes, heard):
    classes.show(FIVE, [1, 8])
    assert ["xai-on" in button._dom_classes for button in classes._buttons] == [False, True, False, False, False]
    assert classes._buttons[1].description.startswith("✓")
    classes._buttons[0].click()
    classes._buttons[4].click()
    (chip,) = classes._chips.children
    assert chip.description == "8 ×"
    chip.click()
    assert heard == [(3, 1), (5, 5), (8, 0)]
    classes.show(FIVE[:2], [3])
    assert classes._buttons[4].disabled
    assert classes._chips.children == ()


@pytest.mark.parametrize("text", ["7", "  7 "])
def test_a_class_is_searched_for(classes, heard, text):
    classes.search.value = text
    assert heard == [(7, -1)]
    assert classes.search.value == ""


@pytest.mark.parametrize("text", ["no such class", "9" * 9999, "<b>", "-1"])
def test_a_class_that_is_not_there_is_said(classes, heard, text):
    classes.search.value = text
    assert len(heard) == 1
    assert isinstance(heard[0], str)
    assert len(heard[0]) < 1000


def test_layers_come_and_go(heard, digits):
    layers = LayerList(heard.append, heard.append)
    layers.set_model(digits)
    names = [value for _, value in layers.adder.widget.options[1:]]
    stages = [stage.name for stage in digits.stages]
    assert names[: len(stages)] == stages
    assert len(names) == len(set(names)) == len([layer for layer in digits.layers if layer.spatial])
    layers.adder.widget.value = names[1]
    layers.show([names[1], "x"])
    assert layers._plain.layout.display == "none"
    layers._chips.children[1].click()
    assert heard == [names[1], 1]
    layers.show([])
    assert layers._chips.children == ()
    assert layers._plain.layout.display == ""
