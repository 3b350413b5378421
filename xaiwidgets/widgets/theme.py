"""The look of the apps: one style sheet of the host's own colors and fonts, laid out by the width of its container."""

from __future__ import annotations

from importlib.resources import files

import ipywidgets as w

#: Kept in a file of its own beside this one.
CSS = files("xaiwidgets.widgets").joinpath("theme.css").read_text("utf-8")


def style() -> w.HTML:
    """Return the style sheet as a widget without a size of its own."""
    sheet = w.HTML(f"<style>{CSS}</style>")
    sheet.layout.display = "none"
    return sheet


def label(text: str) -> w.HTML:
    """Return the heading of a group of controls."""
    heading = w.HTML(f"<div class='xai-label' role='heading' aria-level='2'>{text}</div>")
    heading.layout.margin = "0"
    return heading


def page(**parts: w.Widget) -> w.Box:
    """Return the grid of an app: ``head``, ``left``, ``main``, ``right`` and ``foot``, placed by the style sheet."""
    for name, part in parts.items():
        part.add_class(f"xai-{name}")
    grid = w.Box(list(parts.values()))
    grid.add_class("xai-app")
    return grid


def mark(widget: w.DOMWidget, on: bool, name: str = "xai-on") -> None:
    """Show whether a button of a group is the chosen one, or give a widget another class of the style sheet."""
    if on:
        widget.add_class(name)
    else:
        widget.remove_class(name)
