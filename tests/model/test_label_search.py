"""The order in which names are offered."""

from __future__ import annotations

from xaiwidgets.model.label_search import plain, ranking

NAMES = (("catalog",), ("bobcat",), ("tiger cat",), ("cat",), ("cut",), ("feline", "cat flap"), ("dog", "cats"))


def test_names_are_plain_without_case_spaces_and_underscores():
    assert plain("  Tiger_Cat\n ") == "tiger cat"
    assert plain("STRASSE") == plain("straße")


def test_kinds_of_match_follow_each_other():
    # the name, a first name that starts so, other names that do (the shorter first), a word, a part
    assert ranking(NAMES, "cat", 20) == (3, 0, 6, 5, 2, 1)


def test_misspellings_come_last_and_only_as_far_as_there_is_room():
    names = (("espresso maker",), ("espresso",), ("expressos",))
    assert ranking(names, "expresso", 20) == (2, 1, 0)
    assert ranking(names, "expresso", 1) == (2,)
    assert ranking(names, "zebra", 20) == ()


def test_a_hyphen_starts_a_word():
    assert ranking((("tomcat",), ("pug-cat",)), "cat", 20) == (1, 0)


def test_short_text_is_not_taken_for_a_misspelling():
    assert ranking((("ab",), ("bac",)), "ac", 20) == (1,)
    assert ranking((("ab",),), "ba", 20) == ()
