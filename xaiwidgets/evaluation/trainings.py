"""Networks that are trained for an evaluation, and kept for the next one that asks for the same."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from xaiwidgets.learned.recipes import permuted, train_pieces

if TYPE_CHECKING:
    from collections.abc import Generator

    from xaiwidgets.learned.recipes import Recipe, Training

#: So many trained networks of one recipe are kept.
KEPT = 12

_TRAINED: WeakKeyDictionary[Recipe, dict[tuple[object, ...], Training]] = WeakKeyDictionary()


def trained(
    recipe: Recipe, seed: int, *, shuffled: bool = False, until: float | None = None, epochs: int | None = None
) -> Generator[Training | None, None, Training]:
    """Return a network of a recipe, trained now or before; yields the states of the training meanwhile.

    Args:
        recipe: network and data. Whoever changes its data makes another recipe.
        seed: of weights, order and permutation.
        shuffled: learn from labels in a random order.
        until: stop at this accuracy on the training pictures.
        epochs: at most so many.
    """
    known = _TRAINED.setdefault(recipe, {})
    key = (seed, shuffled, until, epochs)
    state = known.get(key)
    if state is None:
        labels = permuted(recipe.load("train")[1], seed) if shuffled else None
        for found in train_pieces(recipe, seed=seed, labels=labels, until=until, epochs=epochs):
            yield found
            state = found or state
        if state is None or state.model is None:
            raise RuntimeError("a finished training must hold its model")
        while len(known) >= KEPT:
            known.pop(next(iter(known)))
        known[key] = state
    return state
