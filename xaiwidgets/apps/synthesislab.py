"""SynthesisLab: watch pictures being made by optimization, move what they depend on, go back, fork, and replay."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import ipywidgets as w

from xaiwidgets.apps.lanes import LARGE_FIRST, Lane, wish_of
from xaiwidgets.apps.runfiles import RunFiles
from xaiwidgets.apps.training import TrainPanel
from xaiwidgets.apps.trainings import MISSING, todo
from xaiwidgets.core.cards import card, cards
from xaiwidgets.core.knobs import NetworkName, clamp_knobs
from xaiwidgets.engine.run import missing
from xaiwidgets.engine.synthesis_record import (
    differences,
    picture_digest,
    read_record,
    record_photo,
    record_target,
    told_difference,
)
from xaiwidgets.errors import InvalidRecord, NotTrained, UnknownMethod, XaiError
from xaiwidgets.model.targets import NOTHING
from xaiwidgets.studio.album import Album
from xaiwidgets.studio.frame import Status
from xaiwidgets.studio.knowledge import VIEW
from xaiwidgets.studio.live import Ask, LiveRun
from xaiwidgets.studio.rota import Rota
from xaiwidgets.studio.runner import SyncRunner
from xaiwidgets.synthesis.presets import PRESETS_OF, presets_of
from xaiwidgets.widgets.catchup import CatchUp
from xaiwidgets.widgets.closing import close_tree
from xaiwidgets.widgets.controls import Form
from xaiwidgets.widgets.drawing import UI_LOCK, make_canvas
from xaiwidgets.widgets.gallery import Gallery
from xaiwidgets.widgets.goal import Goal, Wish
from xaiwidgets.widgets.lane import LaneView, sheet
from xaiwidgets.widgets.picker import Picker
from xaiwidgets.widgets.readout import StatusLine
from xaiwidgets.widgets.scrubber import Scrubber
from xaiwidgets.widgets.theme import label, mark, page, style

if TYPE_CHECKING:
    from collections.abc import Callable

    from xaiwidgets.core.results import Synthesis
    from xaiwidgets.model.model import Model

METHOD = "activation_maximization"
#: Runs side by side, and canvas pixels of each when there are several.
MOST_LANES, SMALL_VIEW = 4, 448


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
        pictures: of your own, to train decoders and generators on: a folder, a list, a reference set's name, an array.
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
        pictures: Any = None,
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
        self._build(target, pictures)
        self.lane = self._add(run, method, self.goal.wish, key, LARGE_FIRST.get(method, 0))
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
        made.aims = old.aims
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
        lane.view.exhibits.begin(LARGE_FIRST.get(found.method, 0))
        lane.settings[found.method] = dict(found.knobs)
        lane.aims = target != NOTHING
        if lane.aims:
            lane.wish = wish_of(lane.wish, target, found.named, model)
        self._show_lane()
        lane.record = None if notes else found
        self.files.say(escape(" ".join(notes)))
        ask = Ask(found.made, lambda _: target, photo, found.events, found.steps)
        lane.run.start(ask)

    def close(self) -> None:
        """End the worker and close all widgets."""
        if "fixed_place" in self.__dict__:  # else the constructor has raised
            self._catch_up.close()
            self.training.close()
            for lane in self.lanes:
                lane.run.close()
            if self._rota is not None:
                self._rota.close()
            for lane in self.lanes:
                lane.view.close()
            forms = (form.box for pair in self._forms.values() for form in pair)
            close_tree(
                *self.children,
                *self.presets.values(),
                self.layout,
                *forms,
                keep=() if self._nav is None else (self._nav,),
            )
        super().close()

    # -- building ---------------------------------------------------------------------------------------------------

    def _build(self, target: str, pictures: Any) -> None:
        self.goal = Goal(self._goal_changed, target)
        self.gallery = Gallery(self.album, self._photo_chosen, self._fail)
        self.picker = Picker(self._method_chosen, "synthesizer")
        self.form_place, self.fixed_place = w.VBox(), w.VBox()
        self.status = StatusLine()
        self.scrubber = Scrubber(self._sought)
        known = [(name, preset) for presets in PRESETS_OF.values() for name, preset in presets.items()]
        self.presets = {name: self._button(preset.title, preset.idea, "xai-chip") for name, preset in known}
        for name, chip in self.presets.items():
            chip.on_click(lambda _, name=name: self._preset(name))
        self.start = self._button("Start", "Begin a new run", "xai-plain", "xai-primary")
        self.pause = self._button("Pause", "Stop and go on later", "xai-plain")
        self.step = self._button("Step", "One step of a paused run", "xai-plain")
        self.reset = self._button("Reset", "Drop this run and go back to the start picture", "xai-plain")
        self.forks = self._button("Fork", "A second run beside this one, from the step that is shown", "xai-plain")
        self.start.on_click(lambda _: self._each(lambda lane: lane.run.start(self._ask(lane))))
        self.pause.on_click(lambda _: self._pause())
        self.step.on_click(lambda _: self._each(self._one_step))
        self.reset.on_click(lambda _: self._each(lambda lane: lane.run.prepare(self._ask(lane))))
        self.forks.on_click(lambda _: self._guarded(self.fork))
        queue = SyncRunner if self._rota is None else self._rota.queue
        self.training = TrainPanel(lambda: self.run.model, queue, self._learned, self._fail, pictures)
        self.files = RunFiles(lambda: self.lane, self.replay, self._fail)
        self.contrast = self._check(
            "Stretch contrast", "Shows faint pictures stronger; only a view, and never of a photo", True
        )
        self.contrast.observe(lambda _: self._stretch(), "value")
        self.aims = self._check("Towards a target", "This method can do without one, too", False)
        self.aims.observe(lambda _: self._aimed(), "value")
        self.together = self._check(
            "All runs at once", "Start, Pause, Step, Reset and the slider act on all runs", False
        )
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
        self.goals = w.VBox([self.aims, self.goal.box])
        self.photos = w.VBox([self.gallery.box])
        self.fixed_label = label("Start of the run")
        left = w.VBox([self.picker.box, self.goals, self.photos, self.fixed_label, self.fixed_place])
        self.lanes_box = w.Box()
        self.lanes_box.add_class("xai-lanes")
        runs = w.HBox([self.start, self.pause, self.step, self.reset, self.forks, self.together, self.contrast])
        runs.add_class("xai-tools")
        main = w.VBox([self.lanes_box, self.status.progress, self.scrubber.box, runs, self.files.box, self._probe])
        main.add_class("xai-lower")
        self.preset_chips = w.Box()
        self.preset_chips.add_class("xai-chips")
        self.preset_note = w.HTML()
        self.preset_box = w.VBox([label("Presets"), self.preset_chips, self.preset_note])
        self.live_label = label("Acts at the next step")
        right = w.VBox(
            [
                self.training.box,
                self.preset_box,
                self.live_label,
                self.form_place,
                label("Snapshots"),
                self.files.snapshots.box,
            ]
        )
        foot = w.VBox([self.status.line])
        self.children = (style(), sheet(), page(head=head, left=left, main=main, right=right, foot=foot))

    # -- lanes ------------------------------------------------------------------------------------------------------

    def _add(self, run: LiveRun, method: str, wish: Wish, image: str, large: int) -> Lane:
        free = next(name for name in "ABCD" if name not in [lane.name for lane in self.lanes])
        view = LaneView(VIEW, lambda: self._take(made), lambda: self._drop(made), lambda _: made.draw(beside=True))
        view.exhibits.begin(large)
        made = Lane(free, run, view, method, wish, image, VIEW, bool(self.contrast.value))
        self.lanes.append(made)
        view.stage.on_key(lambda key, _: self._key(made, key))
        run.on("model", self._on_model)
        run.on("frame", lambda result: self._on_frame(made, result))
        run.on("glance", lambda kept: self._on_glance(made, kept[1]))
        run.on("status", lambda status: self._on_status(made, status))
        run.on("state", lambda _: self._on_state(made))
        run.on("refused", lambda error: self._on_refused(made, error))
        return made

    def _take(self, lane: Lane) -> None:
        """Show the knobs of this lane."""
        if lane in self.lanes and lane is not self.lane:
            self.lane = lane
            self._show_lane()
            self._tell_state()

    def _drop(self, lane: Lane) -> None:
        """Close a lane; the last one stays."""
        if lane not in self.lanes or len(self.lanes) == 1:
            return
        self.lanes.remove(lane)
        lane.run.close()
        if lane is self.lane:
            self.lane = self.lanes[0]
        self._show_lane()
        self._tell_state()
        lane.view.close()

    def _tell_state(self) -> None:
        """Let a run that rests say where it is, since the line of another one is on screen."""
        if self.run.state in ("paused", "done") and not self.run.waiting:
            self.run.refresh()

    def _show_lane(self) -> None:
        """Show what was chosen for the lane in question, and all lanes."""
        with UI_LOCK:
            lane, made = self.lane, card(self.lane.method)
            several = len(self.lanes) > 1
            for one in self.lanes:
                one.view.title(one.name, one.origin, one is lane, several)
                one.side = SMALL_VIEW if several else VIEW
                one.draw()
            mark(self.lanes_box, several, "xai-several")
            mark(self.lanes_box, len(self.lanes) > 2, "xai-four")
            boxes = tuple(one.view.box for one in self.lanes)
            if self.lanes_box.children != boxes:
                self.lanes_box.children = boxes
            show(self.together, several)
            self.picker.show(lane.method, "")
            self.training.show(lane.method)
            show(self.aims, "target" in made.takes)
            self.aims.value = lane.aims
            show(self.goal.box, lane.has_target)
            self.goal.show(lane.wish)
            show(self.photos, lane.uses_photo)
            self.gallery.show(lane.image)
            live, fixed = self._form(lane.method)
            values = {k.name: lane.knobs.get(k.name, k.default) for k in made.knobs}
            for place, form, heading in (
                (self.form_place, live, self.live_label),
                (self.fixed_place, fixed, self.fixed_label),
            ):
                form.set(values)
                show(heading, bool(form.controls))
                if place.children != (form.box,):
                    place.children = (form.box,)
            self.preset_chips.children = tuple(self.presets[name] for name in presets_of(lane.method))
            show(self.preset_box, bool(self.preset_chips.children))
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
            return lane.wish.target(model) if lane.has_target else NOTHING

        return Ask(made.make(**lane.knobs), wanted, image)

    def _each(self, deed: Callable[[Lane], Any]) -> None:
        """Do something with all runs, or with the one whose knobs are shown."""
        self.status.forgive()
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
        show(self.photos, lane.uses_photo)
        self._restart()

    def _preset(self, name: str) -> None:
        presets = presets_of(self.lane.method)
        if name not in presets:  # a chip of another method, which is not shown: a page may send anything
            return
        values = dict(presets[name].knobs)
        self.form.set(values)
        self._adopt(values)
        self._mark_preset(name)
        if self.run.state == "done":  # there is no next step that could act on it
            self._restart()

    def _mark_preset(self, chosen: str) -> None:
        self.lane.preset = chosen
        for name, chip in self.presets.items():
            mark(chip, name == chosen)
        known = presets_of(self.lane.method).get(chosen)
        note = "" if known is None else known.note
        words = f"<p class='xai-muted xai-limit xai-presetnote' role='status'>{escape(note)}</p>"
        self.preset_note.value = words if note else ""
        show(self.preset_note, bool(note))

    def _method_chosen(self, method: str) -> None:
        lane = self.lane
        if method != lane.method:
            lane.method = method
            lane.view.exhibits.begin(LARGE_FIRST.get(method, 0))
            self._show_lane()
            self._restart()

    def _goal_changed(self) -> None:
        self.lane.wish = self.goal.wish
        self._restart()

    def _aimed(self) -> None:
        if self.lane.aims != bool(self.aims.value):
            self.lane.aims = bool(self.aims.value)
            show(self.goal.box, self.lane.has_target)
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

    def _learned(self, method: str, name: str) -> None:
        """Offer what was trained; runs that go through it begin anew with the newest."""
        with UI_LOCK:
            for pair in self._forms.values():
                for form in pair:
                    form.find_networks()
        knob = next(
            k.name for k in card(method).knobs if isinstance(k.domain, NetworkName) and k.domain.kind != "model"
        )
        for lane in self.lanes:
            if lane.settings.get(method, {}).get(knob):
                lane.settings[method][knob] = name
        if self.lane.method == method:
            self._show_lane()
            self._restart()

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
            presets = presets_of(lane.method).items()
            self._mark_preset(next((n for n, p in presets if p.knobs.items() <= force.items()), ""))

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
            with lane.run.lock:  # else two threads could each leave one of these of another state
                state = lane.run.state
                self.pause.description = "Resume" if state == "paused" else "Pause"
                self.pause.disabled = state not in ("running", "paused")

    def _on_refused(self, lane: Lane, error: Exception) -> None:
        """Leave no picture of another method where one could not begin, and say what is to be done first."""
        method, model, words = lane.method, lane.run.model, str(error)
        if isinstance(error, NotTrained) and model is not None:
            words = todo(method, model)
            if lane is self.lane:
                self.status.show(Status(f"{card(method).title} needs {MISSING[method][0]}. {words}"))
        if lane.run.result is None:
            about = model is not None and lane.uses_photo and lane.image in self.album.keys
            with UI_LOCK:
                lane.clear(words, model.preprocessing.pixels(self.album.get(lane.image)) if about and model else None)
                self._scrub(lane)

    def _on_status(self, lane: Lane, status: Status) -> None:
        if lane is self.lane:
            self.status.show(status)
        elif status.kind == "error":
            self._fail(f"Run {lane.name}: {status.text}")

    def _on_frame(self, lane: Lane, result: Synthesis) -> None:
        if lane is self.lane and (lane.shown is None or result.step < lane.shown.step):
            self.files.say("")  # the link is to a picture of another run
        lane.show(result)
        self._scrub(lane)
        self._check_replay(lane, result)

    def _on_glance(self, lane: Lane, pixels: Any) -> None:
        lane.glance(pixels)
        self._scrub(lane)

    def _scrub(self, lane: Lane) -> None:
        with UI_LOCK:  # else a person's step could be taken back by an older one
            if lane is not self.lane:
                return
            self.scrubber.show(lane.run.at, lane.run.timeline.last, lane.planned)

    def _stretch(self) -> None:
        for lane in self.lanes:
            lane.contrast = bool(self.contrast.value)
            lane.draw(beside=True)

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
        self.files.say(escape(words))


def show(widget: w.DOMWidget, on: bool) -> None:
    """Show a part of the page, or take it away."""
    widget.layout.display = "" if on else "none"


#: The name of the page when it had one method.
Maximizer = SynthesisLab
