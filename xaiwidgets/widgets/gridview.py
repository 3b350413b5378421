"""From the panels of a comparison to what the board shows: pictures, color bars, progress, values, and all in words."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from xaiwidgets.render.channels import COLORS
from xaiwidgets.render.colorbar import colorbar_html
from xaiwidgets.render.dominance import legend_html
from xaiwidgets.render.evidence import short, verdicts
from xaiwidgets.render.numbers import number
from xaiwidgets.render.panels import Panel, made_panel, ranked, raw_panels, scaled
from xaiwidgets.render.words import describe
from xaiwidgets.widgets.drawing import UI_LOCK

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from xaiwidgets.engine.arrange import Place
    from xaiwidgets.evaluation.trust import TrustReport
    from xaiwidgets.render.look import Look
    from xaiwidgets.studio.gridstudio import Panel as State
    from xaiwidgets.widgets.board import Board

#: Canvas pixels of a panel's longer side: of one panel, of few, and of many.
ALONE, LARGE, SMALL, FEW = 640, 320, 224, 16
#: Columns have their titles again after so many rows, so that these are never out of sight.
TITLED = 3
#: Panels in the last row, by name.
EXTRAS = ("photo", "difference", "disagreement")


class GridView:
    """Draws the panels of a comparison on a board; redraws only those that have changed.

    All methods may be called from any thread.
    """

    def __init__(self, board: Board) -> None:
        self._board = board
        self._photo: NDArray[np.uint8] = np.zeros((1, 1, 3), np.uint8)
        self._tile = self._dim = self._photo
        self._states: dict[Place, State] = {}
        self._raw: dict[Place, tuple[Any, Any, Panel]] = {}
        self._panels: dict[Place, Panel] = {}
        self._drawn: dict[Place, Any] = {}
        self._made: dict[str, tuple[str, Panel | None]] = {}
        self._size = self._shape = (0, 0)
        self._at: tuple[float, float] | None = None
        self._reports: dict[Place, TrustReport] = {}

    # -- what stands where ------------------------------------------------------------------------------------------

    def shape(self, rows: int, columns: int, photo: NDArray[np.uint8]) -> None:
        """Have so many rows and columns of panels of this photo; all are empty if any of that is new."""
        with UI_LOCK:
            height, width = photo.shape[:2]
            count = rows * columns
            factor = (ALONE if count == 1 else LARGE if count <= FEW else SMALL) / max(height, width)
            size = (max(1, round(height * factor)), max(1, round(width * factor)))
            fresh = photo is not self._photo or size != self._size
            if fresh:
                self._photo, self._size = photo, size
                self._tile = np.asarray(Image.fromarray(photo).resize(size[::-1], Image.Resampling.LANCZOS))
                gray = self._tile.mean(axis=2, keepdims=True) * 0.5 + 64
                self._dim = np.repeat(gray, 3, axis=2).astype(np.uint8)
            self._board.shape(rows, columns, size)
            if fresh or (rows, columns) != self._shape:
                self._shape = (rows, columns)
                self._states, self._raw, self._panels, self._drawn = {}, {}, {}, {}
                for row in range(rows):
                    for column in range(columns):
                        self._board.tile(row, column, self._dim)
            if fresh:
                self._made = {}
                for place in range(len(EXTRAS)):
                    self._board.extras.tiles.show(place, self._tile if place == 0 else self._dim)

    def titles(self, columns: Sequence[str], rows: Sequence[str], more: Sequence[str]) -> None:
        """Say what the columns and rows are; ``more`` is said of each row beside its title."""
        with UI_LOCK:
            for place, (band, row, said) in enumerate(zip(self._board.bands, rows, more, strict=False)):
                band.title(row, columns if place % TITLED == 0 else (), said)

    # -- panels -----------------------------------------------------------------------------------------------------

    def show(self, states: Mapping[Place, State], places: Iterable[Place], look: Look, scale: str) -> None:
        """Bring panels up to date, and those whose scale follows from theirs."""
        with UI_LOCK:
            self._states = dict(states)
            self._scale(look, scale)
            rows = {place[0]: False for place in [*self._panels] if self._draw(place)}
            for place in places:
                state = states.get(place)
                if state is None:
                    continue
                if state.result is None:
                    self._drawn.pop(place, None)
                    self._board.tile(*place, self._dim)
                rows[place[0]] = rows.get(place[0], False) or state.state != "busy"
            for row, now in rows.items():
                self._write(row)
                self._board.send(row, now=now)
            if self._at is not None and rows:
                self.cursor(self._at)

    def _scale(self, look: Look, scale: str) -> None:
        """Compute what is drawn; what is shown of a map is kept until there is another one, or another look."""
        results = {place: state.result for place, state in self._states.items() if state.result is not None}
        self._raw = {place: kept for place, kept in self._raw.items() if place in results}
        for place, result in results.items():
            known = self._raw.get(place)
            if known is None or known[0] is not result or known[1] != (look, scale):
                panel = raw_panels({0: result}, look)[0]
                self._raw[place] = (result, (look, scale), ranked(panel) if scale == "rank" else panel)
        raw = {place: kept[2] for place, kept in self._raw.items()}
        methods = {place: result.provenance.method for place, result in results.items()}
        self._panels = raw if scale == "rank" else scaled(raw, methods, scale)

    def _draw(self, place: Place) -> bool:
        """Draw a panel if it has changed, and return whether it has."""
        panel, result = self._panels[place], self._states[place].result
        part = panel.drawn
        old = self._drawn.get(place)
        if old is not None and old[0] is result and old[1] is part.heat and old[2:] == (part.scale, part.look):
            return False
        self._drawn[place] = (result, part.heat, part.scale, part.look)
        self._board.tile(*place, panel.compose(self._tile, result))
        return True

    def _write(self, row: int) -> None:
        band = self._board.bands[row]
        for column in range(len(band.feet)):
            state, panel = self._states.get((row, column)), self._panels.get((row, column))
            band.states[column] = "" if state is None else _state_html(state, self._reports.get((row, column)))
            band.feet[column] = "" if panel is None else _foot(panel)

    def judged(self, reports: Mapping[Place, TrustReport]) -> None:
        """Say on each panel how the tests of its map went; those without a report say nothing."""
        with UI_LOCK:
            rows = {place[0] for place in {*self._reports, *reports} if self._reports.get(place) != reports.get(place)}
            self._reports = dict(reports)
            for row in rows:
                if row < len(self._board.bands):
                    self._write(row)
                    self._board.send(row, now=True)

    # -- the last row -----------------------------------------------------------------------------------------------

    def made(self, name: str, title: str, values: NDArray[Any] | None, look: Look, why: str = "") -> None:
        """Show the ``difference`` or the ``disagreement`` in the last row, or say why there is none."""
        with UI_LOCK:
            panel = None if values is None else made_panel(values, look, signed=name == "difference")
            self._made[name] = (title, panel)
            band, place = self._board.extras, EXTRAS.index(name)
            band.tiles.show(place, self._dim if panel is None else panel.compose(self._tile))
            band.states[place] = f"<div class='xai-tell'>{escape(why)}</div>" if why else ""
            band.feet[place] = "" if panel is None else _foot(panel)
            band.title("", [one.capitalize() for one in EXTRAS])
            band.send()
            if self._at is not None:
                self.cursor(self._at)

    # -- the cursor, and words --------------------------------------------------------------------------------------

    def cursor(self, at: tuple[float, float] | None) -> None:
        """Show the cursor at these shares of height and width, with each panel's value there; ``None``: no cursor."""
        with UI_LOCK:
            self._at = at
            if at is not None:
                for row, band in enumerate(self._board.bands):
                    band.values = [_html(self._panels.get((row, n)), at) for n in range(len(band.values))]
                self._board.extras.values = [_html(self._made.get(one, ("", None))[1], at) for one in EXTRAS]
            self._board.cursor(at)

    def told_at(self, at: tuple[float, float]) -> str:
        """Return the values at a place in words, for a screen reader."""
        with UI_LOCK:
            every = [(self._states[place].title, self._panels[place]) for place in sorted(self._panels)]
            every += [(title, panel) for title, panel in self._made.values() if panel is not None]
            parts = [f"{title} {' '.join(_reading(panel, at))}" for title, panel in every]
        where = f"At {100 * at[0]:.0f} % down, {100 * at[1]:.0f} % across: "
        return where + ("; ".join(parts) or "no map yet") + "."

    def words(self) -> list[str]:
        """Return one sentence a panel: what it shows, where it is strongest, its range; or why there is none."""
        with UI_LOCK:
            return [_sentence(self._states[place], self._panels.get(place)) for place in sorted(self._states)]


def _sentence(state: State, panel: Panel | None) -> str:
    if panel is None or state.result is None:
        reason = " ".join(str(state.error).split()) if state.error is not None else state.state
        return f"{state.title}: {reason}"
    part, layer = panel.raw, state.result.layer
    names = {"method": part.title(state.method), "target": state.target, "layer": layer, "unit": panel.unit}
    done = "" if state.result.progress >= 1 else f" ({state.result.progress:.0%} done)"
    return describe(part.part, part.map_scale, **names) + done


def _foot(panel: Panel) -> str:
    part = panel.drawn
    legend = legend_html(part.classes) if part.classes is not None else ""
    # that values are clipped is said once, below all panels: there is no room for it here
    return colorbar_html(part.scale, part.look, panel.drawn_unit, most=3, told=False) + legend


def _state_html(state: State, report: TrustReport | None = None) -> str:
    if state.error is not None:
        words = escape(" ".join(str(state.error).split()))
        return f"<div class='xai-why' role='note' tabindex='0'>{words}</div>"
    if state.result is None:
        return f"<div class='xai-tell'>{escape(state.state)}</div>"
    if state.result.progress >= 1:
        said = [] if state.first else ["<div>no layer: the same map</div>"]
        if report is not None:
            tip = escape(f"{report.verdict} ({', '.join(verdicts(report))})", quote=True)
            said.append(f"<div class='xai-trusted' tabindex='0' title=\"{tip}\">{escape(short(report))}</div>")
        return f"<div class='xai-tell'>{''.join(said)}</div>" if said else ""
    share = 100 * state.result.progress
    words = "stopped at" if state.state == "stopped" else f"{state.result.provenance.seconds:.1f} s ·"
    return (
        f"<div class='xai-tell'>{words} {share:.0f} %</div><div class='xai-run' role='progressbar' "
        f"aria-label='{escape(state.title)}' aria-valuenow='{share:.0f}'><div style='width:{share:.1f}%'></div></div>"
    )


def _reading(panel: Panel, at: tuple[float, float]) -> tuple[str, str]:
    """Return the raw value of a panel at shares of its height and width, and its unit."""
    values = panel.raw.points
    height, width = values.shape[:2]
    inside = values[min(height - 1, int(at[0] * height)), min(width - 1, int(at[1] * width))]
    if values.ndim == 3:
        words = " ".join(f"{c[0].upper()} {number(float(v), 2)}" for c, v in zip(COLORS, inside, strict=True))
        return words, panel.unit
    classes = panel.raw.classes
    words = number(float(inside))
    return (words if classes is None else f"{classes.label(*at)} {words}"), panel.unit


def _html(panel: Panel | None, at: tuple[float, float]) -> str:
    if panel is None:
        return ""
    words, unit = _reading(panel, at)
    return f"<b>{escape(words)}</b> {escape(unit)}"
