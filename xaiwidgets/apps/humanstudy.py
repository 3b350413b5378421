"""HumanStudy: people judge explanations, a question a page; nothing leaves the machine."""

from __future__ import annotations

import threading
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import ipywidgets as w

from xaiwidgets.errors import InvalidKnob, XaiError
from xaiwidgets.evaluation.study.answers import AnswerFile, answer_path, read_answers
from xaiwidgets.evaluation.study.making import prepare_study_steps
from xaiwidgets.evaluation.study.outcome import study_results
from xaiwidgets.evaluation.study.plan import MODES, MOST_RATERS, Mode, Study, check_rater
from xaiwidgets.evaluation.study.store import load_study, save_study
from xaiwidgets.studio.frame import Status
from xaiwidgets.studio.runner import Runner, SyncRunner
from xaiwidgets.widgets.catchup import CatchUp
from xaiwidgets.widgets.closing import close_tree
from xaiwidgets.widgets.drawing import UI_LOCK, make_canvas
from xaiwidgets.widgets.outcome import results_html
from xaiwidgets.widgets.question import CSS, Question
from xaiwidgets.widgets.readout import StatusLine
from xaiwidgets.widgets.theme import label, page, style

if TYPE_CHECKING:
    from collections.abc import Iterator
    from os import PathLike

    from xaiwidgets.evaluation.study.outcome import StudyResults

TITLES = {"model": "Which network is better?", "class": "Which class is shown?", "recognition": "What is this?"}
TOLD = {
    "model": "You see a photo that two networks classify right, and a map of each: what in the photo speaks for the "
    "class. Say which of the two looks more reasonable. You are not told which network is the better one.",
    "class": "You see a photo with two objects, and a map of what speaks for one of the two. Say for which.",
    "recognition": "You see a picture that was painted to excite one class of a network. Say which.",
}
#: Where answers are kept if no folder is given, below the person's own folder.
HOME = ".xaiwidgets/studies"


class HumanStudy(w.VBox):
    """Ask people which map is better, which class a map shows, or what a picture is (Selvaraju et al. 2020).

    Args:
        study: from ``prepare_study``, for networks and pictures of your own; ``None`` makes one of the bundled shapes.
        mode: of the bundled study: ``model``, ``class`` or ``recognition``.
        folder: where answers are kept, one file of JSON lines for each rater; ``None`` is ``~/.xaiwidgets/studies``.
        rater: number of the first rater, 1 to 99; people have no names here.
        count: items of the bundled study that are counted.
        checks: attention checks besides.
        seed: of the bundled study.
        nav: a widget for the header, e.g. the tabs of a larger app.

    A page that is loaded anew goes on where its rater was. Times are from when the question was sent to when the answer
    came, the way to the browser and back included. ``results`` returns what all raters' answers add up to.

    Raises:
        InvalidKnob: a mode, a rater, a count or a study that is none.
    """

    def __init__(
        self,
        study: Study | None = None,
        *,
        mode: Mode = "model",
        folder: str | PathLike[str] | None = None,
        rater: int = 1,
        count: int = 12,
        checks: int = 2,
        seed: int = 0,
        nav: w.Widget | None = None,
        sync: bool = False,
    ) -> None:
        if study is not None and not isinstance(study, Study):
            raise InvalidKnob(f"study must be a Study, from prepare_study(); got {type(study).__name__}.")
        if mode not in get_args(Mode):
            raise InvalidKnob(f"mode must be one of {', '.join(MODES)}; got {mode!r}.")
        check_rater(rater)
        super().__init__()
        self.folder = Path.home() / HOME if folder is None else Path(folder)
        self._given, self._nav = study, nav
        self._asked = {"count": count, "checks": checks, "seed": seed}
        self.file: AnswerFile | None = None
        self._lock = threading.RLock()
        self.runner = (SyncRunner if sync else Runner)(self._failed)
        self._build(mode if study is None else study.mode, rater)
        for name in ("xai-root", "xai-study"):
            self.add_class(name)
        self._welcome()

    # -- what a program does with it --------------------------------------------------------------------------------

    @property
    def study(self) -> Study | None:
        """The study, once it is there."""
        return self.file.study if self.file is not None else self._given

    def results(self) -> StudyResults | None:
        """Return what the answers of all raters in the folder add up to, or ``None`` before there is a study."""
        study = self.study
        return None if study is None else study_results(study, read_answers(self.folder, study))

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the study is made; return whether it came in time."""
        return self.runner.wait(timeout)

    def rest(self) -> None:
        """Stop making the study, if that is under way."""
        if self.start.disabled:
            self._halt()

    def close(self) -> None:
        """End the worker and close all widgets."""
        if "main" in self.__dict__:  # else the constructor has raised
            self.runner.close()
            self._catch_up.close()
            self.question.close()
            close_tree(*self.children, self.layout, keep=() if self._nav is None else (self._nav,))
        super().close()

    # -- building ---------------------------------------------------------------------------------------------------

    def _build(self, mode: str, rater: int) -> None:
        self.mode = w.ToggleButtons(
            options=[(TITLES[one], one) for one in TITLES],
            value=mode,
            tooltips=[TOLD[one] for one in TITLES],
            disabled=self._given is not None,
        )
        self.mode.style.button_width = "auto"
        self.mode.add_class("xai-switch")
        self.rater = w.BoundedIntText(value=rater, min=1, max=MOST_RATERS, description="Rater")
        self.rater.tooltip = "A number in place of a name; each rater sees another order, and the other side"
        self.rater.layout.width = "160px"
        self.start = w.Button(description="Start", tooltip="Ask the first question that has no answer yet")
        self.stop = w.Button(description="Stop", tooltip="Stop making the study")
        self.again = w.Button(description="Next rater", tooltip="Begin as the next rater who has not answered")
        self.start.add_class("xai-primary")
        for button in (self.start, self.stop, self.again):
            button.add_class("xai-plain")
        self.start.on_click(lambda _: self._begin())
        self.stop.on_click(lambda _: self._halt())
        self.again.on_click(lambda _: self._next_rater())
        self.mode.observe(lambda _: self._welcome(), "value")
        self.rater.observe(lambda _: self._welcome(), "value")
        self.told, self.resume, self.results_view, self.place = (w.HTML() for _ in range(4))
        self.question = Question(self._answered)
        self.status = StatusLine()
        tools = w.HBox([self.rater, self.start, self.stop])
        tools.add_class("xai-tools")
        self.welcome = w.VBox([label("Study"), self.mode, self.told, tools, self.resume])
        self.welcome.add_class("xai-narrow")
        again = w.HBox([self.again])
        again.add_class("xai-tools")
        self.ending = w.VBox([label("Results"), self.results_view, again])
        title = w.HTML("<span class='xai-title' role='heading' aria-level='1'>xaiwidgets Study</span>")
        head = w.HBox([title, *([self._nav] if self._nav is not None else []), self.place])
        self._probe = make_canvas(1, 1, "xai-hello")
        self._catch_up = CatchUp(self, self._probe)
        self._parts = (self.welcome, self.question.box, self.ending)
        self.main = w.VBox([self.status.progress, self._probe, *self._parts])
        sheet = w.HTML(f"<style>{CSS}</style>")
        sheet.layout.display = "none"
        foot = w.VBox([self.status.line])
        self.children = (style(), sheet, page(head=head, main=self.main, foot=foot))

    def _turn_to(self, part: w.Widget) -> None:
        # all are in the page from the start: what has no view yet cannot be given the focus
        for one in self._parts:
            one.layout.display = None if one is part else "none"

    # -- the welcome ------------------------------------------------------------------------------------------------

    def _welcome(self) -> None:
        with self._lock, UI_LOCK:
            mode = self.mode.value if self.mode.value in TITLES else "model"
            self.told.value = f"<p>{escape(TOLD[mode])}</p><p class='xai-muted'>{escape(self._kept())}</p>"
            self.stop.layout.display = "none"
            try:
                study = self._given or self._stored(mode)
                done = 0 if study is None else self._open(study).answers.__len__()
            except (XaiError, OSError) as error:
                self._failed(error)
                return
            whole = "" if study is None else f" of {len(study.items)}"
            self.start.description = "Start" if not done else "Show results" if done == self._whole(study) else "Go on"
            self.resume.value = (
                f"<p role='status'>Rater {self._number} has answered {done}{whole} questions: the study goes on there, "
                "in the same order.</p>"
                if done
                else ""
            )
            self._say("Ready", "idle")
            self._turn_to(self.welcome)

    def _whole(self, study: Study | None) -> int:
        return 0 if study is None else len(study.items)

    def _kept(self) -> str:
        return (
            f"Answers stay on the machine that runs this page, in {self.folder}; no name is asked. "
            "Some questions only test attention. Answer each once; you cannot go back."
        )

    @property
    def _number(self) -> int:
        value = self.rater.value  # a browser may send anything
        good = isinstance(value, int) and not isinstance(value, bool)
        return min(max(value, 1), MOST_RATERS) if good else 1

    def _path(self, mode: str) -> Path:
        count, checks, seed = (self._asked[name] for name in ("count", "checks", "seed"))
        return self.folder / f"bundled-{mode}-{count}-{checks}-{seed}.npz"

    def _stored(self, mode: str) -> Study | None:
        path = self._path(mode)
        return load_study(path) if path.exists() else None

    def _open(self, study: Study) -> AnswerFile:
        return AnswerFile(study, self._number, answer_path(self.folder, study, self._number))

    # -- making the study -------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        self._lock_choices(True)
        self.stop.layout.display = None
        mode = self.mode.value if self.mode.value in TITLES else "model"
        self.runner.put(lambda: self._prepare(mode))

    def _lock_choices(self, busy: bool) -> None:
        self.start.disabled = self.rater.disabled = busy
        self.mode.disabled = busy or self._given is not None

    def _prepare(self, mode: str) -> Iterator[None]:
        ended = False
        try:
            study = self._given or self._stored(mode)
            if study is None:
                for state in prepare_study_steps(mode, **self._asked):  # type: ignore[arg-type]
                    self._say(state.text, "busy", state.progress or 0.0)
                    study = state.study
                    yield None
                if study is None:
                    raise RuntimeError("a finished preparation must hold its study")
                save_study(study, self._path(mode))
            with self._lock:
                self.file = self._open(study)
                self._ask()
            ended = True
        finally:
            if not ended:  # stopped; after an error, that is said next
                self._say("Stopped; Start makes the study anew", "stopped")
            with UI_LOCK:
                self._lock_choices(False)
                self.stop.layout.display = "none"

    def _halt(self) -> None:
        self.runner.stop()  # the worker says so when it has

    # -- questions --------------------------------------------------------------------------------------------------

    def _ask(self) -> None:
        file = self.file
        if file is None:
            return
        with UI_LOCK:
            trial = file.trial
            if trial is None:
                self._end()
                return
            count = len(file.trials)
            kept = "1 answer is" if trial.place == 1 else f"{trial.place} answers are"
            self._say(f"{kept} kept; you can close the page and go on later", "paused", trial.place / count)
            self.question.show(file.study, trial)
            self._turn_to(self.question.box)
            self.question.focus()
            self.place.value = f"<span class='xai-muted'>Question {trial.place + 1} of {count}</span>"

    def _answered(self, choice: int, seconds: float) -> None:
        with self._lock:
            file = self.file
            if file is None or file.trial is None:
                return
            try:
                file.give(file.trial.place, choice, seconds)
            except (XaiError, OSError) as error:
                self._failed(error)
                return
            self._ask()

    def _end(self) -> None:
        found = self.results()
        if found is None:
            return
        self.place.value = ""
        self.results_view.value = results_html(found)
        self._say(f"Rater {self._number} has answered all questions", "idle")
        self._turn_to(self.ending)

    def _next_rater(self) -> None:
        with self._lock:
            study = self.study
            if study is None:
                return
            taken = {one.rater for one in read_answers(self.folder, study)}
            free = [number for number in range(1, MOST_RATERS + 1) if number not in taken]
            if not free:
                self._failed(InvalidKnob(f"rater: all {MOST_RATERS} have answered. Choose another folder."))
                return
            self.file = None
            if self.rater.value == free[0]:
                self._welcome()
            self.rater.value = free[0]

    # -- what is going on -------------------------------------------------------------------------------------------

    def _say(self, text: str, kind: str, progress: float = 0.0) -> None:
        with UI_LOCK:
            self.status.show(Status(text, kind, progress))  # type: ignore[arg-type]

    def _failed(self, error: Exception) -> None:
        known = isinstance(error, (XaiError, OSError))
        self._say(str(error) if known else f"{type(error).__name__}: {error}", "error")
