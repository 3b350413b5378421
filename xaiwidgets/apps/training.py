"""The panel that trains what a method goes through, with a live curve and held-out pictures."""

from __future__ import annotations

import base64
import shutil
import tempfile
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ipywidgets as w
import numpy as np

from xaiwidgets.apps.ownpictures import SAMPLES, OwnPictures, may_name_folders
from xaiwidgets.apps.trainings import TRAINED, can_train, film_steps, fitting_steps
from xaiwidgets.errors import XaiError
from xaiwidgets.learned.features import HAND_MADE, LEAST_SIDE
from xaiwidgets.render.animation import png_bytes
from xaiwidgets.render.curve import curve_svg
from xaiwidgets.render.numbers import number
from xaiwidgets.widgets.drawing import UI_LOCK
from xaiwidgets.widgets.theme import label

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from xaiwidgets.core.results import Exhibit
    from xaiwidgets.model.model import Model

MOST_EPOCHS = 200
#: Where checkpoints are kept, below the home of whoever runs the kernel; those of strangers go with their page.
HOME = ".xaiwidgets/trainings"
#: Share of the mean picture's error that is no success.
NO_BETTER = 0.95
#: Held-out pictures side by side.
ACROSS = 4


class TrainPanel:
    """A button that trains, a curve of the error and held-out pictures while it does; shown for methods that need it.

    Args:
        model: returns the network, or ``None`` while it is loaded.
        queue: makes what runs the training, from what is called with an error.
        trained: called with the method and the name of what was learned, when a training is complete.
        failed: called with what went wrong.
        pictures: of the person's own to learn from, see ``gather``; ``None`` for none.
    """

    def __init__(
        self,
        model: Callable[[], Model | None],
        queue: Callable[[Callable[[Exception], None]], Any],
        trained: Callable[[str, str], None],
        failed: Callable[[str], None],
        pictures: Any = None,
    ) -> None:
        self._model, self._trained, self._failed = model, trained, failed
        self._queue = queue(self._broke)
        self._method = self._running = self._words = ""
        self._epoch = self._turn = 0
        self._made: Path | None = None
        self.pictures = OwnPictures(queue, self._sourced, failed, pictures)
        self.layer = w.Dropdown(options=[("its own choice", "")], value="", description="Layer")
        self.layer.tooltip = "What is inverted: pictures are made from the output of this layer"
        self.epochs = w.IntSlider(value=25, min=1, max=MOST_EPOCHS, description="Epochs")
        self.epochs.tooltip = "Passes over the pictures; more of them take longer"
        for control in (self.layer, self.epochs):
            control.style.description_width = "60px"
            control.add_class("xai-control")
            control.observe(lambda _: self._other(), "value")
        self.button = w.Button(description="Train", tooltip="Seconds to minutes; it can be stopped, and goes on later")
        self.button.add_class("xai-plain")
        self.button.on_click(lambda _: self.stop() if self._running else self.train())
        wide = w.Layout(width="100%")
        self.what, self.note, self.curve, self.panel = (w.HTML(layout=wide) for _ in range(4))
        self._fitted = w.VBox([self.pictures.box, self.layer])
        self.box = w.VBox(
            [label("Train"), self.what, self._fitted, self.epochs, self.button, self.note, self.curve, self.panel]
        )
        self.box.layout.display = "none"

    def show(self, method: str) -> None:
        """Show what can be trained for this method, or nothing."""
        model = self._model()
        self.pictures.offer(model)
        if method in TRAINED and method != "training_film":
            self._offer_layers(method, model)
        self.button.disabled = model is not None and not self._running and not can_train(method, model)
        if method == self._method:
            return
        self._method = method
        self.box.layout.display = "" if method in TRAINED else "none"
        self._fitted.layout.display = "none" if method == "training_film" else ""
        if method in TRAINED:
            words, epochs = TRAINED[method]
            self.what.value = f"<span class='xai-muted'>{escape(words)}. It is kept until the kernel ends.</span>"
            if not self._running:
                self.epochs.value = epochs
                self.curve.value = self.panel.value = ""
                self._say("")

    def train(self) -> None:
        """Begin a training for the method that is shown, or go on with one that was stopped."""
        model, method = self._model(), self._method
        if model is None or method not in TRAINED:
            self._failed("The model is still being loaded.")
            return
        epochs = min(max(int(self.epochs.value), 1), MOST_EPOCHS)
        try:
            wanted = None if method == "training_film" else self.pictures.wanted()
        except XaiError as error:
            self._failed(str(error))
            return
        layer = str(self.layer.value)
        self._turn += 1
        turn, self._running, self._epoch, self.button.description = self._turn, method, 0, "Stop"

        def steps() -> Iterator[Any]:
            if method == "training_film":
                return film_steps(model, epochs)
            return fitting_steps(method, model, wanted, layer, epochs, folder, lambda words: self._tell(turn, words))

        if method != "training_film":
            folder = self._folder()
            self._say("Reading the pictures, and what the network says of them …")
        self._queue.put(lambda: self._work(turn, method, steps(), epochs))

    def stop(self) -> None:
        """Stop the training; a decoder's or a generator's goes on after its last whole epoch when it is asked again."""
        self._queue.put(lambda: iter(()))
        with UI_LOCK:
            method, epoch = self._running, self._epoch
            self._rest()
            if epoch and method != "training_film":
                self.button.description = "Go on"
                self._say(f"Stopped after epoch {epoch}. It goes on from there.")

    def close(self) -> None:
        """End the training."""
        self._queue.close()
        self.pictures.close()
        if self._made is not None:
            shutil.rmtree(self._made, ignore_errors=True)

    def _folder(self) -> Path:
        """Return where checkpoints are kept: with the person, or on a served page only as long as the page is there."""
        if may_name_folders():
            return Path.home() / HOME
        if self._made is None:
            self._made = Path(tempfile.mkdtemp(prefix="xaiwidgets-"))
        return self._made

    def _offer_layers(self, method: str, model: Model | None) -> None:
        layers = [] if model is None else model.layers
        if method == "dgn_am":
            names = [one.name for one in layers if len(one.shape) == 1 and model and one.shape != (model.classes,)]
            options = [("the last code", ""), *((name, name) for name in reversed(names))]
        else:
            drawn = HAND_MADE if model is not None and min(model.input_shape[1:]) >= LEAST_SIDE else ()
            names = [*(one.name for one in reversed(layers)), *drawn]
            options = [("last stage", ""), *((name, name) for name in names)]
        if self.layer.options != tuple(options):
            kept = self.layer.value
            self.layer.options = options
            self.layer.value = kept if kept in [value for _, value in options] else ""

    def _work(self, turn: int, method: str, steps: Iterator[Any], epochs: int) -> Iterator[None]:
        name, state = "", None
        for state in steps:
            with UI_LOCK:  # whoever stops it has the last word
                if state is not None and turn == self._turn:
                    if not self._epoch and state.epoch > 1 and hasattr(state, "errors"):
                        self._say(f"{self._words} Went on after epoch {state.epoch - 1}.")
                    self._epoch, name = state.epoch, getattr(state, "name", "")
                    self._draw(state, epochs)
            yield
        with UI_LOCK:
            if turn == self._turn:
                self._rest()
                self._judge(state)
        self._trained(method, name)

    def _judge(self, last: Any) -> None:
        """Say so if nothing was learned that holds for other pictures."""
        if last is not None and hasattr(last, "errors") and last.errors[-1] > NO_BETTER * last.mean_error:
            self._say(
                f"{self._words} What it makes of other photos is no better than the mean picture: it needs more photos "
                "that are alike, or a lower layer."
            )

    def _tell(self, turn: int, words: str) -> None:
        with UI_LOCK:
            if turn == self._turn:
                self._words = f"Learns from {words}."
                self._say(self._words)

    def _draw(self, state: Any, epochs: int) -> None:
        errors = np.asarray(getattr(state, "errors", None) or state.losses, dtype=float)
        what = "held-out error" if hasattr(state, "errors") else "loss"
        self.curve.value = curve_svg(errors, epochs, (), f"{what} by epoch")
        accuracy = getattr(state, "accuracies", ())
        told = f", {accuracy[-1]:.0%} right" if accuracy else f", error {number(errors[-1])}" if errors.size else ""
        self.button.description = f"Stop (epoch {state.epoch} of {epochs}{told})"
        if getattr(state, "panel", ()):
            beside = f"The mean picture has {number(state.mean_error)}, the nearest one {number(state.nearest_error)}."
            self.panel.value = f"{_sheet(state.panel)}<span class='xai-muted'>{escape(beside)}</span>"

    def _say(self, words: str) -> None:
        self.note.value = f"<span class='xai-muted' role='status'>{escape(words)}</span>" if words else ""

    def _sourced(self) -> None:
        """Other pictures: the few bundled photos are too few for the last stage, but enough for one in the middle."""
        model = self._model()
        if self.pictures.source.value == SAMPLES and self._method == "learned_inversion" and model is not None:
            from xaiwidgets.synthesis.matching import middle

            if not self.layer.value and model.stages:
                self.layer.value = middle(model)
        self._other()

    def _other(self) -> None:
        """Something else would be trained now."""
        if not self._running:
            self.button.description = "Train"

    def _rest(self) -> None:
        self._turn += 1
        self._running, self.button.description = "", "Train"

    def _broke(self, error: Exception) -> None:
        self._rest()
        self._say("")
        self._failed(str(error))


def _sheet(panel: Sequence[Exhibit]) -> str:
    """Return held-out pictures, each above what is made of it, as one image in HTML."""
    rows = [panel[first : first + ACROSS] for first in range(0, len(panel), ACROSS)]
    pairs = [np.concatenate([one.image for one in row], axis=1) for row in rows if len(row) == min(ACROSS, len(panel))]
    pixels = (np.concatenate(pairs).clip(0, 1) * 255).round().astype(np.uint8)
    data = base64.b64encode(png_bytes(pixels)).decode()
    words = "Pictures not trained on, each above what is made of it"
    return (
        f"<img src='data:image/png;base64,{data}' alt='{words}' title='{words}' "
        "style='display:block;width:100%;max-width:320px;border-radius:3px;margin:4px 0'>"
    )
