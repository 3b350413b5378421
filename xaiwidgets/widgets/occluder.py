"""Hiding a region by hand: a rectangle on the photo, its sliders, and what the network then says."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import ipywidgets as w

from xaiwidgets.render.numbers import number
from xaiwidgets.widgets.quiet import Quiet
from xaiwidgets.widgets.window import SMALLEST, Window

if TYPE_CHECKING:
    from collections.abc import Callable

    from xaiwidgets.studio.frame import Probe
    from xaiwidgets.widgets.drawing import Stage


class Occluder:
    """The rectangle over the photo with sliders in step; mouse, touch and keyboard move and resize it.

    Args:
        stage: where it is drawn.
        moved: called with the box (model pixels) at every change.
        released: called with the window when a drag or a key press has ended.
    """

    def __init__(self, stage: Stage, moved: Callable[[Any], None], released: Callable[[Window], None]) -> None:
        self._stage, self._moved, self._released = stage, moved, released
        self.size = (224, 224)
        self.window = Window.centered(64, 64, self.size)
        self.on = False
        self._grip = ""
        self._from: tuple[float, float] = (0.0, 0.0)
        self._before = self.window
        self._quiet = Quiet()
        self.toggle = w.ToggleButton(
            description="Hide a region", tooltip="Drag a rectangle over the photo and watch the scores"
        )
        self.toggle.add_class("xai-plain")
        self.toggle.observe(lambda change: self.activate(bool(change["new"])), "value")
        self._sliders = {
            name: self._slider(name, low)
            for name, low in (("top", 0), ("left", 0), ("height", SMALLEST), ("width", SMALLEST))
        }
        self.reading = w.HTML(layout=w.Layout(min_width="200px"))
        self.sliders = w.HBox([*self._sliders.values()])
        self.sliders.add_class("xai-tools")
        self.sliders.layout.display = "none"

    def _slider(self, name: str, low: int) -> w.IntSlider:
        slider = w.IntSlider(min=low, max=self.size[0], value=getattr(self.window, name), description=name)
        slider.style.description_width = "42px"
        slider.tooltip = f"{name} of the hidden region in pixels of the network's input"
        slider.observe(lambda change, name=name: self._slid(name, change["new"]), "value")
        return slider

    def set_size(self, size: tuple[int, int]) -> None:
        """Take over the size of the model's input."""
        if size == self.size:
            return
        self.size = size
        self.window = Window.centered(max(SMALLEST, size[0] // 4), max(SMALLEST, size[1] // 4), size)
        with self._quiet:
            for name, slider in self._sliders.items():
                limit = size[0] if name in ("top", "height") else size[1]
                slider.min = min(slider.min, limit)
                slider.max = limit
        self._refresh()

    def activate(self, on: bool) -> None:
        """Show or hide the rectangle."""
        self.on = on
        if self.toggle.value != on:
            self.toggle.value = on
            return
        self.sliders.layout.display = "" if on else "none"
        self.reading.value = ""
        self._refresh()
        if on:
            self._moved(self.window.box)

    def resize(self, height: int, width: int) -> None:
        """Take over a window's sides from elsewhere, without calling back."""
        self.window = self.window.resized(height, width)
        self._refresh()

    def show(self, probe: Probe, target: str) -> None:
        """Say what the network sees now."""
        change = probe.score - probe.whole
        score, less = f"{probe.score:.1%}", f"{change:+.1%}"
        if probe.unit != "probability":
            score, less = number(probe.score), f"{'+' if change >= 0 else ''}{number(change)}"
        self.reading.value = (
            f"<span><b>{score}</b> {escape(target)} <span class='xai-muted'>with the region hidden "
            f"({less})</span></span>"
        )

    def press(self, row: float, column: float) -> bool:
        """A press at this place (model pixels); return whether the rectangle takes it."""
        if not self.on:
            return False
        self._grip = self.window.grip(row, column)
        self._from, self._before = (row, column), self.window
        self._refresh()
        return bool(self._grip)

    def drag(self, row: float, column: float) -> bool:
        """The pointer moved; return whether the rectangle follows."""
        if not self._grip:
            return False
        self._set(self._before.dragged(self._grip, row - self._from[0], column - self._from[1]))
        return True

    def release(self) -> bool:
        """The pointer let go; return whether a drag has ended."""
        if not self._grip:
            return False
        self._grip = ""
        self._refresh()
        if self.window != self._before:
            self._released(self.window)
        return True

    def key(self, name: str, shift: bool) -> bool:
        """An arrow key moves the rectangle, with shift resizes it; return whether it was one."""
        if not self.on or not name.startswith("Arrow"):
            return False
        changed = self.window.pressed(name, shift)
        if changed != self.window:
            self._set(changed)
            self._released(changed)
        return True

    def _slid(self, name: str, value: Any) -> None:
        if self._quiet or not isinstance(value, int):
            return
        sides = {n: getattr(self.window, n) for n in ("top", "left", "height", "width")}
        changed = Window(**{**sides, name: value}, size=self.size).inside()
        if changed != self.window:
            self._set(changed)
            self._released(changed)
        else:
            self._refresh()  # the slider was moved past where the rectangle can go

    def _set(self, window: Window) -> None:
        if window != self.window:
            self.window = window
            self._refresh()
            self._moved(window.box)

    def _refresh(self) -> None:
        with self._quiet:
            for name, slider in self._sliders.items():
                value = getattr(self.window, name)
                if slider.value != value:
                    slider.value = value
        if not self.on:
            self._stage.outline(None)
            return
        height, width = self._stage.size
        width = min(width, round(height * self.size[1] / self.size[0]))  # beside the map, the photo is the left panel
        rows, columns = height / self.size[0], width / self.size[1]
        top, left, bottom, right = self.window.box
        self._stage.outline((top * rows, left * columns, bottom * rows, right * columns), active=bool(self._grip))
