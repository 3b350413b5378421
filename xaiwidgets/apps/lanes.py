"""One run on the page: what a person has chosen for it, and how its results are drawn."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from xaiwidgets.core.cards import card
from xaiwidgets.render.curve import curve_svg
from xaiwidgets.render.numbers import number
from xaiwidgets.render.stretch import stretch
from xaiwidgets.render.terms import terms_html
from xaiwidgets.widgets.drawing import UI_LOCK
from xaiwidgets.widgets.goal import Wish

if TYPE_CHECKING:
    from xaiwidgets.core.results import Synthesis
    from xaiwidgets.engine.synthesis_record import SynthesisRecord
    from xaiwidgets.model.model import Model
    from xaiwidgets.studio.live import LiveRun
    from xaiwidgets.widgets.lane import LaneView

#: Seconds between two pictures of what stands beside a run that goes on.
PACE = 0.25
#: The exhibit that is large to begin with, where the picture itself is too faint for the eye even when stretched.
LARGE_FIRST = {"class_model_visualization": 1}


@dataclass(eq=False)
class Lane:
    """One run on the page.

    Attributes:
        name: a letter. ``method``: id of the synthesizer.
        settings: hyper-parameters that were chosen, by method.
        wish: what the picture is made for; ``aims``: whether a method that can do without a target has one.
        image: key of the photo.
        side: pixels of the canvas. ``contrast``: whether faint pictures are shown stronger.
        origin: where it was forked, in words. ``preset``: the marked one.
        shown: the result on screen. ``record``: what is being done again, until it was.
    """

    name: str
    run: LiveRun
    view: LaneView
    method: str
    wish: Wish
    image: str
    side: int
    contrast: bool
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    origin: str = ""
    preset: str = ""
    aims: bool = False
    shown: Synthesis | None = None
    record: SynthesisRecord | None = None
    _due: float = 0.0

    @property
    def knobs(self) -> dict[str, Any]:
        """The hyper-parameters that were chosen for the method, by name."""
        return self.settings.setdefault(self.method, {})

    @property
    def uses_photo(self) -> bool:
        """Whether the method is about a photo, or begins with one."""
        return card(self.method).uses_photo(self.knobs)

    @property
    def has_target(self) -> bool:
        """Whether the method is given a target."""
        made = card(self.method)
        return "target" in made.asks or (self.aims and "target" in made.takes)

    @property
    def planned(self) -> int:
        """How many steps the run on screen is to have."""
        result = self.run.result
        return 2 if result is None else _planned(result)

    @property
    def large(self) -> Any:
        """The picture that is shown large: the result's own, or one that stands beside it; there must be a result."""
        beside, place = self._result.beside, self.view.exhibits.large
        return beside[place - 1].image if 0 < place <= len(beside) else self._result.image

    @property
    def title(self) -> str:
        """What is shown large, in words; there must be a result."""
        beside, place = self._result.beside, self.view.exhibits.large
        which = f" ({beside[place - 1].caption})" if 0 < place <= len(beside) else ""
        return f"{self.run.target}, step {self._result.step}{which}"

    @property
    def changed_knobs(self) -> str:
        """The hyper-parameters in force on screen that are not their defaults, in words; there must be a result."""
        source, result = self._result.provenance, self._result
        plain = {k.name: k.default for k in card(source.method).knobs}
        knobs = {**source.knobs, **{name: new for _, name, _, new in result.events}}
        changed = [f"{name} {value}" for name, value in sorted(knobs.items()) if value != plain.get(name)]
        return ", ".join(changed) or "defaults"

    @property
    def _result(self) -> Synthesis:
        assert self.shown is not None
        return self.shown

    # -- drawing ----------------------------------------------------------------------------------------------------

    def seen(self, image: Any) -> Any:
        """Return a picture in [0, 1] as it is on screen, uint8 ``(H, W, 3)``; what is made of a photo is left as is."""
        method = self.method if self.shown is None else self.shown.provenance.method
        shown = stretch(image) if self.contrast and "photo" not in card(method).asks else image
        return (shown * 255 + 0.5).clip(0, 255).astype(np.uint8)

    def show(self, result: Synthesis) -> None:
        """Show a newer result: its picture, its words, its curves and, not at every step, what stands beside it."""
        resting, now = self.run.state != "running", time.monotonic()
        beside = resting or now >= self._due
        if beside:
            self._due = now + PACE
        self.draw(result, beside=beside)
        parts = [f"{result.unit} {number(result.score)}"]
        if "probability" in result.terms:
            parts.append(f"probability {result.terms['probability']:.1%}")
        if self.run.pace:
            pace = 1 / self.run.pace
            parts.append(f"{pace:.{0 if pace >= 2 else 1}f} steps a second")
        self.view.say(self.run.target, " · ".join(parts), " ".join(result.notes), resting=resting)
        self._draw_curves(result)

    def draw(self, result: Synthesis | None = None, *, beside: bool = False) -> None:
        """Draw a newer picture, or the one on screen in another way."""
        with UI_LOCK:  # else an older picture could be drawn over a newer one
            self.shown = result or self.shown
            if self.shown is None:
                return
            self.view.fill()
            if beside:
                self.view.exhibits.show([(self.seen(e.image), e.caption) for e in self.shown.beside])
            self._put(self.large)

    def clear(self, words: str, photo: Any = None) -> None:
        """Show that there is no result: what is to be done about it, over the photo that it will be about, if any."""
        with UI_LOCK:
            self.shown = None
            self.view.empty(words, plain=photo is None)
            if photo is not None:
                self._put(photo)

    def glance(self, pixels: Any) -> None:
        """Draw a picture that was kept, uint8, until the exact result is there."""
        if not self.view.exhibits.large:
            with UI_LOCK:
                self._put(pixels / np.float32(255))

    def _put(self, image: Any) -> None:
        gray = image.shape[2] == 1  # a photo as the network sees it; results are always in color
        picture = Image.fromarray(self.seen(np.repeat(image, 3, axis=2) if gray else image))
        scale = self.side / max(picture.size)
        size = (round(picture.width * scale), round(picture.height * scale))
        self.view.stage.show(np.asarray(picture.resize(size, Image.Resampling.BICUBIC)))

    def _draw_curves(self, result: Synthesis) -> None:
        planned = _planned(result)
        events = [(step, f"{name}: {old} → {new}") for step, name, old, new in result.events]
        self.view.curve.value = curve_svg(result.curve, planned, events, result.unit)
        at = np.arange(1, len(result.curve) + 1)
        curves: dict[str, Any] = {name: (at[: len(values)], values) for name, values in result.curves.items()}
        for name, (steps, values) in self.run.timeline.curves().items():
            if name not in curves and name != "objective":
                curves[name] = steps[steps <= result.step], values[steps <= result.step]
        self.view.terms.value = terms_html(curves, planned, [step for step, *_ in result.events])


def wish_of(old: Wish, target: Any, named: str, model: Model) -> Wish:
    """Return a target as the controls show it, where they can; what they do not show of it stays as it was."""
    if hasattr(target, "text"):
        return replace(old, kind="objective", text=target.text, exact=None)
    if target.layer and isinstance(target.position, str):
        place = {"layer": target.layer, "channel": target.channel, "position": target.position}
        return replace(old, kind="unit", exact=None, **place)
    if len(target.classes) == 1 and target.minus is None and target.output == "logit":
        return replace(old, kind="class", category=model.labels.short(target.classes[0]), exact=None)
    return replace(old, kind="class", category=named, exact=target)


def _planned(result: Synthesis) -> int:
    return max(result.step, round(result.step / max(result.progress, 1e-6)))
