"""What is measured beside the objective: probabilities on their own axis from 0 to 1, and all other terms in one."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from xaiwidgets.render.curve import HEIGHT, MOST_POINTS, THIN, WIDTH, place_words
from xaiwidgets.render.lines import STYLES
from xaiwidgets.render.numbers import number, percent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Line = tuple[str, NDArray[Any], NDArray[Any]]

#: More lines than this are not told apart.
MOST_LINES = len(STYLES)


def terms_html(
    curves: Mapping[str, tuple[NDArray[Any], NDArray[Any]]], planned: int, events: Sequence[int] = ()
) -> str:
    """Return the curves as HTML of fixed height; nothing if there are none.

    Args:
        curves: (steps, values) by name. Probabilities, by their names, stand on an axis from 0 to 1. The others have
            a scale each, from 0, or their least value, to their largest: the legend says it.
        planned: steps of the whole run.
        events: steps at which something was moved.
    """
    lines = [(name, steps, values) for name, (steps, values) in curves.items() if len(steps)]
    chances = [line for line in lines if _is_chance(line[0])][:MOST_LINES]
    others = [line for line in lines if not _is_chance(line[0])][:MOST_LINES]
    panels = []
    if chances:
        spoken = ", ".join(f"{_words(name)} now {percent(float(values[-1]))}" for name, _, values in chances)
        ends = [(0.0, 1.0)] * len(chances)
        panels.append(_panel("probability", chances, ends, planned, events, spoken, ("1", "0")))
    if others:
        spoken = ", ".join(f"{_words(name)} now {number(float(values[-1]))}" for name, _, values in others)
        panels.append(_panel("", others, [_ends(values) for _, _, values in others], planned, events, spoken, ("", "")))
    return f"<div class='xai-terms'>{''.join(panels)}</div>" if panels else ""


def _panel(
    title: str,
    lines: Sequence[Line],
    ends: Sequence[tuple[float, float]],
    planned: int,
    events: Sequence[int],
    spoken: str,
    sides: tuple[str, str],
) -> str:
    drawn = "".join(
        _line(steps, values, end, planned, *STYLES[place])
        for place, ((_, steps, values), end) in enumerate(zip(lines, ends, strict=True))
    )
    marks = "".join(_mark(step, planned) for step in events)
    legend = "".join(
        f"<span title='from {number(low)} to {number(high)}'>{_key(*STYLES[place])} {escape(_words(name))} "
        f"<b>{percent(float(values[-1])) if title else number(float(values[-1]))}</b></span>"
        for place, ((name, _, values), (low, high)) in enumerate(zip(lines, ends, strict=True))
    )
    return (
        f"<div class='xai-term' role='img' aria-label='{escape(spoken)} over {planned} steps'>"
        f"<svg viewBox='0 0 {WIDTH} {HEIGHT}' preserveAspectRatio='none' aria-hidden='true'>"
        f"<line x1='0' x2='{WIDTH}' y1='{HEIGHT}' y2='{HEIGHT}' stroke='currentColor' opacity='.3' {THIN}/>"
        f"{marks}{drawn}</svg>{place_words(sides[0], 'left:0;width:16px;text-align:right')}"
        f"{place_words(sides[1], 'left:0;width:16px;text-align:right')}"
        f"<div class='xai-termkey' aria-hidden='true'>{legend}</div></div>"
    )


def _ends(values: NDArray[Any]) -> tuple[float, float]:
    fine = np.asarray(values, float)[np.isfinite(values)]
    low, high = (min(0.0, float(fine.min())), float(fine.max())) if fine.size else (0.0, 1.0)
    return (low, high) if high > low else (low, low + 1.0)


def _line(
    steps: NDArray[Any], values: NDArray[Any], ends: tuple[float, float], planned: int, color: str, dashes: str
) -> str:
    fine = np.isfinite(values)
    steps, heights = steps[fine], (np.asarray(values, float)[fine] - ends[0]) / (ends[1] - ends[0])
    if not steps.size:
        return ""
    chosen = np.unique(np.linspace(0, steps.size - 1, min(MOST_POINTS, steps.size)).round().astype(int))
    across = WIDTH * (steps[chosen] - 1) / max(planned - 1, 1)
    down = HEIGHT * (1 - heights[chosen].clip(0, 1))
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(across, down, strict=True))
    dash = f" stroke-dasharray='{dashes}'" if dashes else ""
    return f"<polyline points='{points}' fill='none' stroke='{color}' stroke-width='1.6'{dash} {THIN}/>"


def _mark(step: int, planned: int) -> str:
    at = WIDTH * (step - 1) / max(planned - 1, 1)
    return (
        f"<line x1='{at:.1f}' x2='{at:.1f}' y1='0' y2='{HEIGHT}' stroke='currentColor' opacity='.35' "
        f"stroke-dasharray='2 3' {THIN}/>"
    )


def _key(color: str, dashes: str) -> str:
    dash = f" stroke-dasharray='{dashes}'" if dashes else ""
    return (
        "<svg width='22' height='8' aria-hidden='true'>"
        f"<line x1='0' x2='22' y1='4' y2='4' stroke='{color}' stroke-width='2'{dash}/></svg>"
    )


def _is_chance(name: str) -> bool:
    return "probability" in name and not name.startswith("log")


def _words(name: str) -> str:
    return name.replace("_", " ")
