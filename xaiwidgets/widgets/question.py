"""One question of a study: big pictures, answers as buttons and keys, and no word about what is behind them."""

from __future__ import annotations

import time
from html import escape
from typing import TYPE_CHECKING, Any

import ipywidgets as w
import numpy as np

from xaiwidgets.evaluation.study.plan import TRUST
from xaiwidgets.render.compose import compose, look_scale
from xaiwidgets.render.look import Look
from xaiwidgets.render.resize import nearest
from xaiwidgets.widgets.closing import close_tree
from xaiwidgets.widgets.drawing import UI_LOCK
from xaiwidgets.widgets.tiles import Tiles

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from xaiwidgets.evaluation.study.plan import Study, StudyItem, Trial

#: Height of each picture on the canvas, in pixels.
SIDE = 448
#: An answer that comes sooner is a key that was pressed twice; a key that is held repeats faster than ``HELD``.
SOONEST, HELD = 0.3, 0.15
ASKED = {
    "class": "Which class does this map show?",
    "model": "Two networks call the object {label}. Whose reasons are better?",
    "recognition": "What is shown here?",
}
CAPTIONS = {"class": ("Photo", "Map"), "model": ("Left map", "Photo", "Right map"), "recognition": ("Picture",)}
CSS = """
.xai-study .xai-app.xai-app{grid-template-columns:minmax(0,1fr);grid-template-areas:"head" "main" "foot"}
.xai-study .xai-main>:not(canvas){max-width:1240px;margin-left:auto;margin-right:auto;width:100%}
.xai-study .xai-narrow{max-width:720px}
.xai-root .xai-study-title,.xai-root .xai-study-title .widget-html-content{font-size:20px;line-height:28px}
.xai-study-pictures.xai-study-pictures{width:fit-content;max-width:100%;align-self:center;align-items:stretch}
.xai-study-names{display:grid;grid-auto-flow:column;grid-auto-columns:1fr;gap:2%;text-align:center;font-weight:600}
canvas.xai-question{width:auto;height:auto;max-width:100%;max-height:max(200px,calc(100vh - 250px));border-radius:4px;
 outline-offset:3px;touch-action:auto}
canvas.xai-question:focus-visible,canvas.xai-question:focus{outline:2px solid var(--xai-accent)}
.xai-study .xai-sr{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
.xai-study-title{text-align:center}
.xai-study canvas.xai-hello{position:absolute;width:1px;height:1px}
.xai-answers.xai-answers{flex-flow:row wrap;gap:8px;justify-content:center;margin-top:8px}
.xai-root .xai-answers button{flex:1 1 170px;max-width:260px;width:auto;height:auto;min-height:40px;margin:0;
 padding:4px 8px;white-space:normal;line-height:18px;border-radius:4px}
.xai-study-results table{border-collapse:collapse;font-variant-numeric:tabular-nums}
.xai-study-results th,.xai-study-results td{padding:2px 16px 2px 0;text-align:left}
.xai-study-results th{font-weight:400;color:var(--jp-ui-font-color2,#555)}
.xai-study-items{max-height:300px;overflow:auto}
"""


class Question:
    """The pictures of one trial and its answers.

    Args:
        answered: called with (number of the answer from 1, seconds since the question was shown).
    """

    def __init__(self, answered: Callable[[int, float], None]) -> None:
        self._answered = answered
        self._count, self._since, self._pressed = 0, 0.0, 0.0
        self.tiles = Tiles(1, (SIDE, SIDE), "xai-question")
        self.tiles.on_key(self._key)
        self.asked, self.names, self.hint, self.twin = (w.HTML() for _ in range(4))
        self.asked.add_class("xai-study-title")
        self.buttons = [w.Button() for _ in TRUST]
        for number, button in enumerate(self.buttons, 1):
            button.add_class("xai-plain")
            button.on_click(lambda _, number=number: self._answer(number))
        self.pictures = w.VBox([self.names, self.tiles.canvas])
        self.pictures.add_class("xai-study-pictures")
        self.answers = w.HBox(self.buttons)
        self.answers.add_class("xai-answers")
        self.box = w.VBox([self.asked, self.pictures, self.answers, self.hint, self.twin])

    def show(self, study: Study, trial: Trial) -> None:
        """Ask this."""
        item = study.items[trial.item]
        pictures = shown(study, item, trial)
        words = answers(study, trial)
        with UI_LOCK:
            asked = ASKED[study.mode].format(label=f"“{item.options[0]}”" if item.options else "the same")
            self.asked.value = f"<div role='heading' aria-level='2'>{escape(asked)}</div>"
            names = CAPTIONS[study.mode]
            self.names.value = f"<div class='xai-study-names'>{''.join(f'<span>{name}</span>' for name in names)}</div>"
            self.tiles.shape(len(pictures), (pictures[0].shape[0], pictures[0].shape[1]))
            for number, picture in enumerate(pictures):
                self.tiles.show(number, picture)
            for number, button in enumerate(self.buttons):
                there = number < len(words)
                button.layout.display = None if there else "none"
                button.description = f"{number + 1}   {words[number]}" if there else ""
                button.tooltip = f"Key {number + 1}" if there else ""
            last = len(words)
            self.hint.value = (
                f"<div class='xai-muted' style='text-align:center'>Keys 1 to {last}; ← is 1, → is {last}. "
                "Click the pictures if keys do nothing; Tab goes to the answers.</div>"
            )
            self.twin.value = (
                f"<div class='xai-sr' role='status' aria-live='polite'>Question {trial.place + 1}. {escape(asked)} "
                f"Pictures: {', '.join(names)}.</div>"
            )
            self._count, self._since = last, time.monotonic()

    def focus(self) -> None:
        """Let keys come here."""
        self.tiles.canvas.focus()

    def close(self) -> None:
        """Close all widgets."""
        self.tiles.close()
        close_tree(self.box)

    def _key(self, key: str, shift: bool) -> None:
        if key in ("Tab", "Escape"):  # the canvas swallows Tab; hand the focus on
            self.buttons[0].focus()
            return
        held = time.monotonic() - self._pressed < HELD
        self._pressed = time.monotonic()
        places = {"ArrowLeft": 1, "ArrowRight": self._count, **{str(n): n for n in range(1, self._count + 1)}}
        if key in places and not held:
            self._answer(places[key])

    def _answer(self, number: int) -> None:
        seconds = time.monotonic() - self._since
        if 1 <= number <= self._count and seconds >= SOONEST:
            self._count = 0  # nothing is taken until the next question is shown
            self._answered(number, seconds)


def answers(study: Study, trial: Trial) -> tuple[str, ...]:
    """Return the answers to a trial in the order in which they are shown."""
    if study.mode == "model":
        return TRUST
    options = study.items[trial.item].options
    return tuple(options[(place + trial.turn) % len(options)] for place in range(len(options)))


def shown(study: Study, item: StudyItem, trial: Trial) -> list[NDArray[np.uint8]]:
    """Return the pictures of a trial, from left to right, all of one size; each map is on its own scale."""
    height, width = item.photo.shape[:2]
    size = (SIDE, max(1, round(SIDE * width / height)))
    planes = [nearest(np.ascontiguousarray(plane), size) for plane in np.moveaxis(item.photo, 2, 0)]
    photo: NDArray[np.uint8] = np.stack(planes, axis=2).astype(np.uint8)
    maps = [_over(photo, one, item.signed) for one in item.maps]
    if study.mode == "recognition":
        return [photo]
    if study.mode == "class":
        return [photo, maps[0]]
    left, right = (maps[(place + trial.turn) % 2] for place in range(2))
    return [left, photo, right]


def _over(photo: NDArray[np.uint8], values: NDArray[Any], signed: bool) -> NDArray[np.uint8]:
    look = Look()
    return compose(photo, values, look_scale(values, signed, look), look)
