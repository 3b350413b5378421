"""The Studio: the only mutable thing. Holds the current Lens, has it answered, and publishes what comes out."""

from __future__ import annotations

import dataclasses
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import numpy as np

from xaiwidgets.core.cards import Card, card
from xaiwidgets.engine.run import drive
from xaiwidgets.errors import InvalidModel, XaiError
from xaiwidgets.model.preprocess import Preprocessing
from xaiwidgets.studio.frame import Frame, Prediction, Probe, Status
from xaiwidgets.studio.going import Going
from xaiwidgets.studio.knowledge import Knowledge
from xaiwidgets.studio.lens import Lens, Unit, explainer_card
from xaiwidgets.studio.runner import Runner, SyncRunner

if TYPE_CHECKING:
    from collections.abc import Iterator

    from xaiwidgets.core.results import Attribution
    from xaiwidgets.model.model import Model

#: Finished answers that are kept, so that going back costs nothing.
KEPT = 24
EVENTS = ("lens", "model", "offers", "photo", "predictions", "frame", "run", "status", "probe", "pace")


class Studio(Knowledge):
    """Answers lenses on a worker thread; the newest wins.

    Listeners are called with the published record on whatever thread it came about; see ``EVENTS``.

    Args:
        model: a ``Model``, the name of one for ``load_model``, or ``None`` for the bundled one; names are loaded by the
            worker, so that making a Studio is quick.
        lens: the first question.
        sync: do all work at once on the calling thread; for tests.
    """

    def __init__(self, model: Model | str | None = None, lens: Lens | None = None, *, sync: bool = False) -> None:
        super().__init__(model, EVENTS)
        self.lens = lens or Lens()
        self._turn = 0
        self._going: Going | None = None
        self.frame: Frame | None = None
        self.predictions: tuple[Prediction, ...] = ()
        self.timing = True  # whether to probe the network's passes for estimates of cost
        self._answers: OrderedDict[Any, tuple[Attribution, str]] = OrderedDict()
        make = SyncRunner if sync else Runner
        self.runner = make(self._fail)

    # -- asking -------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Answer the first lens."""
        self._publish("photo", self.photo(self.lens.image))
        self._ask(self.lens)

    def put(self, lens: Lens) -> None:
        """Make this the current lens; compute if its question is new, else only show it.

        Where only live hyper-parameters are new, the run under way goes on with them from its next step. A lens that
        cannot be answered leaves the last good picture and says why in the status.
        """
        try:
            explainer_card(lens.method)
            lens.make()
            view = self.photo(lens.image)
        except XaiError as error:
            self._fail(error)
            return
        with self._lock:
            old, self.lens = self.lens, lens
            going = self._going
            moved = going is not None and going.takes(lens)
            if going is not None and moved:
                going.lens = lens
            fresh = lens.question != old.question and not moved
            if fresh:
                self._drop()  # what is under way must not be shown between here and the new question
            if lens.image != old.image:
                self.frame, self.predictions = None, ()
        self._publish("lens", lens)
        if lens.image != old.image:
            self._publish("photo", view)
        if fresh:
            self._ask(lens)
            return
        if lens.question != old.question:
            self._publish("run", self.going)
        if lens.look != old.look:
            with self._lock:
                shown = self.frame
                self._publish("photo" if shown is None else "frame", view if shown is None else shown)
        elif (
            not moved
            and self.status.kind != "busy"
            and (self.frame is None or self.status.kind in ("error", "stopped"))
        ):
            self._ask(lens)

    def refresh(self) -> None:
        """Compute the current lens anew, from its beginning."""
        with self._lock:
            self._answers.pop(self.lens.question, None)
        self._ask(self.lens)

    @property
    def going(self) -> str:
        """``running``, ``paused``, or an empty string when no method is under way."""
        found = self._going
        return "" if found is None or found.over else "paused" if found.paused else "running"

    @property
    def waiting(self) -> tuple[tuple[str, Any], ...]:
        """Live hyper-parameters that were moved and act from the next step on, as (name, value)."""
        found = self._going
        return () if found is None or found.over else found.waiting

    def pause(self) -> None:
        """Have the run under way rest after its step; ``resume`` goes on with it, anything else asked ends it."""
        with self._lock:
            found = self._going
            if found is not None and self.going == "running":
                found.paused = True
                self._publish("run", "paused")

    def resume(self) -> None:
        """Go on with a paused run at its next step."""
        with self._lock:
            found = self._going
            if found is not None and self.going == "paused":
                found.paused, resting, found.resting = False, found.resting, False
                self._publish("run", "running")
                if resting:
                    self.runner.put(lambda: self._guarded(found.turn, self._go(found)))

    def _drop(self) -> int:
        """Begin a new turn and return it: a step under way still ends, but is not shown."""
        with self._lock:
            self._turn += 1
            found, self._going = self._going, None
            if found is not None:
                if found.resting:
                    found.close()
                self._publish("run", "")
            return self._turn

    def stop(self) -> None:
        """Stop the work under way; what it has shown so far stays."""
        self.runner.stop()
        with self._lock:
            self._drop()
            state = self.status
        if state.kind in ("busy", "paused"):
            self._say(Status("Stopped", "stopped", state.progress, state.seconds, None, state.passes))

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until all work is done; return whether it was in time."""
        return self.runner.wait(timeout)

    def close(self) -> None:
        """End the worker and forget the listeners."""
        self._drop()
        self.runner.close()
        self._deafen()

    def _ask(self, lens: Lens) -> None:
        turn = self._drop()
        kept = self._kept(lens)
        if kept is not None and self.model is not None and lens.image in self._predicted:
            self.runner.stop()
            self._show_predictions(lens)
            self._show(turn, lens, *kept, reused=True)
            return
        self.runner.put(lambda: self._guarded(turn, self._work(turn, lens)))

    # -- answering, on the worker thread -------------------------------------------------------------------------

    def _guarded(self, turn: int, work: Iterator[None]) -> Iterator[None]:
        try:
            yield from work
        except Exception:
            if turn == self._turn:  # what went wrong with a question that was dropped is of no interest
                raise

    def _work(self, turn: int, lens: Lens) -> Iterator[None]:
        if self.model is None:
            self._tell(turn, Status("Loading PyTorch and the model", "busy"))
            self._load()
            yield
        model = self._ready()
        image = self._input(lens.image)
        if lens.image not in self._predicted:
            self._predicted[lens.image] = self._top(self._whole(lens.image))
        self._show_predictions(lens)
        kept = self._kept(lens)
        if kept is not None:
            self._show(turn, lens, *kept, reused=True)
            return
        if not self._offered:  # takes passes of its own, which the thread of the page must not wait for
            self._offered = bool(model.offers)
            self._publish("offers", model.offers)
        target = self.target(lens)
        self._tell(turn, Status(f"{card(lens.method).title} for {target.name}", "busy"))
        yield
        method = lens.make()
        found = Going(turn, lens, target.name, drive(method, model, image, target, lens.image), method)
        with self._lock:
            if turn == self._turn:
                self._going = found
                self._publish("run", "running")
        yield from self._go(found)

    def _go(self, found: Going) -> Iterator[None]:
        """Take a run to its end, or to where it is to rest."""
        left = False  # not found.resting: by the time this ends, the run may have been told to go on
        try:
            while (result := found.advance()) is not None:
                _check_finite(result, card(found.lens.method).title)
                if found.due() or found.paused:
                    self._show(found.turn, found.lens, result, found.target)
                yield
                left = self._rests(found)
                if left:
                    return
        finally:
            if not left:
                found.close()
                self._ended(found)
        self._finish(found)
        yield from self._time()

    def _rests(self, found: Going) -> bool:
        """Let a run that is to rest do so, with its newest picture on screen; return whether it does."""
        with self._lock:
            result = found.result
            if not found.paused or found.turn != self._turn or result is None or result.progress >= 1:
                return False
            found.resting = True
            self._show(found.turn, found.lens, result, found.target)
            return True

    def _ended(self, found: Going) -> None:
        with self._lock:
            if self._going is found:
                self._going = None
                self._publish("run", "")

    def _finish(self, found: Going) -> None:
        """Keep the answer of a run that has ended, unless it is one that only this run gives."""
        result = found.result
        with self._lock:
            if found.turn == self._turn and not found.arrived():  # moved after the last step
                self._ask(found.lens)
                return
            if result is None:
                return
            if not result.provenance.events:
                self._answers[found.lens.question] = (result, found.target)
                while len(self._answers) > KEPT:
                    self._answers.popitem(last=False)
        _observe(self._ready(), found.lens.make(), result)

    def _load(self) -> None:
        from xaiwidgets.model.zoo import load_model

        if isinstance(self._wanted, str):
            self.model = load_model(self._wanted).sharing()
            self._publish("model", self.model)
            if self.preprocessing != Preprocessing():  # the photo was shown as the bundled network sees it
                self._publish("photo", self.photo(self.lens.image))

    def convertible(self) -> bool:
        """Return whether the loaded model can be given a head of global average pooling here, see ``convert``."""
        from xaiwidgets.learned.pooling_head import convertible

        return self.model is not None and convertible(self.model)

    def convert(self) -> None:
        """Train a head of global average pooling on a copy of the model, in sight, and explain what comes out by CAM.

        Asking for something else meanwhile cancels it.
        """
        turn = self._drop()
        self.runner.put(lambda: self._convert(turn))

    def _convert(self, turn: int) -> Iterator[None]:
        from xaiwidgets.learned.pooling_head import with_pooling_head_steps

        begun, made = time.perf_counter(), None
        for fit in with_pooling_head_steps(self._ready()):
            spent, made = time.perf_counter() - begun, fit.model
            left = spent * (1 / max(fit.progress, 1e-6) - 1)
            self._tell(turn, Status("Training a head of global average pooling", "busy", fit.progress, spent, left))
            yield
        with self._lock:
            if made is None or turn != self._turn:
                return
            self.model, self.frame, self.predictions, self._offered = made.sharing(), None, (), False
            for kept in (self._inputs, self._predicted, self._logits, self._answers):
                kept.clear()
            self.lens = lens = self.lens.with_method("cam").replace(unit=None)
            self._publish("model", self.model)
            self._publish("lens", lens)
            self._ask(lens)

    def _time(self) -> Iterator[None]:
        """Probe the network's passes once, after the first answer is on screen."""
        from xaiwidgets.engine.cost import pace_steps

        if self.timing and self._pace is None:
            for found in pace_steps(self._ready()):
                yield
                self._pace = found
            self._publish("pace", self._pace)

    def _kept(self, lens: Lens) -> tuple[Attribution, str] | None:
        with self._lock:
            return self._answers.get(lens.question)

    def _show(self, turn: int, lens: Lens, result: Attribution, target: str, *, reused: bool = False) -> None:
        # published under the lock: between the check and the picture nobody can ask for another photo
        with self._lock:
            if turn != self._turn:
                return  # a newer question is on screen, or the work was stopped
            self.frame = Frame(lens, self.photo(lens.image), result, target, reused)
            self._publish("frame", self.frame)
            paused = self._going is not None and self._going.resting
            self._tell(turn, _progress_status(card(lens.method), result, target, reused, paused))

    def _show_predictions(self, lens: Lens) -> None:
        with self._lock:
            found = self._predicted[lens.image]
            if lens.image == self.lens.image and self.predictions is not found:
                self.predictions = found
                self._publish("predictions", found)

    def _tell(self, turn: int, status: Status) -> None:
        """Say what a piece of work is doing, unless it was dropped."""
        with self._lock:
            if turn == self._turn:
                self._say(status)

    # -- looking once more ---------------------------------------------------------------------------------------

    def probe(self, box: tuple[int, int, int, int], fill: str = "gray") -> None:
        """Have the network look at the photo with a region hidden; the newest box wins, nothing piles up."""
        if self.model is not None:
            self.runner.urgent("probe", lambda: self._probe(box, fill))

    def _probe(self, box: tuple[int, int, int, int], fill: str) -> None:
        from xaiwidgets.engine.baselines import cover

        lens = self.lens
        model, image = self._ready(), self._input(lens.image)
        target = self.target(lens).with_output("probability")
        top, left, bottom, right = box
        hidden = image.clone()
        hidden[..., top:bottom, left:right] = cover(model, image, fill)(box)
        if target.layer:
            score, whole = float(model.scores(hidden, target)[0]), float(model.scores(image, target)[0])
            logits = model.logits(hidden)
        else:
            logits = model.logits(hidden)
            score, whole = float(target.score(logits)[0]), float(target.score(self._whole(lens.image))[0])
        found = Probe(box, score, whole, self._top(logits), target.name, target.unit)
        with self._lock:
            if (lens.image, lens.asked) == (self.lens.image, self.lens.asked):
                self._publish("probe", found)

    def strongest(self, layer: str, position: str = "mean") -> None:
        """Make the unit of this layer that the photo excites most the one that is explained."""
        if self.model is not None:
            self.runner.urgent("strongest", lambda: self._strongest(layer, position))

    def _strongest(self, layer: str, position: str) -> None:
        lens, model = self.lens, self._ready()
        first = model.unit(layer, 0, position)
        found = model.activations(self._input(lens.image), [first.layer])
        every = found[first.layer].shape[1]
        scores = [
            float(dataclasses.replace(first, channel=c).score(found[first.layer], found)[0]) for c in range(every)
        ]
        unit = Unit(first.layer, scores.index(max(scores)), first.position)
        with self._lock:
            if lens.image == self.lens.image:
                self.put(self.lens.replace(target=(), unit=unit))


def _observe(model: Model, method: Any, result: Attribution) -> None:
    """Let later estimates know what a run took, if it had to do all of its passes itself."""
    from xaiwidgets.engine.cost import observe, passes

    if result.provenance.passes == passes(method, model, result.size):
        observe(model, method, result.provenance.seconds)


def _check_finite(result: Attribution, title: str) -> None:
    if not np.isfinite(result.values).all():
        raise InvalidModel(
            f"{title} needs finite scores and gradients; for this photo the network gave NaN or infinity. Check its "
            "weights, or try another method."
        )


def _progress_status(made: Card, result: Attribution, target: str, reused: bool, paused: bool = False) -> Status:
    spent = result.provenance
    layer = f" at {result.layer}" if result.layer else ""
    text = f"{made.title} for {target}{layer}"
    step, planned = result.details.get("step"), result.details.get("planned")
    if result.progress < 1 and step and planned:
        text = f"{text}, step {step} of {planned}"
    if paused:
        return Status(f"Paused: {text}", "paused", result.progress, spent.seconds, None, spent.passes)
    if result.progress < 1:
        left = spent.seconds * (1 - result.progress) / max(result.progress, 1e-6)
        return Status(text, "busy", result.progress, spent.seconds, left, spent.passes)
    if reused:
        return Status(f"{text} · kept from before", "idle", 1.0, spent.seconds, None, (0, 0))
    return Status(text, "idle", 1.0, spent.seconds, None, spent.passes)
