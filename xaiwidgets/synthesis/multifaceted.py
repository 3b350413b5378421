"""One run of multifaceted visualization: looking pictures through, grouping them, and an ascent for each group."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from xaiwidgets.core.cards import card
from xaiwidgets.core.results import Exhibit
from xaiwidgets.errors import NotApplicable
from xaiwidgets.model.references import find_references
from xaiwidgets.synthesis.ascent import Ascent
from xaiwidgets.synthesis.facets import (
    NEAREST,
    PIECE,
    Crops,
    code_layer,
    codes_of,
    colors,
    find_facets,
    groups_for,
    scatter,
)
from xaiwidgets.synthesis.run import Run, Saved

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Goal

#: Hyper-parameters that are handed on to the ascents.
HANDED = ("step_size", "decay", "blur_width", "jitter", "iterations", "seed")


class Multifaceted(Run):
    """A run in progress.

    Attributes:
        scores: of the pictures looked through. ``codes``: of those that are grouped, likewise.
        means: where the facets start, ``(facets, C, H, W)``. ``going``: the ascents, one a facet.
    """

    ARRAYS: ClassVar[tuple[str, ...]] = ("scores", "codes", "means", "layout")
    VALUES: ClassVar[tuple[str, ...]] = ("looked", "saved", "sizes")
    FREE: ClassVar[tuple[str, ...]] = ()
    scores: Tensor
    codes: Tensor
    means: Tensor | None = None
    layout: Tensor | None = None  # the scatter, as a picture

    def __init__(self, method: Any, model: Model, target: Goal, photo: Tensor | None = None) -> None:
        super().__init__(method, model, target, photo)
        self.looked = 0
        self.sizes: tuple[int, ...] = ()
        self.going: list[Ascent] = []
        self._shown: Any = None

    @property
    def planned(self) -> int:
        """Steps of all facets; of those that have stopped, the steps that they did."""
        each = int(self.method.iterations)
        if not self.going:
            return each * (len(self.sizes) or self.method.facets)
        return sum(run.step if run.stopped else each for run in self.going)

    @property
    def saved(self) -> tuple[Saved, ...]:
        """The ascents as they are."""
        return tuple(run.save() for run in self.going)

    @saved.setter
    def saved(self, states: tuple[Saved, ...]) -> None:
        self.going = [self._ascent(number, state) for number, state in enumerate(states)]

    def begin(self) -> None:
        """Look nothing through yet."""
        like = self.model.like.new_empty(0).float()  # numbers that can be saved, whatever those of the network are
        self.scores, self.codes = like.new_zeros(0), like.new_zeros(0, 0)
        references = find_references(self.method.pictures, "pictures")
        total = len(references) * (1 + self.method.crops)
        if references.baselines or total < 3:
            what = "plain colors" if references.baselines else f"{total}"
            raise NotApplicable("multifaceted_visualization", "at least 3 pictures", f"{references.name!r} has {what}")

    def advance(self) -> None:
        """Look some pictures through, or group them, or do a step of the facet whose turn it is."""
        if self.looked < len(self._images):
            piece = self._images.take(range(self.looked, min(self.looked + PIECE, len(self._images))))
            scores: Tensor = self.model.scores(piece, self.target)  # type: ignore[arg-type]
            scores = scores.to(self.scores)
            self.scores = _joined(self.scores, scores)
            self.codes = _joined(self.codes, scores.new_tensor(codes_of(self.model, piece, self._layer)))
            self.looked += len(piece)
        elif not self.going:
            self._group()
        else:
            # the facets take turns: the next is the first of those that have done the fewest steps and can go on
            run = min((run for run in self.going if not run.stopped), key=lambda run: run.step)
            run.advance()
            if run.stopped:
                self._tell_stopped(self.going.index(run))
                return
            self.log(self._mean("objective"), **({"probability": self._mean("probability")} if self._chances else {}))

    def adopted(self, old: Any) -> None:
        """Hand what was moved on to the ascents."""
        for run in self.going:
            run.adopt(self._method())

    @property
    def _images(self) -> Crops:
        """The pictures and where their crops are, read once."""
        if self._shown is None:
            import torch

            from xaiwidgets.engine.references import images_of

            name = self.method.pictures
            images = images_of(self.model, name, len(find_references(name)))
            self._shown = Crops(images, self.method.crops, torch.Generator().manual_seed(self.method.seed))
        return self._shown  # type: ignore[no-any-return]

    @property
    def _layer(self) -> str:
        return code_layer(self.model, self.method.code_layer)

    @property
    def _chances(self) -> bool:
        return any("probability" in run.measures for run in self.going)

    def _tell_stopped(self, number: int) -> None:
        """Say why a facet cannot go on, and stop if none can."""
        run = self.going[number]
        why = run.notes[-1].partition(": ")[2]
        self.note(f"Facet {number + 1} stopped after {run.step} steps: {why}")
        if all(run.stopped for run in self.going):
            self.stop("no facet can go on")

    def _group(self) -> None:
        """Group the most exciting pictures, and begin an ascent for each group."""
        order = self.scores.double().numpy(force=True)
        best = np.argsort(-order, kind="stable")[: self.method.used].copy()
        count = groups_for(len(best), self.method.facets)
        if count < self.method.facets:
            self.note(f"{len(best)} pictures are enough for {count} facet(s) of {NEAREST} pictures.")
        codes = self.codes.double().numpy(force=True)[best]
        found = find_facets(codes, count, embedding=self.method.embedding, seed=self.method.seed)
        images = self._images.take(best)
        self.sizes = tuple(int((found.labels == number).sum()) for number in range(found.count))
        self.means = _stacked([images[near.copy()].float().mean(dim=0) for near in found.nearest])
        pictures = np.stack([colors(self.model, one[None]) for one in images])
        self.layout = self.scores.new_tensor(scatter(found, pictures))
        self.going = [self._ascent(number) for number in range(found.count)]
        for number, run in enumerate(self.going):
            if run.stopped:  # on its start picture
                self._tell_stopped(number)

    def _method(self) -> Any:
        start = "photo" if self.method.begin == "mean" else "noise"
        handed = {name: getattr(self.method, name) for name in HANDED}
        return card("activation_maximization").make(**handed, start=start)

    def _ascent(self, number: int, state: Saved | None = None) -> Ascent:
        if self.means is None:
            raise RuntimeError("facets are grouped before they are painted")
        run = Ascent(self._method(), self.model, self.target, self.means[number][None])
        if state is None:
            run.begin()
        else:
            run.restore(state)
        return run

    def _mean(self, name: str) -> float:
        """Return the mean of what the ascents measured last; those that have not begun yet are left out."""
        values = [run.measures[name] for run in self.going if name in run.measures]
        return float(np.mean(values)) if values else float("nan")

    def pixels(self) -> NDArray[np.float32]:
        """Return all facets in one picture, two in a row; before there are any, the mean color."""
        height, width = self.model.input_shape[1:]
        if not self.going:
            mean = np.asarray(self.model.preprocessing.mean, np.float32)
            return np.broadcast_to(mean, (height, width, 3)).copy()
        columns = 1 if len(self.going) == 1 else 2
        rows = -(-len(self.going) // columns)
        canvas = np.ones((rows * height, columns * width, 3), np.float32)
        for number, run in enumerate(self.going):
            top, left = number // columns * height, number % columns * width
            canvas[top : top + height, left : left + width] = run.pixels()
        return canvas

    def beside(self) -> tuple[Exhibit, ...]:
        """Return where the pictures lie, and each facet's mean and picture."""
        if self.means is None or self.layout is None:
            return ()
        how = "t-SNE" if self.method.embedding == "tsne" else "PCA"
        shown = [Exhibit(self.layout.numpy(force=True), f"{sum(self.sizes)} exciting pictures, laid out by {how}")]
        for number, run in enumerate(self.going):
            mean = colors(self.model, self.means[number][None])
            count = min(NEAREST, self.sizes[number])
            shown.append(Exhibit(mean, f"facet {number + 1}: mean of {count} of its {self.sizes[number]} pictures"))
            score = run.measures.get("objective")
            words = "at its start" if score is None else f"{self.unit} {score:.3g}"
            words += f", stopped after {run.step} steps" if run.stopped else ""
            shown.append(Exhibit(run.pixels(), f"facet {number + 1}: {words}"))
        return tuple(shown)


def _joined(one: Tensor, other: Tensor) -> Tensor:
    import torch

    return torch.cat([one.to(other), other]) if len(one) else other


def _stacked(parts: list[Tensor]) -> Tensor:
    import torch

    return torch.stack(parts)
