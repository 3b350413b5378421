from __future__ import annotations

import pytest

from xaiwidgets.core.knobs import Knob, LayerRules
from xaiwidgets.widgets.closing import close_tree
from xaiwidgets.widgets.controls import Control, Form
from xaiwidgets.widgets.rules import DEFAULT, RulesEditor, parse

RULES = ("epsilon", "zplus", "gamma", "zbox")
LAYERS = (("features.0", "conv"), ("features.3", "conv"), ("classifier", "linear"))


@pytest.fixture
def editor():
    found = RulesEditor(RULES)
    found.set_layers(LAYERS)
    yield found
    close_tree(found)


def opened(editor, send):
    send(editor._open, value=True)
    return editor._rows


def pick(send, row, value):
    send(row, index=[v for _, v in row.options].index(value))


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        ("", {}),
        ("a=zbox", {"a": "zbox"}),
        (" a.0 = zbox ,b=gamma(0.3),, ", {"a.0": "zbox", "b": "gamma(0.3)"}),
        ("nonsense, =zbox, a=, b=epsilon", {"b": "epsilon"}),
    ],
)
def test_reading_a_table(text, rules):
    assert parse(text) == rules


def test_the_table_is_made_when_it_is_opened_with_a_row_a_layer_in_order(editor, send):
    assert editor._rows == {}
    assert editor._table.layout.display == "none"
    rows = opened(editor, send)
    assert editor._table.layout.display == ""
    assert list(rows) == [name for name, _ in LAYERS]
    for name, row in rows.items():
        assert row.description == name
        assert row.tooltip
        assert [words for words, _ in row.options] == [DEFAULT, *RULES]
        assert row.value == ""
    send(editor._open, value=False)
    assert editor._table.layout.display == "none"


def test_picking_writes_the_table_and_reset_empties_it(editor, send):
    rows = opened(editor, send)
    heard = []
    editor.observe(lambda change: heard.append(change["new"]), "value")
    pick(send, rows["classifier"], "epsilon")
    pick(send, rows["features.0"], "zbox")
    assert editor.value == "features.0=zbox, classifier=epsilon"
    assert "2 changed" in editor._told.value
    pick(send, rows["features.0"], "")
    assert editor.value == "classifier=epsilon"
    editor._reset.click()
    assert editor.value == ""
    assert {row.value for row in rows.values()} == {""}
    assert DEFAULT in editor._told.value
    assert heard == ["classifier=epsilon", "features.0=zbox, classifier=epsilon", "classifier=epsilon", ""]


def test_a_table_from_elsewhere_is_shown_with_its_numbers(editor, send):
    editor.value = "features.3=gamma(0.3), no.such.layer=zbox"
    rows = opened(editor, send)
    assert rows["features.3"].value == "gamma(0.3)"
    assert editor.value == "features.3=gamma(0.3), no.such.layer=zbox"
    editor.value = "features.0=gamma(0.5)"
    assert (rows["features.0"].value, rows["features.3"].value) == ("gamma(0.5)", "")
    pick(send, rows["classifier"], "zplus")
    assert editor.value == "features.0=gamma(0.5), classifier=zplus"


def test_a_block_s_rule_has_no_row_but_is_told_and_kept(editor, send):
    editor.value = "features=flat, <b>=zbox"
    rows = opened(editor, send)
    assert {row.value for row in rows.values()} == {""}
    assert "features: flat, &lt;b&gt;: zbox" in editor._told.value
    pick(send, rows["features.0"], "zbox")
    assert editor.value == "features=flat, <b>=zbox, features.0=zbox"
    editor._reset.click()
    assert editor.value == ""


def test_another_network_brings_other_rows(editor, send):
    opened(editor, send)
    before = list(editor._rows.values())
    editor.set_layers(LAYERS)
    assert list(editor._rows.values()) == before
    editor.set_layers((("conv_stem", "conv"),))
    assert list(editor._rows) == ["conv_stem"]
    assert all(row.comm is None for row in before)


KNOB = Knob("rules", "", LayerRules(RULES), "Rules by layer", "Exceptions to the composite.")


def test_as_the_control_of_a_knob(send):
    calls = []
    control = Control(KNOB, calls.append)
    assert control.widget._open.description == "Rules by layer"
    assert control.widget._open.tooltip == "Exceptions to the composite."
    assert "tooltip" not in control.widget.keys  # the page's view of a box breaks on one
    control.widget.set_layers(LAYERS)
    control.set("features.0=zplus")
    assert calls == []
    pick(send, opened(control.widget, send)["features.3"], "zbox")
    assert calls == ["features.0=zplus, features.3=zbox"]
    assert control.value == KNOB.domain.check("rules", control.value)
    close_tree(control.widget)


def test_a_browser_that_invents_rules_gets_none_of_them(send):
    calls = []
    form = Form([KNOB], lambda name, value: calls.append((name, value)))
    form.set_weighted(LAYERS)
    editor = form.controls["rules"].widget
    rows = opened(editor, send)
    for state in ({"_options_labels": ["evil"] * 99, "index": 98}, {"value": "evil"}, {"label": "evil"}):
        send(rows["features.0"], **state)
        assert form.controls["rules"].value == ""
    send(editor, value="features.0=evil", description="evil")  # not synced
    assert form.controls["rules"].value == ""
    assert all(value == "" for _, value in calls)
    form.close()
    assert all(row.comm is None for row in rows.values())
