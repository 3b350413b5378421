"""Pictures to be recognized: painted by synthesizers for a class that the network then sees in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from xaiwidgets.core.cards import card, resolve
from xaiwidgets.engine.run import drive
from xaiwidgets.evaluation.study.parts import Preparation, check_enough, colored, names_of
from xaiwidgets.evaluation.study.plan import StudyItem

if TYPE_CHECKING:
    from collections.abc import Generator

    from numpy.typing import NDArray

    from xaiwidgets.data.scenes import Scene
    from xaiwidgets.model.model import Model

#: A class is painted anew at most so often, where the network takes the picture for another one.
TRIES = 4


def recognized(
    network: Model, scenes: list[Scene], methods: list[Any], count: int, checks: int, seed: int
) -> Generator[Preparation, None, tuple[list[StudyItem], dict[str, Any]]]:
    """Return items of pictures painted by each method, and what the results should say."""
    from xaiwidgets.model.preprocess import to_uint8

    rng = np.random.default_rng([seed, 14])
    classes = [network.labels.short(index) for index in range(network.classes)]
    items: list[StudyItem] = []
    each, tried = count // len(methods), 0
    for method in methods:
        done = 0
        for label in (classes[index] for _ in range(TRIES * each) for index in rng.permutation(len(classes))):
            if done == each or tried == TRIES * count:
                break
            tried += 1
            image = yield from _painted(network, method, classes.index(label), seed + tried, (done, each))
            seen = int(network.logits(network.input(image)).argmax())
            if seen == classes.index(label):  # else it shows another class
                items.append(StudyItem(image, _options(label, classes, rng), group=type(method).card.id, picture=label))
                done += 1
    check_enough(items, each * len(methods), "painted pictures that the network takes for their class")
    for scene in [one for one in scenes if one.label is not None][:checks]:
        (label,) = names_of(network, scene.label)
        photo = to_uint8(colored(scene.fitted(network.preprocessing)))
        items.append(StudyItem(photo, _options(label, classes, rng), group="photo", picture=scene.name, check=True))
    return items, {"network": network.name}


def _painted(
    network: Model, method: Any, index: int, seed: int, place: tuple[int, int]
) -> Generator[Preparation, None, NDArray[np.uint8]]:
    from xaiwidgets.model.preprocess import to_uint8

    found = None
    seeded = resolve(type(method).card.id, **{**knobs_of_method(method), "seed": seed})
    for found in drive(seeded, network, None, network.target(index)):
        yield Preparation(f"Painting picture {place[0] + 1} of {place[1]}", (place[0] + found.progress) / place[1])
    if found is None:
        raise RuntimeError("a finished synthesis must hold its picture")
    return to_uint8(colored(np.asarray(found.image)))


def _options(label: str, classes: list[str], rng: np.random.Generator) -> tuple[str, ...]:
    others = [one for one in dict.fromkeys(classes) if one != label]
    return (label, *(others[index] for index in rng.permutation(len(others))[:4]))


def knobs_of_method(method: Any) -> dict[str, Any]:
    """Return the hyper-parameters of a method by name."""
    return {one.name: getattr(method, one.name) for one in card(type(method).card.id).knobs}
