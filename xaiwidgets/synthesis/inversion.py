"""A run that finds pictures from which layers read what they read from a photo: of one layer, or of every stage."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from xaiwidgets.core.results import Exhibit
from xaiwidgets.errors import InvalidImage
from xaiwidgets.synthesis.canvas import Canvas
from xaiwidgets.synthesis.matching import Features, Part, features, middle, stride
from xaiwidgets.synthesis.memory import ARRAYS, NUMBERS, Gauge, Memory, descend
from xaiwidgets.synthesis.run import Run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Goal
    from xaiwidgets.synthesis.representation_inversion import RepresentationInversion
    from xaiwidgets.synthesis.run import Saved

#: Gray levels to a unit of the pictures here: half of the way from black to white.
UNIT = 127.5
#: Standard deviation of the noise that a run starts from, in these units.
NOISE = 0.1
#: A layer whose error is still this share of the start's when its steps are done was not inverted, and that is told.
STUCK = 0.7
#: What a change of has the photo's features read anew.
PARTS = ("group", "channels", "rows", "columns", "down", "right")


class Inversion(Run):
    """A run in progress: ``memories`` holds one a layer, and they take turns, so that all of them grow."""

    VALUES = ("kept",)
    method: RepresentationInversion
    memories: tuple[Memory, ...]

    def __init__(self, method: RepresentationInversion, model: Model, target: Goal, photo: Tensor | None) -> None:
        super().__init__(method, model, target, photo)
        self.canvas = Canvas(model)
        if photo is None:
            raise InvalidImage("image must be given to invert what a layer reads from it.")
        self.original = self.canvas.start("photo", photo, self.random) / UNIT
        self.gauge = Gauge(self.original)
        self.shown = model.layer(method.layer or middle(model)).name
        stages = [stage.name for stage in model.stages] if method.layers == "stages" else []
        self.layers = sorted({self.shown, *stages}, key=lambda name: model.layer(name).order)

    @property
    def unit(self) -> str:
        """What is made small: the error and the two priors."""
        return "energy"

    @property
    def planned(self) -> int:
        """How many steps there are to be, of all layers together."""
        return super().planned * len(self.layers)

    def begin(self) -> None:
        """Read the photo's features and those of the noise that all layers start from."""
        import torch

        noise = [self.canvas.noise(self.random) for _ in range(self.method.repeats)]
        start = self._fit(NOISE * torch.cat(noise))
        goals = self._goals()
        found = [self.model.activations(part, self.layers) for part in self._batches(start)]
        zeros, memories = torch.zeros_like(start), []
        for name in self.layers:
            errors = torch.cat([goals[name].score(start, one) for one in found])
            memories.append(
                Memory(goals[name], stride(self.model, name), start, zeros, zeros, errors, float(errors.mean()))
            )
        self.memories = tuple(memories)

    def advance(self) -> None:
        """Do one step of the layer whose turn it is, and measure all that is shown."""
        turn = self.step % len(self.memories)
        memory = self.memories[turn]
        slope = memory.slope
        if slope is None:
            memory, slope = self._look(memory, memory.pictures)
        moved = descend(memory, slope, self.method)
        made, ahead = self._look(moved, self._fit(moved.pictures))
        finite = all(bool(found.isfinite().all()) for found in (made.pictures, made.errors, ahead))
        if not finite or not np.isfinite([*self.gauge.measure(made, self.method).values()]).all():
            self.stop("a picture or its error is not finite. Lower the step size or the weights and start anew")
            return
        if not slope.any() and not ahead.any() and float(made.errors.max()) > 0:
            self.stop("no pixel changes what the layer gives, so nothing can be learned from it. Choose another layer")
            return
        self.memories = (*self.memories[:turn], made, *self.memories[turn + 1 :])
        self._log()
        if made.turns >= self.method.iterations and float(made.errors.mean()) > STUCK**2 * made.before:
            self.note(f"{made.goal.layer} was not inverted: {self._words(made, 0)}. {self._way_out()}")

    def pixels(self) -> NDArray[np.float32]:
        """Return the picture of the layer of the knob, from the first start."""
        return self._pixels(self._memory().pictures[:1])

    def terms(self) -> dict[str, float]:
        """Return the error of the start, for the layer that is shown."""
        return {"error at the start": self._memory().before ** 0.5}

    def beside(self) -> tuple[Exhibit, ...]:
        """Return the photo; the pictures of all layers, or of all starts and where these differ."""
        found = [Exhibit(self._pixels(self.original), "The photo")]
        if len(self.memories) > 1:
            for memory in self.memories:
                words = f"{memory.goal.layer}: {self._words(memory, 0)}, {memory.turns} steps"
                found.append(Exhibit(self._pixels(memory.pictures[:1]), words))
        shown = self._memory()
        if len(shown.pictures) > 1:
            for number in range(len(shown.pictures)):
                words = f"Start {number + 1}: {self._words(shown, number)}"
                found.append(Exhibit(self._pixels(shown.pictures[number : number + 1]), words))
            found.append(self._spread(shown.pictures))
        return tuple(found)

    def adopted(self, old: Any) -> None:
        """Read the photo's features anew when another part of them counts."""
        if any(getattr(old, name) != getattr(self.method, name) for name in PARTS):
            self._reread()

    def save(self) -> Saved:
        """Return what it takes to go on from here; a layer's arrays are shared by all states until its next turn."""
        arrays: dict[str, Tensor | None] = {"photo": self.original}
        for number, memory in enumerate(self.memories):
            arrays |= {f"{number} {name}": getattr(memory, name) for name in ARRAYS}
        self.kept = tuple(tuple(getattr(memory, name) for name in NUMBERS) for memory in self.memories)
        found = {name: None if tensor is None else self.canvas.array(tensor) for name, tensor in arrays.items()}
        return dataclasses.replace(super().save(), arrays=found)

    def array_names(self) -> tuple[str, ...]:
        """Return the photo's name and those of what each layer keeps."""
        return ("photo", *(f"{number} {name}" for number in range(len(self.layers)) for name in ARRAYS))

    def restore(self, saved: Saved) -> None:
        """Go on as it was, with the same photo.

        Raises:
            InvalidImage: it is another photo. Also what ``Run.restore`` raises.
        """
        super().restore(saved)
        if not np.array_equal(saved.arrays["photo"], self.canvas.array(self.original)):  # type: ignore[arg-type]
            raise InvalidImage("image must be the photo of the saved run; got another one. Start a new run for it.")
        goals = self._goals()
        memories = []
        for number, (name, values) in enumerate(zip(self.layers, self.kept, strict=True)):
            arrays: dict[str, Any] = {}
            for one in ARRAYS:
                array = saved.arrays[f"{number} {one}"]
                arrays[one] = None if array is None else self.canvas.tensor(array)
            numbers: dict[str, Any] = dict(zip(NUMBERS, values, strict=True))
            memories.append(Memory(goals[name], stride(self.model, name), **arrays, **numbers))
        self.memories = tuple(memories)
        if any(saved.knobs[name] != getattr(self.method, name) for name in PARTS):
            self._reread()

    def _goals(self) -> dict[str, Features]:
        """Return what is compared, by layer."""
        part = Part(**{name: getattr(self.method, name) for name in PARTS})
        found = self.model.activations(self._inputs(self.original), self.layers)
        return {name: features(self.model.layer(name), found[name], part) for name in self.layers}

    def _reread(self) -> None:
        """Compare with another part of the photo's features; slopes and errors follow at each layer's next turn."""
        goals = self._goals()
        self.memories = tuple(dataclasses.replace(m, goal=goals[m.goal.layer], slope=None) for m in self.memories)

    def _look(self, memory: Memory, pictures: Tensor) -> tuple[Memory, Tensor]:
        """Return the memory with these pictures, their errors, and the errors' slope; and that slope."""
        import torch

        from xaiwidgets.surgery.recipes import LEAKY

        leaky = self.method.leaky and "rectifier" in self.model.offers
        recipe = LEAKY if leaky else None
        found = [self.ask(part, memory.goal, recipe=recipe) for part in self._batches(pictures)]
        slope = self.canvas.per_gray_level(torch.cat([one.input for one in found])) * UNIT
        errors = torch.cat([one.score for one in found])
        return dataclasses.replace(memory, pictures=pictures, errors=errors, slope=slope), slope

    def _log(self) -> None:
        """Log the means over all layers and starts, and the error of each layer where there are several."""
        measured = [self.gauge.measure(memory, self.method) for memory in self.memories]
        means = {name: sum(one[name] for one in measured) / len(measured) for name in measured[0]}
        each: dict[str, float] = {}
        if len(self.memories) > 1:
            each = {f"error of {m.goal.layer}": one["error"] for m, one in zip(self.memories, measured, strict=True)}
        energy = means["squared_error"] + means["alpha_prior"] + means["tv_prior"]
        self.log(energy, **means, **each)

    def _way_out(self) -> str:
        if self.method.leaky or "rectifier" not in self.model.offers:
            return "More steps may help."
        return (
            "Units that are off tell no pixel how to wake them: leaky=True lets a little through; or take more steps."
        )

    def _words(self, memory: Memory, number: int) -> str:
        distance = float(self.gauge.distances(memory.pictures[number : number + 1]))
        return f"feature error {float(memory.errors[number]) ** 0.5:.1%}, pixel error {distance:.0%}"

    def _spread(self, pictures: Tensor) -> Exhibit:
        """Return how far the starts ended from each other, which the layer leaves open: black is agreement."""
        spread = pictures.std(dim=0, correction=0).square().mean(dim=0).sqrt()
        most = float(spread.max())
        shown = (spread / max(most, 1e-12)).float().cpu().numpy()[..., None].repeat(3, axis=2)
        words = f"Where the starts differ: black, nowhere; white, by {most * UNIT:.0f} gray levels"
        return Exhibit(np.ascontiguousarray(shown, np.float32), words)

    def _memory(self) -> Memory:
        return next(memory for memory in self.memories if memory.goal.layer == self.shown)

    def _fit(self, pictures: Tensor) -> Tensor:
        """Return pictures that a screen can show, if that is wanted."""
        return self.canvas.clip(pictures * UNIT) / UNIT if self.method.in_range else pictures

    def _batches(self, pictures: Tensor) -> Sequence[Tensor]:
        """Return network inputs, all at once or, for networks that take one at a time, one by one."""
        import torch

        return torch.split(self._inputs(pictures), self.model.inspection.largest_batch or len(pictures))

    def _inputs(self, pictures: Tensor) -> Tensor:
        return self.canvas.inputs(pictures * UNIT)

    def _pixels(self, picture: Tensor) -> NDArray[np.float32]:
        return self.canvas.pixels(picture * UNIT)
