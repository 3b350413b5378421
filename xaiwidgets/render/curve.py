"""A line of values as a small drawing, in the host's colors; ticks mark the steps at which something was changed."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from xaiwidgets.render.numbers import number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

#: Units of the drawing, stretched to the width there is; words are beside it and keep their size.
WIDTH, HEIGHT = 800, 64
#: More points than this are not seen.
MOST_POINTS = 320
#: Lines keep their width when the drawing is stretched.
THIN = "vector-effect='non-scaling-stroke'"
#: Words between the first step and the last one: what is too long for the room there ends in dots.
BETWEEN = "text-align:center;white-space:nowrap;overflow:hidden;text-overflow:ellipsis"


def curve_svg(values: NDArray[Any], planned: int, events: Sequence[tuple[int, str]] = (), label: str = "score") -> str:
    """Return the curve of ``values`` over steps 1 … ``planned``, as HTML text.

    Args:
        values: one number a step so far; not finite ones are left out.
        planned: steps of the whole run, which set the width, so that the line grows and nothing jumps.
        events: (step, words) of changes on the way.
        label: what the values are, for the axis and for screen readers.
    """
    steps = np.arange(1, len(values) + 1)
    fine = np.isfinite(values)
    steps, shown = steps[fine], np.asarray(values, dtype=float)[fine]
    low, high = (min(0.0, float(shown.min())), float(shown.max())) if shown.size else (0.0, 1.0)
    line = line_of(steps, (shown - low) / ((high - low) or 1.0), planned) if shown.size else ""
    ticks = "".join(_tick(step, words, planned) for step, words in events)
    last = number(float(shown[-1])) if shown.size else "–"
    spoken = f"{escape(label)} over {len(values)} of {planned} steps, now {last}"
    return (
        "<div style='position:relative;height:calc(24px + var(--xai-curve,64px));font-size:11px;line-height:12px'>"
        f"<svg viewBox='0 0 {WIDTH} {HEIGHT}' preserveAspectRatio='none' role='img' aria-label='{spoken}' "
        "style='position:absolute;left:48px;top:6px;width:calc(100% - 56px);height:var(--xai-curve,64px);"
        "overflow:visible'>"
        f"<line x1='0' x2='{WIDTH}' y1='{HEIGHT}' y2='{HEIGHT}' stroke='currentColor' opacity='.3' {THIN}/>"
        f"{line}{ticks}</svg>"
        f"{place_words(number(high), 'top:6px;left:0;width:44px;text-align:right')}"
        f"{place_words(number(low), 'bottom:16px;left:0;width:44px;text-align:right')}"
        f"{place_words('step 1', 'bottom:2px;left:48px')}"
        f"{place_words(escape(label), f'bottom:2px;left:88px;right:{8 + 8 * len(str(planned))}px;{BETWEEN}')}"
        f"{place_words(str(planned), 'bottom:2px;right:8px')}</div>"
    )


def line_of(steps: NDArray[Any], heights: NDArray[Any], planned: int) -> str:
    """Return a line through heights from 0 to 1 at these steps of 1 … ``planned``, as SVG."""
    chosen = np.unique(np.linspace(0, steps.size - 1, min(MOST_POINTS, steps.size)).round().astype(int))
    across = WIDTH * (steps[chosen] - 1) / max(planned - 1, 1)
    down = HEIGHT * (1 - heights[chosen])
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(across, down, strict=True))
    return f"<polyline points='{points}' fill='none' stroke='var(--xai-accent,#1976d2)' stroke-width='1.8' {THIN}/>"


def _tick(step: int, words: str, planned: int) -> str:
    at = WIDTH * (step - 1) / max(planned - 1, 1)
    return (
        f"<line x1='{at:.1f}' x2='{at:.1f}' y1='0' y2='{HEIGHT}' stroke='currentColor' opacity='.35' "
        f"stroke-dasharray='2 3' {THIN}><title>{escape(words)}</title></line>"
    )


def place_words(text: str, place: str) -> str:
    """Return words at a place of the drawing, by their style; screen readers have the drawing's own label."""
    return f"<span aria-hidden='true' style='position:absolute;{place}'>{text}</span>"
