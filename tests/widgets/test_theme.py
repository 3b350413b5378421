from __future__ import annotations

import re

import ipywidgets as w

from xaiwidgets.widgets.theme import CSS, label, mark, style


def test_the_style_sheet_makes_no_request():
    assert not re.search(r"url\(|@import|https?:|//", CSS)
    assert CSS.count("{") == CSS.count("}") > 20


def test_it_takes_no_room():
    sheet = style()
    assert CSS in sheet.value
    assert sheet.layout.display == "none"


def test_a_heading_is_one_for_screen_readers():
    assert "role='heading'" in label("Look").value
    assert "Look" in label("Look").value


def test_marking_twice_is_marking_once():
    button = w.Button()
    mark(button, True)
    mark(button, True)
    assert button._dom_classes.count("xai-on") == 1
    mark(button, False)
    assert "xai-on" not in button._dom_classes
