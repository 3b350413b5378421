"""Training what a method goes through: a decoder, a generator, or the network itself at points of its training."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import ipywidgets as w
import numpy as np

from xaiwidgets.errors import NotApplicable
from xaiwidgets.render.curve import curve_svg
from xaiwidgets.render.numbers import number
from xaiwidgets.widgets.theme import label

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from xaiwidgets.model.model import Model

#: What is trained for a method, in words, and epochs that a person begins with.
TRAINED = {
    "learned_inversion": ("A network that makes photos from features", 25),
    "dgn_am": ("A generator that makes photos from codes", 30),
    "training_film": ("The network itself, from its first weights", 12),
}
MOST_EPOCHS = 200
#: Epochs of a film, 0 being untrained; the last one is always kept.
KEPT = (0, 1, 2, 4, 8, 16, 32)


def training_steps(method: str, model: Model, epochs: int) -> Generator[Any, Any, Any]:
    """Return the training that a method needs, on bundled pictures: what it yields has ``epoch``, or is ``None``.

    Raises:
        NotApplicable: no bundled training builds this network. What the training itself raises comes later.
    """
    if method == "training_film":
        from xaiwidgets.learned.checkpoints import train_checkpoints_steps
        from xaiwidgets.learned.recipes import recipe

        made = recipe("shapes")
        if tuple(model.labels.short(i) for i in range(model.classes)) != made.labels or model.input_shape[0] != 3:
            raise NotApplicable(
                method,
                "checkpoints of this network",
                f"no bundled training builds {model.name}: xaiwidgets.checkpoints(model, [(epoch, weights), …]) keeps "
                "your own",
            )
        return train_checkpoints_steps(made, at=[epoch for epoch in KEPT if epoch <= epochs], epochs=epochs)
    from xaiwidgets.learned.decoding import train_decoder_steps, train_generator_steps

    steps = train_decoder_steps if method == "learned_inversion" else train_generator_steps
    return steps(model, epochs=epochs)


class TrainPanel:
    """A button that trains, and a curve of the error while it does; shown for methods that need it.

    Args:
        model: returns the network, or ``None`` while it is loaded.
        queue: makes what runs the training, from what is called with an error.
        trained: called when a training is complete.
        failed: called with what went wrong.
    """

    def __init__(
        self,
        model: Callable[[], Model | None],
        queue: Callable[[Callable[[Exception], None]], Any],
        trained: Callable[[], None],
        failed: Callable[[str], None],
    ) -> None:
        self._model, self._trained, self._failed = model, trained, failed
        self._queue = queue(self._stopped)
        self._method = ""
        self._running = ""
        self.epochs = w.IntSlider(value=25, min=1, max=MOST_EPOCHS, description="Epochs")
        self.epochs.style.description_width = "60px"
        self.epochs.tooltip = "Passes over the bundled pictures; more of them take longer"
        self.epochs.add_class("xai-control")
        self.button = w.Button(description="Train", tooltip="Train it on bundled pictures, in seconds to minutes")
        self.button.add_class("xai-plain")
        self.button.on_click(lambda _: self.stop() if self._running else self.train())
        self.what, self.curve = w.HTML(), w.HTML(layout=w.Layout(width="100%"))
        self.box = w.VBox([label("Train"), self.what, self.epochs, self.button, self.curve])
        self.box.layout.display = "none"

    def show(self, method: str) -> None:
        """Show what can be trained for this method, or nothing."""
        if method == self._method:
            return
        self._method = method
        self.box.layout.display = "" if method in TRAINED else "none"
        if method in TRAINED:
            words, epochs = TRAINED[method]
            self.what.value = f"<span class='xai-muted'>{escape(words)}. It is kept until the kernel ends.</span>"
            if not self._running:
                self.epochs.value = epochs
                self.curve.value = ""

    def train(self) -> None:
        """Begin a training for the method that is shown."""
        model, method = self._model(), self._method
        if model is None or method not in TRAINED:
            self._failed("The model is still being loaded.")
            return
        self._running, self.button.description = method, "Stop"
        epochs = min(max(int(self.epochs.value), 1), MOST_EPOCHS)
        self._queue.put(lambda: self._work(method, model, epochs))

    def stop(self) -> None:
        """Drop the training; what was learned so far is lost."""
        self._queue.put(lambda: iter(()))
        self._rest()

    def close(self) -> None:
        """End the training."""
        self._queue.close()

    def _work(self, method: str, model: Model, epochs: int) -> Iterator[None]:
        for state in training_steps(method, model, epochs):
            if state is not None:
                self._draw(state, epochs)
            yield
        self._rest()
        self._trained()

    def _draw(self, state: Any, epochs: int) -> None:
        errors = np.asarray(getattr(state, "errors", None) or state.losses, dtype=float)
        what = "error on pictures not trained on" if hasattr(state, "errors") else "loss"
        self.curve.value = curve_svg(errors, epochs, (), f"{what} by epoch")
        accuracy = getattr(state, "accuracies", ())
        told = f", {accuracy[-1]:.0%} right" if accuracy else f", error {number(errors[-1])}" if errors.size else ""
        self.button.description = f"Stop (epoch {state.epoch} of {epochs}{told})"

    def _rest(self) -> None:
        self._running, self.button.description = "", "Train"

    def _stopped(self, error: Exception) -> None:
        self._rest()
        self._failed(str(error))
