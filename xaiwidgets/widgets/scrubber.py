"""The steps of a run as a slider: it follows while the run goes on, and stops it where a person takes hold of it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import ipywidgets as w

from xaiwidgets.widgets.closing import close_tree
from xaiwidgets.widgets.drawing import UI_LOCK

if TYPE_CHECKING:
    from collections.abc import Callable


#: Seconds within which a place of the slider may still be on its way to the browser.
ON_ITS_WAY = 2.0


class Scrubber:
    """A slider over steps 1 … ``planned``, of which those up to ``last`` were done.

    Args:
        sought: called with a step when a person goes to it.
    """

    def __init__(self, sought: Callable[[int], None]) -> None:
        self._sought = sought
        self.step = self.last = 0
        self.planned = 2
        self._moved = 0.0
        self.slider = self._make()
        self.words = w.HTML()
        self._place = w.Box([self.slider])
        self._place.add_class("xai-scrubplace")
        self.box = w.HBox([self._place, self.words])
        self.box.add_class("xai-scrubber")
        self._tell()

    def show(self, step: int, last: int, planned: int) -> None:
        """Stand at this step of so many, without calling back."""
        with UI_LOCK:
            planned = max(planned, last, 2)
            if planned != self.planned:
                # in the browser, the End key of a slider goes to the end that it was made with
                self.planned, old = planned, self.slider
                self.slider = self._make()
                self._place.children = (self.slider,)
                close_tree(old)
            # where a person has put it, it may have gone on in the browser: only a run that goes on moves it
            moved, self.step, self.last = step != self.step, step, last
            self.slider.disabled = last < 1
            if moved:
                self._stand(max(step, 1))
                self._moved = time.monotonic()
            self._tell()

    def by(self, steps: int) -> None:
        """Go so many steps further or back, as far as there are any."""
        if self.last:
            self._go(self.step + steps)

    def _make(self) -> w.IntSlider:
        slider = w.IntSlider(
            value=min(max(self.step, 1), self.planned),
            min=1,
            max=self.planned,
            description="Step",
            readout=False,
            disabled=self.last < 1,
        )
        slider.style.description_width = "32px"
        slider.tooltip = "Go back to any step that was done; Resume goes on from there, Fork keeps what came later, too"
        slider.observe(self._slid, "value")
        return slider

    def _slid(self, change: Any) -> None:
        found = change["new"]
        # not a flag: it would swallow what a person does while the worker moves the slider
        if not isinstance(found, bool) and isinstance(found, int) and found != max(self.step, 1):
            self._go(found)
            if time.monotonic() - self._moved < ON_ITS_WAY:
                # where the run stood was still on its way, and would be taken for where the person went
                self.slider.send_state("value")

    def _go(self, step: int) -> None:
        with UI_LOCK:  # the bounds of a slider belong to the browser; these here count
            self.step = min(max(step, 1), max(self.last, 1))
            self._stand(self.step)
            self._tell()
            if self.last:
                self._sought(self.step)

    def _stand(self, value: int) -> None:
        self.slider.min, self.slider.max = 1, self.planned
        self.slider.value = value

    def _tell(self) -> None:
        later = f", {self.last - self.step} later" if self.step < self.last else ""
        words = f"{self.step} of {self.planned}{later}" if self.last else "no step yet"
        self.words.value = f"<span class='xai-scrubbed2'>{words}</span>"
