"""One run of evolution that keeps the best picture for every class (MAP-Elites)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

from xaiwidgets.core.results import Exhibit
from xaiwidgets.synthesis.encodings import Direct, Encoding, Painter
from xaiwidgets.synthesis.graylevels import GrayLevels
from xaiwidgets.synthesis.growing import Growing
from xaiwidgets.synthesis.reading import one_class
from xaiwidgets.synthesis.run import Run

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Goal
    from xaiwidgets.synthesis.fooling_evolution import FoolingEvolution
    from xaiwidgets.synthesis.run import Saved

#: A step tests as many pictures as have so many pixels together: four of 224 × 224.
PIXELS = 4 * 224 * 224
#: All genes that are kept are at most so many numbers.
ROOM = 4_000_000
#: How many other classes are shown, and from which probability on a class counts as certain.
SHOWN, CERTAIN = 5, 0.99


#: How pictures are written down, by the name of the hyper-parameter's value.
ENCODINGS: dict[str, type[Direct | Painter | Growing]] = {"cppn": Painter, "growing": Growing, "direct": Direct}


class Elites(Run):
    """A run in progress.

    Attributes:
        genes: ``(classes, genes)`` of the best picture of each class that is kept. ``chances``: its probability.
        births: the step that it was born in.
        classes: which classes are kept, the target first.
        generation: that is being tested, 0 for the random pictures. ``done``: how many of its pictures were.
    """

    ARRAYS: ClassVar[tuple[str, ...]] = ("genes", "chances", "births")
    VALUES: ClassVar[tuple[str, ...]] = ("classes", "generation", "done")
    FREE: ClassVar[tuple[str, ...]] = ("generations",)
    method: FoolingEvolution
    genes: Tensor | None
    chances: Tensor | None
    births: Tensor | None

    def __init__(self, method: FoolingEvolution, model: Model, target: Goal, photo: Tensor | None = None) -> None:
        super().__init__(method, model, target, photo)
        self.index = one_class(target)
        self.levels = GrayLevels(model)
        shape = model.input_shape
        self.encoding: Encoding = ENCODINGS[method.encoding](shape)
        self.batch = max(1, min(method.offspring, PIXELS // (shape[1] * shape[2])))
        self._pictures: dict[int, tuple[int, NDArray[np.float32]]] = {}

    def begin(self) -> None:
        """Begin with nothing; the first generation is random."""
        self.genes = self.chances = self.births = None
        self.classes: tuple[int, ...] = (self.index,)
        self.generation = self.done = 0

    @property
    def unit(self) -> str:
        """What the objective is measured in."""
        return "probability"

    @property
    def planned(self) -> int:
        """How many steps there are to be: parts of generations, and those of the random pictures."""
        return (1 + self.method.generations) * math.ceil(self.method.offspring / self.batch)

    def advance(self) -> None:
        """Breed some pictures, ask the network about them, and keep those that are the best of a class."""
        count = min(self.batch, self.method.offspring - self.done)
        genes = self._bred(count) if self.generation else self.encoding.draw(count, self.random)
        chances = self.model.probabilities(self.levels.inputs(self._rendered(genes))).float().cpu()
        self._keep(genes, chances)
        self.done += count
        if self.done >= self.method.offspring:
            self.generation, self.done = self.generation + 1, 0
        assert self.chances is not None
        chance = float(self.chances[0])
        certain = float((self.chances > CERTAIN).sum())
        self.log(chance, probability=chance, mean=float(self.chances.mean()), certain=certain)

    def restore(self, saved: Saved) -> None:
        """Go on as it was; the archive stays on the CPU, where what changes it is drawn."""
        super().restore(saved)
        for name in self.ARRAYS:
            kept = getattr(self, name)
            setattr(self, name, None if kept is None else kept.cpu())

    def pixels(self) -> NDArray[np.float32]:
        """Return the target's best picture as colors."""
        return self._picture(0)

    def terms(self) -> dict[str, float]:
        """Return the generation that was tested, how many classes there are, and what there is to say of the genes."""
        tested = self.generation if self.done else self.generation - 1
        told = {} if self.genes is None else self.encoding.told(self.genes[0])
        return {"generation": float(tested), "classes": float(len(self.classes)), **told}

    def beside(self) -> tuple[Exhibit, ...]:
        """Return the best pictures of the other classes of which the network is most certain."""
        if self.chances is None:
            return ()
        order = sorted(range(1, len(self.classes)), key=lambda place: -float(self.chances[place]))  # type: ignore[index]
        return tuple(Exhibit(self._picture(place), self._said(place)) for place in order[:SHOWN])

    def _said(self, place: int) -> str:
        assert self.chances is not None
        assert self.births is not None
        name, chance = self.model.labels.short(self.classes[place]), float(self.chances[place])
        return f"{name}: {100 * chance:.1f} %, found at step {int(self.births[place])}"

    def _bred(self, count: int) -> Tensor:
        """Return mutated copies of the best pictures of random classes, the target more often than others."""
        import torch

        assert self.genes is not None
        parents = torch.randint(0, len(self.classes), (count,), generator=self.random)
        focused = torch.rand(count, generator=self.random) < self.method.focus
        parents = parents.masked_fill(focused, 0)
        rate, strength = self.method.rate, self.method.strength
        return self.encoding.mutate(self.genes[parents], self.random, rate, strength, self.generation)

    def _keep(self, genes: Tensor, chances: Tensor) -> None:
        """Let the best new picture for each class take the old one's place, if it is better."""
        import torch

        if self.genes is None or self.chances is None or self.births is None:
            others = chances.max(dim=0).values
            others[self.index] = 2.0  # comes first, whatever the others have
            most = max(1, min(self.model.classes, ROOM // self.encoding.genes))
            self.classes = tuple(others.argsort(descending=True, stable=True)[:most].tolist())
            self.genes = genes[:1].expand(most, -1).clone()
            self.chances, self.births = torch.full((most,), -1.0), torch.zeros(most, dtype=torch.int64)
        values, which = chances[:, list(self.classes)].max(dim=0)
        better = values > self.chances
        if better.any():
            self.chances = values.where(better, self.chances)
            self.births = self.births.masked_fill(better, self.step + 1)
            self.genes = torch.where(better[:, None], genes[which], self.genes)

    def _rendered(self, genes: Tensor) -> Tensor:
        return self.encoding.render(genes).to(self.levels.like)

    def _picture(self, place: int) -> NDArray[np.float32]:
        """Return a class's best picture; those that were made are kept until a better one comes."""
        import numpy as np

        if self.genes is None or self.births is None:
            return np.full((*self.model.input_shape[1:], 3), 0.5, np.float32)
        born, index = int(self.births[place]), self.classes[place]
        if self._pictures.get(index, (-1, None))[0] != born:
            self._pictures[index] = born, self.levels.pixels(self._rendered(self.genes[place : place + 1]))
        return self._pictures[index][1]
