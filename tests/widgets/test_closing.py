from __future__ import annotations

import ipywidgets as w
from ipywidgets.widgets.widget import _instances

from xaiwidgets.widgets.closing import close_tree


def test_children_layouts_and_styles_are_closed_too():
    before = set(_instances)
    inner = w.VBox([w.Button(), w.IntSlider(), w.Accordion([w.HTML()])])
    close_tree(w.HBox([inner, w.FileUpload()]), w.Checkbox())
    assert set(_instances) == before


def test_what_is_kept_stays_open():
    kept = w.HBox([w.Button()])
    close_tree(w.VBox([kept, w.Button()]), keep=[kept])
    assert kept.comm is not None
    assert kept.children[0].comm is not None
    close_tree(kept)
    assert kept.comm is None


def test_a_widget_in_two_places_and_a_closed_one_are_no_trouble():
    button = w.Button()
    box = w.VBox([button, w.HBox([button])])
    close_tree(box)
    close_tree(box)
    assert button.comm is None
