"""The Maximizer: watch a network paint what excites it, and move the regularizers while it does."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import ipywidgets as w
import numpy as np
from PIL import Image

from xaiwidgets.core.cards import card
from xaiwidgets.core.knobs import clamp_knobs
from xaiwidgets.render.animation import animate, png_bytes
from xaiwidgets.render.curve import curve_svg
from xaiwidgets.render.numbers import number
from xaiwidgets.render.stretch import stretch
from xaiwidgets.studio.album import Album
from xaiwidgets.studio.frame import Status
from xaiwidgets.studio.live import Ask, LiveRun
from xaiwidgets.studio.studio import VIEW
from xaiwidgets.synthesis.presets import PRESETS
from xaiwidgets.widgets.closing import close_tree
from xaiwidgets.widgets.controls import Form
from xaiwidgets.widgets.drawing import UI_LOCK, Stage
from xaiwidgets.widgets.export import download
from xaiwidgets.widgets.gallery import Gallery
from xaiwidgets.widgets.goal import Goal
from xaiwidgets.widgets.readout import StatusLine
from xaiwidgets.widgets.snapshots import Snapshots
from xaiwidgets.widgets.theme import label, mark, page, style

if TYPE_CHECKING:
    from collections.abc import Callable

    from xaiwidgets.core.results import Synthesis
    from xaiwidgets.model.model import Model

METHOD = "activation_maximization"
#: Frames a second of the animated file.
FPS = 15


class Maximizer(w.VBox):
    """Activation maximization as a live view.

    Args:
        model: a ``Model``, a name for ``load_model``, a function that returns a ``Model`` (called by the worker), or
            ``None`` for the bundled network.
        target: label of the first class.
        autostart: begin to paint as soon as the model is there.
        nav: a widget for the header, e.g. the tabs of a larger app.

    ``run`` is the run under way (``run.result`` its last picture); ``wait`` blocks until it rests, ``close`` ends it.
    """

    def __init__(
        self,
        model: Model | str | Callable[[], Model] | None = None,
        target: str = "espresso",
        *,
        autostart: bool = True,
        nav: w.Widget | None = None,
        sync: bool = False,
    ) -> None:
        super().__init__()
        self.run = LiveRun(model if model is not None else "efficientnet_lite0", sync=sync)
        self.knobs: dict[str, Any] = {}
        self._image = "coffee"
        self._shown: Synthesis | None = None
        self._nav = nav
        self._build(target)
        self._listen()
        self.add_class("xai-root")
        if self.run.model is not None:
            self._on_model(self.run.model)
        if autostart:
            self.run.start(self._ask())
        else:
            self.run.load()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the worker rests; return whether it was in time."""
        return self.run.wait(timeout)

    def close(self) -> None:
        """End the worker and close all widgets."""
        self.run.close()
        self.stage.close()
        close_tree(*self.children, self.layout, keep=() if self._nav is None else (self._nav,))
        super().close()

    # -- building -----------------------------------------------------------------------------------------------

    def _build(self, target: str) -> None:
        made = card(METHOD)
        self.album = Album()
        self.stage = Stage(VIEW, VIEW)
        self.stage.show(np.full((VIEW, VIEW, 3), 127, np.uint8))
        self.goal = Goal(self._goal_changed, target)
        self.gallery = Gallery(self.album, self._photo_chosen, self._fail)
        self.gallery.show(self._image)
        self.form = Form([k for k in made.knobs if k.live], self._live)
        self.fixed = Form([k for k in made.knobs if not k.live], self._fixed)
        self.status = StatusLine()
        self.curve = w.HTML(layout=w.Layout(width="100%"))
        self.snapshots = Snapshots()
        self.presets = {name: self._button(preset.title, preset.idea, "xai-chip") for name, preset in PRESETS.items()}
        for name, chip in self.presets.items():
            chip.on_click(lambda _, name=name: self._preset(name))
        self.start = self._button("Start", "Begin a new run", "xai-plain", "xai-primary")
        self.pause = self._button("Pause", "Stop and go on later", "xai-plain")
        self.step = self._button("Step", "One step of a paused run", "xai-plain")
        self.reset = self._button("Reset", "Drop this run and go back to the start picture", "xai-plain")
        self.snap = self._button("Snapshot", "Keep this picture in the strip", "xai-plain")
        self.png = self._button("Save PNG", "The picture at the network's own size", "xai-plain")
        self.film = self._button("Save film", "The run so far as an animated WebP file", "xai-plain")
        self.start.on_click(lambda _: self.run.start(self._ask()))
        self.pause.on_click(lambda _: self.run.pause() if self.run.state == "running" else self.run.go_on())
        self.step.on_click(lambda _: self._one_step())
        self.reset.on_click(lambda _: self._reset())
        self.snap.on_click(lambda _: self._snapshot())
        self.png.on_click(lambda _: self._save_png())
        self.film.on_click(lambda _: self._save_film())
        self.contrast = w.Checkbox(
            value=True,
            description="Stretch contrast",
            indent=False,
            tooltip="Shows faint pictures stronger; only a view",
        )
        self.contrast.layout.width = "auto"
        self.contrast.observe(lambda _: self._draw(), "value")
        self.saved = w.HTML()
        self.twin = w.HTML("<div class='xai-twin'>&nbsp;</div>")
        self.model_name = w.HTML("<span class='xai-muted'>loading the model …</span>")
        self._draw_curve(None)
        self._on_state(self.run.state)
        self._mark_preset("calm")
        self.children = (style(), self._layout())

    def _button(self, words: str, tooltip: str, *classes: str) -> w.Button:
        button = w.Button(description=words, tooltip=tooltip)
        for name in classes:
            button.add_class(name)
        return button

    def _layout(self) -> w.Box:
        title = w.HTML("<span class='xai-title' role='heading' aria-level='1'>xaiwidgets Maximize</span>")
        head = w.HBox([title, *([self._nav] if self._nav is not None else []), self.model_name])
        start = w.VBox([label("Start of the run"), self.fixed.box])
        self.photos = w.VBox([self.gallery.box])
        self.photos.layout.display = "none"
        left = w.VBox([self.goal.box, start, self.photos, label("Snapshots"), self.snapshots.box])
        stage = w.VBox([self.stage.canvas])
        stage.add_class("xai-stagebox")
        buttons = w.HBox([self.start, self.pause, self.step, self.reset, self.snap, self.png, self.film, self.contrast])
        buttons.add_class("xai-tools")
        main = w.VBox([stage, self.status.progress, self.twin, self.curve, buttons, self.saved])
        main.add_class("xai-lower")
        chips = w.Box(list(self.presets.values()))
        chips.add_class("xai-chips")
        made = card(METHOD)
        about = w.HTML(
            f"<div><p>{made.idea}</p><details><summary>How it works, and when not to trust it</summary>"
            f"<p><code>{made.formula}</code></p><p>{made.how}</p><p><b>Caution.</b> {made.caution}</p></details>"
            f"<p class='xai-muted'>{made.cite}</p></div>"
        )
        right = w.VBox([about, label("Presets"), chips, label("Regularizers, live"), self.form.box])
        foot = w.VBox([self.status.line])
        return page(head=head, left=left, main=main, right=right, foot=foot)

    def _listen(self) -> None:
        self.run.on("model", self._on_model)
        self.run.on("frame", self._on_frame)
        self.run.on("status", self.status.show)
        self.run.on("state", self._on_state)

    # -- from the person to the run -----------------------------------------------------------------------------

    def _ask(self) -> Ask:
        method = card(METHOD).make(**self.knobs)
        image = self.album.get(self._image) if self.knobs.get("start") == "photo" else None
        return Ask(method, self.goal.target, image)

    def _live(self, name: str, value: Any) -> None:
        self._adopt({name: value})
        self._mark_preset("")

    def _adopt(self, values: dict[str, Any]) -> None:
        self.knobs = clamp_knobs(card(METHOD).cls, {**self.knobs, **values})
        self.run.change({name: self.knobs[name] for name in values if name in self.knobs})

    def _fixed(self, name: str, value: Any) -> None:
        self.knobs = clamp_knobs(card(METHOD).cls, {**self.knobs, name: value})
        self.photos.layout.display = "" if self.knobs.get("start") == "photo" else "none"
        self._restart()

    def _preset(self, name: str) -> None:
        values = dict(PRESETS[name].knobs)
        self.form.set(values)
        self._adopt(values)
        self._mark_preset(name)
        if self.run.state == "done":  # there is no next step that could act on it
            self._restart()

    def _mark_preset(self, chosen: str) -> None:
        for name, chip in self.presets.items():
            mark(chip, name == chosen)

    def _goal_changed(self) -> None:
        self._restart()

    def _photo_chosen(self, key: str) -> None:
        if key in self.album.keys:
            self._image = key
            self.gallery.show(key)
            self._restart()

    def _restart(self) -> None:
        """A run about something else is painted like the old one, or stops at its first step if that was paused."""
        if self.run.playing:
            self.run.start(self._ask())
        elif self.run.model is not None:
            self.run.prepare(self._ask())

    def _one_step(self) -> None:
        if self.run.state == "running":
            self.run.pause()
        if self.run.state == "paused":
            self.run.step()
        else:
            self.run.prepare(self._ask())

    def _reset(self) -> None:
        self.run.prepare(self._ask())

    def _fail(self, message: str) -> None:
        self.status.show(Status(message, "error"))

    # -- from the run to the screen -----------------------------------------------------------------------------

    def _on_model(self, model: Model) -> None:
        shape = "×".join(map(str, model.input_shape))
        words = f"{model.name} · {shape} · {model.classes} classes"
        self.model_name.value = f"<span class='xai-muted'>{escape(words)}</span>"
        self.goal.set_model(model)

    def _on_state(self, state: str) -> None:
        self.pause.description = "Resume" if state == "paused" else "Pause"
        self.pause.disabled = state not in ("running", "paused")

    def _on_frame(self, result: Synthesis) -> None:
        if self._shown is None or result.step < self._shown.step:
            self.saved.value = ""  # the link is to a picture of another run
        self._draw(result)
        parts = [f"{result.unit} {number(result.score)}"]
        if "probability" in result.terms:
            parts.append(f"probability {result.terms['probability']:.1%}")
        if self.run.pace:
            parts.append(f"{1 / self.run.pace:.0f} steps a second")
        notes = " ".join(result.notes)
        # a screen reader is told when the picture rests, not fifteen times a second
        role = "" if self.run.state == "running" else " role='status'"
        self.twin.value = (
            f"<div class='xai-twin'{role}>{escape(self.run.target)}: {escape(' · '.join(parts))} "
            f"<span class='xai-muted'>{escape(notes)}</span></div>"
        )
        self._draw_curve(result)

    def _draw(self, result: Synthesis | None = None) -> None:
        """Show a newer picture, or the one on screen in another way."""
        with UI_LOCK:  # else an older picture could be drawn over a newer one
            self._shown = result or self._shown
            if self._shown is not None:
                self.stage.show(_enlarged(self._seen(self._shown.image), VIEW))

    def _seen(self, image: Any) -> Any:
        """Return a picture in [0, 1] as it is on screen, uint8 ``(H, W, 3)``."""
        shown = stretch(image) if self.contrast.value else image
        return (shown * 255 + 0.5).clip(0, 255).astype(np.uint8)

    def _draw_curve(self, result: Synthesis | None) -> None:
        if result is None:
            self.curve.value = curve_svg(np.array([]), 128, label="score")
            return
        planned = max(result.step, round(result.step / max(result.progress, 1e-6)))
        events = [(step, f"{name}: {old} → {new}") for step, name, old, new in result.events]
        self.curve.value = curve_svg(result.curve, planned, events, result.unit)

    def _snapshot(self) -> None:
        shown = self._shown
        if shown is None:
            self._fail("There is no picture yet: press Start first.")
            return
        chance = shown.terms.get("probability")
        caption = f"{_title(shown)}" + (f", {chance:.0%}" if chance is not None else "")
        self.snapshots.add(self._seen(shown.image), caption, _words(_knobs(shown)))

    def _save_png(self) -> None:
        shown = self._shown
        if shown is None:
            self._fail("There is no picture yet: press Start first.")
            return
        source = shown.provenance
        made = f"{source.method} of {source.model}: {_title(shown)}; {_words(_knobs(shown))}"
        content = png_bytes(self._seen(shown.image), {"Software": "xaiwidgets", "Description": made})
        self.saved.value = download(content, f"{_file_name(source.target)}.png", "image/png", "Download PNG")

    def _save_film(self) -> None:
        frames, shown = self.run.frames(), self._shown
        if not frames or shown is None:
            self._fail("There is no film yet: press Start first.")
            return
        self.saved.value = f"<span class='xai-muted'>Making a film of {len(frames)} frames …</span>"
        name = f"{_file_name(shown.provenance.target)}.webp"
        # between two steps on the worker: it takes seconds, and the page must go on answering
        self.run.runner.urgent("film", lambda: self._make_film(frames, name))

    def _make_film(self, frames: list[Any], name: str) -> None:
        content = animate([self._seen(frame / np.float32(255)) for frame in frames], FPS, "webp")
        words = f"Download film ({len(frames)} frames, {len(content) / 1024:.0f} kB)"
        self.saved.value = download(content, name, "image/webp", words)


def _enlarged(pixels: Any, side: int) -> Any:
    picture = Image.fromarray(pixels)
    scale = side / max(picture.size)
    size = (round(picture.width * scale), round(picture.height * scale))
    return np.asarray(picture.resize(size, Image.Resampling.BICUBIC))


def _file_name(words: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in words)[:60].strip("-") or "picture"


def _title(result: Synthesis) -> str:
    return f"{result.provenance.target}, step {result.step}"


def _knobs(result: Synthesis) -> dict[str, Any]:
    """Return the hyper-parameters in force at the end, by name."""
    return {**result.provenance.knobs, **{name: new for _, name, _, new in result.events}}


def _words(knobs: dict[str, Any]) -> str:
    plain = {k.name: k.default for k in card(METHOD).knobs}
    changed = [f"{name} {value}" for name, value in sorted(knobs.items()) if value != plain.get(name)]
    return ", ".join(changed) or "defaults"
