from __future__ import annotations

from html import escape

import pytest

from xaiwidgets.core.cards import FAMILIES, cards
from xaiwidgets.widgets.closing import close_tree
from xaiwidgets.widgets.picker import MOST_TOLD, Picker

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
    assert escape(made.paper) in text
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


def test_what_makes_a_method_applicable_is_offered_below_its_reason(picker):
    accepted = []
    family = picker._families["cam"]
    few = len(family.children)
    picker.show("grad_cam", "")
    picker.offer("cam", "Train it", "in seconds", lambda: accepted.append(1))
    button = family.children[-1]
    assert (button.description, button.tooltip, len(family.children)) == ("Train it", "in seconds", few + 1)
    button.click()
    assert accepted == [1]
    picker.search.value = "integrated"
    assert button.layout.display == "none"
    picker.search.value = ""
    assert button.layout.display is None
    picker.offer("cam", "Train it", "in seconds", lambda: accepted.append(2))
    assert len(family.children) == few + 1
    picker.offer("cam", "", "", None)
    assert len(family.children) == few


# -- families and the search ------------------------------------------------------------------------------------------


def in_sight(picker):
    return [name for name, chip in picker._chips.items() if chip.layout.display != "none"]


def headings(picker):
    return [box.children[0].description for box in picker._families.values() if box.layout.display != "none"]


def submit(picker):
    picker.search._handle_custom_msg({"event": "submit"}, [])


def test_each_family_has_a_heading_and_its_methods_in_order(picker):
    expected = {family: [m.id for m in EVERY if m.family == family] for family in FAMILIES}
    assert list(picker._families) == [family for family, members in expected.items() if members]
    for family, box in picker._families.items():
        assert box.children[0].description == f"▸ {FAMILIES[family]} · {len(expected[family])}"
        assert [chip.description for chip in box.children[1].children] == [
            picker._cards[name].title for name in expected[family]
        ]
    assert in_sight(picker) == list(picker._chips)


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("rise", "rise"),
        ("GRAD CAM", "grad_cam"),
        ("grad-cam", "grad_cam"),
        ("grad_cam", "grad_cam"),
        ("selvaraju", "grad_cam"),
        ("1703.01365", "integrated_gradients"),
        ("  springenberg  ", "guided_backprop"),
        ("hidden region", None),
    ],
)
def test_a_search_keeps_what_holds_all_words(picker, send, text, first):
    send(picker.search, value=text)
    if first:
        assert picker.found[0] == first
        assert first in in_sight(picker)
        assert escape(picker._cards[first].idea) in picker._found.value
    words = text.lower().replace("-", " ").replace("_", " ").split()
    for made in EVERY:
        told = f"{made.title} {made.id} {FAMILIES[made.family]} {made.idea} {made.cite} {made.paper}".lower()
        told = told.replace("-", " ").replace("_", " ")
        assert (made.id in picker.found) == all(word in told for word in words)
    assert in_sight(picker) == [name for name in picker._chips if name in picker.found]
    assert len(headings(picker)) == len({picker._cards[name].family for name in picker.found})
    send(picker.search, value="")
    assert in_sight(picker) == list(picker._chips)
    assert picker._found.value == ""


def test_a_search_without_a_hit_says_so(picker, send, chosen):
    send(picker.search, value="xyzzy <b>")
    assert in_sight(picker) == []
    assert headings(picker) == []
    assert "No method" in picker._found.value
    submit(picker)
    assert chosen == []


def test_many_hits_are_told_in_part(picker, send):
    send(picker.search, value="a")
    assert len(picker.found) > MOST_TOLD
    assert picker._found.value.count("<p") == MOST_TOLD + 1
    assert f"and {len(picker.found) - MOST_TOLD} more" in picker._found.value


def test_enter_takes_the_first_that_can_be_used(picker, send, chosen):
    submit(picker)
    assert chosen == []  # nothing was searched for
    send(picker.search, value="grad cam")
    first, second = picker.found[:2]
    submit(picker)
    assert chosen == [first]
    assert picker.search.value == ""
    assert in_sight(picker) == list(picker._chips)
    picker.limit({first: "max-pooling"})
    send(picker.search, value="grad cam")
    assert "not here, needs max-pooling." in picker._found.value
    submit(picker)
    assert chosen == [first, second]


def test_a_page_may_send_anything_as_a_search(picker, send, chosen):
    for content in (None, [], "submit", {"event": "nothing"}, {}):
        picker.search._handle_custom_msg(content, [])
    send(picker.search, value="a" * 10**6)
    send(picker.search, value="\x00")
    assert chosen == []
    assert "<script" not in picker._found.value


def test_the_reason_stands_below_its_family(picker):
    picker.limit({made.id: "<max>-pooling" if made.id in ("rise", "occlusion") else "" for made in EVERY})
    told = picker._families["perturbation"].children[2].value
    assert "Occlusion, RISE: not here, needs &lt;max&gt;-pooling." in told
    assert picker._families["gradient"].children[2].value == ""
