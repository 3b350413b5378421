"""Two small synthesizers for tests of the page: what asks for a photo, has exhibits, many curves, or fails."""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np

from xaiwidgets.core import cards
from xaiwidgets.core.cards import synthesizer
from xaiwidgets.core.knobs import Choice, LayerName, Range, knob
from xaiwidgets.core.results import Exhibit
from xaiwidgets.errors import InvalidKnob
from xaiwidgets.synthesis.canvas import Canvas
from xaiwidgets.synthesis.run import Resumable, Run, play

LAYERS = 9


class Fading(Run):
    """The photo comes out of noise; beside it, what nine layers are said to remember."""

    ARRAYS = ("picture",)

    def begin(self):
        self.canvas = Canvas(self.model)
        self.picture = self.canvas.noise(self.random) * 40

    def restore(self, saved):
        super().restore(saved)
        self.canvas = Canvas(self.model)

    def advance(self):
        aim = self.canvas.start("photo", self.photo, self.random)
        self.picture = self.picture + self.method.weight * (aim - self.picture)
        error = float((aim - self.picture).square().mean())
        self.log(error, fidelity=1 / (1 + error), depth=float(self.step))

    @property
    def unit(self):
        return "squared gray levels"

    def pixels(self):
        return self.canvas.pixels(self.picture)

    def beside(self):
        image = self.pixels()
        return tuple(Exhibit(image * (k / LAYERS), f"layer {k} of {LAYERS}") for k in range(1, LAYERS + 1))


class Pushing(Run):
    """The photo is pushed towards a class; beside it, what was added to it."""

    ARRAYS = ("picture",)

    def begin(self):
        self.canvas = Canvas(self.model)
        self.picture = self.canvas.start("photo", self.photo, self.random)

    def restore(self, saved):
        super().restore(saved)
        self.canvas = Canvas(self.model)

    def advance(self):
        if self.step + 1 == self.method.breaks_at:
            raise InvalidKnob(f"breaks_at must not be {self.step + 1}: this step cannot be made.")
        found = self.ask(self.canvas.inputs(self.picture))
        gradient = self.canvas.per_gray_level(found.input)
        self.picture = self.canvas.clip(self.picture + self.method.size * gradient.sign())
        self.log(float(found.score[0]))

    def pixels(self):
        return self.canvas.pixels(self.picture)

    def beside(self):
        start = self.canvas.start("photo", self.photo, self.random)
        added = self.pixels() - self.canvas.pixels(start)
        return (Exhibit((0.5 + 10 * added).clip(0, 1).astype(np.float32), "what was added, 10 times"),)


TEXTS = {
    "cite": "Nobody 2026",
    "paper": "'none'",
    "section": "2.1",
    "how": "It is small.",
    "formula": "x",
    "caution": "–",
}


@contextmanager
def registered():
    """Register both, and take them away again."""

    @synthesizer(title="Fade in", family="inversion", idea="Brings a photo out of noise.", asks=("photo",), **TEXTS)
    class FadeIn(Resumable):
        weight: float = knob(0.2, Range(0.0, 1.0), label="Weight", help="How fast.", live=True)
        iterations: int = knob(12, Range(1, 100), label="Steps", help="When to stop.")

        def steps(self, model, start, target):
            return play(Fading, self, model, target, start)

    @synthesizer(
        title="Push", family="adversarial", idea="Pushes a photo to a class.", asks=("target", "photo"), **TEXTS
    )
    class Push(Resumable):
        size: float = knob(1.0, Range(0.0, 8.0), label="Size", help="Of a step.", unit="gray levels", live=True)
        layer: str = knob("", LayerName(), label="Layer", help="It does nothing.", advanced=True)
        norm: str = knob("sup", Choice(("sup", "sum")), label="Norm", help="It does nothing.")
        breaks_at: int = knob(0, Range(0, 100), label="Breaks at", help="This step fails.")
        iterations: int = knob(8, Range(1, 100), label="Steps", help="When to stop.")

        def steps(self, model, start, target):
            return play(Pushing, self, model, target, start)

    @synthesizer(title="Needs sizes", family="inversion", idea="Never here.", needs=("gap_head", "max_pool"), **TEXTS)
    class NeedsMuch(Resumable):
        def steps(self, model, start, target):
            raise AssertionError("it was refused")

    try:
        yield FadeIn, Push
    finally:
        for made in (FadeIn, Push, NeedsMuch):
            cards._CARDS.pop(made.card.id)
