"""Maps of several methods side by side, on one scale or on their own: for the page, and as a figure."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from functools import partial
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np

from xaiwidgets.core.results import Attribution
from xaiwidgets.render.box import found_box
from xaiwidgets.render.channels import shown
from xaiwidgets.render.compose import compose
from xaiwidgets.render.figure import DPI, _draw_colorbar, _figure_png
from xaiwidgets.render.look import Look
from xaiwidgets.render.scale import scale_for

if TYPE_CHECKING:
    from collections.abc import Mapping
    from os import PathLike

    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from xaiwidgets.render.channels import Shown

SCALES = ("panel", "shared")
ENDINGS = (".png", ".svg", ".pdf")
#: Inches of a panel.
PANEL = 2.1
#: What the mode of the scale is called on screen and in print.
SAID = {
    "panel": "Each panel has a scale of its own: compare places, not brightness.",
    "shared": "Panels of one method share a scale: their brightness can be compared.",
}


def parts(results: Mapping[Any, Any], look: Look, scale: str = "panel") -> dict[Any, Shown]:
    """Return what is shown of each attribution; with ``shared``, the maps of one method get one scale.

    Maps of different methods are never put on one: even in the same unit, a pixel's share and a window's are not alike.

    Raises:
        ValueError: an unknown scale mode.
    """
    if scale not in SCALES:
        raise ValueError(f"scale must be one of {', '.join(SCALES)}; got {scale!r}.")
    found = {place: shown(one, look) for place, one in results.items() if isinstance(one, Attribution)}
    if scale == "panel":
        return found
    groups: dict[Any, list[Any]] = defaultdict(list)
    for place, part in found.items():
        made = results[place].provenance.method
        groups[made, results[place].unit, part.scale.diverging, part.scale.against, part.heat.ndim].append(place)
    for places in groups.values():
        kept = [place for place in places if not found[place].scale.empty]
        if len(kept) < 2 or found[kept[0]].heat.ndim == 3:
            continue
        tops = np.array([[max(abs(found[p].scale.low), abs(found[p].scale.high)) for p in kept]])
        sign = -1.0 if found[kept[0]].scale.against else 1.0
        common = scale_for(sign * tops, signed=found[kept[0]].scale.diverging, clip=100.0)
        for place in places:
            found[place] = dataclasses.replace(found[place], scale=common)
    return found


def panel(photo: NDArray[np.uint8], part: Shown, attribution: Attribution) -> NDArray[np.uint8]:
    """Return one panel, uint8 ``(H, W, 3)``; a layout of two pictures is an overlay here."""
    layout = "overlay" if part.look.layout == "side" else part.look.layout
    look = dataclasses.replace(part.look, layout=layout)
    return compose(photo, part.heat, part.scale, look, found_box(attribution), part.classes)


def comparison_figure(comparison: Any, *, scale: str = "panel", look: Look | None = None, extra: bool = True) -> Figure:
    """Return a figure: the photo, a panel a cell with title and color bar, and the mode of the scale in words.

    Args:
        comparison: from ``xaiwidgets.compare``.
        scale: ``panel`` or ``shared``.
        look: palette, opacity and so on.
        extra: a last row with the map of disagreement, where there are two maps or more.
    """
    from matplotlib.figure import Figure

    look = look or Look()
    plan, results = comparison.plan, comparison.results
    found = parts(results, look, scale)
    extra = extra and len(found) > 1
    rows, columns = len(plan.rows) + extra, len(plan.columns) + 1
    height, width = comparison.photo.shape[:2]
    figure = Figure(figsize=((PANEL + 0.7) * columns, PANEL * height / width * rows + 1.0), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for every in axes.ravel():
        every.set_axis_off()
    for row, name in enumerate(plan.rows):
        axes[row, 0].imshow(comparison.photo)
        axes[row, 0].set_title(fill(name, 30), fontsize=8, loc="left")
        for column, title in enumerate(plan.columns):
            here, one = axes[row, column + 1], results.get((row, column))
            if row == 0:
                here.set_title(fill(title, 30), fontsize=8, loc="left")
            if isinstance(one, Attribution):
                part = found[row, column]
                here.imshow(panel(comparison.photo, part, one))
                _draw_colorbar(figure, here, part.scale, part.look, one.unit)
            else:
                here.text(0.02, 0.95, fill(str(one), 34), fontsize=6, va="top", transform=here.transAxes)
    if extra:
        _draw_disagreement(figure, axes[-1, 0], comparison, look)
    said = f"{SAID[scale]} {comparison.model} · {comparison.passes[0]} + {comparison.passes[1]} passes"
    figure.supxlabel(fill(said, int(columns * 34)), x=0.01, ha="left", fontsize=7, color="0.4")
    figure.__dict__["_repr_png_"] = partial(_figure_png, figure)
    return figure


def _draw_disagreement(figure: Figure, axes: Any, comparison: Any, look: Look) -> None:
    values = comparison.disagreement().astype(np.float32)
    common = scale_for(values, signed=False, clip=look.clip)
    plain = Look(opacity=look.opacity)
    axes.imshow(compose(comparison.photo, values, common, plain))
    axes.set_title("disagreement", fontsize=8, loc="left")
    _draw_colorbar(figure, axes, common, plain, "share of the evidence")


def save_comparison(
    comparison: Any, path: str | PathLike[str], *, scale: str = "panel", look: Look | None = None, extra: bool = True
) -> None:
    """Write the figure as ``.png``, ``.svg`` or ``.pdf``.

    Raises:
        ValueError: another ending.
    """
    target = Path(path)
    ending = target.suffix.lower()
    if ending not in ENDINGS:
        raise ValueError(f"path must end in one of {', '.join(ENDINGS)}; got {target.name!r}.")
    figure = comparison_figure(comparison, scale=scale, look=look, extra=extra)
    dates = {".png": {}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
    figure.savefig(target, format=ending[1:], dpi=DPI, metadata=dates[ending])
