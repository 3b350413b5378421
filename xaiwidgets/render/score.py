"""A score as a figure: its curves with their controls, its maps and pictures, and what it says in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xaiwidgets.core.scores import Curve, Score

#: Maps and pictures that are drawn side by side, at most.
MOST = 6


def score_figure(score: Score) -> Any:
    """Return a matplotlib figure of a score: one plot for each y axis, then maps and pictures."""
    from matplotlib.figure import Figure

    plots = _by_axis(score.curves)
    shown = [*score.maps.items(), *score.pictures.items()][:MOST]
    columns, rows = max(len(plots), len(shown), 1), bool(plots) + bool(shown)
    figure = Figure(figsize=(max(6.0, 2.6 * columns), 0.9 + 2.6 * max(rows, 1)), layout="constrained")
    figure.suptitle(score.sentence(), fontsize=9, wrap=True)
    grid = figure.add_gridspec(max(rows, 1), 1)
    if plots:
        inner = grid[0].subgridspec(1, len(plots))
        for number, curves in enumerate(plots):
            _draw(figure.add_subplot(inner[number]), curves)
    if shown:
        inner = grid[rows - 1].subgridspec(1, len(shown))
        for number, (name, values) in enumerate(shown):
            axes = figure.add_subplot(inner[number])
            if values.ndim == 3:
                axes.imshow(values)
            else:
                signed = float(values.min()) < 0
                top = float(abs(values).max()) or 1.0
                axes.imshow(values, cmap="RdBu_r" if signed else "magma", vmin=-top if signed else 0, vmax=top)
            axes.set_title(name, fontsize=8)
            axes.set_axis_off()
    return figure


def _by_axis(curves: tuple[Curve, ...]) -> list[list[Curve]]:
    found: dict[tuple[str, str], list[Curve]] = {}
    for curve in curves:
        found.setdefault((curve.x_label, curve.y_label), []).append(curve)
    return list(found.values())


def _draw(axes: Any, curves: list[Curve]) -> None:
    for curve in curves:
        (line,) = axes.plot(
            curve.x, curve.y, label=curve.name, marker="." if len(curve.x) < 25 else None, linewidth=1.2
        )
        if curve.low is not None and curve.high is not None:
            axes.fill_between(curve.x, curve.low, curve.high, color=line.get_color(), alpha=0.15, linewidth=0)
    first = curves[0]
    if first.ticks:
        axes.set_xticks(first.x, first.ticks, rotation=60, ha="right", fontsize=6)
    axes.set_xlabel(first.x_label, fontsize=8)
    axes.set_ylabel(first.y_label, fontsize=8)
    axes.tick_params(labelsize=7)
    if len(curves) > 1:
        axes.legend(fontsize=7, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))  # beside the lines
