"""Attacks on a map: the pictures and maps before and after, and a region that a person draws for the map to go to."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import ipywidgets as w

from xaiwidgets.render.numbers import number, percent
from xaiwidgets.widgets.drawing import Stage
from xaiwidgets.widgets.lab.panel import Panel
from xaiwidgets.widgets.lab.sheet import LARGE, MOST_COLUMNS, SMALL, Tile
from xaiwidgets.widgets.quiet import Quiet
from xaiwidgets.widgets.window import SMALLEST, Window

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from xaiwidgets.widgets.lab.panel import Shot

#: Rows and columns that a region is drawn in.
GRID = 224
#: A region that is smaller than this is none that a person meant.
LEAST = 8


class Aim:
    """A rectangle on the photo: dragged anew anywhere, moved and resized by its handles, the keyboard or sliders.

    Args:
        aimed: called with (top, left, bottom, right) in shares of the picture when a drag or a key press has ended.
    """

    def __init__(self, aimed: Callable[[tuple[float, float, float, float]], Any]) -> None:
        self._aimed = aimed
        self.stage = Stage(LARGE, LARGE, "xai-aim")
        self.window = Window.centered(GRID // 4, GRID // 4, (GRID, GRID))
        self.on = False
        self._grip, self._fresh = "", False
        self._from = (0.0, 0.0)
        self._before = self.window
        self._quiet = Quiet()
        self.sliders = {name: self._slider(name) for name in ("top", "left", "height", "width")}
        row = w.HBox(list(self.sliders.values()))
        row.add_class("xai-tools")
        title = w.HTML("<div class='xai-muted'>Drag a box: the attack tries to move the map into it.</div>")
        self.box = w.VBox([title, self.stage.canvas, row])
        self.box.add_class("xai-aimbox")
        self.stage.on_pointer(self._down, self._move, self._up)
        self.stage.on_key(self._key)

    def _slider(self, name: str) -> w.IntSlider:
        low = SMALLEST if name in ("height", "width") else 0
        slider = w.IntSlider(
            value=getattr(self.window, name), min=low, max=GRID, description=name, continuous_update=False
        )
        slider.style.description_width = "42px"
        slider.tooltip = f"{name} of the region, of {GRID}"
        slider.observe(lambda change, name=name: self._slid(name, change["new"]), "value")
        return slider

    def show(self, pixels: Any, region: tuple[float, float, float, float] | None, on: bool) -> None:
        """Show the photo, and the region on it while an attack goes for one."""
        self.on = on
        self.box.layout.display = "" if on else "none"
        if not on:
            return
        if region is not None and not self._grip:
            top, left, bottom, right = (round(GRID * share) for share in region)
            self.window = Window(top, left, bottom - top, right - left, (GRID, GRID)).inside()
        self.stage.show(pixels)
        self._refresh()

    def _place(self, row: Any, column: Any) -> tuple[float, float] | None:
        """Return the place in the grid, or ``None`` if what the browser has sent is none."""
        try:
            found = [float(v) / side for v, side in zip((row, column), self.stage.size, strict=True)]
        except (TypeError, ValueError):
            return None
        if not all(map(math.isfinite, found)):
            return None
        down, across = (min(max(share, 0.0), 1.0) * GRID for share in found)
        return down, across

    def _down(self, row: float, column: float) -> None:
        place = self._place(row, column)
        if place is None or not self.on:
            return
        self._before, self._from = self.window, place
        self._grip, self._fresh = self.window.grip(*place), False
        if not self._grip:  # a new rectangle begins here
            self._before = Window(round(place[0]), round(place[1]), SMALLEST, SMALLEST, self.window.size).inside()
            self.window = self._before
            self._grip, self._fresh = "br", True
        self._refresh()

    def _move(self, row: float, column: float) -> None:
        place = self._place(row, column)
        if self._grip and place is not None:
            changed = self._before.dragged(self._grip, place[0] - self._from[0], place[1] - self._from[1])
            if changed != self.window:
                self.window = changed
                self._refresh()

    def _up(self) -> None:
        if not self._grip:
            return
        fresh, self._grip = self._fresh, ""
        if fresh and min(self.window.height, self.window.width) < LEAST:  # a press without a drag
            self.window = Window.centered(GRID // 4, GRID // 4, (GRID, GRID)).moved(
                round(self._from[0]) - GRID // 2, round(self._from[1]) - GRID // 2
            )
        self._refresh()
        self._tell()

    def _key(self, key: str, shift: bool) -> None:
        if key in ("Tab", "Escape"):  # the canvas swallows Tab; hand the focus on
            self.sliders["top"].focus()
        elif self.on and key.startswith("Arrow"):
            self.window = self.window.pressed(key, shift)
            self._refresh()
            self._tell()

    def _slid(self, name: str, value: Any) -> None:
        if self._quiet or isinstance(value, bool) or not isinstance(value, int):
            return
        sides = {n: getattr(self.window, n) for n in self.sliders}
        self.window = Window(**{**sides, name: value}, size=self.window.size).inside()
        self._refresh()
        self._tell()

    def _tell(self) -> None:
        top, left, bottom, right = self.window.box
        self._aimed((top / GRID, left / GRID, bottom / GRID, right / GRID))

    def _refresh(self) -> None:
        with self._quiet:
            for name, slider in self.sliders.items():
                if slider.value != getattr(self.window, name):
                    slider.value = getattr(self.window, name)
        height, width = self.stage.size
        top, left, bottom, right = self.window.box
        box = (top * height / GRID, left * width / GRID, bottom * height / GRID, right * width / GRID)
        self.stage.outline(box, active=bool(self._grip))

    def close(self) -> None:
        """Close the canvas."""
        self.stage.close()


class Attack(Panel):
    """Before and after an attack, step by step.

    Args:
        aimed: called with the region that a person has drawn, in shares of the picture.
    """

    beside = 520

    def __init__(self, aimed: Callable[[tuple[float, float, float, float]], Any]) -> None:
        self.aim = Aim(aimed)
        super().__init__()

    def parts(self) -> Sequence[w.Widget]:
        """Return the widgets from top to bottom."""
        plots = w.Box([plot.box for plot in self.plots])
        plots.add_class("xai-plots")
        self.row = w.Box([self.aim.box, self.sheet.box])
        self.row.add_class("xai-aimed")
        return (self.row, self.words, plots, self.known)

    def draw(self, shot: Shot) -> None:
        """Show the best attack so far."""
        score = shot.score
        maps = {} if score is None else score.maps
        names = ("map", "map of the changed picture")
        aiming = shot.region is not None
        (self.row.add_class if aiming else self.row.remove_class)("xai-aiming")
        drawn = names[1:] if aiming else names  # the canvas has the map then
        tiles = [self.map(name, maps.get(name), unit="share of the map", side=SMALL, tell="waits") for name in drawn]
        pictures = {} if score is None else score.pictures
        tiles.append(Tile("changed picture", pictures.get("changed"), "", "" if pictures else "waits"))
        tiles.append(self.map("the change, enlarged", maps.get("change"), over=False, unit="levels of 255",
                              side=SMALL, tell="waits"))  # fmt: skip
        self.sheet.show(tiles, self.ratio, 2 if aiming else MOST_COLUMNS)
        over = maps.get(names[0])
        photo = self.photo()
        own = photo if over is None else self.map("aim", over, unit="").pixels
        self.aim.show(photo if own is None else own, shot.region, aiming)
        curves = () if score is None else score.curves
        planned = None if score is None else float(score.knobs.get("steps", 1))
        for number_, plot in enumerate(self.plots):
            plot.show(curves[number_ : number_ + 1], None, 0.0, planned)
        self.words.value = f"<div class='xai-said2' role='status' aria-live='polite'>{self._say(shot)}</div>"

    def _say(self, shot: Shot) -> str:
        score = shot.score
        if score is None or "attack" not in score.details:
            return "The map comes first, then random signs, then the attack step by step."
        found = score.details
        before, after = found["region"]
        most = number(float(found["largest_change"]))
        return (
            f"Changed by at most {most} levels of 255: <b>{percent(score.value)}</b> of "
            f"the strongest pixels stay, the center moves by {number(float(found['center_shift']))} px, the region's "
            f"share of the map goes from {percent(before)} to {percent(after)}."
        )

    def close(self) -> None:
        """Close all widgets."""
        self.aim.close()
        super().close()
