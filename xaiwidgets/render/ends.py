"""What the two ends of a mask mean, each beside its color."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from xaiwidgets.render.compose import color_table

if TYPE_CHECKING:
    from xaiwidgets.core.results import Attribution
    from xaiwidgets.render.look import Look
    from xaiwidgets.render.scale import Scale


def ends_html(result: Attribution, scale: Scale, look: Look) -> str:
    """Return what 0 and 1 mean for the photo as one line of HTML; empty for a map that is no mask."""
    words = result.details.get("ends")
    if not words or scale.diverging or look.layout == "photo":
        return ""
    table = color_table(scale, look)
    clear = look.layout == "overlay" and look.blend == "by value"
    parts = []
    high = "1" if scale.high > 0.98 else "toward 1"
    for value, told, color in zip(("0", high), words, (table[0], table[-1]), strict=True):
        if value == "0" and clear:  # there, the photo shows through
            parts.append(f"<span class='xai-class'>0, without color: {escape(told)}</span>")
            continue
        swatch = "<span class='xai-swatch' style='background:#{:02x}{:02x}{:02x}'></span>".format(*map(int, color[:3]))
        parts.append(f"<span class='xai-class'>{swatch}{value}: {escape(told)}</span>")
    return f"<span class='xai-legend'>{' '.join(parts)}</span>"
