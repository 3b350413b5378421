"""Closing widgets with all that belongs to them; ipywidgets closes only the one it is asked to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ipywidgets as w

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def close_tree(*roots: w.Widget, keep: Iterable[w.Widget] = ()) -> None:
    """Close these widgets, their children, layouts and styles, but nothing inside ``keep``."""
    for widget in tree(*roots, keep=keep):
        widget.close()


def tree(*roots: w.Widget, keep: Iterable[w.Widget] = ()) -> Iterator[w.Widget]:
    """Yield these widgets, their children, layouts and styles, each once, but nothing inside ``keep``."""
    seen = {id(widget) for widget in keep}
    waiting = list(roots)
    while waiting:
        widget = waiting.pop()
        if id(widget) in seen:
            continue
        seen.add(id(widget))
        parts = (*getattr(widget, "children", ()), getattr(widget, "layout", None), getattr(widget, "style", None))
        waiting += [part for part in parts if isinstance(part, w.Widget)]
        yield widget
