from __future__ import annotations

import pytest

from xaiwidgets.model.labels import Labels, imagenet_labels
from xaiwidgets.studio.frame import Prediction
from xaiwidgets.studio.lens import Unit
from xaiwidgets.widgets.closing import close_tree
from xaiwidgets.widgets.predictions import ROWS, Predictions

LABELS = imagenet_labels()
FIVE = tuple(Prediction(i, LABELS.short(i), 0.5 / (n + 1), 3.0 - n) for n, i in enumerate((967, 968, 5, 6, 7)))


class Room:
    def __init__(self):
        self.chosen, self.failed, self.units, self.strongest = [], [], [], []
        self.panel = Predictions(
            self.chosen.append, self.failed.append, lambda *u: self.units.append(u), lambda *u: self.strongest.append(u)
        )
        self.panel.set_labels(LABELS)
        self.panel.show(FIVE)


@pytest.fixture
def room():
    made = Room()
    yield made
    close_tree(made.panel.box)


def marked(panel):
    return [number for number, button in enumerate(panel._buttons) if "xai-on" in button._dom_classes]


def test_rows_have_label_probability_and_bar(room):
    for button, bar, found in zip(room.panel._buttons, room.panel._bars, FIVE, strict=True):
        assert found.label in button.description
        assert f"{found.probability:.1%}" in button.description
        assert f"width:{100 * found.probability:.1f}%" in bar.value
        assert not button.disabled
        assert button.tooltip


def test_a_click_explains_that_class(room):
    for button in room.panel._buttons:
        button.click()
    assert room.chosen == [found.index for found in FIVE]


def test_a_network_of_three_classes_leaves_two_rows_empty(room):
    room.panel.show(FIVE[:3])
    assert [button.disabled for button in room.panel._buttons] == [False] * 3 + [True] * 2
    room.panel._buttons[4].click()  # a browser can click what is disabled
    assert room.chosen == []


def test_before_anything_is_known_all_is_disabled():
    asked = []
    panel = Predictions(asked.append, asked.append, lambda *u: asked.append(u), lambda *u: asked.append(u))
    assert [button.disabled for button in panel._buttons] == [True] * ROWS
    assert panel._search.disabled
    assert all(button.description or button.tooltip for button in panel._buttons)
    assert panel.kind.disabled
    panel.kind.value = "unit"  # a browser can press what is disabled
    panel._find.click()
    assert asked == []


def test_the_explained_class_is_marked(room):
    assert marked(room.panel) == [0]
    room.panel.mark((968,))
    assert marked(room.panel) == [1]
    room.panel.mark((5, 7, 100))
    assert marked(room.panel) == [2, 4]
    room.panel.mark((100,))
    assert marked(room.panel) == []
    room.panel.show(FIVE[::-1], (), explained=967)
    assert marked(room.panel) == [4]
    assert room.panel._search.value == ""


@pytest.mark.parametrize(
    ("text", "index"),
    [
        ("espresso", 967),
        ("ESPRESSO", 967),
        ("  espresso ", 967),
        ("n07920052", 967),
        ("967", 967),
        ("0", 0),
        ("espreso", 967),
        ("tiger sha", 3),
    ],
)
def test_search(room, send, text, index):
    send(room.panel._search, value=text)
    assert room.chosen == [index]
    assert room.failed == []


@pytest.mark.parametrize("text", ["qqqqqqqq", "1000", "9" * 5000, "<script>alert(1)</script>", "-1", "²", "\x00"])
def test_nonsense_says_what_was_expected(room, send, text):
    send(room.panel._search, value=text)
    assert room.chosen == []
    (message,) = room.failed
    assert "target must be" in message
    assert len(message) < 1000


def test_clearing_the_search_goes_back_to_the_first_class(room, send):
    room.panel.mark((967,))
    assert room.panel._search.value == "espresso"
    assert room.chosen == []  # shown, not asked
    send(room.panel._search, value="")
    assert room.chosen == [None]


@pytest.mark.parametrize("value", [5, None, ["espresso"], {"a": 1}])
def test_what_is_no_text_is_refused(room, send, value):
    send(room.panel._search, value=value)
    assert room.chosen == room.failed == []


@pytest.mark.parametrize("target", [(1000,), (-1,), (10**9, 967), ("espresso",)])
def test_a_target_that_does_not_exist_is_not_marked_and_raises_nothing(room, target):
    room.panel.mark(target)
    assert room.panel._search.value == ("espresso" if 967 in target else "")


def test_without_labels_nothing_is_searched(send):
    chosen = []
    panel = Predictions(chosen.append, chosen.append, lambda *u: chosen.append(u), lambda *u: chosen.append(u))
    send(panel._search, value="espresso")
    assert chosen == []


def test_names_are_text_and_not_html(room):
    evil = Labels(("<img src=x onerror=alert(1)>", "b"))
    room.panel.set_labels(evil)
    room.panel.show((Prediction(0, evil.short(0), 0.5, 1.0),))
    assert all("<img" not in bar.value for bar in room.panel._bars)


# -- a hidden unit in place of a class --------------------------------------------------------------------------------


def in_sight(panel):
    return [widget.layout.display != "none" for widget in (panel._search, panel._units)]


@pytest.fixture
def with_model(room, digits):
    room.panel.set_model(digits)
    room.digits = digits
    return room


def test_switching_to_a_unit_asks_for_the_strongest_of_a_layer(with_model, send):
    panel = with_model.panel
    assert in_sight(panel) == [True, False]
    assert not panel.kind.disabled
    send(panel.kind, index=1)
    assert with_model.strongest == [(with_model.digits.stages[len(with_model.digits.stages) // 2].name, "mean")]
    panel.mark((), unit=Unit("features.3", 5, "max"))
    assert in_sight(panel) == [False, True]
    assert panel.kind.value == "unit"
    assert panel.unit.chosen == ("features.3", 5, "max")
    assert marked(panel) == []
    assert (with_model.chosen, with_model.units) == ([], [])


def test_choosing_a_unit_and_going_back_to_the_class(with_model, send):
    panel = with_model.panel
    panel.mark((), unit=Unit("features.3", 5))
    send(panel.unit.channel, value=2)
    send(panel.unit.position, index=2)
    assert with_model.units == [("features.3", 2, "mean"), ("features.3", 2, "center")]
    panel._find.click()
    assert with_model.strongest[-1] == ("features.3", "center")
    send(panel.kind, index=0)
    assert with_model.chosen == [None]
    panel.mark((967,))
    assert in_sight(panel) == [True, False]
    assert panel.kind.value == "class"
    assert marked(panel) == [0]
    assert len(with_model.units) == 2


def test_a_prediction_that_is_clicked_takes_the_place_of_a_unit(with_model):
    with_model.panel.mark((), unit=Unit("features.3", 5))
    with_model.panel._buttons[1].click()
    assert with_model.chosen == [968]
