"""SynthesisLab: watch pictures being made by optimization, move what they depend on, go back, fork, and replay."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any

import ipywidgets as w
import numpy as np
from PIL import Image

from xaiwidgets.core.cards import card, cards
from xaiwidgets.core.knobs import clamp_knobs
from xaiwidgets.engine.run import missing
from xaiwidgets.engine.synthesis_record import (
    differences,
    picture_digest,
    read_record,
    record_photo,
    record_target,
    synthesis_record,
    told_difference,
)
from xaiwidgets.errors import InvalidRecord, UnknownMethod, XaiError
from xaiwidgets.model.targets import NOTHING
from xaiwidgets.render.animation import animate, png_bytes
from xaiwidgets.render.curve import curve_svg
from xaiwidgets.render.numbers import number
from xaiwidgets.render.stretch import stretch
from xaiwidgets.render.terms import terms_html
from xaiwidgets.studio.album import Album
from xaiwidgets.studio.frame import Status
from xaiwidgets.studio.live import Ask, LiveRun
from xaiwidgets.studio.rota import Rota
from xaiwidgets.studio.studio import VIEW
from xaiwidgets.synthesis.presets import PRESETS
from xaiwidgets.widgets.catchup import CatchUp
from xaiwidgets.widgets.closing import close_tree
from xaiwidgets.widgets.controls import Form
from xaiwidgets.widgets.drawing import UI_LOCK, make_canvas
from xaiwidgets.widgets.export import download
from xaiwidgets.widgets.gallery import Gallery
from xaiwidgets.widgets.goal import Goal, Wish
from xaiwidgets.widgets.lane import LaneView, sheet
from xaiwidgets.widgets.picker import Picker
from xaiwidgets.widgets.readout import StatusLine
from xaiwidgets.widgets.scrubber import Scrubber
from xaiwidgets.widgets.snapshots import Snapshots
from xaiwidgets.widgets.theme import label, mark, page, style

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Literal

    from xaiwidgets.core.results import Synthesis
    from xaiwidgets.engine.synthesis_record import SynthesisRecord
    from xaiwidgets.model.model import Model

METHOD = "activation_maximization"
#: Frames a second of the animated file.
FPS = 15
#: Runs side by side, and canvas pixels of each when there are several.
MOST_LANES, SMALL_VIEW = 4, 448
#: Seconds between two pictures of what stands beside a run that goes on.
PACE = 0.25


@dataclass(eq=False)
class Lane:
    """One run on the page, with what a person has chosen for it.

    Attributes:
        name: a letter. ``method``: id of the synthesizer.
        settings: hyper-parameters that were chosen, by method.
        wish: what the picture is made for. ``image``: key of the photo.
        origin: where it was forked, in words. ``preset``: the marked one.
        shown: the result on screen. ``record``: what is being done again, until it was.
    """

    name: str
    run: LiveRun
    view: LaneView
    method: str
    wish: Wish
    image: str
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    origin: str = ""
    preset: str = ""
    shown: Synthesis | None = None
    record: SynthesisRecord | None = None
    due: float = 0.0

    @property
    def knobs(self) -> dict[str, Any]:
        """The hyper-parameters that were chosen for the method, by name."""
        return self.settings.setdefault(self.method, {})

    @property
    def made_by(self) -> str:
        """Id of the method that has made what is on screen."""
        return self.method if self.shown is None else self.shown.provenance.method

    @property
    def uses_photo(self) -> bool:
        """Whether the method is about a photo, or begins with one."""
        start = next((k.default for k in card(self.method).knobs if k.name == "start"), "")
        return "photo" in card(self.method).asks or self.knobs.get("start", start) == "photo"


class SynthesisLab(w.VBox):
    """Pictures made by optimization as a live view: every regularizer is a slider that acts at the next step.

    Args:
        model: a ``Model``, a name for ``load_model``, a function that returns a ``Model`` (called by the worker), or
            ``None`` for the bundled network.
        target: label of the first class.
        method: id of the first synthesizer.
        image: a sample's name, or anything that ``read_picture`` takes, for methods that need a photo.
        autostart: begin to paint as soon as the model is there.
        album: pictures to choose from, e.g. those of another app.
        nav: a widget for the header, e.g. the tabs of a larger app.

    ``run`` is the run whose knobs are shown (``run.result`` its last picture), ``lanes`` are all of them; ``wait``
    blocks until all rest, ``fork`` adds one, ``replay`` does a recorded run again, ``close`` ends all.
    """

    def __init__(
        self,
        model: Model | str | Callable[[], Model] | None = None,
        target: str = "espresso",
        method: str = METHOD,
        image: Any = "coffee",
        *,
        autostart: bool = True,
        album: Album | None = None,
        nav: w.Widget | None = None,
        sync: bool = False,
    ) -> None:
        if card(method).kind != "synthesizer":
            ids = ", ".join(made.id for made in cards("synthesizer"))
            raise UnknownMethod(f"method must be one of the synthesizers: {ids}; {method!r} is an {card(method).kind}.")
        self.album = album or Album()
        key = image if isinstance(image, str) and image in self.album.keys else self.album.add(image)
        super().__init__()
        self._sync = sync
        self._rota = None if sync else Rota()
        source = model if model is not None else "efficientnet_lite0"
        run = LiveRun(source, sync=sync, runner=None if self._rota is None else self._rota.queue)
        self.lanes: list[Lane] = []
        self._nav = nav
        self._forms: dict[str, tuple[Form, Form]] = {}
        self._build(target)
        self.lane = self._add(run, method, self.goal.wish, key)
        self.lane.preset = "calm"
        self._build_page()
        self.add_class("xai-root")
        self.add_class("xai-lab2")
        self._show_lane()
        if self.run.model is not None:
            self._on_model(self.run.model)
        if autostart:
            self.run.start(self._ask(self.lane))
        else:
            self.run.load()

    # -- what a program does with it --------------------------------------------------------------------------------

    @property
    def run(self) -> LiveRun:
        """The run whose knobs are shown."""
        return self.lane.run

    @property
    def knobs(self) -> dict[str, Any]:
        """The hyper-parameters that were chosen for it, by name."""
        return self.lane.knobs

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until all runs rest; return whether it was in time."""
        return True if self._rota is None else self._rota.wait(timeout)

    def fork(self) -> None:
        """Add a second run with the same history up to the step that is shown, and show its knobs.

        Raises:
            XaiError: there is no run yet, or no room for another.
        """
        if len(self.lanes) >= MOST_LANES:
            raise XaiError(f"there is room for {MOST_LANES} runs side by side: close one of them first.")
        old = self.lane
        twin = old.run.fork(None if self._rota is None else self._rota.queue, sync=self._sync)
        made = self._add(twin, old.method, old.wish, old.image, old.view.exhibits.large)
        made.settings = {name: dict(values) for name, values in old.settings.items()}
        made.knobs.update({k.name: twin.knobs[k.name] for k in card(made.method).knobs if k.live})
        made.preset, made.origin = old.preset, f"from {old.name}, step {twin.at}"
        if old.run.at < old.run.timeline.last:  # both are kept: the first one goes back to where it was
            old.run.seek(old.run.timeline.last)
        self._take(made)
        if old.run.playing and twin.state == "paused":
            twin.go_on()
        else:
            twin.refresh()

    def replay(self, record: Any, image: Any = None) -> None:
        """Do a recorded run again, step by step, in the lane whose knobs are shown.

        Args:
            record: from ``synthesis_record``, or its JSON as text, bytes, dictionary or path.
            image: the photo of the run, if it had one that is neither a sample nor in the album.

        Raises:
            XaiError: one of its kinds, naming what does not fit.
        """
        found = read_record(record)
        model = self.run.model
        if model is None:
            raise InvalidRecord("the model is still being loaded: load the run when it is there.")
        notes = differences(model, found)
        upload = f"upload:{found.photo['digest']}" if found.photo is not None else ""
        photo = record_photo(found, self.album.get(upload) if image is None and upload in self.album.keys else image)
        target = record_target(model, found)
        lane = self.lane
        if photo is not None:
            sample = photo.name in self.album.keys and self.album.get(photo.name).digest == photo.digest
            lane.image = self.album.add(photo.name if sample else photo)
        lane.method, lane.preset = found.method, ""
        lane.settings[found.method] = dict(found.knobs)
        if target != NOTHING:
            lane.wish = _wish(target, found.named, model)
        self._show_lane()
        lane.record = None if notes else found
        self.saved.value = f"<span class='xai-muted'>{escape(' '.join(notes))}</span>" if notes else ""
        ask = Ask(found.made, lambda _: target, photo, found.events, found.steps)
        lane.run.start(ask)

    def close(self) -> None:
        """End the worker and close all widgets."""
        if "fixed_place" in self.__dict__:  # else the constructor has raised
            self._catch_up.close()
            for lane in self.lanes:
                lane.run.close()
            if self._rota is not None:
                self._rota.close()
            for lane in self.lanes:
                lane.view.close()
            forms = (form.box for pair in self._forms.values() for form in pair)
            close_tree(*self.children, self.layout, *forms, keep=() if self._nav is None else (self._nav,))
        super().close()

    # -- building ---------------------------------------------------------------------------------------------------

    def _build(self, target: str) -> None:
        self.goal = Goal(self._goal_changed, target)
        self.gallery = Gallery(self.album, self._photo_chosen, self._fail)
        self.picker = Picker(self._method_chosen, "synthesizer")
        self.form_place, self.fixed_place = w.VBox(), w.VBox()
        self.status = StatusLine()
        self.scrubber = Scrubber(self._sought)
        self.snapshots = Snapshots()
        self.presets = {name: self._button(preset.title, preset.idea, "xai-chip") for name, preset in PRESETS.items()}
        for name, chip in self.presets.items():
            chip.on_click(lambda _, name=name: self._preset(name))
        self.start = self._button("Start", "Begin a new run", "xai-plain", "xai-primary")
        self.pause = self._button("Pause", "Stop and go on later", "xai-plain")
        self.step = self._button("Step", "One step of a paused run", "xai-plain")
        self.reset = self._button("Reset", "Drop this run and go back to the start picture", "xai-plain")
        self.forks = self._button("Fork", "A second run beside this one, from the step that is shown", "xai-plain")
        self.snap = self._button("Snapshot", "Keep this picture in the strip", "xai-plain")
        self.png = self._button("Save PNG", "The picture at the network's own size", "xai-plain")
        self.film = self._button("Save film", "The run so far as an animated WebP file", "xai-plain")
        self.gif = self._button("Save GIF", "The run so far as an animated GIF file", "xai-plain")
        self.keep = self._button("Save run", "What it takes to make this picture again, as JSON", "xai-plain")
        self.start.on_click(lambda _: self._each(lambda lane: lane.run.start(self._ask(lane))))
        self.pause.on_click(lambda _: self._pause())
        self.step.on_click(lambda _: self._each(self._one_step))
        self.reset.on_click(lambda _: self._each(lambda lane: lane.run.prepare(self._ask(lane))))
        self.forks.on_click(lambda _: self._guarded(self.fork))
        self.snap.on_click(lambda _: self._snapshot())
        self.png.on_click(lambda _: self._save_png())
        self.film.on_click(lambda _: self._save_film("webp"))
        self.gif.on_click(lambda _: self._save_film("gif"))
        self.keep.on_click(lambda _: self._guarded(self._save_run))
        self.load = w.FileUpload(accept=".json", multiple=False, description="Load run")
        self.load.tooltip = "A file that Save run has written: the run is done again, step by step"
        for name in ("xai-plain", "xai-loadrun"):
            self.load.add_class(name)
        self.load.observe(self._uploaded, "value")
        self.contrast = self._check(
            "Stretch contrast", "Shows faint pictures stronger; only a view, and never of a photo", True
        )
        self.contrast.observe(lambda _: self._draw_all(), "value")
        self.together = self._check(
            "All runs at once", "Start, Pause, Step, Reset and the slider act on all runs", False
        )
        self.saved = w.HTML()
        self.model_name = w.HTML("<span class='xai-muted'>loading the model …</span>")
        self._probe = make_canvas(1, 1, "xai-hello")  # its part in the browser says when the page is there
        self._catch_up = CatchUp(self, self._probe)

    def _button(self, words: str, tooltip: str, *classes: str) -> w.Button:
        button = w.Button(description=words, tooltip=tooltip)
        for name in classes:
            button.add_class(name)
        return button

    def _check(self, words: str, tooltip: str, on: bool) -> w.Checkbox:
        made = w.Checkbox(value=on, description=words, indent=False, tooltip=tooltip)
        made.layout.width = "auto"
        return made

    def _build_page(self) -> None:
        title = w.HTML("<span class='xai-title' role='heading' aria-level='1'>xaiwidgets Synthesis</span>")
        head = w.HBox([title, *([self._nav] if self._nav is not None else []), self.model_name])
        self.goals = w.VBox([self.goal.box])
        self.photos = w.VBox([self.gallery.box])
        self.fixed_label = label("Start of the run")
        left = w.VBox([self.picker.box, self.goals, self.photos, self.fixed_label, self.fixed_place])
        self.lanes_box = w.Box()
        self.lanes_box.add_class("xai-lanes")
        runs = w.HBox([self.start, self.pause, self.step, self.reset, self.forks, self.together, self.contrast])
        files = w.HBox([self.snap, self.png, self.film, self.gif, self.keep, self.load, self.saved])
        for tools in (runs, files):
            tools.add_class("xai-tools")
        main = w.VBox([self.lanes_box, self.status.progress, self.scrubber.box, runs, files, self._probe])
        main.add_class("xai-lower")
        chips = w.Box(list(self.presets.values()))
        chips.add_class("xai-chips")
        self.preset_box = w.VBox([label("Presets"), chips])
        self.live_label = label("Acts at the next step")
        right = w.VBox([self.preset_box, self.live_label, self.form_place, label("Snapshots"), self.snapshots.box])
        foot = w.VBox([self.status.line])
        self.children = (style(), sheet(), page(head=head, left=left, main=main, right=right, foot=foot))

    # -- lanes ------------------------------------------------------------------------------------------------------

    def _add(self, run: LiveRun, method: str, wish: Wish, image: str, large: int = 0) -> Lane:
        free = next(name for name in "ABCD" if name not in [lane.name for lane in self.lanes])
        view = LaneView(
            VIEW, lambda: self._take(made), lambda: self._drop(made), lambda _: self._draw(made, beside=True)
        )
        view.exhibits.large = large
        made = Lane(free, run, view, method, wish, image)
        self.lanes.append(made)
        view.stage.on_key(lambda key, _: self._key(made, key))
        run.on("model", self._on_model)
        run.on("frame", lambda result: self._on_frame(made, result))
        run.on("glance", lambda kept: self._on_glance(made, *kept))
        run.on("status", lambda status: self._on_status(made, status))
        run.on("state", lambda _: self._on_state(made))
        return made

    def _take(self, lane: Lane) -> None:
        """Show the knobs of this lane."""
        if lane in self.lanes and lane is not self.lane:
            self.lane = lane
            self._show_lane()

    def _drop(self, lane: Lane) -> None:
        """Close a lane; the last one stays."""
        if lane not in self.lanes or len(self.lanes) == 1:
            return
        self.lanes.remove(lane)
        lane.run.close()
        if lane is self.lane:
            self.lane = self.lanes[0]
        self._show_lane()
        lane.view.close()

    def _show_lane(self) -> None:
        """Show what was chosen for the lane in question, and all lanes."""
        with UI_LOCK:
            lane, made = self.lane, card(self.lane.method)
            several = len(self.lanes) > 1
            for one in self.lanes:
                one.view.title(one.name, one.origin, one is lane, several)
                self._draw(one)
            for name, on in (("xai-several", several), ("xai-four", len(self.lanes) > 2)):
                mark_as(self.lanes_box, name, on)
            boxes = tuple(one.view.box for one in self.lanes)
            if self.lanes_box.children != boxes:
                self.lanes_box.children = boxes
            self.together.layout.display = "" if several else "none"
            steps = next(
                (f"At most {lane.knobs.get(k.name, k.default)} steps" for k in made.knobs if k.name == "iterations"), ""
            )
            self.picker.show(lane.method, steps)
            self.goals.layout.display = "" if "target" in made.asks else "none"
            self.goal.show(lane.wish)
            self.photos.layout.display = "" if lane.uses_photo else "none"
            self.gallery.show(lane.image)
            live, fixed = self._form(lane.method)
            values = {k.name: lane.knobs.get(k.name, k.default) for k in made.knobs}
            for place, form, heading in (
                (self.form_place, live, self.live_label),
                (self.fixed_place, fixed, self.fixed_label),
            ):
                form.set(values)
                heading.layout.display = "" if form.controls else "none"
                if place.children != (form.box,):
                    place.children = (form.box,)
            self.preset_box.layout.display = "" if lane.method == METHOD else "none"
            self._mark_preset(lane.preset)
            self._on_state(lane)
            self._scrub(lane)

    def _form(self, method: str) -> tuple[Form, Form]:
        """Return the controls of what acts at the next step, and of what begins a new run."""
        if method not in self._forms:
            made, model = card(method), self.lane.run.model
            layers = [] if model is None else [layer.name for layer in model.layers if layer.spatial]
            live = Form([k for k in made.knobs if k.live], self._live, layers)
            self._forms[method] = live, Form([k for k in made.knobs if not k.live], self._fixed, layers)
        return self._forms[method]

    @property
    def form(self) -> Form:
        """The controls of what acts at the next step."""
        return self._form(self.lane.method)[0]

    @property
    def fixed(self) -> Form:
        """The controls of what begins a new run."""
        return self._form(self.lane.method)[1]

    # -- from the person to the run ---------------------------------------------------------------------------------

    def _ask(self, lane: Lane) -> Ask:
        lane.record = None
        made = card(lane.method)
        image = self.album.get(lane.image) if lane.uses_photo else None

        def wanted(model: Model) -> Any:
            # looked up when the run begins, since the model may be on its way
            return lane.wish.target(model) if "target" in made.asks else NOTHING

        return Ask(made.make(**lane.knobs), wanted, image)

    def _each(self, deed: Callable[[Lane], Any]) -> None:
        """Do something with all runs, or with the one whose knobs are shown."""
        for lane in list(self.lanes) if self.together.value and len(self.lanes) > 1 else [self.lane]:
            deed(lane)

    def _guarded(self, deed: Callable[[], Any]) -> None:
        try:
            deed()
        except XaiError as error:
            self._fail(str(error))

    def _live(self, name: str, value: Any) -> None:
        self._adopt({name: value})
        self._mark_preset("")

    def _adopt(self, values: dict[str, Any]) -> None:
        lane = self.lane
        lane.record = None
        lane.settings[lane.method] = clamp_knobs(card(lane.method).cls, {**lane.knobs, **values})
        lane.run.change({name: lane.knobs[name] for name in values if name in lane.knobs})

    def _fixed(self, name: str, value: Any) -> None:
        lane = self.lane
        lane.settings[lane.method] = clamp_knobs(card(lane.method).cls, {**lane.knobs, name: value})
        self.photos.layout.display = "" if lane.uses_photo else "none"
        self._restart()

    def _preset(self, name: str) -> None:
        values = dict(PRESETS[name].knobs)
        self.form.set(values)
        self._adopt(values)
        self._mark_preset(name)
        if self.run.state == "done":  # there is no next step that could act on it
            self._restart()

    def _mark_preset(self, chosen: str) -> None:
        self.lane.preset = chosen
        for name, chip in self.presets.items():
            mark(chip, name == chosen)

    def _method_chosen(self, method: str) -> None:
        lane = self.lane
        if method != lane.method:
            lane.method = method
            lane.view.exhibits.large = 0
            self._show_lane()
            self._restart()

    def _goal_changed(self) -> None:
        self.lane.wish = self.goal.wish
        self._restart()

    def _photo_chosen(self, key: str) -> None:
        if key in self.album.keys:
            self.lane.image = key
            self.gallery.show(key)
            self._restart()

    def _restart(self) -> None:
        """A run about something else is painted like the old one, or stops at its first step if that was paused."""
        self.status.forgive()
        if self.run.playing:
            self.run.start(self._ask(self.lane))
        elif self.run.model is not None:
            self.run.prepare(self._ask(self.lane))

    def _pause(self) -> None:
        running = self.run.state == "running" or (self.run.waiting and self.run.playing)
        self._each(lambda lane: lane.run.pause() if running else lane.run.go_on())

    def _one_step(self, lane: Lane) -> None:
        if lane.run.state == "running":
            lane.run.pause()
        if lane.run.state == "paused":
            lane.run.step()
        else:
            lane.run.prepare(self._ask(lane))

    def _sought(self, step: int) -> None:
        self._each(lambda lane: self._seek(lane, step))

    def _seek(self, lane: Lane, step: int) -> None:
        lane.run.seek(step)
        lane.record = None
        force = lane.run.knobs
        names = [k.name for k in card(lane.method).knobs if k.live and k.name in force]
        lane.knobs.update({name: force[name] for name in names})
        if lane is self.lane:
            self.form.set({name: force[name] for name in names})
            self._mark_preset(
                next((n for n, p in PRESETS.items() if all(force.get(k) == v for k, v in p.knobs.items())), "")
            )

    def _key(self, lane: Lane, key: str) -> None:
        """Space holds a run and lets it go on, the arrows go back and forth, f forks."""
        self._take(lane)
        if key == " ":
            self._pause()
        elif key in ("ArrowLeft", "ArrowRight"):
            self.scrubber.by(1 if key == "ArrowRight" else -1)
        elif key == "f":
            self._guarded(self.fork)

    def _fail(self, message: str) -> None:
        self.status.show(Status(message, "error"))

    # -- from the runs to the screen --------------------------------------------------------------------------------

    def _on_model(self, model: Model) -> None:
        shape = "×".join(map(str, model.input_shape))
        words = f"{model.name} · {shape} · {model.classes} classes"
        self.model_name.value = f"<span class='xai-muted'>{escape(words)}</span>"
        self.picker.limit({made.id: missing(made, model) for made in cards("synthesizer")})
        with UI_LOCK:
            self.goal.set_model(model)
            self.lane.wish = self.goal.wish
            old, self._forms = self._forms, {}  # made before the layers were known
            self._show_lane()
            for pair in old.values():
                for form in pair:
                    form.close()

    def _on_state(self, lane: Lane) -> None:
        if lane is self.lane:
            state = lane.run.state
            self.pause.description = "Resume" if state == "paused" else "Pause"
            self.pause.disabled = state not in ("running", "paused")

    def _on_status(self, lane: Lane, status: Status) -> None:
        if lane is self.lane:
            self.status.show(status)
        elif status.kind == "error":
            self._fail(f"Run {lane.name}: {status.text}")

    def _on_frame(self, lane: Lane, result: Synthesis) -> None:
        if lane is self.lane and (lane.shown is None or result.step < lane.shown.step):
            self.saved.value = ""  # the link is to a picture of another run
        resting = lane.run.state != "running"
        now = time.monotonic()
        beside = resting or now >= lane.due
        if beside:
            lane.due = now + PACE
        self._draw(lane, result, beside=beside)
        parts = [f"{result.unit} {number(result.score)}"]
        if "probability" in result.terms:
            parts.append(f"probability {result.terms['probability']:.1%}")
        if lane.run.pace:
            parts.append(f"{1 / lane.run.pace:.0f} steps a second")
        lane.view.say(lane.run.target, " · ".join(parts), " ".join(result.notes), resting=resting)
        self._draw_curves(lane, result)
        self._scrub(lane)
        self._check_replay(lane, result)

    def _on_glance(self, lane: Lane, step: int, pixels: Any) -> None:
        if not lane.view.exhibits.large:
            with UI_LOCK:
                lane.view.stage.show(_enlarged(self._seen(lane, pixels / np.float32(255)), self._side))
        self._scrub(lane)

    def _scrub(self, lane: Lane) -> None:
        if lane is self.lane:
            run, result = lane.run, lane.run.result
            planned = 2 if result is None else _planned(result)
            self.scrubber.show(run.at, run.timeline.last, planned)

    def _draw(self, lane: Lane, result: Synthesis | None = None, *, beside: bool = False) -> None:
        """Show a newer picture, or the one on screen in another way."""
        with UI_LOCK:  # else an older picture could be drawn over a newer one
            lane.shown = result or lane.shown
            if lane.shown is None:
                return
            if beside:
                lane.view.exhibits.show([(self._seen(lane, e.image), e.caption) for e in lane.shown.beside])
            lane.view.stage.show(_enlarged(self._seen(lane, _large(lane)), self._side))

    def _draw_all(self) -> None:
        for lane in self.lanes:
            self._draw(lane, beside=True)

    @property
    def _side(self) -> int:
        return VIEW if len(self.lanes) == 1 else SMALL_VIEW

    def _seen(self, lane: Lane, image: Any) -> Any:
        """Return a picture in [0, 1] as it is on screen, uint8 ``(H, W, 3)``; what is made of a photo is left as is."""
        shown = stretch(image) if self.contrast.value and "photo" not in card(lane.made_by).asks else image
        return (shown * 255 + 0.5).clip(0, 255).astype(np.uint8)

    def _draw_curves(self, lane: Lane, result: Synthesis) -> None:
        planned = _planned(result)
        events = [(step, f"{name}: {old} → {new}") for step, name, old, new in result.events]
        lane.view.curve.value = curve_svg(result.curve, planned, events, result.unit)
        at = np.arange(1, len(result.curve) + 1)
        curves: dict[str, Any] = {name: (at[: len(values)], values) for name, values in result.curves.items()}
        for name, (steps, values) in lane.run.timeline.curves().items():
            if name not in curves and name != "objective":
                curves[name] = steps[steps <= result.step], values[steps <= result.step]
        lane.view.terms.value = terms_html(curves, planned, [step for step, *_ in result.events])

    def _check_replay(self, lane: Lane, result: Synthesis) -> None:
        """Say whether a replay has come to the picture of its record."""
        record = lane.record
        if record is None or result.step < record.steps:
            return
        lane.record = None
        lane.knobs.update({k.name: lane.run.knobs[k.name] for k in card(lane.method).knobs if k.live})
        if lane is self.lane:
            self.form.set(lane.knobs)
        same = picture_digest(result) == record.picture
        words = f"Replayed {record.steps} steps: the same picture, bit for bit." if same else told_difference(record)
        self.saved.value = f"<span class='xai-muted' role='status'>{escape(words)}</span>"

    # -- taking it along --------------------------------------------------------------------------------------------

    def _ready(self) -> Synthesis | None:
        if self.lane.shown is None:
            self._fail("There is no picture yet: press Start first.")
        return self.lane.shown

    def _snapshot(self) -> None:
        shown = self._ready()
        if shown is not None:
            chance = shown.terms.get("probability")
            caption = f"{_title(self.lane)}" + (f", {chance:.0%}" if chance is not None else "")
            self.snapshots.add(self._seen(self.lane, _large(self.lane)), caption, _words(self.lane.method, shown))

    def _save_png(self) -> None:
        shown = self._ready()
        if shown is not None:
            source = shown.provenance
            made = f"{source.method} of {source.model}: {_title(self.lane)}; {_words(source.method, shown)}"
            content = png_bytes(
                self._seen(self.lane, _large(self.lane)), {"Software": "xaiwidgets", "Description": made}
            )
            self.saved.value = download(content, f"{_file_name(self.run.target)}.png", "image/png", "Download PNG")

    def _save_film(self, kind: Literal["webp", "gif"]) -> None:
        frames, shown = self.run.frames(), self.lane.shown
        if not frames or shown is None:
            self._fail("There is no film yet: press Start first.")
            return
        self.saved.value = f"<span class='xai-muted'>Making a film of {len(frames)} frames …</span>"
        name = f"{_file_name(self.run.target)}.{kind}"
        # between two steps on the worker: it takes seconds, and the page must go on answering
        lane = self.lane
        lane.run.runner.urgent("film", lambda: self._make_film(lane, frames, name, kind))

    def _make_film(self, lane: Lane, frames: list[Any], name: str, kind: str) -> None:
        content = animate([self._seen(lane, frame / np.float32(255)) for frame in frames], FPS, kind)
        words = f"Download {'film' if kind == 'webp' else 'GIF'} ({len(frames)} frames, {len(content) / 1024:.0f} kB)"
        self.saved.value = download(content, name, f"image/{kind}", words)

    def _save_run(self) -> None:
        shown, model = self._ready(), self.run.model
        if shown is not None and model is not None:
            photo = self.album.get(self.lane.image) if shown.provenance.image else None
            content = synthesis_record(model, shown, photo).to_json().encode()
            name = f"{_file_name(self.run.target)}.json"
            self.saved.value = download(content, name, "application/json", f"Download run ({shown.step} steps)")

    def _uploaded(self, change: Any) -> None:
        files = change["new"]
        if not files:
            return
        try:
            content = files[0]["content"]
            if not isinstance(content, (bytes, bytearray, memoryview)):  # bytes(n) of a number would be n zeros
                raise InvalidRecord("the upload could not be read; choose a file that Save run has written.")
            self.replay(bytes(content))
        except XaiError as error:
            self._fail(str(error))
        finally:
            self.load.value = ()  # the same file can be chosen again


#: The name of the page when it had one method.
Maximizer = SynthesisLab


def mark_as(widget: w.DOMWidget, name: str, on: bool) -> None:
    """Give a widget a class of the style sheet, or take it away."""
    if on:
        widget.add_class(name)
    else:
        widget.remove_class(name)


def _wish(target: Any, named: str, model: Model) -> Wish:
    """Return a target as the controls show it, where they can."""
    if getattr(target, "layer", "") and isinstance(target.position, str):
        return Wish("unit", "", target.layer, target.channel, target.position)
    classes: tuple[int, ...] = getattr(target, "classes", ())
    if len(classes) == 1 and target.minus is None and target.output == "logit":
        return Wish(category=model.labels.short(classes[0]))
    return Wish(category=named, exact=target)


def _large(lane: Lane) -> Any:
    """Return the picture that is shown large."""
    shown, place = lane.shown, lane.view.exhibits.large
    assert shown is not None
    return shown.beside[place - 1].image if 0 < place <= len(shown.beside) else shown.image


def _planned(result: Synthesis) -> int:
    return max(result.step, round(result.step / max(result.progress, 1e-6)))


def _enlarged(pixels: Any, side: int) -> Any:
    picture = Image.fromarray(pixels)
    scale = side / max(picture.size)
    size = (round(picture.width * scale), round(picture.height * scale))
    return np.asarray(picture.resize(size, Image.Resampling.BICUBIC))


def _file_name(words: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in words)[:60].strip("-") or "picture"


def _title(lane: Lane) -> str:
    assert lane.shown is not None
    beside, place = lane.shown.beside, lane.view.exhibits.large
    which = f" ({beside[place - 1].caption})" if 0 < place <= len(beside) else ""
    return f"{lane.run.target}, step {lane.shown.step}{which}"


def _words(method: str, result: Synthesis) -> str:
    """Return the hyper-parameters in force at the end that are not their defaults."""
    plain = {k.name: k.default for k in card(method).knobs}
    knobs = {**result.provenance.knobs, **{name: new for _, name, _, new in result.events}}
    changed = [f"{name} {value}" for name, value in sorted(knobs.items()) if value != plain.get(name)]
    return ", ".join(changed) or "defaults"
