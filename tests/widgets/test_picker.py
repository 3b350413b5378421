from __future__ import annotations

from html import escape

import pytest

from xaiwidgets.core.cards import cards
from xaiwidgets.widgets.closing import close_tree
from xaiwidgets.widgets.picker import Picker

EVERY = cards("explainer")


@pytest.fixture
def chosen():
    return []


@pytest.fixture
def picker(chosen):
    made = Picker(chosen.append)
    yield made
    close_tree(made.box)


def test_every_explainer_has_a_button_that_says_what_it_does(picker, chosen):
    assert set(picker._chips) == {made.id for made in EVERY}
    for made in EVERY:
        chip = picker._chips[made.id]
        assert chip.description == made.title
        assert made.idea in chip.tooltip
        assert made.cite in chip.tooltip
        chip.click()
    assert chosen == [made.id for made in EVERY]


@pytest.mark.parametrize("made", EVERY, ids=lambda c: c.id)
def test_the_chosen_one_is_marked_and_explained(picker, made):
    picker.show(made.id, "Cost: <7> passes")
    assert [name for name, chip in picker._chips.items() if "xai-on" in chip._dom_classes] == [made.id]
    text = picker._about.value
    assert "Cost: &lt;7&gt; passes" in text
    assert made.section in text
    assert made.paper in text
    for part in (made.idea, made.how, made.caution, made.formula):
        assert escape(part) in text


def test_what_does_not_apply_is_disabled_with_the_reason(picker):
    picker.limit({"grad_cam": "a layer that gives a spatial map", "saliency": ""})
    assert picker._chips["grad_cam"].disabled
    assert "a layer that gives a spatial map" in picker._chips["grad_cam"].tooltip
    assert not picker._chips["saliency"].disabled
    picker.limit({"grad_cam": ""})
    assert not picker._chips["grad_cam"].disabled
    assert "Selvaraju" in picker._chips["grad_cam"].tooltip
