from __future__ import annotations

import pytest

from xaiwidgets.model.labels import Labels, imagenet_labels
from xaiwidgets.studio.frame import Prediction
from xaiwidgets.widgets.closing import close_tree
from xaiwidgets.widgets.predictions import ROWS, Predictions

LABELS = imagenet_labels()
FIVE = tuple(Prediction(i, LABELS.short(i), 0.5 / (n + 1), 3.0 - n) for n, i in enumerate((967, 968, 5, 6, 7)))


class Room:
    def __init__(self):
        self.chosen, self.failed = [], []
        self.panel = Predictions(self.chosen.append, self.failed.append)
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
    panel = Predictions(lambda index: None, lambda message: None)
    assert [button.disabled for button in panel._buttons] == [True] * ROWS
    assert panel._search.disabled
    assert all(button.description or button.tooltip for button in panel._buttons)


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
    panel = Predictions(chosen.append, chosen.append)
    send(panel._search, value="espresso")
    assert chosen == []


def test_names_are_text_and_not_html(room):
    evil = Labels(("<img src=x onerror=alert(1)>", "b"))
    room.panel.set_labels(evil)
    room.panel.show((Prediction(0, evil.short(0), 0.5, 1.0),))
    assert all("<img" not in bar.value for bar in room.panel._bars)
