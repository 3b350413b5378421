"""A map as a printable figure: photo, overlay, map with its color bar, and what it takes to redo it."""

from __future__ import annotations

import dataclasses
from functools import partial
from io import BytesIO
from os import PathLike
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np

from xaiwidgets.errors import InvalidImage, UnknownMethod
from xaiwidgets.render.box import found_box
from xaiwidgets.render.channels import shown
from xaiwidgets.render.colorbar import caption
from xaiwidgets.render.compose import color_table, compose
from xaiwidgets.render.look import Look
from xaiwidgets.render.record import provenance_line, record_json, save_numbers
from xaiwidgets.render.ticks import ticks
from xaiwidgets.render.words import describe

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from xaiwidgets.core.results import Attribution
    from xaiwidgets.render.channels import Shown
    from xaiwidgets.render.dominance import Dominance
    from xaiwidgets.render.scale import Scale

ENDINGS = (".png", ".svg", ".pdf", ".npz")
#: Inches a panel and dots an inch: a panel of a 224 px picture is about 750 px wide.
PANEL, DPI = 3.4, 220
#: Characters of the color bar's label that fit beside a panel.
LABEL = 44
#: Pixels of the longer side of a photo that is cut out for a figure.
VIEW = 720


def read_pixels(image: Any, size: tuple[int, int], preprocessing: Any = None) -> NDArray[np.uint8]:
    """Return ``image`` as uint8 ``(H, W, 3)``, once it is sure to be the picture that a map of ``size`` belongs to.

    Names and paths stand for whole photos, of which a model sees a crop, as do arrays and PIL pictures of other
    proportions: ``preprocessing`` cuts it out. Arrays and pictures of the map's proportions are taken for that crop.

    Raises:
        InvalidImage: it is no picture, or the map would lie askew on it.
    """
    from xaiwidgets.model.pictures import read_picture

    picture = read_picture(image)
    height, width = picture.pixels.shape[:2]
    whole = isinstance(image, (str, PathLike))
    # One pixel of rounding is allowed in the shorter side.
    askew = abs(height * size[1] - width * size[0]) > max(*size, height, width)
    if not askew and not (whole and (height, width) != tuple(size)):
        return picture.pixels
    if preprocessing is None:
        raise InvalidImage(
            f"image must be the picture that the map belongs to, {size[0]} × {size[1]}; got {height} × {width}. "
            "Pass it as the model saw it: model.preprocessing.view(image, 640)."
        )
    pixels: NDArray[np.uint8] = preprocessing.view(picture, VIEW)
    return pixels


def _method_title(method: str) -> str:
    """Return the title of the method's card; of a method that is not registered its id in words."""
    from xaiwidgets.core.cards import card

    try:
        return card(method).title
    except UnknownMethod:
        return method.replace("_", " ").capitalize() or "Map"


def _title(attribution: Attribution, part: Shown) -> str:
    made = attribution.provenance
    words = describe(
        part.part,
        part.map_scale,
        method=part.title(_method_title(made.method)),
        target=made.target or "the target",
        layer=attribution.layer,
        unit=attribution.unit,
    )
    return words + ("" if attribution.progress >= 1 else f" ({attribution.progress:.0%} done)")


def _draw_colorbar(figure: Figure, axes: Axes, scale: Scale, look: Look, unit: str) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize

    table = color_table(scale, look)[:: -1 if scale.against else 1]
    colors = ScalarMappable(Normalize(scale.low, scale.high), ListedColormap(table / 255.0))
    # An inset is exactly as high as the map, whatever the proportions.
    bar = figure.colorbar(colors, cax=axes.inset_axes((1.03, 0.0, 0.045, 1.0)))
    marks = ticks(scale)
    bar.set_ticks([t.value for t in marks], labels=[t.label for t in marks])
    bar.set_label(fill(caption(scale, look, unit), LABEL), fontsize=9)
    bar.ax.tick_params(labelsize=9)
    bar.outline.set_visible(False)


def _draw_legend(figure: Figure, classes: Dominance) -> None:
    from matplotlib.patches import Patch

    patches = [Patch(facecolor=one.color, edgecolor="0.4", linewidth=0.5, label=one.words) for one in classes.legend()]
    figure.legend(handles=patches, loc="outside right upper", fontsize=8, frameon=False)


def _panels(attribution: Attribution, image: Any, part: Shown) -> dict[str, NDArray[np.uint8]]:
    heat, scale, look, more = part.heat, part.scale, part.look, (found_box(attribution), part.classes)
    if image is None:
        height, width = attribution.size
        blank = np.zeros((height, width, 3), np.uint8)
        return {"map": compose(blank, heat, scale, dataclasses.replace(look, layout="map"), *more)}
    photo = read_pixels(image, attribution.size, attribution.provenance.preprocessing)
    layouts = ("photo", "overlay", "map")
    return {name: compose(photo, heat, scale, dataclasses.replace(look, layout=name), *more) for name in layouts}


def attribution_figure(attribution: Attribution, image: Any = None, look: Look | None = None, **changes: Any) -> Figure:
    """Return a figure: photo, overlay and map with its color bar; the map alone without an ``image``.

    ``image`` is the picture that the map belongs to (see ``read_pixels``), whatever ``model.pictures`` reads.
    ``changes`` are fields of ``Look``, for one-liners. ``look.layout`` has no effect.

    Raises:
        InvalidImage: the picture cannot be read or has other proportions than the map.
        InvalidKnob: a field of the look is outside its domain.
    """
    from matplotlib.figure import Figure

    look = dataclasses.replace(look or Look(), **changes)
    part = shown(attribution, look)
    panels = _panels(attribution, image, part)
    height, width = attribution.size
    inches = (PANEL * len(panels) + 0.9, PANEL * height / width + 0.8)
    figure = Figure(figsize=inches, layout="constrained")
    every = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (name, pixels) in zip(every, panels.items(), strict=True):
        axes.imshow(pixels, interpolation="nearest" if not look.smooth else "antialiased")
        axes.set_axis_off()
        if image is not None:
            axes.set_title(name, fontsize=9, color="0.35", loc="left")
    _draw_colorbar(figure, every[-1], part.scale, part.look, attribution.unit)
    if part.classes is not None:
        _draw_legend(figure, part.classes)
    columns = int(inches[0] * 10.5)
    figure.suptitle(fill(_title(attribution, part), columns), x=0.01, ha="left", fontsize=11)
    figure.supxlabel(fill(provenance_line(attribution), int(columns * 1.6)), x=0.01, ha="left", fontsize=7, color="0.4")
    # A figure that pyplot does not manage has no picture in a notebook of its own.
    figure.__dict__["_repr_png_"] = partial(_figure_png, figure)
    return figure


def _figure_png(figure: Figure) -> bytes:
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()


def save_attribution(
    attribution: Attribution,
    path: str | PathLike[str],
    image: Any = None,
    look: Look | None = None,
    **changes: Any,
) -> None:
    """Write the figure as ``.png``, ``.svg`` or ``.pdf``, or values and provenance as ``.npz``.

    The files hold no date, so the same result gives the same bytes; pictures carry the provenance as metadata.

    Raises:
        ValueError: another ending.
    """
    target = Path(path)
    ending = target.suffix.lower()
    if ending not in ENDINGS:
        raise ValueError(f"path must end in one of {', '.join(ENDINGS)}; got {target.name!r}.")
    if ending == ".npz":
        save_numbers(attribution, target)
        return
    figure = attribution_figure(attribution, image, look, **changes)
    record = record_json(attribution)
    metadata = {
        ".png": {"Description": record},
        ".svg": {"Description": record, "Date": None},
        ".pdf": {"Subject": record, "CreationDate": None},
    }
    figure.savefig(target, format=ending[1:], dpi=DPI, metadata=metadata[ending])
