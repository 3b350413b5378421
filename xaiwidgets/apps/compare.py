"""Compare: methods, classes and layers side by side on one photo, with one cursor over all maps."""

from __future__ import annotations

import dataclasses
import math
import time
from html import escape
from typing import TYPE_CHECKING, Any

import ipywidgets as w
import traitlets

from xaiwidgets.apps.explorer import MOST_TRUST, SMALL_PICTURE, _within
from xaiwidgets.core.cards import card, resolve
from xaiwidgets.core.knobs import Choice, LayerName, clamp_knobs, knobs_of
from xaiwidgets.engine.arrange import ACROSS, MOST_CELLS
from xaiwidgets.engine.comparison import method_names
from xaiwidgets.errors import InvalidKnob, InvalidTarget, XaiError
from xaiwidgets.render.look import Look
from xaiwidgets.render.panels import NORMALIZED, SAID, SCALES, WORDS
from xaiwidgets.studio.frame import Status
from xaiwidgets.studio.grid import FIRST, Column, Grid, Rank
from xaiwidgets.studio.gridinspector import BUDGET, GridInspector
from xaiwidgets.studio.gridstudio import GridStudio
from xaiwidgets.widgets.board import CSS, Board, still
from xaiwidgets.widgets.catchup import CatchUp
from xaiwidgets.widgets.closing import close_tree
from xaiwidgets.widgets.controls import Form
from xaiwidgets.widgets.crosshair import Crosshair
from xaiwidgets.widgets.gallery import Gallery
from xaiwidgets.widgets.gridexport import GridExport, code_for_grid
from xaiwidgets.widgets.gridview import GridView
from xaiwidgets.widgets.lists import ClassList, LayerList, MethodList
from xaiwidgets.widgets.quiet import Quiet
from xaiwidgets.widgets.readout import StatusLine
from xaiwidgets.widgets.theme import label, page, style

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from xaiwidgets.core.knobs import Knob
    from xaiwidgets.engine.arrange import Cell, Place
    from xaiwidgets.engine.comparison import Comparison, Plan
    from xaiwidgets.model.model import Model
    from xaiwidgets.studio.album import Album

#: What panels make together is computed so often, in seconds.
TOGETHER = 0.7


class Compare(w.VBox):
    """Compare maps of one photo: any methods, for any classes, at any layers, in one grid.

    Args:
        model: a ``Model``, a name for ``load_model``, a function that returns a ``Model`` (called by the worker), or
            ``None`` for the bundled network.
        image: a sample's name, or anything that ``read_picture`` takes.
        methods: ids, (id, hyper-parameters) pairs or method objects; ``None`` for four of different kinds.
        targets: class indices, or labels if the model is there; ``None`` for the first two of the photo.
        layers: for methods that look at a layer; empty for each method's own choice.
        across: which of ``methods``, ``classes`` and ``layers`` is in columns.
        album: pictures to choose from, e.g. those of another app.
        nav: a widget for the header, e.g. the tabs of a larger app.
        trust: seconds for testing each map in the pauses, once all are there; 0 tests none.

    ``grid`` is the whole question on screen and can be observed. ``put`` asks for something else, ``wait`` blocks until
    all maps are there, ``comparison`` returns them, ``close`` ends the worker.
    """

    grid = traitlets.Instance(Grid, allow_none=False)

    def __init__(
        self,
        model: Model | str | Callable[[], Model] | None = None,
        image: Any = "coffee",
        methods: Sequence[Any] | None = None,
        *,
        targets: Sequence[Any] | None = None,
        layers: Sequence[str] = (),
        across: str = "methods",
        album: Album | None = None,
        nav: w.Widget | None = None,
        trust: float = BUDGET,
        sync: bool = False,
    ) -> None:
        if isinstance(trust, bool) or not isinstance(trust, (int, float)) or not 0 <= trust <= MOST_TRUST:
            raise InvalidKnob(f"trust must be 0 to {MOST_TRUST} seconds for the tests of a map; got {trust!r}.")
        self._trust = float(trust)
        columns = FIRST if methods is None else tuple(map(_column, methods))
        self.studio = GridStudio(model, Grid(methods=columns, across=across), sync=sync)
        try:
            if album is not None:
                self.studio.album = album
            found = {} if targets is None else {"targets": tuple(map(self._target, targets))}
            grid = self.studio.grid.replace(image=self._picture(image), layers=tuple(layers), **found)
            if methods is None and self.studio.model is not None:
                grid = grid.replace(methods=tuple(map(self._fitted, grid.methods)))
            grid = grid.apart()
        except XaiError:
            self.studio.close()
            raise
        self.studio.grid, self.studio.lens = grid, self.studio.lens.replace(image=grid.image)
        super().__init__(grid=grid)
        self._forms: dict[str, Form] = {}
        self._current = 0
        self._nav = nav
        self._combined = 0.0
        self._quiet = Quiet()
        self._build()
        self._listen()
        self.add_class("xai-root")
        self.add_class("xai-compare")
        if self.studio.model is not None:
            self._on_model(self.studio.model)
        self._on_grid(grid)
        self.studio.start()

    # -- what a program does with it --------------------------------------------------------------------------------

    def put(self, **changes: Any) -> None:
        """Ask for something else: ``image``, ``methods``, ``targets``, or any other field of ``Grid``.

        Raises:
            InvalidKnob: more than 36 panels, an empty list, or no such field. Others as for the constructor.
        """
        readers: dict[str, Callable[[Any], Any]] = {
            "image": self._picture,
            "methods": lambda every: tuple(map(_column, every)),
            "targets": lambda every: tuple(map(self._target, every)),
            "layers": tuple,
        }
        unknown = set(changes) - set(Grid.__dataclass_fields__)
        if unknown:
            known = ", ".join(Grid.__dataclass_fields__)
            raise InvalidKnob(f"put takes {known}; got {', '.join(sorted(unknown))}.")
        read = {name: readers.get(name, lambda same: same)(value) for name, value in changes.items()}
        grid = self.studio.grid.replace(**read)
        self.studio.put(grid if "pair" in read else grid.apart())

    def comparison(self) -> Comparison | None:
        """Return the maps on screen, as far as they have come, or ``None`` before the model is there."""
        return self.studio.comparison()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until all maps are there; return whether that was in time."""
        return self.studio.wait(timeout)

    def close(self) -> None:
        """End the worker and close all widgets."""
        if "board" in self.__dict__:  # else the constructor has raised
            self.studio.close()
            self._catch_up.close()
            self.cursor.close()
            self.board.close()
            keep = () if self._nav is None else (self._nav,)
            close_tree(*self.children, self.layout, *(form.box for form in self._forms.values()), keep=keep)
        super().close()

    def _picture(self, source: Any) -> str:
        album = self.studio.album
        return source if isinstance(source, str) and source in album.keys else album.add(source)

    def _target(self, wanted: Any) -> int | Rank:
        if isinstance(wanted, Rank):
            return wanted
        if self.studio.model is not None:
            return int(self.studio.model.labels.index(wanted))
        if isinstance(wanted, int) and not isinstance(wanted, bool) and wanted >= 0:
            return wanted
        raise InvalidTarget(f"targets must be class indices until the model is loaded; got {wanted!r}.")

    def _fitted(self, column: Column) -> Column:
        """Return a method whose lengths suit small pictures: they are made for photos of 224 px."""
        side = min(self.studio.preprocessing.size)
        if side >= SMALL_PICTURE:
            return column
        lengths = [k.name for k in card(column.method).knobs if k.unit == "px"]
        return column.with_knobs(**{name: max(2, round(column.knob(name) * side / 224)) for name in lengths})

    # -- building ---------------------------------------------------------------------------------------------------

    def _build(self) -> None:
        studio = self.studio
        self.gallery = Gallery(studio.album, self._choose_image, self._fail)
        self.classes = ClassList(self._toggle_class, self._fail)
        self.layers = LayerList(lambda name: self._ask(lambda g: g.with_layer(name)), lambda n: self._take("layers", n))
        self.methods = MethodList(self._choose, lambda n: self._take("methods", n), self._double, self._add)
        self.look = Form([_one_panel(k) for k in knobs_of(Look)], self._choose_look)
        self.across = w.ToggleButtons(
            options=[(name.capitalize(), name) for name in ACROSS],
            description="Columns",
            tooltips=[f"Put {name} in columns, the rest in rows" for name in ACROSS],
        )
        self.across.style.button_width = "auto"
        self.across.add_class("xai-switch")
        self.scale = w.Dropdown(options=[(WORDS[name], name) for name in SCALES], description="Scale")
        self.scale.tooltip = " ".join(f"{WORDS[name].capitalize()}: {SAID[name]}" for name in SCALES)
        self.scale.layout.width = "100%"
        for control in (self.across, self.scale):
            control.style.description_width = "56px"
        self.across.observe(lambda change: self._set(across=change["new"]), "value")
        self.scale.observe(lambda change: self._set(scale=change["new"]), "value")
        self.first, self.second = (w.Dropdown(options=[("…", 0)], description=name) for name in ("Map", "minus"))
        for control in (self.first, self.second):
            control.style.description_width = "40px"
            control.observe(lambda _: self._pair(), "value")
        self.first.tooltip = "The map from which the other one is taken away"
        self.second.tooltip = "The map that is taken away"
        self.note = w.HTML()
        self.board = Board(self._move, self._key, (label("Difference"), self.first, self.second, self.note))
        self.view = GridView(self.board)
        self._catch_up = CatchUp(self, self.board.extras.tiles.canvas)
        self.inspector = GridInspector(studio, self.view.judged, self._trust)
        self.status = StatusLine()
        self.export = GridExport(self._make_figure, self._code)
        self.go = w.Button(description="Run again", tooltip="Compute all maps anew")
        self.stop = w.Button(description="Stop all", tooltip="Stop all maps; what they have shown so far stays")
        self.go.add_class("xai-primary")
        for button in (self.go, self.stop):
            button.add_class("xai-plain")
        self.go.on_click(lambda _: studio.resume() if self._halted else studio.refresh())
        self.stop.on_click(lambda _: studio.stop())
        self.in_words = w.ToggleButton(description="In words", tooltip="What each map shows, as a list")
        self.in_words.add_class("xai-plain")
        self.in_words.observe(lambda _: self._twin(), "value")
        self.twin = w.HTML()
        self.cursor = Crosshair(
            self.view.cursor, self.view.told_at, lambda on: still(self.board.box, on), self.in_words
        )
        self.said, self.about, self.count, self.knobs = w.HTML(), w.HTML(), w.HTML(), w.VBox()
        self.model_name = w.HTML("<span class='xai-muted'>loading the model …</span>")
        sheet = w.HTML(f"<style>{CSS}</style>")
        sheet.layout.display = "none"
        self.children = (style(), sheet, self._layout())

    def _layout(self) -> w.Box:
        title = w.HTML("<span class='xai-title' role='heading' aria-level='1'>xaiwidgets Compare</span>")
        head = w.HBox([title, *([self._nav] if self._nav is not None else []), self.model_name])
        left = w.VBox([self.gallery.box, self.classes.box, self.layers.box, w.VBox([label("Look"), self.look.box])])
        below = [self.said, self.cursor.box, self.twin, self.cursor.told]
        main = w.VBox([self.status.progress, self.board.box, *below])
        actions = w.HBox([self.go, self.stop])
        actions.add_class("xai-tools")
        arrange = w.VBox([label("Arrange"), self.across, self.scale, self.count])
        arrange.add_class("xai-arrange")
        right = w.VBox([self.methods.box, self.about, self.knobs, actions, arrange, self.export.box])
        foot = w.VBox([self.status.line])
        return page(head=head, left=left, main=main, right=right, foot=foot)

    def _listen(self) -> None:
        studio = self.studio
        studio.on("grid", self._on_grid)
        studio.on("model", self._on_model)
        studio.on("offers", lambda _: self.methods.limit(studio.reasons()))
        studio.on("photo", lambda _: self._lay_out())
        studio.on("predictions", lambda _: self._show_classes())
        studio.on("plan", self._on_plan)
        studio.on("panels", self._on_panels)
        studio.on("status", self.status.show)
        studio.on("pace", lambda _: self._describe())

    # -- from the person to the studio ------------------------------------------------------------------------------

    def _fail(self, message: str) -> None:
        self.status.show(Status(message, "error"))

    def _ask(self, change: Callable[[Grid], Grid]) -> bool:
        """Put the grid with a change, or say why that cannot be; return whether it could."""
        try:
            grid = change(self.studio.grid)
        except XaiError as error:
            self._on_grid(self.studio.grid)
            self._fail(str(error))
            return False
        self.studio.put(grid)
        if self.studio.grid is not grid:  # e.g. two settings that exclude each other: show what holds
            self._on_grid(self.studio.grid)
        return self.studio.grid is grid

    def _set(self, **changes: Any) -> None:
        if not self._quiet:
            self._ask(lambda grid: grid.replace(**changes))

    def _choose_image(self, key: str) -> None:
        if key in self.studio.album.keys:
            self._set(image=key)

    def _add(self, method: str) -> None:
        if self._ask(lambda grid: grid.with_method(self._fitted(Column.of(method)))):
            self._choose(len(self.studio.grid.methods) - 1)

    def _double(self, number: int) -> None:
        if self._ask(lambda grid: grid.with_method(grid.methods[number])):
            self._choose(len(self.studio.grid.methods) - 1)

    def _take(self, axis: str, number: int) -> None:
        if self._ask(lambda grid: grid.without(axis, number)) and axis == "methods" and number < self._current:
            self._choose(self._current - 1)

    def _choose(self, number: int) -> None:
        self._current = number
        self._on_grid(self.studio.grid)

    def _toggle_class(self, index: int, rank: int) -> None:
        """Take a class away that is compared, or add it: by its rank if it has one, so that it goes with the photo."""
        targets = self.studio.grid.targets
        here = [number for number, one in enumerate(targets) if self._index(one) == index]
        if here and rank >= 0:
            self._take("targets", here[0])
        elif not here:
            self._ask(lambda grid: grid.with_target(Rank(rank) if rank > 0 else index))

    def _index(self, wanted: int | Rank) -> int | None:
        if isinstance(wanted, Rank):
            found = self.studio.predictions
            return found[wanted.place - 1].index if wanted.place <= len(found) else None
        return wanted

    def _choose_knob(self, name: str, value: Any) -> None:
        self._ask(lambda grid: grid.changed(self._current, **{name: value}))

    def _choose_look(self, name: str, value: Any) -> None:
        known = {k.name: getattr(self.studio.grid.look, k.name) for k in knobs_of(Look)}
        self._set(look=Look(**clamp_knobs(Look, {**known, name: value})))

    def _pair(self) -> None:
        cells = list(self.studio.grid.cells.values())
        chosen = [cells[number] for number in (self.first.value, self.second.value) if number in range(len(cells))]
        if len(chosen) == 2:
            self._set(pair=tuple(chosen))

    def _move(self, at: tuple[float, float] | None, stay: bool) -> None:
        self.cursor.move(at, stay)

    def _key(self, key: str, shift: bool) -> None:
        if key == "Tab":  # the canvas swallows it; hand the focus on
            (self.scale if shift else self.cursor.pointing).focus()
        else:
            self.cursor.key(key, shift)

    # -- from the studio to the screen ------------------------------------------------------------------------------

    @property
    def _halted(self) -> bool:
        return any(panel.state == "stopped" for panel in self.studio.panels.values())

    def _on_grid(self, grid: Grid) -> None:
        with self.studio.lock:
            self.grid = grid
            self.status.forgive()
            self._current = min(self._current, len(grid.methods) - 1)
            with self._quiet:
                self.across.value, self.scale.value = grid.across, grid.scale
                self.look.set({k.name: getattr(grid.look, k.name) for k in knobs_of(Look)})
            self.gallery.show(grid.image)
            self._show_classes()
            self.layers.show(grid.layers)
            self.methods.show(method_names([column.make() for column in grid.methods]), self._current)
            chosen = grid.methods[self._current]
            form = self._form(chosen.method)
            form.set({k.name: chosen.knob(k.name) for k in card(chosen.method).knobs})
            if self.knobs.children != (form.box,):
                self.knobs.children = (form.box,)
            top = f"alues beyond the {grid.look.clip:g}th percentile share the last color."
            words = f"{SAID[grid.scale]} {'In difference and disagreement, v' if grid.scale == 'rank' else 'V'}{top}"
            if len(grid.cells) == 1:
                words += " Add a method, a class or a layer, and you see where the maps differ."
            self.said.value = f"<div class='xai-said xai-muted'>{escape(words)}</div>"
            self.count.value = f"<div class='xai-muted'>{len(grid.cells)} of at most {MOST_CELLS} panels</div>"
            self._describe()
            self.export.refresh()

    def _form(self, method: str) -> Form:
        if method not in self._forms:
            side, model = max(self.studio.preprocessing.size), self.studio.model
            layers = [] if model is None else [layer.name for layer in model.layers if layer.spatial]
            shown = [_within(k, side) for k in card(method).knobs]
            self._forms[method] = Form(shown, self._choose_knob, layers)
            if model is not None:
                self._forms[method].set_weighted(model.inspection.weighted)
        form = self._forms[method]
        for control in form.controls.values():
            if isinstance(control.knob.domain, LayerName):  # the layers on the left come before it
                control.widget.disabled = bool(self.studio.grid.layers)
        return form

    def _describe(self) -> None:
        """Say what the chosen method does and what one map of it takes."""
        column = self.studio.grid.methods[self._current]
        made = card(column.method)
        try:
            found = self.studio.cost(column.lens)
            if found is None:
                forward, backward = column.make().cost(self.studio.preprocessing.size)
                told = f"takes {forward:,} forward" + (f", {backward:,} backward passes" if backward else " passes")
            else:
                told = f"takes {found}"
        except InvalidKnob:  # e.g. a window larger than the picture: its panels say so
            told = "cannot be made with these settings"
        self.about.value = (
            f"<div class='xai-about2'><p><b>{escape(made.title)}.</b> {escape(made.idea)}</p>"
            f"<p class='xai-muted'>A map {escape(told)}. {escape(made.cite)}</p></div>"
        )

    def _on_model(self, model: Model) -> None:
        with self.studio.lock:
            shape = "×".join(map(str, model.input_shape))
            notes = " ".join(model.notes)
            self.model_name.value = (
                f"<span class='xai-muted xai-model' title='{escape(notes)}'>{escape(model.name)} · {shape} · "
                f"{model.classes} classes {escape(notes)}</span>"
            )
            self.classes.set_labels(model.labels)
            self.layers.set_model(model)
            old, self._forms = self._forms, {}
            if old:  # made before the layers and the size were known
                self._on_grid(self.studio.grid)
                for form in old.values():
                    form.close()

    def _lay_out(self) -> None:
        """Make room for the grid's panels, with the photo in each."""
        grid = self.studio.grid
        rows, columns = (1 + max(place[axis] for place in grid.cells) for axis in (0, 1))
        self.view.shape(rows, columns, self.studio.photo(grid.image))

    def _on_plan(self, plan: Plan) -> None:
        self._lay_out()
        chances = {one.index: one.probability for one in self.studio.predictions}
        more = [""] * len(plan.rows)
        if plan.across != "classes":
            for (row, _), cell in plan.cells.items():
                chance = chances.get(plan.targets[cell.target].classes[0])
                more[row] = "" if chance is None else f"{chance:.1%}"
        self.view.titles(plan.columns, plan.rows, more)
        options = tuple((plan.title(place), number) for number, place in enumerate(plan.cells))
        cells = list(plan.cells.values())
        with self._quiet:
            for control, cell in zip((self.first, self.second), self.studio.grid.pair, strict=True):
                if control.options != options:
                    control.options = options
                control.value = cells.index(cell) if cell in cells else 0
        self._show_classes()
        self._combined = 0.0
        self.export.refresh()

    def _on_panels(self, places: tuple[Place, ...]) -> None:
        grid, studio = self.studio.grid, self.studio
        self.view.show(studio.panels, places, grid.look, grid.scale)
        done = all(panel.state not in ("waiting", "busy") for panel in studio.panels.values())
        if done or time.monotonic() - self._combined > TOGETHER:
            self._combine()
        if done:
            self._twin()
        self.go.description = "Go on" if self._halted else "Run again"
        self.go.tooltip = "Go on where it was stopped" if self._halted else "Compute all maps anew"

    def _combine(self) -> None:
        """Show what the maps so far make together."""
        found, look = self.studio.comparison(), self.studio.grid.look
        if found is None:
            return
        self._combined = time.monotonic()
        one, other = self._pair_places(found.plan)
        said = [NORMALIZED]
        if one != other and one in found.maps and other in found.maps:
            title = f"Difference: {found.plan.title(one)} less {found.plan.title(other)}"
            self.view.made("difference", title, found.difference(one, other), look)
            alike = found.correlation(one, other)
            said.append("" if math.isnan(alike) else f"Rank correlation of the two: {alike:.2f}.")
        else:
            why = "choose two different maps" if one == other else "waits for both maps"
            self.view.made("difference", "Difference", None, look, why)
        count = len(found.distinct)
        if count > 1:
            title = f"Disagreement of {count} maps"
            self.view.made("disagreement", title, found.disagreement(), look)
            said.append(f"Disagreement: standard deviation over {count} maps.")
        else:
            self.view.made("disagreement", "Disagreement", None, look, "needs two maps")
        self.note.value = f"<div class='xai-muted'>{escape(' '.join(filter(None, said)))}</div>"

    def _pair_places(self, plan: Plan) -> tuple[Place, Place]:
        at: dict[Cell, Place] = {cell: place for place, cell in plan.cells.items()}
        first, second = self.studio.grid.pair
        return at.get(first, (0, 0)), at.get(second, (0, 0))  # a grid that could not be answered has another plan

    def _twin(self) -> None:
        lines = "".join(f"<li>{escape(line)}</li>" for line in self.view.words())
        hidden = "" if self.in_words.value else " xai-sr"
        self.twin.value = f"<div class='xai-twin{hidden}'><ul class='xai-twinlist' aria-label='Maps'>{lines}</ul></div>"

    def _show_classes(self) -> None:
        compared = [index for one in self.studio.grid.targets if (index := self._index(one)) is not None]
        self.classes.show(self.studio.predictions, compared)

    # -- taking it along --------------------------------------------------------------------------------------------

    def _make_figure(self, kind: str) -> None:
        # between two steps on the worker: it takes seconds, and the page must go on answering
        self.studio.runner.urgent("figure", lambda: self.export.give(kind, self._figure(kind)))

    def _figure(self, kind: str) -> bytes | None:
        from xaiwidgets.render.grid import comparison_bytes

        found, grid = self.studio.comparison(), self.studio.grid
        if found is None or not found.maps:
            return None
        pair = self._pair_places(found.plan)
        ready = pair[0] != pair[1] and set(pair) <= set(found.maps)
        return comparison_bytes(found, kind, scale=grid.scale, look=grid.look, difference=pair if ready else None)

    def _code(self) -> str:
        studio, grid, plan = self.studio, self.studio.grid, self.studio.plan
        if studio.model is None or plan is None:
            return "# the model is being loaded"
        uploaded = studio.album.title(grid.image) if grid.image.startswith("upload:") else None
        targets = [(target.classes[0], target.name) for target in plan.targets]
        one, other = self._pair_places(plan)
        return code_for_grid(grid, studio.model.name, targets, (one, other) if one != other else None, uploaded)


def _column(wanted: Any) -> Column:
    """Return what a method id, an (id, hyper-parameters) pair or a method object asks for, checked."""
    if isinstance(wanted, Column):
        return wanted
    if isinstance(wanted, tuple) and len(wanted) == 2 and isinstance(wanted[1], dict):
        wanted = resolve(wanted[0], **wanted[1])
    made = resolve(wanted)
    return Column.of(type(made).card.id, **{k.name: getattr(made, k.name) for k in knobs_of(made)})


def _one_panel(knob: Knob) -> Knob:
    """Return a knob of the look without the layout of two pictures."""
    if knob.name != "layout" or not isinstance(knob.domain, Choice):
        return knob
    options = tuple(option for option in knob.domain.options if option != "side")
    return dataclasses.replace(knob, domain=Choice(options), help="Map over the photo, or one of them alone.")
