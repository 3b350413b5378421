"""Curves of a score as one drawing in the host's colors: lines differ in dashes as well as in color, and are named."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from xaiwidgets.render.numbers import MINUS, number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from xaiwidgets.core.scores import Curve, Limit

#: Units of the drawing, stretched to the width there is; words are beside it and keep their size.
WIDTH, HEIGHT = 800, 150
#: Pixels left and right of the drawing; a slider below it has the same.
LEFT, RIGHT, TOP = 48, 12, 8
#: More points than this are not seen.
MOST_POINTS = 240
#: Shares of the width between two names on the x axis, and characters of each.
APART, LONGEST_TICK = 0.105, 12
#: A threshold that is so many times the largest value is told and not drawn: the lines would be flat.
FAR = 3
#: More lines than this are not told apart.
MOST_LINES = 9
THIN = "vector-effect='non-scaling-stroke'"
#: Color and dashes of the lines; the first one is what the number sums up.
STYLES = (
    ("var(--xai-accent,#1976d2)", ""),
    ("#d55e00", "7 3"),
    ("#009e73", "2 3"),
    ("#b5508e", "9 3 2 3"),
    ("#8a6d00", "5 2 1 2"),
    ("#5f6bd0", "12 4"),
    ("#a2543a", "3 2"),
)
#: What knows nothing of the network is drawn thin and gray.
CONTROLS = ("random", "edges", "chance", "two products")


def by_axes(curves: Sequence[Curve]) -> list[list[Curve]]:
    """Return the curves that share their axes together, in order."""
    found: dict[tuple[str, str], list[Curve]] = {}
    for curve in curves:
        found.setdefault((curve.x_label, curve.y_label), []).append(curve)
    return list(found.values())


class Frame:
    """The axes of a plot: which values its corners stand for.

    Args:
        curves: of one pair of axes. ``limit``: a threshold on the y axis that must be in sight.
        start, planned: where the x axis begins and ends at least, so that lines grow and nothing jumps.
    """

    def __init__(
        self,
        curves: Sequence[Curve],
        limit: Limit | None = None,
        start: float | None = None,
        planned: float | None = None,
    ) -> None:
        x = _finite([curve.x for curve in curves])
        low, high = (curve_part(curves, name) for name in ("low", "high"))
        y = _finite([*(curve.y for curve in curves), *low, *high])
        top = float(np.abs(y).max()) if y.size else 0.0
        self.limit = limit if limit is not None and abs(limit.value) <= FAR * top else None
        if self.limit is not None:
            y = np.append(y, self.limit.value)
        self.left, self.right = (float(x.min()), float(x.max())) if x.size else (0.0, 1.0)
        self.left = self.left if start is None else min(self.left, start)
        self.right = self.right if planned is None else max(self.right, planned)
        self.bottom, self.top = (min(0.0, float(y.min())), float(y.max())) if y.size else (0.0, 1.0)
        if 0.3 < self.top <= 1.0 and self.bottom >= -1.0:
            self.top = 1.0
        if self.top <= self.bottom:
            self.top = self.bottom + 1.0

    def across(self, x: Any) -> Any:
        """Return the share of the width at which ``x`` is; the middle, for a single place."""
        if self.right <= self.left:
            return 0 * np.asarray(x, float) + 0.5
        return (x - self.left) / (self.right - self.left)

    def up(self, y: Any) -> Any:
        """Return the share of the height at which ``y`` is."""
        return (y - self.bottom) / (self.top - self.bottom)


def lines_html(
    curves: Sequence[Curve], limit: Limit | None = None, start: float | None = None, planned: float | None = None
) -> str:
    """Return curves of one pair of axes with their legend, as HTML text of a fixed height but for the legend.

    Args:
        curves: the first one is drawn strongest.
        limit: a threshold on the y axis.
        start: where the x axis begins at least.
        planned: where it ends at least.
    """
    shown = list(curves)[:MOST_LINES]
    frame = Frame(shown, limit, start, planned)
    styles = line_styles(shown)
    drawn = "".join(_line(curve, frame, *style) for curve, style in reversed(list(zip(shown, styles, strict=True))))
    first = shown[0]
    spoken = f"{first.y_label} by {first.x_label}: " + ", ".join(_spoken(curve) for curve in shown)
    return (
        f"<div class='xai-lines2' role='img' aria-label='{escape(spoken, quote=True)}'>"
        f"<svg viewBox='0 0 {WIDTH} {HEIGHT}' preserveAspectRatio='none' aria-hidden='true' "
        f"style='left:{LEFT}px;width:calc(100% - {LEFT + RIGHT}px);top:{TOP}px;height:{HEIGHT}px'>"
        f"{_grid(frame)}{_threshold(frame)}{drawn}</svg>"
        f"{_y_words(frame)}{_x_words(first, frame)}</div>{_legend(shown, styles, frame, limit)}"
    )


def marker_html(share: float | None) -> str:
    """Return a line across the plot at this share of its width, to be laid over it; nothing for ``None``."""
    if share is None or not math.isfinite(share):
        return ""
    share = min(max(share, 0.0), 1.0)
    return (
        f"<i class='xai-at' style='left:calc({LEFT}px + {share:.4f} * (100% - {LEFT + RIGHT}px));"
        f"top:{TOP}px;height:{HEIGHT}px'></i>"
    )


def line_styles(curves: Sequence[Curve]) -> list[tuple[str, str, float]]:
    """Return color, dashes and width of each line: controls are thin and gray, the first line is strong."""
    found: list[tuple[str, str, float]] = []
    number_ = 0
    for curve in curves:
        if number_ and curve.name.startswith(CONTROLS):
            gray = sum(style[0] == "currentColor" for style in found)
            found.append(("currentColor", ("1 3", "4 4", "6 2 1 2")[gray % 3], 1.2))
        else:
            found.append((*STYLES[number_ % len(STYLES)], 2.4 if number_ == 0 else 1.7))
            number_ += 1
    return found


def curve_part(curves: Sequence[Curve], name: str) -> list[NDArray[np.float64]]:
    """Return the bounds that curves have, ``low`` or ``high``."""
    return [part for curve in curves if (part := getattr(curve, name)) is not None]


def _finite(parts: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    every = np.concatenate([np.asarray(part, float).ravel() for part in parts]) if parts else np.empty(0)
    return every[np.isfinite(every)]


def _line(curve: Curve, frame: Frame, color: str, dashes: str, width: float) -> str:
    count = len(curve.x)
    if not count:
        return ""
    chosen = np.unique(np.linspace(0, count - 1, min(MOST_POINTS, count)).round().astype(int))
    across = WIDTH * np.asarray(frame.across(curve.x[chosen]))
    down = HEIGHT * (1 - np.asarray(frame.up(curve.y[chosen])))
    parts: list[list[str]] = [[]]
    for a, b in zip(across, down, strict=True):
        if math.isfinite(b) and math.isfinite(a):
            parts[-1].append(f"{a:.1f},{b:.1f}")
        elif parts[-1]:
            parts.append([])
    dash = f" stroke-dasharray='{dashes}'" if dashes else ""
    style = f"fill='none' stroke='{color}' stroke-width='{width}'{dash} stroke-linejoin='round' {THIN}"
    lines = "".join(f"<polyline points='{' '.join(p if len(p) > 1 else p * 2)}' {style}/>" for p in parts if p)
    if len(parts[0]) == 1 and len(parts) == 1:  # a single point is a short dash, else it is not seen
        x, y = parts[0][0].split(",")
        lines = f"<path d='M{float(x) - 6:.1f} {y}h12' {style}/>"
    if curve.low is None or curve.high is None:
        return lines
    top = [f"{a:.1f},{HEIGHT * (1 - v):.1f}" for a, v in zip(across, frame.up(curve.high[chosen]), strict=True)]
    low = [f"{a:.1f},{HEIGHT * (1 - v):.1f}" for a, v in zip(across, frame.up(curve.low[chosen]), strict=True)]
    if any("nan" in point for point in (*top, *low)):
        return lines
    return f"<polygon points='{' '.join([*top, *reversed(low)])}' fill='{color}' opacity='.12'/>{lines}"


def _grid(frame: Frame) -> str:
    lines = [
        f"<line x1='0' x2='{WIDTH}' y1='{y}' y2='{y}' stroke='currentColor' opacity='.3' {THIN}/>" for y in (0, HEIGHT)
    ]
    zero = HEIGHT * (1 - float(frame.up(0.0)))
    if 2 < zero < HEIGHT - 2:
        lines.append(
            f"<line x1='0' x2='{WIDTH}' y1='{zero:.1f}' y2='{zero:.1f}' stroke='currentColor' opacity='.3' {THIN}/>"
        )
    return "".join(lines)


def _threshold(frame: Frame) -> str:
    if frame.limit is None:
        return ""
    y = HEIGHT * (1 - float(frame.up(frame.limit.value)))
    return (
        f"<line x1='0' x2='{WIDTH}' y1='{y:.1f}' y2='{y:.1f}' stroke='currentColor' stroke-width='1.4' "
        f"stroke-dasharray='14 4' {THIN}/>"
    )


def _y_words(frame: Frame) -> str:
    places = {frame.top: TOP - 6, frame.bottom: TOP + HEIGHT - 8}
    zero = TOP + HEIGHT * (1 - float(frame.up(0.0))) - 7
    if frame.bottom < 0 < frame.top and TOP + 8 < zero < TOP + HEIGHT - 20:
        places[0.0] = round(zero)
    words = "".join(
        f"<span style='top:{top}px;left:0;width:{LEFT - 6}px;text-align:right'>{number(value, 2)}</span>"
        for value, top in places.items()
    )
    return f"<div aria-hidden='true'>{words}</div>"


def _x_words(curve: Curve, frame: Frame) -> str:
    top = TOP + HEIGHT + 3
    if curve.ticks:
        marks = _spread([(float(frame.across(x)), name) for x, name in zip(curve.x, curve.ticks, strict=False)])
    else:
        marks = [(0.0, number(frame.left, 2)), (1.0, number(frame.right, 2))]
        if frame.right <= frame.left:
            marks = [(0.5, number(frame.left, 2))]
    inner = range(1, len(marks) - 1)
    words = "".join(_x_word(share, text, top, number_ in inner) for number_, (share, text) in enumerate(marks))
    place = f"top:{top + (14 if curve.ticks else 0)}px;left:{LEFT}px;right:{RIGHT}px;text-align:center"
    label = " · ".join(filter(None, (curve.x_label and f"→ {curve.x_label}", curve.y_label and f"↑ {curve.y_label}")))
    return f"<div aria-hidden='true'>{words}<span style='{place}'>{escape(label)}</span></div>"


def _spread(marks: list[tuple[float, str]]) -> list[tuple[float, str]]:
    """Return the marks that have room for their names: the first and the last, and those between far enough apart."""
    kept = marks[:1]
    for mark in marks[1:-1]:
        # the last name ends where its mark is
        if mark[0] - kept[-1][0] >= APART and marks[-1][0] - mark[0] >= 1.6 * APART:
            kept.append(mark)
    return [*kept, *marks[len(marks) - 1 :]] if len(marks) > 1 else kept


def _x_word(share: float, text: str, top: int, inner: bool) -> str:
    short = text if len(text) <= LONGEST_TICK else f"…{text[1 - LONGEST_TICK :]}"
    shift = 0 if share < 0.04 else -100 if share > 0.96 else -50
    place = f"left:calc({LEFT}px + {share:.4f} * (100% - {LEFT + RIGHT}px));top:{top}px;transform:translateX({shift}%)"
    narrow = " class='xai-inner'" if inner else ""  # the style sheet leaves them out where there is no room
    return f"<span{narrow} style='{place}'>{escape(short)}</span>"


def _legend(
    curves: Sequence[Curve], styles: Sequence[tuple[str, str, float]], frame: Frame, limit: Limit | None
) -> str:
    entries = [_entry(curve.name, *style) for curve, style in zip(curves, styles, strict=True)]
    if frame.limit is not None:
        entries.append(_entry(f"threshold {limit_number(frame.limit)}", "currentColor", "14 4", 1.4))
    elif limit is not None:
        entries.append(f"<span>threshold {limit_number(limit)}, far from here</span>")
    return f"<div class='xai-key'>{''.join(entries)}</div>"


def limit_number(limit: Limit) -> str:
    """Return a threshold's number as people read it: ``0.46``, ``0.001``, ``1``."""
    return f"{limit.value:.3g}".replace("-", MINUS)


def _entry(name: str, color: str, dashes: str, width: float) -> str:
    dash = f" stroke-dasharray='{dashes}'" if dashes else ""
    line = f"<line x1='0' x2='30' y1='5' y2='5' stroke='{color}' stroke-width='{width}'{dash}/>"
    return f"<span><svg width='30' height='10' aria-hidden='true'>{line}</svg> {escape(name)}</span>"


def _spoken(curve: Curve) -> str:
    values = curve.y[np.isfinite(curve.y)]
    if not values.size:
        return f"{curve.name} without values"
    return f"{curve.name} from {number(float(values[0]))} to {number(float(values[-1]))}"
