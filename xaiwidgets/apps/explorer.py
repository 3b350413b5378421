"""The Explorer: one photo, one network, every explainer, live."""

from __future__ import annotations

import dataclasses
from html import escape
from typing import TYPE_CHECKING, Any

import ipywidgets as w
import traitlets

from xaiwidgets.core.cards import card
from xaiwidgets.core.knobs import Range, clamp_knobs, knobs_of
from xaiwidgets.errors import InvalidKnob, XaiError
from xaiwidgets.model.preprocess import Preprocessing
from xaiwidgets.model.targets import Question
from xaiwidgets.render.channels import choosable, ranked
from xaiwidgets.render.compose import compose
from xaiwidgets.render.look import Look
from xaiwidgets.render.scale import Scale
from xaiwidgets.studio.frame import Status
from xaiwidgets.studio.inspector import Inspector
from xaiwidgets.studio.lens import Lens, Unit, explainer_card
from xaiwidgets.studio.studio import Studio
from xaiwidgets.widgets.catchup import CatchUp
from xaiwidgets.widgets.closing import close_tree
from xaiwidgets.widgets.controls import Form
from xaiwidgets.widgets.course import CoursePanel
from xaiwidgets.widgets.drawing import Stage
from xaiwidgets.widgets.export import Export, code_for
from xaiwidgets.widgets.gallery import Gallery
from xaiwidgets.widgets.occluder import Occluder
from xaiwidgets.widgets.picker import Picker
from xaiwidgets.widgets.predictions import Predictions
from xaiwidgets.widgets.readout import Readout, StatusLine
from xaiwidgets.widgets.receipt import Receipt
from xaiwidgets.widgets.strip import Strip
from xaiwidgets.widgets.theme import label, page, style
from xaiwidgets.widgets.trust import Trust

if TYPE_CHECKING:
    from xaiwidgets.core.knobs import Knob
    from xaiwidgets.core.results import Attribution
    from xaiwidgets.model.model import Model
    from xaiwidgets.studio.frame import Frame, Probe
    from xaiwidgets.widgets.window import Window

#: Pixels of the network's input under which lengths such as a window's start smaller, in proportion.
SMALL_PICTURE = 128
#: Most seconds that the tests of one map may take.
MOST_TRUST = 600
#: What one map may take, in seconds; 0 is any time.
BUDGETS = (("any time", 0), ("1 s", 1), ("3 s", 3), ("10 s", 10), ("30 s", 30), ("60 s", 60))


class Explorer(w.VBox):
    """Explore what a network sees: pick a method, scrub layers, drag an occluder.

    Args:
        model: a ``Model``, a name for ``load_model``, or ``None`` for the bundled network.
        image: a sample's name, or anything that ``read_picture`` takes.
        method: id of the first explainer; ``target``: a class index, a hidden unit (``Target.hidden(layer, channel)``),
            or ``None`` for the top-1.
        nav: a widget for the header, e.g. the tabs of a larger app.
        trust: seconds for testing each map in the pauses, once it is there; 0 tests none.
        **knobs: its hyper-parameters.

    ``inspector.report`` is the ``TrustReport`` of the map on screen.

    ``lens`` is the question on screen, ``result`` the last finished attribution (both can be observed). ``put`` asks
    for something else, ``wait`` blocks until it is there or paused, ``close`` ends the worker. A method that is learned
    step by step can be held with ``pause`` and ``resume``; ``put`` moves its live hyper-parameters while it runs.
    """

    lens = traitlets.Instance(Lens, allow_none=False)
    result = traitlets.Any(None, allow_none=True)

    def __init__(
        self,
        model: Model | str | None = None,
        image: Any = "coffee",
        method: str = "grad_cam",
        *,
        target: Any = None,
        nav: w.Widget | None = None,
        trust: float = 10.0,
        sync: bool = False,
        **knobs: Any,
    ) -> None:
        if isinstance(trust, bool) or not isinstance(trust, (int, float)) or not 0 <= trust <= MOST_TRUST:
            raise InvalidKnob(f"trust must be 0 to {MOST_TRUST} seconds for the tests of a map; got {trust!r}.")
        explainer_card(method).make(**knobs)  # a wrong hyper-parameter is an error here, not a clamped value
        self.studio = Studio(model, Lens(method=method).with_knobs(**knobs), sync=sync)
        try:
            key = self.studio.album.add(image)
            self.studio.lens = self.studio.lens.replace(image=key, **self._asked(target))
        except XaiError:
            self.studio.close()
            raise
        super().__init__(lens=self.studio.lens)
        self._forms: dict[str, Form] = {}
        self._budget_of_tests = float(trust)
        self._sides = (0, 0)
        self._plain = False
        self._nav = nav
        self._method = ""
        self._build()
        self._listen()
        self.add_class("xai-root")
        if self.studio.model is not None:
            self._on_model(self.studio.model)
        self._on_lens(self.studio.lens)
        self.studio.start()

    # -- what a program does with it ------------------------------------------------------------------------------

    def put(self, **changes: Any) -> None:
        """Ask for something else: ``image``, ``target``, ``method``, ``look``, or any hyper-parameter of the method."""
        lens = self.studio.lens
        if "method" in changes:
            lens = lens.with_method(changes.pop("method"))
        if "image" in changes:
            lens = lens.replace(image=self.studio.album.add(changes.pop("image")), target=())
        if "target" in changes:
            lens = lens.replace(**self._asked(changes.pop("target")))
        if "look" in changes:
            lens = lens.replace(look=changes.pop("look"))
        card(lens.method).make(**{**dict(lens.knobs), **changes})  # as in the constructor
        self.studio.put(lens.with_knobs(**changes) if changes else lens)

    def _asked(self, target: Any) -> dict[str, Any]:
        """Return the fields of the lens that say what is explained, checked on the model if there is one yet."""
        if isinstance(target, Question) and target.layer:
            if self.studio.model is not None:
                self.studio.model.target(target)
            return {"target": (), "unit": Unit(target.layer, target.channel, target.position)}
        return {"target": self._classes(target), "unit": None}

    def _classes(self, target: Any) -> tuple[int, ...]:
        several = () if target is None else tuple(target) if isinstance(target, (tuple, list)) else (target,)
        model = self.studio.model
        return several if model is None else tuple(model.labels.index(one) for one in several)

    def pause(self) -> None:
        """Have the run under way rest after its step."""
        self.studio.pause()

    def resume(self) -> None:
        """Go on with a paused run."""
        self.studio.resume()

    def restart(self) -> None:
        """Compute the map anew from the settings on screen, without what was moved on the way."""
        self.studio.refresh()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the answer is complete, or paused; return whether it came in time."""
        return self.studio.wait(timeout)

    def close(self) -> None:
        """End the worker and close all widgets."""
        if "stage" in self.__dict__:  # else the constructor has raised
            self._catch_up.close()
            self.studio.close()
            self.readout.leave()
            self.stage.close()
            keep = () if self._nav is None else (self._nav,)
            close_tree(*self.children, self.layout, *(form.box for form in self._forms.values()), keep=keep)
        super().close()

    # -- building ---------------------------------------------------------------------------------------------------

    def _build(self) -> None:
        studio = self.studio
        height, width = studio.photo(studio.lens.image).shape[:2]
        self.stage = Stage(width, height)
        self.gallery = Gallery(studio.album, self._choose_image, self._fail)
        self.predictions = Predictions(self._choose_target, self._fail, self._choose_unit, studio.strongest)
        self.picker = Picker(self._choose_method)
        self.strip = Strip(self._choose_layer)
        self.readout = Readout()
        self.course = CoursePanel(self._hold, self.restart)
        self.receipt = Receipt()
        self.trust = Trust()
        for one, other in ((self.receipt, self.trust), (self.trust, self.receipt)):
            one.toggle.observe(lambda change, other=other: self._unfolded(change["new"], other), "value")
        self.inspector = Inspector(studio, self.trust.show, self._budget_of_tests)
        self.status = StatusLine()
        self.occluder = Occluder(self.stage, self._hide, self._window_released)
        self.occluder.set_size(studio.preprocessing.size)
        self.occluder.toggle.observe(lambda _: self._arrange(), "value")
        self.export = Export(lambda: studio.frame, lambda: studio.lens.look, self._code)
        self.look = Form(knobs_of(Look), self._choose_look)
        self.run = w.Button(description="Run again", tooltip="Compute this map anew")
        self.stop = w.Button(description="Stop", tooltip="Stop the computation; the picture stays")
        self.run.add_class("xai-primary")
        for button in (self.run, self.stop):
            button.add_class("xai-plain")
        self.run.on_click(lambda _: studio.refresh())
        self.stop.on_click(lambda _: studio.stop())
        self.budget = w.Dropdown(
            options=BUDGETS,
            value=0,
            description="Budget",
            tooltip="Lowers counts of passes, or widens strides, so that a map takes no longer than this",
            disabled=True,  # until the network's passes are timed
        )
        self.budget.layout.width, self.budget.style.description_width = "152px", "46px"
        self.budget.observe(lambda _: self._spend(), "value")
        self.map_on_release = w.Checkbox(
            value=True,
            description="map on release",
            indent=False,
            tooltip="Letting go starts the occlusion map with this window",
        )
        self.map_on_release.layout.display = "none"
        self.map_on_release.layout.width = "auto"
        self.knobs = w.VBox()
        self.model_name = w.HTML("<span class='xai-muted'>loading the model …</span>")
        self.children = (style(), self._layout())
        self._catch_up = CatchUp(self, self.stage.canvas)

    def _layout(self) -> w.Box:
        title = w.HTML("<span class='xai-title' role='heading' aria-level='1'>xaiwidgets Explorer</span>")
        head = w.HBox([title, *([self._nav] if self._nav is not None else []), self.model_name])
        tools = w.HBox(
            [
                self.occluder.toggle,
                self.receipt.toggle,
                self.trust.toggle,
                self.map_on_release,
                self.occluder.reading,
            ]
        )
        tools.add_class("xai-tools")
        look = w.VBox([label("Look"), self.look.box])
        left = w.VBox([self.gallery.box, self.predictions.box, look])
        stage = w.VBox([self.stage.canvas])
        stage.add_class("xai-stagebox")
        panels = [self.receipt.panel, self.trust.panel]
        below = [self.strip.box, self.course.box, self.occluder.sliders, self.readout.box, tools, *panels]
        main = w.VBox([stage, self.status.progress, *below])
        actions = w.HBox([self.run, self.stop, self.budget])
        actions.add_class("xai-tools")
        right = w.VBox([self.picker.box, self.knobs, actions, self.export.box])
        foot = w.VBox([self.status.line])
        return page(head=head, left=left, main=main, right=right, foot=foot)

    def _listen(self) -> None:
        studio = self.studio
        studio.on("lens", self._on_lens)
        studio.on("model", self._on_model)
        studio.on("offers", lambda _: self._limit())
        studio.on("photo", self._on_photo)
        studio.on("predictions", lambda _: self._show_predictions())
        studio.on("frame", self._on_frame)
        studio.on("status", self.status.show)
        studio.on("run", lambda state: self.course.go(state, studio.waiting))
        studio.on("probe", self._on_probe)
        studio.on("pace", lambda _: self._paced())
        self.stage.on_pointer(self._down, self._move, self._up)
        self.stage.on_leave(self.readout.leave)
        self.stage.on_key(self._key)

    # -- from the person to the Studio ------------------------------------------------------------------------------

    def _fail(self, message: str) -> None:
        self.status.show(Status(message, "error"))

    def _choose_image(self, key: str) -> None:
        if key in self.studio.album.keys:
            self.studio.put(self.studio.lens.replace(image=key, target=()))

    def _choose_target(self, index: int | None) -> None:
        self.studio.put(self.studio.lens.replace(target=() if index is None else (index,), unit=None))

    def _choose_unit(self, layer: str, channel: int, position: str) -> None:
        self.studio.put(self.studio.lens.replace(target=(), unit=Unit(layer, channel, position)))

    def _choose_method(self, method: str) -> None:
        lens = self.studio.lens.with_method(method)
        side = min(self.studio.preprocessing.size)
        if side < SMALL_PICTURE:  # lengths are made for photos of 224 px
            lengths = {k.name: max(2, round(k.default * side / 224)) for k in card(method).knobs if k.unit == "px"}
            lens = lens.with_knobs(**lengths)
        if self.budget.value:
            lens = self.studio.fitted(lens, self.budget.value)
        self.studio.put(lens)

    def _choose_layer(self, layer: str) -> None:
        if "layer" in {k.name for k in card(self.studio.lens.method).knobs}:
            self.studio.put(self.studio.lens.with_knobs(layer=layer))

    def _choose_knob(self, name: str, value: Any) -> None:
        self.studio.put(self.studio.lens.with_knobs(**{name: value}))

    def _choose_look(self, name: str, value: Any) -> None:
        lens = self.studio.lens
        known = {k.name: getattr(lens.look, k.name) for k in knobs_of(Look)}
        self.studio.put(lens.replace(look=Look(**clamp_knobs(Look, {**known, name: value}))))

    def _hold(self) -> None:
        (self.resume if self.studio.going == "paused" else self.pause)()

    def _hide(self, box: tuple[int, int, int, int]) -> None:
        fill = self.studio.lens.knob("fill") if self.studio.lens.method == "occlusion" else "gray"
        self.studio.probe(box, str(fill))

    def _window_released(self, window: Window) -> None:
        if self.studio.lens.method == "occlusion" and self.map_on_release.value:
            self.studio.put(self.studio.lens.with_knobs(window_height=window.height, window_width=window.width))

    # -- the pointer, in canvas pixels ------------------------------------------------------------------------------

    def _place(self, row: float, column: float) -> tuple[float, float]:
        """Return shares of the photo; beside the map, both panels show the same places."""
        height, width = self.stage.size
        panel = height * self.studio.preprocessing.size[1] / self.studio.preprocessing.size[0]
        column = column - (width - panel) if column > panel else column
        return min(max(row / height, 0.0), 1.0), min(max(column / panel, 0.0), 1.0)

    def _pixels(self, row: float, column: float) -> tuple[float, float]:
        down, across = self._place(row, column)
        return down * self.occluder.size[0], across * self.occluder.size[1]

    def _down(self, row: float, column: float) -> None:
        if not self.occluder.press(*self._pixels(row, column)) and self.studio.frame is not None:
            look = self.studio.lens.look.layout
            self._plain = True
            self.stage.show(
                compose(self.studio.frame.photo, None, Scale(0, 1), Look(layout="photo" if look != "side" else look))
            )

    def _move(self, row: float, column: float) -> None:
        if not self.occluder.drag(*self._pixels(row, column)):
            self.readout.point(*self._place(row, column))

    def _up(self) -> None:
        plain, self._plain = self._plain, False  # a pointer that only passes over the photo changes nothing
        if not self.occluder.release() and plain and self.studio.frame is not None:
            self.stage.show(self.studio.frame.pixels(self.studio.lens.look))

    def _key(self, key: str, shift: bool) -> None:
        if key in ("Tab", "Escape"):  # the canvas swallows Tab; hand the focus on
            (self.gallery.box if shift else self.occluder.toggle).focus()
        elif not self.occluder.key(key, shift) and key in ("ArrowLeft", "ArrowRight"):
            self.strip.step(-1 if key == "ArrowLeft" else 1)

    # -- from the Studio to the screen ------------------------------------------------------------------------------

    def _on_lens(self, lens: Lens) -> None:
        with self.studio.lock:
            entered, self.lens = lens.method != self._method, lens
            self._method = lens.method
            self.status.forgive()
            made = card(lens.method)
            form = self._form(lens.method)
            form.set({k.name: lens.knob(k.name) for k in made.knobs})
            if self.knobs.children != (form.box,):
                self.knobs.children = (form.box,)
            self.look.set({k.name: getattr(lens.look, k.name) for k in knobs_of(Look)})
            self.gallery.show(lens.image)
            self.predictions.mark(lens.target, unit=lens.unit)
            self.picker.show(lens.method, self._cost(lens))
            self.course.choose(lens.method)
            self.run.layout.display = "none" if self.course.shown else ""
            layered = "layer" in {k.name for k in made.knobs}
            self.strip.enable(layered)
            if layered and lens.knob("layer"):
                self.strip.show(lens.knob("layer"))
            occluding = lens.method == "occlusion"
            self.map_on_release.layout.display = "" if occluding else "none"
            if occluding:
                sides = (lens.knob("window_height"), lens.knob("window_width"))
                if sides != self._sides:  # else a rectangle resized by hand would jump back
                    self._sides = sides
                    self.occluder.resize(*sides)
                if entered and not self.occluder.on:
                    self.occluder.activate(True)
            self._arrange()
            self.export.refresh()

    def _unfolded(self, opened: bool, other: Receipt | Trust) -> None:
        """Fold the other panel away: there is room for one."""
        if opened and other.open:
            other.toggle.value = False
        self._arrange()

    def _arrange(self) -> None:
        """Give the sliders of the hidden region, or curves, the strip's place, or room of their own beside it."""
        layered = "layer" in {k.name for k in card(self.studio.lens.method).knobs}
        taken = self.occluder.on or self.course.shown
        self.strip.box.layout.display = "none" if taken and not layered else ""
        rows = {"xai-occluding": self.occluder.on, "xai-charted": self.course.shown}
        rows["xai-tall"] = self.occluder.on and (layered or self.course.shown)
        for name, on in {**rows, "xai-accounting": self.receipt.open or self.trust.open}.items():
            (self.add_class if on else self.remove_class)(name)
        if not self.occluder.on and self.studio.predictions:
            self._show_predictions()

    def _form(self, method: str) -> Form:
        if method not in self._forms:
            side = max(self.studio.preprocessing.size)
            shown = [_within(k, side) for k in card(method).knobs if k.name != "layer"]  # the strip is its control
            self._forms[method] = Form(shown, self._choose_knob)
            if self.studio.model is not None:
                self._forms[method].set_weighted(self.studio.model.inspection.weighted)
        return self._forms[method]

    def _cost(self, lens: Lens) -> str:
        try:
            found = self.studio.cost(lens)
            if found is None:
                forward, backward = lens.make().cost(self.studio.preprocessing.size)
                passes = f"{forward:,} forward, {backward:,} backward" if backward else f"{forward:,} forward"
                return f"Cost: {passes} passes"
        except InvalidKnob:  # e.g. a window larger than the picture: the status says so
            return "Cost: none, these settings do not work here"
        limit = self.budget.value
        return f"Cost: {found}" + (", more than the budget" if limit and found.seconds > limit else "")

    def _spend(self) -> None:
        """Fit the method on screen to the budget that was chosen."""
        if self.budget.value:
            self.studio.put(self.studio.fitted(self.studio.lens, self.budget.value))
        self.picker.show(self.studio.lens.method, self._cost(self.studio.lens))

    def _paced(self) -> None:
        self.budget.disabled = False
        self._spend()

    def _on_model(self, model: Model) -> None:
        with self.studio.lock:
            self.strip.set_model(model)
            if self._forms and model.preprocessing.size != Preprocessing().size:  # made for pictures of another size
                old, self._forms = self._forms, {}
                self._on_lens(self.studio.lens)
                for form in old.values():
                    form.close()
            for form in self._forms.values():
                form.set_weighted(model.inspection.weighted)
            self.predictions.set_model(model)
            self.occluder.set_size(model.preprocessing.size)
            shape = "×".join(map(str, model.input_shape))
            notes = " ".join(model.notes)
            self.model_name.value = (
                f"<span class='xai-muted xai-model' title='{escape(notes)}'>{escape(model.name)} · {shape} · "
                f"{model.classes} classes {escape(notes)}</span>"
            )
            self.strip.enable("layer" in {k.name for k in card(self.studio.lens.method).knobs})
            if self.occluder.on:
                self._hide(self.occluder.window.box)

    def _limit(self) -> None:
        """Say which methods do not apply, and offer what would make them."""
        self.picker.limit(self.studio.reasons())
        tip = "On a copy of this network, on the bundled digits; takes seconds. The copy is then explained by CAM"
        convert = self.studio.convert if self.studio.convertible() else None
        self.picker.offer("cam", "Train such a head", tip, convert)

    def _on_photo(self, photo: Any) -> None:
        self.readout.clear()
        self.receipt.show(None)
        self.course.show(None)
        self.stage.show(compose(photo, None, Scale(0, 1), self.studio.lens.look))
        self.occluder.reading.value = ""

    def _on_frame(self, frame: Frame) -> None:
        look = self.studio.lens.look
        self.stage.show(frame.pixels(look))
        self.readout.show(frame, look)
        self.receipt.show(frame.result)
        self.course.show(frame.result, self.studio.waiting)
        self._offer_looks(frame.result)
        if frame.result.layer:
            self.strip.show(frame.result.layer)
        if frame.result.progress >= 1:
            self._finish(frame.result)

    def _offer_looks(self, result: Attribution) -> None:
        """Grey out what means nothing for this map: channels without a value a color, regions where none are ranked."""
        for name, there in (("channels", choosable(result)), ("regions", ranked(result) is not None)):
            control = self.look.controls[name].widget
            if control.disabled == there:
                control.disabled = not there

    def _finish(self, result: Attribution) -> None:
        self.result = result
        if result.provenance.events:
            self.export.refresh()  # the code makes the same moves

    def _on_probe(self, probe: Probe) -> None:
        if self.occluder.on:
            self.occluder.show(probe, probe.target)
            explained = self.studio.predictions[0].index if self.studio.predictions else None
            self.predictions.show(probe.predictions, self.studio.lens.target, explained, self.studio.lens.unit)

    def _show_predictions(self) -> None:
        self.predictions.show(self.studio.predictions, self.studio.lens.target, unit=self.studio.lens.unit)

    def _code(self) -> str:
        studio = self.studio
        name = studio.model.name if studio.model is not None else "efficientnet_lite0"
        uploaded = studio.album.title(studio.lens.image) if studio.lens.image.startswith("upload:") else None
        shown = studio.frame
        if shown is None:
            return code_for(studio.lens, name, "top-1", uploaded)
        made = shown.result.provenance
        if not made.events or shown.lens.question != studio.lens.question:
            return code_for(studio.lens, name, shown.target, uploaded)
        first = studio.lens.with_knobs(**made.knobs)  # as the run began; the rest is told by what was moved
        return code_for(first, name, shown.target, uploaded, made.events)


def _within(knob: Knob, side: int) -> Knob:
    """Return a knob whose lengths in pixels stop at the picture's side, so that the slider has no dead end."""
    domain = knob.domain
    if knob.unit != "px" or not isinstance(domain, Range) or domain.high <= side:
        return knob
    return dataclasses.replace(knob, domain=dataclasses.replace(domain, high=side), default=min(knob.default, side))
