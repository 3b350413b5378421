"""The style sheet of the laboratory, beside those of all apps and of the board."""

from __future__ import annotations

from importlib.resources import files

import ipywidgets as w

from xaiwidgets.widgets.board import CSS as BOARD

CSS = BOARD + files("xaiwidgets.widgets.lab").joinpath("lab.css").read_text("utf-8")


def sheet() -> w.HTML:
    """Return the style sheet as a widget without a size of its own."""
    made = w.HTML(f"<style>{CSS}</style>")
    made.layout.display = "none"
    return made
