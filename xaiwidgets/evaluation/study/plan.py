"""The plan of a study: its items, and the order and side in which each rater sees them. NumPy only."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from xaiwidgets.errors import InvalidImage, InvalidKnob

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

Mode = Literal["class", "model", "recognition"]
MODES: tuple[Mode, ...] = ("class", "model", "recognition")
#: Answers to "which of two is more reasonable", left to right (Selvaraju et al. 2020, section 5.2).
TRUST = (
    "Left clearly more reasonable",
    "Left slightly more reasonable",
    "Both equally reasonable",
    "Right slightly more reasonable",
    "Right clearly more reasonable",
)
EQUAL = 3
MOST_ITEMS, MOST_OPTIONS, MOST_RATERS = 200, 5, 99
CHECK = "attention check"


@dataclass(frozen=True, eq=False)
class StudyItem:
    """One question, with the truth that the rater must not see.

    Attributes:
        photo: uint8 ``(H, W, 3)``: what is explained, or the picture to be recognized.
        options: labels to choose from in the modes ``class`` and ``recognition``, the right one first.
        maps: float32 ``(H, W)`` each: the map of the first option (``class``), or those of the better and the worse
            network (``model``); none for ``recognition``.
        masks: bool ``(H, W)`` of the objects of the options, where they are known; of the one object in mode ``model``.
        signed: whether the maps have a sign that means something.
        group: what results are summed up by: the method, or where the picture comes from.
        picture: name of the photo, for the table of results.
        check: whether it only tests attention, and is not counted.
    """

    photo: NDArray[np.uint8]
    options: tuple[str, ...] = ()
    maps: tuple[NDArray[np.float32], ...] = ()
    masks: tuple[NDArray[np.bool_], ...] = ()
    signed: bool = False
    group: str = ""
    picture: str = ""
    check: bool = False

    def __post_init__(self) -> None:
        photo = np.array(self.photo)
        if photo.dtype != np.uint8 or photo.ndim != 3 or photo.shape[2] != 3:
            raise InvalidImage(f"photo of an StudyItem must be uint8 (H, W, 3); got {photo.dtype} {photo.shape}.")
        maps = tuple(np.array(one, np.float32) for one in self.maps)
        masks = tuple(np.array(one, bool) for one in self.masks)
        if any(one.shape != photo.shape[:2] or not np.isfinite(one).all() for one in maps):
            raise InvalidImage(
                f"maps of an StudyItem must be finite and {photo.shape[:2]}; got {[one.shape for one in maps]}."
            )
        if any(one.shape != photo.shape[:2] for one in masks):
            raise InvalidImage(f"masks of an StudyItem must be {photo.shape[:2]}; got {[one.shape for one in masks]}.")
        arrays: tuple[NDArray[Any], ...] = (photo, *maps, *masks)
        for array in arrays:
            array.setflags(write=False)
        for name, value in (("photo", photo), ("maps", maps), ("masks", masks), ("options", tuple(self.options))):
            object.__setattr__(self, name, value)

    @cached_property
    def key(self) -> str:
        """16 hexadecimal digits that stand for the item, and say nothing about it."""
        told = repr((self.photo.shape, self.options, self.group, self.picture, self.check, self.signed))
        found = hashlib.sha256(told.encode() + self.photo.tobytes())
        for array in (*self.maps, *self.masks):
            found.update(array.tobytes())
        return found.hexdigest()[:16]


@dataclass(frozen=True)
class Trial:
    """One item as one rater sees it.

    Attributes:
        item: its number in the study. ``place``: when it is asked, from 0.
        turn: by how many places the options, or the two maps, are turned: place ``j`` shows the one of number
            ``(j + turn) % count``, and number 0 is the right one.
    """

    item: int
    place: int
    turn: int


@dataclass(frozen=True, eq=False)
class Study:
    """A forced-choice study after Selvaraju et al. 2020, section 5.

    Attributes:
        mode: ``class`` (which of the classes does this map show?), ``model`` (which of two maps, of two networks that
            both are right, is more reasonable?) or ``recognition`` (what is this?).
        items: at least two, none of them twice.
        seed: of the order and of the sides.
        facts: what the results should say, by name: numbers and texts, such as the networks and their accuracies.

    Raises:
        InvalidKnob: another mode, no or too many items, or items that do not fit the mode.
    """

    mode: Mode
    items: tuple[StudyItem, ...]
    seed: int = 0
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise InvalidKnob(f"mode must be one of {', '.join(MODES)}; got {self.mode!r}.")
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or not 0 <= self.seed < 2**32:
            raise InvalidKnob(f"seed must be a whole number from 0 to 2**32 - 1; got {self.seed!r}.")
        items = tuple(self.items)
        if not 2 <= len(items) <= MOST_ITEMS:
            raise InvalidKnob(f"items must be 2 to {MOST_ITEMS}; got {len(items)}.")
        for number, item in enumerate(items):
            _fits(self.mode, item, number)
        if len({item.key for item in items}) < len(items):
            raise InvalidKnob("items must differ: one of them is there twice, and each is to be answered once.")
        if not any(not item.check for item in items):
            raise InvalidKnob("items must not all be attention checks: nothing would be counted.")
        object.__setattr__(self, "items", items)

    @cached_property
    def digest(self) -> str:
        """16 hexadecimal digits: the same for the same questions, order and sides."""
        told = json.dumps([self.mode, self.seed, [item.key for item in self.items]])
        return hashlib.sha256(told.encode()).hexdigest()[:16]

    def choices(self, number: int) -> int:
        """Return how many answers there are to an item."""
        return len(TRUST) if self.mode == "model" else len(self.items[number].options)

    def order(self, rater: int = 1) -> tuple[Trial, ...]:
        """Return the trials of a rater, 1 to 99, in their order; the same rater always gets the same.

        Orders are the rows of a Latin square: over as many raters as there are items, each item stands once in each
        place, and each item is followed by each other equally often (Williams 1949; for an odd number of items over
        twice as many raters). Sides are halved within each group, and the next rater sees the other side.

        Raises:
            InvalidKnob: no such rater.
        """
        number = check_rater(rater) - 1
        rows = williams(len(self.items))
        names = np.random.default_rng([self.seed, 11]).permutation(len(self.items))
        turns = self._turns
        return tuple(
            Trial(int(item), place, (turns[item] + number) % self._count(int(item)))
            for place, item in enumerate(names[rows[number % len(rows)]])
        )

    def _count(self, number: int) -> int:
        return 2 if self.mode == "model" else len(self.items[number].options)

    @cached_property
    def _turns(self) -> tuple[int, ...]:
        """What the first rater's options are turned by: each turn equally often, within each group and in all."""
        rng = np.random.default_rng([self.seed, 12])
        groups: dict[tuple[bool, str], list[int]] = {}
        for number, item in enumerate(self.items):
            groups.setdefault((item.check, item.group), []).append(number)
        found, start = [0] * len(self.items), int(rng.integers(MOST_OPTIONS * 2))
        for numbers in groups.values():
            for number in rng.permutation(numbers):
                found[number], start = start % self._count(int(number)), start + 1
        return tuple(found)

    def score(self, trial: Trial, choice: int) -> float:
        """Return what an answer counts: -2 to 2 for the better network, or 1 for the right option and 0 for others.

        Raises:
            InvalidKnob: there is no such answer.
        """
        most = self.choices(trial.item)
        if isinstance(choice, bool) or not isinstance(choice, int) or not 1 <= choice <= most:
            raise InvalidKnob(f"choice must be a whole number from 1 to {most}; got {choice!r}.")
        if self.mode == "model":
            return float((choice - EQUAL) * (1 if trial.turn else -1))
        return float(self.option(trial, choice) == 0)

    def option(self, trial: Trial, choice: int) -> int:
        """Return the number of the option that stands in a place, from 1."""
        return (choice - 1 + trial.turn) % self._count(trial.item)

    def attentive(self, trial: Trial, choice: int) -> bool:
        """Return whether an attention check is passed: two identical maps are equal, an obvious map is named."""
        return choice == EQUAL if self.mode == "model" else self.score(trial, choice) == 1


def check_rater(rater: Any) -> int:
    """Return the number of a rater.

    Raises:
        InvalidKnob: it is none from 1 to 99.
    """
    if isinstance(rater, bool) or not isinstance(rater, int) or not 1 <= rater <= MOST_RATERS:
        raise InvalidKnob(f"rater must be a whole number from 1 to {MOST_RATERS}; got {rater!r}.")
    return rater


def williams(count: int) -> NDArray[np.int64]:
    """Return a Latin square of ``count`` that is balanced for what comes before, ``(count or 2 count, count)``."""
    steps = np.array([(place + 1) // 2 if place % 2 else -(place // 2) for place in range(count)])
    square = np.mod(steps[None] + np.arange(count)[:, None], count)
    return square if count % 2 == 0 else np.concatenate([square, square[:, ::-1]])


def chance(study: Study, group: str = "") -> float:
    """Return the mean score of a rater who guesses, over the items of a group, or over all."""
    if study.mode == "model":
        return 0.0
    shares = [1 / len(item.options) for item in study.items if not item.check and group in ("", item.group)]
    return math.fsum(shares) / len(shares)


def _fits(mode: Mode, item: StudyItem, number: int) -> None:
    if not isinstance(item, StudyItem):
        raise InvalidKnob(f"items must be StudyItem objects; got {item!r}.")
    maps = {"class": 1, "model": 2, "recognition": 0}[mode]
    if len(item.maps) != maps:
        raise InvalidKnob(f"an item of mode {mode!r} has {maps} maps; item {number} has {len(item.maps)}.")
    if mode == "model":
        same = np.array_equal(item.maps[0], item.maps[1])
        if same != item.check:
            raise InvalidKnob(
                f"the two maps of an item must differ, and be the same in an attention check; item {number} is wrong."
            )
    elif not 2 <= len(item.options) <= MOST_OPTIONS or len(set(item.options)) < len(item.options):
        raise InvalidKnob(
            f"options of an item must be 2 to {MOST_OPTIONS} different labels; item {number} has {item.options}."
        )
