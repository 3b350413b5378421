from __future__ import annotations

import html
import re

import numpy as np
import pytest

from xaiwidgets.core.results import Attribution
from xaiwidgets.widgets.closing import close_tree
from xaiwidgets.widgets.receipt import MOST_ROWS, Receipt, line_html, receipt_html

EVIL = "<img src=x onerror=\"alert('1')\"> & co"
ROW = {"layer": "features.0", "kind": "conv", "rule": "zplus"}
FLOWS = {"in": 8.0, "out": 7.5, "bias": 0.4, "epsilon": 0.1, "dropped": 0.0}


def made(gap=-0.02, notes=(), progress=1.0, **details):
    values = np.full((3, 2, 5), 9.81 / 30, np.float32)
    return Attribution(
        values, "logit", True, (2, 5), progress=progress, score=10.0, gap=gap, notes=notes, details=details
    )


def cells(text):
    """Return the rows of all tables as lists of texts."""
    rows = re.findall(r"<tr.*?>(.*?)</tr>", text)
    return [[html.unescape(c) for c in re.findall(r"<t[dh].*?>(.*?)</t[dh]>", row)] for row in rows]


def test_the_line_has_a_warning_only_where_more_than_a_percent_is_off():
    assert "xai-warn" not in line_html(made(explained=9.83))
    assert "Sum 9.81 of 9.83" in line_html(made(explained=9.83))
    off = line_html(made(gap=-2.0, explained=11.81))
    assert "<span class='xai-warn'>17 % of the difference is missing from the map.</span>" in off
    assert "xai-warn" not in line_html(made(gap=-2.0, explained=11.81, progress=0.5))
    assert line_html(made(gap=None)) == ""


def test_what_the_map_adds_up_to():
    text = receipt_html(made(explained=9.83))
    assert "What the map adds up to" in text
    assert cells(text)[1:] == [
        ["score difference", "9.83", "100 %"],
        ["sum of the map", "9.81", "99.8 %"],
        ["gap", "−0.0200", "0.2 %"],
    ]
    assert cells(receipt_html(made()))[1][0] == "score"


def test_where_the_relevance_went_and_by_layer():
    text = receipt_html(
        made(
            explained=10.0,
            receipt={"start": 10.0, "input": 9.81, "bias": 0.1, "epsilon": 0.09, "dropped": 0.0},
            receipt_layers=({**ROW, **FLOWS},),
            coverage=({**ROW, "count": 2}, {"layer": "features.1", "kind": "relu", "rule": "", "count": 1}),
        )
    )
    rows = cells(text)
    assert ["start", "10.0", "100 %"] in rows
    assert ["bias", "0.100", "1 %"] in rows
    assert ["layer", "rule", "in", "out", "bias", "epsilon", "dropped", "operation"] in rows
    assert ["features.0", "zplus", "8.00", "7.50", "0.400", "0.100", "0", "conv"] in rows
    assert ["features.1", "plain gradient", "1", "ReLU"] in rows
    assert "2 of 3 operations ruled: 2 conv by zplus; 1 ReLU as plain gradient" in text
    assert text.count("<table>") == text.count("</table>") == 3


def test_columns_that_no_row_has_are_left_out():
    rows = cells(receipt_html(made(gap=None, receipt_layers=({**ROW, "in": 1.0}, {**ROW, "out": 2.0}))))
    assert rows == [
        ["layer", "rule", "in", "out", "operation"],
        ["features.0", "zplus", "1.00", "", "conv"],
        ["features.0", "zplus", "", "2.00", "conv"],
    ]


def test_a_method_without_an_account_says_so_and_notes_are_told():
    assert "keeps no account" in receipt_html(made(gap=None))
    text = receipt_html(made(gap=None, notes=("One thing.", EVIL)))
    assert "keeps no account" not in text
    assert "<p>One thing.</p>" in text
    assert "<img" not in text


def test_everything_is_escaped():
    evil = {"layer": EVIL, "kind": EVIL, "rule": EVIL}
    text = receipt_html(
        made(receipt={"start": 1.0, EVIL: 0.5}, receipt_layers=({**evil, **FLOWS},), coverage=({**evil, "count": 1},))
    )
    assert "<img" not in text
    assert text.count(html.escape(EVIL)) >= 7
    assert "<img" not in line_html(made(receipt={"start": 1.0, EVIL: 0.5}))


def test_very_deep_networks_do_not_flood_the_page():
    rows = tuple({**ROW, **FLOWS, "layer": f"block.{i}"} for i in range(MOST_ROWS + 7))
    text = receipt_html(made(gap=None, receipt_layers=rows))
    assert text.count("<tr>") == MOST_ROWS + 1
    assert "and 7 more rows" in text


@pytest.fixture
def receipt():
    found = Receipt()
    yield found
    close_tree(found.toggle, found.panel)


def test_the_panel_is_folded_until_it_is_wanted_and_stays_open_from_map_to_map(receipt, send):
    receipt.show(made(explained=9.83))
    assert not receipt.open
    assert receipt.panel.value == ""
    assert receipt.panel.layout.display == "none"
    send(receipt.toggle, value=True)
    assert receipt.panel.layout.display == ""
    assert "sum of the map" in receipt.panel.value
    receipt.show(made(gap=None))
    assert "keeps no account" in receipt.panel.value
    receipt.show(None)
    assert receipt.panel.value == ""
    send(receipt.toggle, value=False)
    assert receipt.panel.layout.display == "none"
