"""TrustLab: the laboratory in which each test of a map is played by hand."""

from __future__ import annotations

from html import escape
from io import BytesIO
from typing import TYPE_CHECKING, Any

import ipywidgets as w
import traitlets

from xaiwidgets.apps.compare import _one_panel
from xaiwidgets.apps.explorer import SMALL_PICTURE, _within
from xaiwidgets.core.cards import card
from xaiwidgets.core.knobs import clamp_knobs, knobs_of
from xaiwidgets.core.metric_cards import metric_card, metric_cards
from xaiwidgets.errors import InvalidKnob, XaiError
from xaiwidgets.render.look import Look
from xaiwidgets.render.score_words import headline_html
from xaiwidgets.studio.experiment import Experiment, beyond
from xaiwidgets.studio.frame import Status
from xaiwidgets.studio.lens import Lens, Unit, explainer_card
from xaiwidgets.studio.tables import TABLES
from xaiwidgets.studio.truststudio import TrustStudio
from xaiwidgets.widgets.catchup import CatchUp
from xaiwidgets.widgets.closing import close_tree
from xaiwidgets.widgets.controls import Form
from xaiwidgets.widgets.drawing import make_canvas
from xaiwidgets.widgets.gallery import Gallery
from xaiwidgets.widgets.gridexport import GridExport
from xaiwidgets.widgets.lab.code import code_for_experiment
from xaiwidgets.widgets.lab.panel import Panel, Shot
from xaiwidgets.widgets.lab.panels import panel_for
from xaiwidgets.widgets.lab.style import sheet
from xaiwidgets.widgets.lab.tables import TableView
from xaiwidgets.widgets.lab.tests import TestList
from xaiwidgets.widgets.lab.threshold import Threshold
from xaiwidgets.widgets.picker import Picker
from xaiwidgets.widgets.predictions import Predictions
from xaiwidgets.widgets.readout import StatusLine
from xaiwidgets.widgets.theme import page, style

if TYPE_CHECKING:
    from collections.abc import Callable

    from xaiwidgets.core.scores import Limit, Score
    from xaiwidgets.model.model import Model
    from xaiwidgets.studio.album import Album
    from xaiwidgets.studio.experiment import Pattern, Region
    from xaiwidgets.studio.tables import Table


class TrustLab(w.VBox):
    """Test a map by hand: forget layers, remove pixels, shift pictures, add noise, and see what the map does.

    Args:
        model: a ``Model``, a name for ``load_model``, a function that returns a ``Model`` (called by the worker), or
            ``None`` for the bundled network.
        image: a sample's name, or anything that ``read_picture`` takes.
        method: id of an explainer.
        metric: id of the first test.
        target: a class index, or a label if the model is there; ``None`` for the photo's first class.
        album: pictures to choose from, e.g. those of another app.
        nav: a widget for the header, e.g. the tabs of a larger app.
        **knobs: hyper-parameters of the test.

    ``experiment`` is what is on screen, ``score`` the last finished score (both can be observed). ``put`` asks for
    something else, ``wait`` blocks until it is there, ``table`` computes a table of the review, ``close`` ends all.
    """

    experiment = traitlets.Instance(Experiment, allow_none=False)
    score = traitlets.Any(None, allow_none=True)

    def __init__(
        self,
        model: Model | str | Callable[[], Model] | None = None,
        image: Any = "coffee",
        method: str = "grad_cam",
        metric: str = "model_parameter_randomization",
        *,
        target: Any = None,
        album: Album | None = None,
        nav: w.Widget | None = None,
        sync: bool = False,
        **knobs: Any,
    ) -> None:
        metric_card(metric).make(**knobs)  # a wrong hyper-parameter is an error here, not a clamped value
        _check_one_photo(metric)
        first = Experiment(Lens(method=explainer_card(method).id)).with_metric(metric).with_knobs(**knobs)
        self.studio = TrustStudio(model, first, sync=sync)
        try:
            if album is not None:
                self.studio.album = album
            key = self._picture(image)
            lens = self._fitted(first.lens.replace(image=key, target=self._classes(target)))
        except XaiError:
            self.studio.close()
            raise
        self.studio.experiment, self.studio.lens = first.with_lens(lens), lens
        super().__init__(experiment=self.studio.experiment)
        self._nav = nav
        self._method_forms: dict[str, Form] = {}
        self._test_forms: dict[str, Form] = {}
        self._panels: dict[str, Panel] = {}
        self._table_name = ""
        self._build()
        self._listen()
        for name in ("xai-root", "xai-lab"):
            self.add_class(name)
        if self.studio.model is not None:
            self._on_model(self.studio.model)
        self._on_experiment(self.studio.experiment)
        self.studio.start()

    # -- what a program does with it --------------------------------------------------------------------------------

    def put(self, **changes: Any) -> None:
        """Ask for something else: ``image``, ``target``, ``method``, ``metric``, ``limit``, or settings of the test.

        Raises:
            InvalidKnob, UnknownMethod, InvalidImage: as for the constructor.
        """
        found = self.studio.experiment
        lens = found.lens
        if "image" in changes:
            lens = lens.replace(image=self._picture(changes.pop("image")), target=())
        if "method" in changes:
            lens = self._fitted(lens.with_method(changes.pop("method")))
        if "target" in changes:
            lens = lens.replace(target=self._classes(changes.pop("target")), unit=None)
        found = found.with_lens(lens)
        if "metric" in changes:
            found = found.with_metric(changes.pop("metric"))
            _check_one_photo(found.metric)
        if "limit" in changes:
            found = found.with_limit(changes.pop("limit"))
        found.card.make(**{**dict(found.knobs), **changes})
        self._table_name = ""
        self.studio.put(found.with_knobs(**changes))

    def table(self, name: str) -> None:
        """Compute a table of the review on the bundled networks: ``table3`` or ``table1``.

        Raises:
            InvalidKnob: there is no such table.
        """
        if name not in TABLES:
            raise InvalidKnob(f"table must be one of {', '.join(TABLES)}; got {name!r}.")
        self._table_name = name
        self.studio.tabulate(name)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the answer is complete; return whether it came in time."""
        return self.studio.wait(timeout)

    def close(self) -> None:
        """End the worker and close all widgets."""
        if "tests" in self.__dict__:  # else the constructor has raised
            self.studio.close()
            self._catch_up.close()
            for panel in self._panels.values():
                panel.close()
            keep = () if self._nav is None else (self._nav,)
            forms = (*self._method_forms.values(), *self._test_forms.values())
            rest = (self.table_view.box, *(form.box for form in forms))
            close_tree(*self.children, self.layout, *rest, keep=keep)
        super().close()

    def _picture(self, source: Any) -> str:
        album = self.studio.album
        return source if isinstance(source, str) and source in album.keys else album.add(source)

    def _classes(self, target: Any) -> tuple[int, ...]:
        if target is None:
            return ()
        model = self.studio.model
        return (int(target) if model is None else int(model.labels.index(target)),)

    def _fitted(self, lens: Lens) -> Lens:
        """Return the lens with lengths that suit small pictures: they are made for photos of 224 px."""
        side = min(self.studio.preprocessing.size)
        lengths = {k.name: max(2, round(k.default * side / 224)) for k in card(lens.method).knobs if k.unit == "px"}
        return lens.with_knobs(**lengths) if side < SMALL_PICTURE and lengths else lens

    # -- building ---------------------------------------------------------------------------------------------------

    def _build(self) -> None:
        studio = self.studio
        self.gallery = Gallery(studio.album, self._choose_image, self._fail)
        self.predictions = Predictions(self._choose_target, self._fail, self._choose_unit, studio.strongest)
        self.picker = Picker(self._choose_method)
        self.look = Form([_one_panel(k) for k in knobs_of(Look) if k.name != "channels"], self._choose_look)
        self.method_knobs = w.VBox()
        more = w.Accordion(
            children=[self.method_knobs, self.look.box], titles=("Method's settings", "Look"), selected_index=None
        )
        more.add_class("xai-more")
        self.more = more
        self.tests = TestList(self._choose_metric)
        self.about, self.test_knobs, self.headline = w.HTML(), w.VBox(), w.HTML()
        self.threshold = Threshold(self._choose_limit, self._fail)
        self.go = w.Button(description="Run again", tooltip="Run this test anew")
        self.stop = w.Button(description="Stop", tooltip="Stop; what was measured so far stays")
        self.go.add_class("xai-primary")
        for button in (self.go, self.stop):
            button.add_class("xai-plain")
        self.go.on_click(lambda _: self._run())
        self.stop.on_click(lambda _: studio.stop())
        self.table_buttons = {name: self._table_button(name) for name in TABLES}
        self.table_view = TableView()
        self.export = GridExport(self._make_figure, self._code, "test", "Curves, maps and verdict")
        self.status = StatusLine()
        self.stagebox = w.VBox()
        self.stagebox.add_class("xai-labstage")
        self.model_name = w.HTML("<span class='xai-muted'>loading the model …</span>")
        self._probe = make_canvas(1, 1, "xai-hello")  # its part in the browser says when the page is there
        self._catch_up = CatchUp(self, self._probe)
        self.children = (style(), sheet(), self._layout())

    def _table_button(self, name: str) -> w.Button:
        words = f"Review's {TABLES[name].title.partition(':')[0]}"
        button = w.Button(description=words, tooltip=f"{TABLES[name].title}. {TABLES[name].about} Takes minutes.")
        button.add_class("xai-plain")
        button.on_click(lambda _: self.table(name))
        return button

    def _layout(self) -> w.Box:
        title = w.HTML("<span class='xai-title' role='heading' aria-level='1'>xaiwidgets TrustLab</span>")
        head = w.HBox([title, *([self._nav] if self._nav is not None else []), self.model_name])
        left = w.VBox([self.gallery.box, self.predictions.box, self.picker.box, self.more])
        main = w.VBox([self.status.progress, self.headline, self.stagebox, self._probe])
        actions = w.HBox([self.go, self.stop])
        actions.add_class("xai-tools")
        tables = w.HBox([*self.table_buttons.values()])
        tables.add_class("xai-tools")
        right = w.VBox(
            [self.tests.box, self.about, self.test_knobs, self.threshold.box, actions, tables, self.export.box]
        )
        foot = w.VBox([self.status.line])
        return page(head=head, left=left, main=main, right=right, foot=foot)

    def _listen(self) -> None:
        studio = self.studio
        studio.on("experiment", self._on_experiment)
        studio.on("model", self._on_model)
        studio.on("offers", lambda _: self.picker.limit(studio.reasons()))
        studio.on("photo", lambda _: self._draw())
        studio.on("frame", lambda _: self._draw())
        studio.on("predictions", lambda _: self._show_predictions())
        studio.on("score", self._on_score)
        studio.on("failure", lambda _: self._on_score(studio.score))
        studio.on("table", self._on_table)
        studio.on("status", self.status.show)

    # -- from the person to the studio ------------------------------------------------------------------------------

    def _fail(self, message: str) -> None:
        self.status.show(Status(message, "error"))

    def _ask(self, experiment: Experiment) -> None:
        self._table_name = ""
        self.studio.put(experiment)

    def _lens(self, lens: Lens) -> None:
        self._ask(self.studio.experiment.with_lens(lens))

    def _choose_image(self, key: str) -> None:
        if key in self.studio.album.keys:
            self._lens(self.studio.lens.replace(image=key, target=(), unit=None))

    def _choose_target(self, index: int | None) -> None:
        self._lens(self.studio.lens.replace(target=() if index is None else (index,), unit=None))

    def _choose_unit(self, layer: str, channel: int, position: str) -> None:
        self._lens(self.studio.lens.replace(target=(), unit=Unit(layer, channel, position)))

    def _choose_method(self, method: str) -> None:
        self._lens(self._fitted(self.studio.lens.with_method(method)))

    def _choose_method_knob(self, name: str, value: Any) -> None:
        self._lens(self.studio.lens.with_knobs(**{name: value}))

    def _choose_look(self, name: str, value: Any) -> None:
        lens = self.studio.lens
        known = {k.name: getattr(lens.look, k.name) for k in knobs_of(Look)}
        self.studio.put(
            self.studio.experiment.replace(lens=lens.replace(look=Look(**clamp_knobs(Look, {**known, name: value}))))
        )

    def _choose_metric(self, metric: str) -> None:
        again = self._table_name and metric == self.studio.experiment.metric
        self._ask(self.studio.experiment.with_metric(metric))
        if again:  # back from a table to the test that was there before
            self._on_experiment(self.studio.experiment)
            self.studio.back()

    def _choose_knob(self, name: str, value: Any) -> None:
        self._ask(self.studio.experiment.with_knobs(**{name: value}))

    def _choose_limit(self, limit: Limit | None) -> None:
        self.studio.put(self.studio.experiment.with_limit(limit))

    def _aim(self, region: Region) -> None:
        top, left, bottom, right = region
        if 0 <= top < bottom <= 1 and 0 <= left < right <= 1:
            self._ask(self.studio.experiment.replace(region=region))

    def _paint(self, pattern: Pattern | None) -> None:
        self._ask(self.studio.experiment.replace(pattern=pattern))

    def _run(self) -> None:
        if self._table_name:
            self.studio.tabulate(self._table_name)
        else:
            self.studio.refresh()

    # -- from the studio to the screen ------------------------------------------------------------------------------

    def _on_experiment(self, experiment: Experiment) -> None:
        with self.studio.lock:
            self.experiment = experiment
            self.status.forgive()
            lens, made = experiment.lens, experiment.card
            self.gallery.show(lens.image)
            self.predictions.mark(lens.target, unit=lens.unit)
            self.picker.show(lens.method, self._cost(lens))
            self._put_form(
                self.method_knobs,
                self._method_form(lens.method),
                {k.name: lens.knob(k.name) for k in card(lens.method).knobs},
            )
            self._put_form(
                self.test_knobs,
                self._test_form(experiment.metric),
                {k.name: experiment.knob(k.name) for k in made.knobs},
            )
            self.look.set({k.name: getattr(lens.look, k.name) for k in knobs_of(Look)})
            self.tests.choose(experiment.metric)
            for one in metric_cards():
                self.tests.show(one.id, self.studio.known(one.id))
            self.tests.summarize()
            self.about.value = _about(experiment)
            self._on_score(self.studio.score)
            self.export.refresh()

    def _cost(self, lens: Lens) -> str:
        try:
            forward, backward = lens.make().cost(self.studio.preprocessing.size)
        except InvalidKnob:  # e.g. a window larger than the picture: the status says so
            return "These settings do not work here"
        return f"A map takes {forward:,} forward" + (f", {backward:,} backward passes" if backward else " passes")

    def _put_form(self, place: w.VBox, form: Form, values: dict[str, Any]) -> None:
        form.set(values)
        if place.children != (form.box,):
            place.children = (form.box,)

    def _spatial(self) -> list[str]:
        model = self.studio.model
        return [] if model is None else [layer.name for layer in model.layers if layer.spatial]

    def _method_form(self, method: str) -> Form:
        if method not in self._method_forms:
            side, model = max(self.studio.preprocessing.size), self.studio.model
            shown = [_within(k, side) for k in card(method).knobs]
            form = self._method_forms[method] = Form(shown, self._choose_method_knob, self._spatial())
            if model is not None:
                form.set_weighted(model.inspection.weighted)
        return self._method_forms[method]

    def _test_form(self, metric: str) -> Form:
        if metric not in self._test_forms:
            self._test_forms[metric] = Form(metric_card(metric).knobs, self._choose_knob, self._spatial())
        form = self._test_forms[metric]
        form.set_names([(k.label, k.name) for k in card(self.studio.lens.method).knobs])
        return form

    def _on_model(self, model: Model) -> None:
        with self.studio.lock:
            self.predictions.set_model(model)
            shape = "×".join(map(str, model.input_shape))
            notes = " ".join(model.notes)
            self.model_name.value = (
                f"<span class='xai-muted xai-model' title='{escape(notes)}'>{escape(model.name)} · {shape} · "
                f"{model.classes} classes {escape(notes)}</span>"
            )
            old = (*self._method_forms.values(), *self._test_forms.values())
            if old:  # made before the layers and the size were known
                self._method_forms, self._test_forms = {}, {}
                self._on_experiment(self.studio.experiment)
                for form in old:
                    form.close()

    def _show_predictions(self) -> None:
        lens = self.studio.lens
        self.predictions.show(self.studio.predictions, lens.target, unit=lens.unit)

    def _on_score(self, score: Score | None) -> None:
        with self.studio.lock:
            experiment, failure = self.studio.experiment, self.studio.failure
            self.tests.show(experiment.metric, score, failure, self.studio.stopped)
            if score is None or score.progress >= 1:
                self.tests.summarize()
                own = experiment.metric in dict(experiment.limits)
                limit = experiment.card.limit if score is None else score.limit
                if own:
                    limit = dict(experiment.limits)[experiment.metric]
                self.threshold.show(limit, experiment.card.direction, own)
            if score is not None and score.progress >= 1:
                self.score = score
            self._draw()

    def _draw(self) -> None:
        """Show the current test's panel."""
        if self._table_name:
            return
        with self.studio.lock:
            studio, experiment = self.studio, self.studio.experiment
            score = studio.score
            self.headline.value = headline_html(experiment.card, score, studio.failure, studio.stopped)
            panel = self._panel(experiment.metric)
            frame = studio.frame
            panel.show(
                Shot(
                    question=experiment.question,
                    score=score,
                    photo=studio.photo(experiment.lens.image),
                    look=experiment.lens.look,
                    unit="" if frame is None else frame.result.unit,
                    target="" if frame is None else frame.target,
                    reel=studio.reel,
                    level=255 * sum(studio.preprocessing.std) / len(studio.preprocessing.std),
                    region=experiment.aim,
                    paints=experiment.paints,
                    pattern=experiment.sketch,
                )
            )
            if self.stagebox.children != (panel.box,):
                self.stagebox.children = (panel.box,)

    def _panel(self, metric: str) -> Panel:
        if metric not in self._panels:
            self._panels[metric] = panel_for(metric_card(metric), self._aim, self._paint)
        return self._panels[metric]

    def _on_table(self, table: Table) -> None:
        with self.studio.lock:
            if self._table_name != table.name:
                return
            self.headline.value = ""
            self.table_view.show(table)
            if self.stagebox.children != (self.table_view.box,):
                self.stagebox.children = (self.table_view.box,)

    # -- taking it along --------------------------------------------------------------------------------------------

    def _make_figure(self, kind: str) -> None:
        # between two steps on the worker: it takes seconds, and the page must go on answering
        self.studio.runner.urgent("figure", lambda: self.export.give(kind, self._figure(kind)))

    def _figure(self, kind: str) -> bytes | None:
        score = self.studio.score
        if score is None:
            return None
        buffer = BytesIO()
        score.plot().savefig(buffer, format=kind, dpi=160)
        return buffer.getvalue()

    def _code(self) -> str:
        studio, experiment = self.studio, self.studio.experiment
        if studio.model is None:
            return "# the model is being loaded"
        image = experiment.lens.image
        uploaded = studio.album.title(image) if image.startswith("upload:") else None
        target = studio.frame.target if studio.frame is not None else "the first class"
        return code_for_experiment(experiment, studio.model.name, target, uploaded)


def _check_one_photo(metric: str) -> None:
    made = metric_card(metric)
    if beyond(made):
        ids = ", ".join(one.id for one in metric_cards() if not beyond(one))
        raise InvalidKnob(f"metric must be one that works on one photo: {ids}; got {metric!r}. Use xw.evaluate for it.")


def _about(experiment: Experiment) -> str:
    """Return what the test does, whose it is, and when not to trust it."""
    made = experiment.card
    source = made.limit.source if made.limit is not None else "none is written down"
    return (
        f"<div class='xai-about2'><p class='xai-muted'>{escape(made.cite)}, {escape(made.paper)} · review "
        f"{escape(made.section)}</p>"
        "<details><summary>How it works, and when not to trust it</summary>"
        f"<p><code>{escape(made.formula)}</code></p><p>{escape(made.how)}</p>"
        f"<p><b>Caution.</b> {escape(made.caution)}</p><p><b>Threshold.</b> {escape(source)}</p></details></div>"
    )
