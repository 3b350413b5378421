"""Data-randomization test."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from xaiwidgets.core.knobs import Choice, Range, knob
from xaiwidgets.core.metric_cards import metric
from xaiwidgets.core.scores import Curve, Limit, Score
from xaiwidgets.evaluation.case import map_of
from xaiwidgets.evaluation.controls import CONTROLS
from xaiwidgets.evaluation.examples import seen
from xaiwidgets.evaluation.similarity import SIMILARITIES, small
from xaiwidgets.learned.recipes import recipe

if TYPE_CHECKING:
    from collections.abc import Generator

    from torch import Tensor

    from xaiwidgets.core.results import Attribution
    from xaiwidgets.evaluation.case import Case
    from xaiwidgets.learned.recipes import Recipe, Training
    from xaiwidgets.model.model import Model

#: The three trainings: how they are called, whether labels are permuted, and their share of the work.
TRUE, AGAIN, RANDOM = "true labels", "true labels, other seed", "random labels"
SHARES = {TRUE: 0.2, AGAIN: 0.2, RANDOM: 0.4}


@metric(
    title="Data randomization",
    category="data",
    question="Does the map change when the network has learned random labels?",
    cite="Adebayo et al. 2018",
    paper="arXiv:1810.03292",
    section="4.2",
    direction="lower",
    needs=("recipe",),
    limit=Limit(
        "<",
        0.5,
        "Half as alike as two networks with true labels, which nothing but the seed tells apart; the paper itself "
        "gives no number.",
    ),
    formula="mean ρ(e_true, e_random) / mean ρ(e_true, e_true′), over pictures; ρ a similarity of maps, e_true′ of a "
    "second network trained with true labels",
    how="The same network is trained three times: with true labels, with true labels from another seed, and with "
    "labels in a random order until it knows the training pictures by heart. A map that explains what was learned must "
    "differ more between true and random labels than between two seeds.",
    caution="It is a statement about a method on this recipe's network and data, not about your network. Two networks "
    "with true labels differ, too: without that control a noisy method seems to pass.",
)
class DataRandomization:
    """Similarity of maps of networks with true and random labels, relative to that of two seeds (Adebayo et al. 2018).

    The class explained is the one that the network with true labels sees; of the picture in question, if the recipe's
    network takes it, the class asked about. ``curves``: accuracy on the training pictures by epoch, live; ``rows``:
    both similarities of each picture; ``pictures``: the one whose maps are in ``maps``; ``details``: ``random_labels``
    and ``other_seed``, the means by similarity, ``accuracies`` (of training and of held-out pictures) and ``epochs`` by
    network.

    Where the wanted accuracy on random labels is not reached there is no score, and a note says so.
    """

    pictures: int = knob(12, Range(2, 400), label="Pictures", help="How many held-out pictures maps are compared on.")
    similarity: str = knob(
        "spearman_abs",
        Choice(tuple(SIMILARITIES)),
        label="Similarity",
        help="Which one the verdict is about; all of them are in the details.",
    )
    accuracy: float = knob(
        0.95,
        Range(0.3, 1.0),
        label="Accuracy on random labels",
        help="The training with random labels ends at this share of its pictures.",
        advanced=True,
    )
    epochs: int = knob(
        200, Range(1, 2000), label="Epochs on random labels", help="It ends without a score after so many.",
        advanced=True,
    )  # fmt: skip

    def score(self, case: Case) -> Generator[Score | None, None, None]:
        """Yield the accuracies of networks in training, then the ratio over the pictures so far."""
        made = recipe(case.data)
        found = _Found(f"The networks compared are trained for it here, on one task: {made.title}.")
        for number, name in enumerate(SHARES):
            steps = self._training(case, made, number)
            while True:
                try:
                    state = next(steps)
                except StopIteration as end:
                    found.states[name] = end.value
                    break
                if state is not None:
                    found.states[name] = state
                    yield self._report(case, found, self._progress(found))
                else:
                    yield None
        if found.states[RANDOM].accuracies[-1] < self.accuracy:
            yield self._report(case, found, 1.0)
            return
        inputs = self._inputs(case, made, found.states[TRUE].model)
        for number, image in enumerate(inputs):
            yield from self._compare(case, found, image, number, made)
            yield self._report(case, found, 0.8 + 0.2 * (number + 1) / len(inputs))

    def _training(self, case: Case, made: Recipe, number: int) -> Generator[Training | None, None, Training]:
        from xaiwidgets.evaluation.trainings import trained

        seed = case.seed + number
        if number < 2:
            return (yield from trained(made, seed))
        return (yield from trained(made, seed, shuffled=True, until=self.accuracy, epochs=self.epochs))

    def _progress(self, found: _Found) -> float:
        done = 0.0
        for name, share in SHARES.items():
            state = found.states.get(name)
            if state is not None:
                near = state.accuracies[-1] / self.accuracy if name == RANDOM else 0.0
                found.nearest = max(found.nearest, min(near, 0.99))
                done += share * (1.0 if state.model is not None else max(state.progress, found.nearest))
        return min(done, 0.8)

    def _inputs(self, case: Case, made: Recipe, model: Model | None) -> list[Tensor]:
        """Return inputs of the recipe's network: the picture in question if it fits, and held-out ones."""
        if model is None:
            raise RuntimeError("a finished training must hold its model")
        images = made.load("test")[0][: self.pictures]
        inputs = [model.from_pixels(image) for image in images]
        if case.model.input_shape == model.input_shape:
            inputs = [model.from_pixels(case.model.to_pixels(case.image)), *inputs[: self.pictures - 1]]
        return inputs

    def _compare(
        self, case: Case, found: _Found, image: Tensor, number: int, made: Recipe
    ) -> Generator[None, None, None]:
        first = found.states[TRUE].model
        if first is None:
            raise RuntimeError("a finished training must hold its model")
        own = number == 0 and case.model.input_shape == first.input_shape
        asked = not case.target.layer and case.target.minus is None and max(case.target.classes) < len(made.labels)
        target = first.target(case.target.classes if own and asked else None, image)
        maps: dict[str, Attribution] = {}
        for name in SHARES:
            yield None
            maps[name] = yield from case.explaining(image=image, model=found.states[name].model, target=target)
        for rows, name in ((found.random, RANDOM), (found.again, AGAIN)):
            rows.append(similarities(maps[TRUE], maps[name]))
        found.names.append(case.name or "picture" if own else f"held-out picture {number}")
        found.classes.append(target.name)
        if number == 0:
            found.maps = {name: map_of(one, "signed") for name, one in maps.items()}
            found.picture = {found.names[0]: seen(first, image)}
            pixels = first.to_pixels(image)
            known = [CONTROLS["random"](pixels, case.seed + more) for more in (0, 1)]
            found.chance, found.size = SIMILARITIES[self.similarity](*known), pixels.shape[:2]

    def _report(self, case: Case, found: _Found, progress: float) -> Score:
        random = np.array([one[self.similarity] for one in found.random])
        again = np.array([one[self.similarity] for one in found.again])
        value, interval = ratio(random, again, case.seed)
        ended = {name: state for name, state in found.states.items() if state.model is not None}
        notes = []
        if len(ended) < len(SHARES):
            notes.append(f"In training: {list(found.states)[-1]}.")
        elif not len(random):
            reached = found.states[RANDOM].accuracies[-1]
            notes.append(
                f"With random labels the network came to {reached:.0%} of the training pictures in {self.epochs} "
                f"epochs, {self.accuracy:.0%} are wanted: allow more epochs, or take a larger network."
            )
        elif math.isnan(value):
            notes.append("Maps of two networks with true labels are not alike: nothing can be compared with that.")
        notes.append(found.about)
        undefined = int(np.isnan(random).sum())
        return Score(
            value,
            "similarity relative to another seed",
            progress=progress,
            interval=interval,
            controls={"edges": 1.0, "random": found.chance} if len(random) else {},
            curves=tuple(_curve(name, state) for name, state in found.states.items()),
            header=("picture", "class", RANDOM, AGAIN),
            rows=tuple(zip(found.names, found.classes, random.tolist(), again.tolist(), strict=True)),
            maps=dict(found.maps),
            pictures=dict(found.picture),
            items=tuple(random.tolist()),
            notes=tuple(notes),
            warnings=(
                *(["W_DEGENERATE"] if undefined else []),
                *(["W_SMALL"] if found.maps and small(found.size) else []),
            ),
            details={
                "random_labels": _means(found.random),
                "other_seed": _means(found.again),
                "accuracies": {name: (s.accuracies[-1], s.test_accuracy) for name, s in ended.items()},
                "epochs": {name: state.epoch for name, state in found.states.items()},
            },
        )


@dataclass
class _Found:
    """What there is so far."""

    about: str
    states: dict[str, Training] = field(default_factory=dict)
    random: list[dict[str, float]] = field(default_factory=list)
    again: list[dict[str, float]] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)
    maps: dict[str, Any] = field(default_factory=dict)
    picture: dict[str, Any] = field(default_factory=dict)
    chance: float = math.nan
    size: Any = (0, 0)
    nearest: float = 0.0


def similarities(one: Attribution, other: Attribution) -> dict[str, float]:
    """Return every similarity of two explanations, by name: of absolute maps, but for the signed one."""
    pairs = {how: (map_of(one, how), map_of(other, how)) for how in ("abs", "signed")}
    return {
        name: compare(*pairs["signed" if name == "spearman_signed" else "abs"])
        for name, compare in SIMILARITIES.items()
    }


def ratio(random: Any, again: Any, seed: int) -> tuple[float, tuple[float, float] | None]:
    """Return the ratio of two means over pictures and its 95 % bootstrap interval; NaN if the second is not positive.

    Pictures with an undefined similarity are left out of both.
    """
    there = np.isfinite(random) & np.isfinite(again)
    one, other = random[there], again[there]
    if not len(one) or other.mean() <= 0:
        return math.nan, None
    value = float(one.mean() / other.mean())
    if len(one) < 2:
        return value, None
    chosen = np.random.default_rng(seed).integers(len(one), size=(1000, len(one)))
    below = other[chosen].mean(axis=1)
    drawn = one[chosen].mean(axis=1)[below > 0] / below[below > 0]
    low, high = np.quantile(drawn, (0.025, 0.975))
    return value, (float(low), float(high))


def _means(rows: list[dict[str, float]]) -> dict[str, float]:
    found = {}
    for name in SIMILARITIES:
        there = [row[name] for row in rows if not math.isnan(row[name])]
        found[name] = float(np.mean(there)) if there else math.nan
    return found


def _curve(name: str, state: Training) -> Curve:
    x = np.arange(1, len(state.accuracies) + 1, dtype=np.float64)
    return Curve(name, x, np.array(state.accuracies), "epoch", "accuracy on training pictures")
