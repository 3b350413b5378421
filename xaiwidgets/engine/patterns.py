"""Fitting of signal directions: one streaming pass over pictures, sums for each layer, no gradients."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from xaiwidgets.engine.bank import PatternBank, WrongPatterns, digest
from xaiwidgets.engine.batching import batch_size
from xaiwidgets.engine.sums import Sums
from xaiwidgets.engine.views import Views
from xaiwidgets.errors import InvalidKnob
from xaiwidgets.model.references import ReferenceSet, find_references, reference_sets, unnamed
from xaiwidgets.surgery.coverage import check
from xaiwidgets.surgery.watch import PatternWatch

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from os import PathLike

    from torch import Tensor

    from xaiwidgets.model.model import Model

#: Places of a map that are looked at, picture by picture.
PLACES = 64
#: Views that are made of fewer pictures.
VIEWS = 256


class PatternFit:
    """Patterns in the making: one batch of pictures after another, for as many callers as there are.

    Attributes:
        done: pictures that were looked at. ``total``: how many there will be.
        weights: digest of the weights that are looked at.
    """

    def __init__(self, model: Model, views: Views, places: int = PLACES, seed: int = 0) -> None:
        self.weights, self._token = digest(model), _token(model)
        self.done, self.total = 0, views.count
        self._views, self._places, self._seed = views, places, seed
        self._sums: dict[str, Sums] = {}
        self._bank: tuple[int, PatternBank] | None = None
        self._lock = threading.Lock()

    @property
    def progress(self) -> float:
        """Share of the pictures that were looked at."""
        return self.done / self.total

    @property
    def finished(self) -> bool:
        """Whether all were."""
        return self.done == self.total

    def advance(self, model: Model) -> None:
        """Look at one more batch.

        Raises:
            NotApplicable: patterns have no meaning for an operation of the network, which the message names.
            WrongPatterns: the network's weights have changed since the fit was begun.
        """
        with self._lock:
            if self.finished:
                return
            if _token(model) is not self._token:
                raise WrongPatterns(
                    f"patterns must be fitted on one set of weights; those of {model.name} have changed meanwhile. "
                    "Begin anew"
                )
            numbers = range(self.done, min(self.done + batch_size(model, gradient=True), self.total))
            images = self._views.inputs(model, numbers)
            if self.done == 0:  # the first pass under a policy is run twice, to compare: it must not count
                self._watch(model, images[:1], numbers[:1], counted=False)
            self._watch(model, images, numbers, counted=True)
            self.done = numbers.stop

    def bank(self) -> PatternBank:
        """Return the patterns that the pictures so far give."""
        with self._lock:
            if self._bank is None or self._bank[0] != self.done:
                views = self._views.sentence()
                source = views if self.finished else f"the first {self.done} of {views}"
                found = {name: sums.direction() for name, sums in self._sums.items()}
                self._bank = self.done, PatternBank(found, self.weights, source)
            return self._bank[1]

    def _watch(self, model: Model, images: Tensor, numbers: range, *, counted: bool) -> None:
        known: dict[int, Tensor] = {}

        def places(count: int) -> Tensor:
            if count not in known:
                known[count] = torch.stack([self._of_map(number, count) for number in numbers])
            return known[count]

        def tell(name: str, weight: Tensor, inputs: Tensor, outputs: Tensor, positive: Tensor | None) -> None:
            if name not in self._sums:
                self._sums[name] = Sums(weight, outputs.shape[1])
            self._sums[name].add(inputs, outputs, positive)

        found, policy = model.propagate(
            images, model.target(0), lambda: PatternWatch(tell if counted else None, places), start=lambda *_: ()
        )
        check(policy, found.coverage, "patternnet")

    def _of_map(self, number: int, count: int) -> Tensor:
        """Return the places of a map of ``count`` that are looked at in the picture of this number."""
        if count <= self._places:
            return torch.arange(count)
        generator = torch.Generator().manual_seed((self._seed * 1_000_003 + number) * 131_071 + count)
        return torch.randperm(count, generator=generator)[: self._places]


def _token(model: Model) -> object:
    """Return an object that is another one once the weights have changed."""
    return model.remember("weights of a fit", object)


@dataclass
class Held:
    """The patterns of one network: those that somebody gave, and those that are or were fitted unasked."""

    given: PatternBank | None = None
    key: Any = None
    fit: PatternFit | None = None


def held_by(model: Model) -> Held:
    """Return the patterns kept for these weights; they are forgotten when the weights change."""
    return model.remember("patterns", Held)  # type: ignore[no-any-return]


def fit_for(model: Model, name: str, count: int) -> PatternFit:
    """Return the fit, begun or finished, on ``count`` views of the reference set of this name; the last is kept.

    Raises:
        InvalidKnob: there is no such set, or it holds no pictures.
    """
    pictures = find_references(name, "patterns")
    held, key = held_by(model), (pictures.name, pictures.content, count)
    if held.fit is None or held.key != key:
        held.key, held.fit = key, PatternFit(model, Views(pictures, count))
    return held.fit


def use_patterns(model: Model, bank: PatternBank | None) -> None:
    """Let PatternNet and PatternAttribution explain a model with these patterns; ``None``: with those they fit.

    Raises:
        WrongPatterns: the bank was fitted for other weights.
    """
    if bank is not None:
        bank.check(model)
    held_by(model).given = bank


def fit_patterns_steps(
    model: Model,
    images: str | PathLike[str] | Iterable[Any] = "photos",
    *,
    count: int | None = None,
    places: int = PLACES,
    seed: int = 0,
) -> Iterator[PatternFit]:
    """Fit patterns batch by batch; see ``fit_patterns``. Yields the fit, which has ``progress`` and a ``bank()``.

    Closing the generator cancels the work; what was found till then is not used for explanations.
    """
    for name, value in (("count", count), ("places", places)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise InvalidKnob(f"{name} must be a whole number of at least 1; got {value!r}.")
    pictures = _pictures(images)
    fit = PatternFit(model, Views(pictures, count or max(VIEWS, len(pictures)), seed), places, seed)
    while not fit.finished:
        fit.advance(model)
        if fit.finished:
            use_patterns(model, fit.bank())
        yield fit


def fit_patterns(
    model: Model,
    images: str | PathLike[str] | Iterable[Any] = "photos",
    *,
    count: int | None = None,
    places: int = PLACES,
    seed: int = 0,
) -> PatternBank:
    """Fit the signal directions of all units on pictures, and let explanations of this model use them.

    One forward pass a picture. Every position of a map is a sample of its units; ``places`` of each map are drawn.

    Args:
        model: of convolutions, dense layers, ReLUs (or ReLU6), pooling and sums.
        images: a folder, pictures (each anything that ``read_picture`` takes), or the name of a reference set.
        count: how many; all by default. Of fewer pictures than that (or than 256), windows are looked at, too.
        places: of each map.
        seed: of windows and places.

    Raises:
        NotApplicable: the network has an operation without a meaning here, such as a gate or a smooth activation.
        InvalidImage: a picture cannot be read.
        WrongPatterns: the weights were changed meanwhile.
    """
    for fit in fit_patterns_steps(model, images, count=count, places=places, seed=seed):  # noqa: B007 - the last
        pass
    return fit.bank()


def _pictures(images: str | PathLike[str] | Iterable[Any]) -> ReferenceSet:
    if isinstance(images, str) and images in {one.name for one in reference_sets()}:
        return find_references(images, "images")
    if isinstance(images, (str, os.PathLike)) and not Path(os.fsdecode(images)).exists():
        return find_references(str(images), "images")
    return unnamed(images)
