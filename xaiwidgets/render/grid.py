"""A comparison as a figure: a panel a cell with its color bar, and in words how they are scaled."""

from __future__ import annotations

import dataclasses
import json
from functools import partial
from io import BytesIO
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

from xaiwidgets.core.results import Attribution
from xaiwidgets.errors import InvalidKnob
from xaiwidgets.render.colorbar import caption
from xaiwidgets.render.compose import color_table
from xaiwidgets.render.figure import _figure_png
from xaiwidgets.render.look import Look
from xaiwidgets.render.panels import NORMALIZED, SAID, made_panel, panels
from xaiwidgets.render.record import plain
from xaiwidgets.render.ticks import ticks

if TYPE_CHECKING:
    from os import PathLike

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from xaiwidgets.render.panels import Panel

ENDINGS = (".png", ".svg", ".pdf")
#: Inches of a panel's width, of the row titles, and of what is above and below a panel; dots an inch.
PANEL, SIDE, ROOM, DPI = 2.0, 0.95, 0.62, 180
#: Sizes of text in points, and characters of it that fit on a panel's width.
LARGE, SMALL, LINE = 8, 6.5, 36


def comparison_figure(
    comparison: Any,
    *,
    scale: str = "panel",
    difference: Any = None,
    extra: bool = True,
    look: Look | None = None,
    **changes: Any,
) -> Figure:
    """Return a figure: a panel a cell with title and color bar, and below them the photo and what the maps make.

    Args:
        comparison: from ``xaiwidgets.compare``.
        scale: ``panel`` (each its own), ``shared`` (by the panels of one method and unit) or ``rank``.
        difference: two (row, column) places, whose difference is shown in the last row, too.
        extra: a last row with the photo, that difference, and the disagreement of all maps.
        look: palette, opacity and so on.
        **changes: fields of the look.

    Raises:
        InvalidKnob: an unknown scale mode, a field of the look outside its domain, or a place without a map.
    """
    from matplotlib.figure import Figure

    look = dataclasses.replace(look or Look(), **changes)
    plan, results = comparison.plan, comparison.results
    drawn = panels(results, look, scale)
    rows, columns = len(plan.rows), len(plan.columns)
    below = _extras(comparison, look, difference) if extra else {}
    wide = max(columns, len(below) + 1 if extra else 0)
    height, width = comparison.photo.shape[:2]
    tall = PANEL * height / width + ROOM
    figure = Figure(figsize=(SIDE + (PANEL + 0.15) * wide, tall * (rows + extra) + 0.55), layout="constrained")
    axes = figure.subplots(rows + extra, wide + 1, squeeze=False, width_ratios=(SIDE, *[PANEL] * wide))
    for every in axes.ravel():
        every.set_axis_off()
    for row, name in enumerate(plan.rows):
        _beside(axes[row, 0], name)
        for column, title in enumerate(plan.columns):
            here = axes[row, column + 1]
            if row == 0:
                here.set_title(fill(title, LINE), fontsize=LARGE, loc="left")
            _draw(figure, here, comparison.photo, drawn.get((row, column)), results.get((row, column)))
    if extra:
        _beside(axes[rows, 0], "together" if below else "")
        axes[rows, 1].imshow(comparison.photo)
        axes[rows, 1].set_title("photo", fontsize=LARGE, loc="left")
        for here, (title, one) in zip(axes[rows, 2:], below.items(), strict=False):
            here.set_title(fill(title, LINE), fontsize=LARGE, loc="left")
            _draw(figure, here, comparison.photo, one)
    forward, backward = comparison.passes
    said = [SAID[scale], NORMALIZED if below else "", f"{comparison.model} · {forward} + {backward} passes"]
    words = fill(" ".join(filter(None, said)), int((SIDE + PANEL * wide) * 15))
    figure.supxlabel(words, x=0.01, ha="left", fontsize=SMALL, color="0.35")
    figure.__dict__["_repr_png_"] = partial(_figure_png, figure)
    return figure


def _extras(comparison: Any, look: Look, difference: Any) -> dict[str, Panel]:
    """Return the panels that are made of others, by title."""
    found = {}
    if difference is not None:
        one, other = _places(difference)
        values = comparison.difference(one, other)
        title = f"{comparison.plan.title(one)} less {comparison.plan.title(other)}"
        found[title] = made_panel(values, look, signed=True)
    if len(comparison.distinct) > 1:
        title = f"disagreement of the {len(comparison.distinct)} maps (standard deviation)"
        found[title] = made_panel(comparison.disagreement(), look, signed=False)
    return found


def _places(difference: Any) -> tuple[Any, Any]:
    try:
        (row, column), (other_row, other_column) = difference
    except (TypeError, ValueError):
        raise InvalidKnob(
            f"difference must be two places (row, column), such as ((0, 0), (0, 1)); got {difference!r}."
        ) from None
    return (row, column), (other_row, other_column)


def _beside(axes: Axes, title: str) -> None:
    axes.text(0.0, 0.98, fill(title, 16), fontsize=LARGE, va="top", transform=axes.transAxes)


def _draw(figure: Figure, axes: Axes, photo: Any, panel: Panel | None, result: Any = None) -> None:
    if panel is None:
        words = fill(" ".join(str(result if result is not None else "not finished").split()), LINE)
        axes.text(0.0, 0.98, words, fontsize=SMALL - 0.5, va="top", transform=axes.transAxes)
        return
    attribution = result if isinstance(result, Attribution) else None
    look = panel.drawn.look
    axes.imshow(panel.compose(photo, attribution), interpolation="nearest" if not look.smooth else "antialiased")
    if attribution is not None and attribution.progress < 1:
        box = {"facecolor": "black", "alpha": 0.7, "edgecolor": "none", "pad": 1.5}
        told = f"{attribution.progress:.0%} done"
        axes.text(0.02, 0.02, told, fontsize=SMALL, color="white", bbox=box, transform=axes.transAxes)
    _bar(figure, axes, panel)
    if panel.drawn.classes is not None:
        words = " · ".join(one.words for one in panel.drawn.classes.legend()[:4])
        axes.text(0.0, -0.34, fill(words, LINE), fontsize=SMALL - 1, va="top", transform=axes.transAxes)


def _bar(figure: Figure, axes: Axes, panel: Panel) -> None:
    """Draw the color bar below a panel, exactly as wide."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize

    scale, look = panel.drawn.scale, panel.drawn.look
    table = color_table(scale, look)[:: -1 if scale.against else 1]
    colors = ScalarMappable(Normalize(scale.low, scale.high), ListedColormap(table / 255.0))
    place = axes.inset_axes((0.0, -0.075, 1.0, 0.04))
    bar = figure.colorbar(colors, cax=place, orientation="horizontal")
    marks = ticks(scale, 4)
    bar.set_ticks([t.value for t in marks], labels=[t.label for t in marks])
    bar.set_label(fill(caption(scale, look, panel.drawn_unit), LINE + 8), fontsize=SMALL, labelpad=1)
    bar.ax.tick_params(labelsize=SMALL, length=2, pad=1)
    bar.outline.set_visible(False)


def comparison_bytes(comparison: Any, ending: str, **asks: Any) -> bytes:
    """Return the figure as a file of this ending, ``png``, ``svg`` or ``pdf``; ``asks`` are for the figure.

    The files hold no date, and say in their metadata what it takes to make each map again.
    """
    figure = comparison_figure(comparison, **asks)
    results = {p: one for p, one in comparison.results.items() if isinstance(one, Attribution)}
    told = {comparison.plan.title(place): plain(one.provenance) for place, one in results.items()}
    record = json.dumps(told, ensure_ascii=False)
    metadata: dict[str, dict[str, Any]] = {
        "png": {"Description": record},
        "svg": {"Description": record, "Date": None},
        "pdf": {"Subject": record, "CreationDate": None},
    }
    buffer = BytesIO()
    figure.savefig(buffer, format=ending, dpi=DPI, metadata=metadata[ending])
    return buffer.getvalue()


def save_comparison(comparison: Any, path: str | PathLike[str], **asks: Any) -> None:
    """Write the figure as ``.png``, ``.svg`` or ``.pdf``; ``asks`` are for the figure.

    Raises:
        ValueError: another ending.
    """
    target = Path(path)
    ending = target.suffix.lower()
    if ending not in ENDINGS:
        raise ValueError(f"path must end in one of {', '.join(ENDINGS)}; got {target.name!r}.")
    target.write_bytes(comparison_bytes(comparison, ending[1:], **asks))
