"""The color bar as HTML: the palette, round numbers, the unit, and what was left out."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from xaiwidgets.render.compose import color_table, palette_name
from xaiwidgets.render.numbers import interval
from xaiwidgets.render.ticks import ticks

if TYPE_CHECKING:
    from xaiwidgets.render.look import Look
    from xaiwidgets.render.scale import Scale
    from xaiwidgets.render.ticks import Tick

#: Pixels; the same whatever the bar says, so that nothing below it moves.
HEIGHT = 48
#: Colors of the gradient; odd, so that the neutral center of a diverging palette is one of them.
STOPS = 33


def _gradient(scale: Scale, look: Look) -> str:
    table = color_table(scale, look)
    if scale.against:
        table = table[::-1]
    colors = [table[round(k * 255 / (STOPS - 1))] for k in range(STOPS)]
    return ",".join(f"#{r:02x}{g:02x}{b:02x}" for r, g, b in colors)


def _tick_html(tick: Tick) -> str:
    """Return one number below its mark; the outermost ones are kept inside the bar."""
    percent = tick.position * 100
    shift = 0 if percent < 4 else (-100 if percent > 96 else -50)
    place = f"position:absolute;left:{percent:.2f}%"
    return (
        f'<span style="{place};top:0;width:1px;height:4px;background:currentColor"></span>'
        f'<span style="{place};top:4px;transform:translateX({shift}%);'
        f'white-space:nowrap">{tick.label}</span>'
    )


def caption(scale: Scale, look: Look, unit: str, *, told: bool = True) -> str:
    """Return the line under the numbers: the unit, and, if ``told``, whether values lie beyond the ends."""
    if scale.empty:
        return "no evidence"
    name = palette_name(scale, look)
    # a palette that was asked for and could not be taken is no secret
    other = "" if look.palette in ("auto", name) else f"signed values: {name.replace('_', ' to ')}"
    drawn = "each color around gray" if look.channels == "as image" else other
    parts = [unit, drawn, f"clipped at {look.clip:g} %" if scale.clipped and told else ""]
    return " · ".join(filter(None, parts))


def spoken(scale: Scale, look: Look, unit: str) -> str:
    """Return the bar in words, for a screen reader."""
    if scale.empty:
        return "Color scale: no evidence"
    name = palette_name(scale, look).replace("_", " to ")
    clipped = f", clipped at {look.clip:g} %" if scale.clipped else ""
    return f"Color scale from {interval(scale.low, scale.high, unit)}, {name}{clipped}"


def colorbar_html(scale: Scale, look: Look, unit: str, most: int = 5, *, told: bool = True) -> str:
    """Return a self-contained snippet of fixed height; when only the photo is shown it keeps its place, unseen.

    It has at most ``most`` numbers; ``told`` is for the caption.
    """
    hidden = ";visibility:hidden" if look.layout == "photo" else ""
    marks = "".join(_tick_html(tick) for tick in ticks(scale, most))
    opacity = ";opacity:0.3" if scale.empty else ""
    return (
        f'<div class="xw-colorbar" role="img" aria-label="{escape(spoken(scale, look, unit))}" '
        f'style="height:{HEIGHT}px;overflow:hidden;font-size:var(--jp-ui-font-size0,11px);line-height:16px;'
        f'font-variant-numeric:tabular-nums;color:var(--jp-ui-font-color1,currentColor){hidden}">'
        '<div style="height:10px;border-radius:2px;box-shadow:inset 0 0 0 1px rgba(128,128,128,.3);'
        f"background:linear-gradient(to right,{_gradient(scale, look)})"
        f'{opacity}"></div>'
        f'<div style="position:relative;height:20px">{marks}</div>'
        f'<div style="height:16px;white-space:nowrap;overflow:hidden;text-overflow:ellipsis;'
        f'color:var(--jp-ui-font-color2,currentColor)">{escape(caption(scale, look, unit, told=told))}</div></div>'
    )
