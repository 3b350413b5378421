"""The curves of a method that works in steps, side by side, each on its own scale; what was moved is marked on all."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from xaiwidgets.render.curve import HEIGHT, THIN, WIDTH, line_of
from xaiwidgets.render.numbers import number, percent
from xaiwidgets.render.record import brief_value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from xaiwidgets.core.results import Attribution

#: More marks than this are not told apart.
MOST_MARKS = 40
#: Changes that are told in words; the last ones.
MOST_TOLD = 2


@dataclass(frozen=True)
class Course:
    """What is drawn of a result.

    Attributes:
        curves: numbers by name, in words. ``planned``: how many there will be.
        step: how many steps were done, or ``None`` where the axis is a share from 0 to 1.
        across: what the axis is. ``marks``: (place from 0 to 1, words).
    """

    curves: tuple[tuple[str, NDArray[Any]], ...]
    planned: int
    step: int | None
    across: str
    marks: tuple[tuple[float, str], ...] = ()


def course(result: Attribution, labels: Mapping[str, str] | None = None) -> Course | None:
    """Return the curves of a result, or ``None`` for a method that has none.

    Args:
        result: of any method; ``details`` may have ``curves``.
        labels: what hyper-parameters are called, by name.
    """
    curves = result.details.get("curves")
    if not curves:
        return None
    words = result.details.get("curve_words", {})
    lines = tuple((words.get(name, name), np.asarray(values, dtype=float)) for name, values in curves.items())
    longest = max(len(values) for _, values in lines)
    if "planned" not in result.details:
        return Course(lines, longest, None, result.details.get("across", "share"), _level(result, longest))
    planned = max(int(result.details["planned"]), longest, 1)
    marks = tuple(
        ((step - 1) / max(planned - 1, 1), told_event((step, name, old, new), labels))
        for step, name, old, new in result.details.get("events", ())
    )
    return Course(lines, planned, int(result.details.get("step", longest)), result.details.get("across", "step"), marks)


def _level(result: Attribution, count: int) -> tuple[tuple[float, str], ...]:
    """Return the mark at the one of ``count`` levels from 0 to 1 that a method has chosen."""
    level = result.details.get("level")
    if level is None or count < 2:
        return ()
    share = level / (count - 1)
    return ((share, percent(share)),)


def told_event(event: tuple[int, str, Any, Any], labels: Mapping[str, str] | None = None) -> str:
    """Return a change in words: ``step 34: Sparsity λ₁ 0.0003 → 0.01``."""
    step, name, old, new = event
    return f"step {step}: {(labels or {}).get(name, name)} {brief_value(old)} → {brief_value(new)}"


def told_marks(found: Course) -> str:
    """Return the last marks in words, and how many there are before them."""
    told = [words for _, words in found.marks]
    before = len(told) - MOST_TOLD
    return " · ".join(([f"{before} before"] if before > 0 else []) + told[-MOST_TOLD:])


def curves_html(found: Course) -> str:
    """Return the curves side by side as HTML of fixed height; the last mark's words stand below."""
    return f"<div class='xai-curves'>{''.join(_one(name, values, found) for name, values in found.curves)}</div>"


def _one(name: str, values: NDArray[Any], found: Course) -> str:
    places = np.arange(1, len(values) + 1)
    fine = np.isfinite(values)
    shown = values[fine]
    low, high = (min(0.0, float(shown.min())), float(shown.max())) if shown.size else (0.0, 1.0)
    if low == high:
        high = low + 1.0
    line = line_of(places[fine], (shown - low) / (high - low), found.planned) if shown.size else ""
    marks = "".join(_mark(*mark) for mark in found.marks[-MOST_MARKS:])
    now = number(float(shown[-1])) if shown.size else "–"
    if found.step is None:  # the last one is no news: what it is at the mark is told with the map
        first, last, value, where = "0 %", "100 %", "", f"over {found.across}"
    else:
        first, last, value = f"{found.across} 1", str(found.planned), f"<b>{now}</b>"
        where = f"over {found.step} of {found.planned} {found.across}s, now {now}"
    told = "; ".join(words for _, words in found.marks[-MOST_MARKS:])
    spoken = f"{name} {where}" + (f"; marked: {told}" if told else "")
    return (
        f"<div class='xai-curve'><div class='xai-curvehead'>{escape(name)} {value}</div>"
        f"<div class='xai-curvebox'><span>{number(high)}</span><span>{number(low)}</span>"
        f"<svg viewBox='0 0 {WIDTH} {HEIGHT}' preserveAspectRatio='none' role='img' aria-label='{escape(spoken)}'>"
        f"<line x1='0' x2='{WIDTH}' y1='{HEIGHT}' y2='{HEIGHT}' stroke='currentColor' opacity='.3' {THIN}/>"
        f"{marks}{line}</svg></div>"
        f"<div class='xai-curvefoot'><span>{escape(first)}</span>"
        f"<span>{escape(found.across) if found.step is None else ''}</span><span>{escape(last)}</span></div></div>"
    )


def _mark(place: float, words: str) -> str:
    at = WIDTH * min(max(place, 0.0), 1.0) if math.isfinite(place) else 0.0
    return (
        f"<line class='xai-mark' x1='{at:.1f}' x2='{at:.1f}' y1='-3' y2='{HEIGHT}' stroke='currentColor' "
        f"stroke-dasharray='3 2' {THIN}><title>{escape(words)}</title></line>"
    )
