"""One network at several points of its training, kept under a name."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from xaiwidgets.errors import InvalidKnob, NotTrained
from xaiwidgets.learned.features import weights_digest
from xaiwidgets.learned.recipes import recipe, train_pieces, untrained
from xaiwidgets.learned.store import get, keep, names

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from torch import Tensor

    from xaiwidgets.learned.recipes import Training
    from xaiwidgets.model.model import Model

#: Most points of a training that are looked at.
MOST = 24


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A network at one point of its training.

    Attributes:
        label: the point in words. ``accuracy``: on the pictures it learns from, NaN if unknown. ``model``: as it was.
    """

    label: str
    model: Model
    accuracy: float = math.nan

    @property
    def caption(self) -> str:
        """The point, with the accuracy if it is known."""
        return self.label if math.isnan(self.accuracy) else f"{self.label}, accuracy {self.accuracy:.2f}"


@dataclass(frozen=True, eq=False)
class Checkpoints:
    """A training, by points in order; all of one architecture."""

    points: tuple[Checkpoint, ...]
    #: What a hyper-parameter that names it asks for.
    kind: ClassVar[str] = "checkpoints"

    def fits(self, model: Model) -> bool:
        """Return whether a network has this architecture: the same names and shapes of weights, and the same input."""
        own = self.points[-1].model
        return own.input_shape == model.input_shape and _shapes(own) == _shapes(model)

    def digest(self) -> str:
        """Return what tells these weights from others."""
        import hashlib

        return hashlib.sha256(b"".join(weights_digest(point.model) for point in self.points)).hexdigest()[:16]


def checkpoints(model: Model, states: Sequence[tuple[Any, Mapping[str, Tensor]]], *, name: str = "") -> Checkpoints:
    """Keep a user's own checkpoints for ``training_film``, and return them.

    Args:
        model: the network; neither it nor its module changes.
        states: pairs (point in words or a number, weights by name), in the order of training, 2 to 24.
        name: to keep them under; by default made of the network's.

    Raises:
        InvalidKnob: too few or too many. InvalidModel: a weight has another name.
    """
    if not 2 <= len(states) <= MOST:
        raise InvalidKnob(f"states must be 2 to {MOST} pairs (point, weights); got {len(states)}.")
    found = Checkpoints(tuple(Checkpoint(str(label), model.with_weights(weights)) for label, weights in states))
    keep(name or f"training of {model.name}", found)
    return found


def train_checkpoints_steps(
    wanted: Any, *, at: Sequence[int] = (0, 1, 2, 4, 8), epochs: int | None = None, seed: int = 0, name: str = ""
) -> Generator[Training | None, None, Checkpoints]:
    """Train a network as ``train_steps`` does, and keep it after some epochs; the checkpoints are returned at the end.

    ``None`` comes several times a second.

    Args:
        wanted: a recipe or its name.
        at: epochs after which it is kept, 0 being untrained; the last epoch is always kept.
        epochs: as for ``train_steps``.
        seed: the same.
        name: to keep them under; by default made of the recipe's.

    Raises:
        InvalidKnob: epochs that are none, or too many. NotApplicable: no such recipe.
    """
    made = recipe(wanted)
    last = made.epochs if epochs is None else epochs
    points = sorted({*at, last}) if all(isinstance(e, int) and not isinstance(e, bool) for e in at) else []
    if not points or points[0] < 0 or points[-1] > last or not 2 <= len(points) <= MOST:
        raise InvalidKnob(f"at must be 1 to {MOST - 1} whole numbers of epochs from 0 to {last}; got {at!r}.")
    found = [Checkpoint("untrained", untrained(made, seed=seed, name=f"{made.id}, untrained"))] if not points[0] else []
    for state in train_pieces(made, seed=seed, epochs=epochs, models=True, name=made.id):
        if state is not None and state.model is not None and state.epoch in points:
            found.append(Checkpoint(f"epoch {state.epoch}", state.model, state.accuracies[-1]))
        yield state
    kept = Checkpoints(tuple(found))
    keep(name or f"training of {made.id}", kept)
    return kept


def train_checkpoints(wanted: Any, **options: Any) -> Checkpoints:
    """Return a network at points of its training, and keep them; see ``train_checkpoints_steps``."""
    steps = train_checkpoints_steps(wanted, **options)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]


def find_checkpoints(model: Model, name: str) -> Checkpoints:
    """Return the checkpoints of this name, or with '' the newest of this architecture.

    Raises:
        InvalidKnob: there are none of this name, or of another architecture. NotTrained: none were kept.
    """
    if name:
        found = get(name)
        if not isinstance(found, Checkpoints) or not found.fits(model):
            raise InvalidKnob(f"checkpoints must name a training of a network built as {model.name}; {name!r} is none.")
        return found
    for known in reversed(names(Checkpoints)):
        kept: Checkpoints = get(known)
        if kept.fits(model):
            return kept
    raise NotTrained(
        "training_film",
        "checkpoints of a network that is built as this one",
        "none were kept so far: xaiwidgets.train_checkpoints('shapes') trains a bundled network and keeps them, "
        "xaiwidgets.checkpoints(model, [(epoch, weights), …]) keeps your own",
    )


def _shapes(model: Model) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in model.module.state_dict().items()}
