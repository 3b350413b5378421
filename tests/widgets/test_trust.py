"""The verdict beside a map."""

from __future__ import annotations

from xaiwidgets.evaluation.trust import TrustReport
from xaiwidgets.widgets.trust import Trust


def test_the_panel_is_written_only_while_it_is_open():
    made = Trust()
    assert made.toggle.description == "Trust"
    made.show(TrustReport())
    assert made.toggle.description == "Trust: testing …"
    assert made.panel.value == ""
    assert made.panel.layout.display == "none"
    made.toggle.value = True
    assert "not tested yet" in made.panel.value
    assert made.panel.layout.display == ""
    made.show(None)
    assert "Tests begin" in made.panel.value
    made.toggle.value = False
    assert made.panel.layout.display == "none"
