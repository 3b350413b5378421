"""Raters who are no people: what a study gives to one who knows the truth, and to one who guesses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from xaiwidgets.errors import InvalidKnob, NotApplicable
from xaiwidgets.evaluation.study.answers import AnswerFile
from xaiwidgets.evaluation.study.plan import EQUAL, TRUST

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xaiwidgets.evaluation.study.plan import Study, StudyItem, Trial

KINDS = ("energy", "random")


def simulated_rater(study: Study, kind: str = "energy", *, rater: int = 1, seed: int = 0) -> AnswerFile:
    """Return the answers of a rater who follows a rule, in memory only.

    If ``energy`` scores no more than chance, the maps are not strong where the answer lies.

    Args:
        study: with masks, for ``energy``.
        kind: ``energy`` takes the map with the larger share of its positive part inside the object, or the class whose
            object holds more of it; ``random`` guesses.
        rater: whose order and sides.
        seed: of the guesses.

    Raises:
        InvalidKnob: another kind. NotApplicable: an item without masks, or pictures to be recognized.
    """
    if kind not in KINDS:
        raise InvalidKnob(f"kind must be one of {', '.join(KINDS)}; got {kind!r}.")
    found, rng = AnswerFile(study, rater), np.random.default_rng([seed, rater, 13])
    for trial in found.trials:
        item, most = study.items[trial.item], study.choices(trial.item)
        choice = int(rng.integers(1, most + 1)) if kind == "random" else _by_energy(study, item, trial)
        found.give(trial.place, choice, 0.0)
    return found


def _by_energy(study: Study, item: StudyItem, trial: Trial) -> int:
    if study.mode == "recognition" or not item.masks:
        raise NotApplicable("energy", "items with masks", f"{item.picture!r} of mode {study.mode!r} has none")
    if study.mode == "class":
        shares = [energy(item.maps[0], mask) / mask.mean() for mask in item.masks]
        best = int(np.argmax(shares))
        return (best - trial.turn) % len(item.options) + 1
    better, worse = (energy(one, item.masks[0]) for one in item.maps)
    if better == worse:
        return EQUAL
    return 1 if (better > worse) == (trial.turn == 0) else len(TRUST)


def energy(values: NDArray[np.float32], mask: NDArray[Any]) -> float:
    """Return the share of a map's positive part that lies inside a mask; 0 for a map without one."""
    shown = np.maximum(values, 0)
    total = float(shown.sum())
    return float(shown[mask].sum()) / total if total > 0 else 0.0
