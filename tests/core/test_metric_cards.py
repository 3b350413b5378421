"""The registry of metrics: what must be on a card, and how ids are looked up."""

from __future__ import annotations

import pytest

import xaiwidgets as xw
from xaiwidgets.core.metric_cards import CATEGORIES, NEEDS, metric, metric_card, metric_cards, resolve_metric
from xaiwidgets.errors import InvalidKnob, UnknownMethod


@pytest.mark.parametrize("card", metric_cards(), ids=lambda c: c.id)
def test_every_card_says_what_it_asks(card):
    assert card.question.endswith("?")
    for text in (card.title, card.cite, card.paper, card.section, card.how, card.formula, card.caution):
        assert text, f"{card.id} leaves something out"
    assert card.range[0] < card.range[1]
    for knob in card.knobs:
        assert knob.label
        assert knob.help.endswith("."), (card.id, knob.name)
    assert card.cls.__doc__
    public = [n for n in xw.__all__ if n == card.cls.__name__]
    assert public, f"xaiwidgets.{card.cls.__name__} is missing"


def test_ids_are_looked_up():
    assert metric_card("pointing_game").cls is xw.PointingGame
    with pytest.raises(UnknownMethod, match="Did you mean pointing_game"):
        metric_card("pointing")
    with pytest.raises(InvalidKnob, match="no hyper-parameter 'tol'"):
        resolve_metric("pointing_game", tol=3)
    assert resolve_metric(xw.PointingGame(), tolerance=3).tolerance == 3
    with pytest.raises(UnknownMethod, match="metric must be an id"):
        resolve_metric(3)


def test_the_table_prints_itself():
    table = xw.metrics()
    assert "pointing_game" in repr(table)
    assert "<td>Pointing game</td>" in table._repr_html_()


@pytest.mark.parametrize("wrong", [{"category": "beauty"}, {"direction": "up"}, {"needs": ("luck",)}], ids=str)
def test_a_card_that_is_wrong_is_refused(wrong):
    texts = {
        "title": "T",
        "category": next(iter(CATEGORIES)),
        "question": "?",
        "cite": "c",
        "paper": "p",
        "section": "4",
    }
    assert "luck" not in NEEDS
    with pytest.raises(ValueError, match="must be"):
        metric(**{**texts, **wrong})
