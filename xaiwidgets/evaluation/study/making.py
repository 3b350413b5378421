"""Items of a study from networks, pictures with their classes, and methods; step by step, so that it can be stopped."""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import numpy as np

from xaiwidgets.core.cards import card, resolve
from xaiwidgets.engine.run import drive
from xaiwidgets.errors import InvalidKnob, NotApplicable
from xaiwidgets.evaluation.study.painting import recognized
from xaiwidgets.evaluation.study.parts import Preparation, check_enough, colored, index_of, mask_of, names_of, scores_of
from xaiwidgets.evaluation.study.plan import MODES, MOST_ITEMS, Mode, Study, StudyItem

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from numpy.typing import NDArray

    from xaiwidgets.data.scenes import Scene
    from xaiwidgets.model.model import Model

#: Guided Grad-CAM against guided backpropagation are the pair of Selvaraju et al. 2020, section 5.1.
METHODS: dict[str, tuple[str, ...]] = {
    "class": ("grad_cam", "guided_backprop"),
    "model": ("grad_cam", "integrated_gradients"),
    "recognition": ("activation_maximization",),
}
#: Bundled pictures that are looked through for those that a study can use.
CANDIDATES = 120
#: Epochs of the worse network of the bundled study; the better one is the bundled network, trained for twelve.
EPOCHS = 1


def prepare_study(mode: Mode = "model", **options: Any) -> Study:
    """Return a study of these items; see ``prepare_study_steps``."""
    found = None
    for state in prepare_study_steps(mode, **options):
        found = state.study
    if found is None:
        raise RuntimeError("a finished preparation must hold its study")
    return found


def prepare_study_steps(
    mode: Mode = "model",
    *,
    model: Model | None = None,
    other: Model | None = None,
    scenes: Sequence[Scene] | None = None,
    methods: Sequence[Any] | None = None,
    count: int = 12,
    checks: int = 2,
    seed: int = 0,
) -> Generator[Preparation, None, None]:
    """Yield how far a study has come; closing it stops the work.

    * ``class``: scenes with two classes (``label`` and ``facts["other"]``) that are the network's first two.
    * ``model``: scenes whose class both networks give. The better one is that with the higher accuracy on all scenes.
    * ``recognition``: pictures made by synthesizers for a class, with four other classes to choose from, where there
      are so many.

    Args:
        mode: see above.
        model: under study; ``None`` for the bundled network of shapes.
        other: the second network of mode ``model``; ``None`` trains one on shapes for a single epoch, in seconds.
        scenes: with classes; ``None`` for bundled pictures of shapes. With masks, simulated raters know the truth.
        methods: ids or objects: explainers, or synthesizers for ``recognition``; the same pictures for each.
        count: items that are counted, divided among the methods.
        checks: attention checks besides: identical maps (``model``), the object's own mask as a map (``class``), or a
            picture of the class itself (``recognition``).
        seed: of pictures, networks, orders and sides.

    Raises:
        InvalidKnob: a mode, a count or a number of methods that does not fit.
        NotApplicable: too few scenes can be used, or both networks are equally accurate.
    """
    if mode not in MODES:
        raise InvalidKnob(f"mode must be one of {', '.join(MODES)}; got {mode!r}.")
    made = [resolve(one) for one in (METHODS[mode] if methods is None else methods)]
    wanted = "synthesizer" if mode == "recognition" else "explainer"
    for one in made:
        if card(type(one).card.id).kind != wanted:
            raise InvalidKnob(f"methods of mode {mode!r} must be {wanted}s; got {type(one).card.id!r}.")
    for name, value, least in (("count", count, max(2, len(made))), ("checks", checks, 0)):
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= MOST_ITEMS // 2:
            raise InvalidKnob(f"{name} must be a whole number from {least} to {MOST_ITEMS // 2}; got {value!r}.")
    if not made:
        raise InvalidKnob("methods must be at least one.")
    if model is None and scenes is not None:
        raise InvalidKnob("scenes without a model: give the network whose size and classes they have, too.")
    if mode == "model" and model is not None and other is None:
        raise InvalidKnob("other must be a second network: people are to say which of the two is the better one.")
    if model is not None and scenes is None and mode != "recognition":
        raise InvalidKnob("scenes must be pictures with their classes for a network of your own (see xw.scenes).")
    yield Preparation("Loading the network")
    from xaiwidgets.model.zoo import load_model

    network = load_model("shapes_gap") if model is None else model
    pictures = _bundled(mode, seed) if model is None else list(scenes or ())
    makers = {"class": _two_classes, "model": _two_networks, "recognition": recognized}
    if mode == "model":
        second = (yield from _trained(seed)) if other is None else other
        steps = _two_networks(network, second, pictures, made, count, checks)
    else:
        steps = makers[mode](network, pictures, made, count, checks, seed)  # type: ignore[operator]
    items, facts = yield from steps
    yield Preparation("Ready", 1.0, Study(mode, tuple(items), seed, facts))


def _bundled(mode: str, seed: int) -> list[Scene]:
    if mode == "class":
        from xaiwidgets.data.pairs import shape_pairs

        return shape_pairs(CANDIDATES, seed)
    from xaiwidgets.data.shapes import shapes

    return shapes("test", seed=seed).scenes(CANDIDATES)


def _trained(seed: int) -> Generator[Preparation, None, Model]:
    from xaiwidgets.learned.recipes import train_pieces

    words = f"Training a second network for {EPOCHS} epoch"
    found, pieces = None, train_pieces("shapes", seed=seed + 1, epochs=EPOCHS, name="shapes, 1 epoch")
    for number, found in enumerate(pieces):  # noqa: B007 - the last
        yield Preparation(f"{words} {'.' * (number // 4 % 4)}")
    if found is None or found.model is None:
        raise RuntimeError("a finished training must hold its model")
    return found.model


def _two_classes(
    network: Model, scenes: list[Scene], methods: list[Any], count: int, checks: int, _: int
) -> Generator[Preparation, None, tuple[list[StudyItem], dict[str, Any]]]:
    each = count // len(methods)
    scores = yield from scores_of(network, scenes, "Looking for pictures of two classes that the network sees")
    usable = []
    for scene, row in zip(scenes, scores, strict=True):
        if "other" in scene.facts:
            both = {index_of(network, scene.label), index_of(network, scene.facts["other"])}
            if len(both) == 2 and both == set(np.argsort(-row)[:2].tolist()):
                usable.append(scene)
    check_enough(usable, each + checks, "scenes of two classes that are the network's first two")
    items = []
    for number, scene in enumerate(usable[: each + checks]):
        truth = names_of(network, scene.label, scene.facts["other"])
        masks = (*mask_of(scene.mask), *mask_of(scene.facts.get("other_mask")))
        masks = masks if len(masks) == 2 else ()
        if number >= each:
            if masks:
                items.append(_check(scene, truth, masks, (masks[0].astype(np.float32),)))
            continue
        for method in methods:
            found = yield from _map(network, scene, method, (number, each))
            items.append(_item(scene, truth, masks, (found,), method))
    return items, {"network": network.name, "pictures": len(usable)}


def _two_networks(
    first: Model, second: Model, scenes: list[Scene], methods: list[Any], count: int, checks: int
) -> Generator[Preparation, None, tuple[list[StudyItem], dict[str, Any]]]:
    each, rights = count // len(methods), []
    for network in (first, second):
        scores = yield from scores_of(network, scenes, "Looking for pictures that both networks know")
        truth = [index_of(network, scene.label) for scene in scenes]
        rights.append(np.argmax(scores, axis=1) == truth)
    accuracies = [float(np.mean(right)) for right in rights]
    if accuracies[0] == accuracies[1]:
        raise NotApplicable("a study of two networks", "one that is more accurate", f"both have {accuracies[0]:.1%}")
    order = [0, 1] if accuracies[0] > accuracies[1] else [1, 0]
    better, worse = ((first, second)[number] for number in order)
    usable = _mixed([scene for scene, both in zip(scenes, rights[0] & rights[1], strict=True) if both])
    check_enough(usable, each + checks, "scenes whose class both networks give")
    items: list[StudyItem] = []
    used = 0
    for scene in usable:
        if used == each + checks:
            break
        found = []
        for method in methods[:1] if used >= each else methods:
            one = yield from _map(better, scene, method, (used, each + checks))
            two = one if used >= each else (yield from _map(worse, scene, method, (used, each + checks)))
            found.append((one, two, method))
        if used < each and any(np.array_equal(one, two) for one, two, _ in found):
            continue  # both empty: there is nothing to choose between
        for one, two, method in found:
            options, maps, masks = names_of(better, scene.label), (one, two), mask_of(scene.mask)
            items.append(
                _check(scene, options, masks, maps, signed=bool(one.min() < 0))
                if used >= each
                else _item(scene, options, masks, maps, method)
            )
        used += 1
    check_enough(range(used), each + checks, "scenes whose maps of the two networks differ")
    facts = {"better": better.name, "worse": worse.name, "pictures": len(usable)}
    return items, facts | {
        "accuracy of the better": accuracies[order[0]],
        "accuracy of the worse": accuracies[order[1]],
    }


def _mixed(scenes: list[Scene]) -> list[Scene]:
    """Return scenes of all classes in turn: a poor network is right about some of them only."""
    classes: dict[Any, list[Scene]] = {}
    for scene in scenes:
        classes.setdefault(scene.label, []).append(scene)
    rows = zip_longest(*classes.values())
    return [scene for row in rows for scene in row if scene is not None]


def _map(
    network: Model, scene: Scene, method: Any, place: tuple[int, int]
) -> Generator[Preparation, None, NDArray[np.float32]]:
    image, found = network.from_pixels(scene.fitted(network.preprocessing)), None
    target = network.target(index_of(network, scene.label))
    for found in drive(method, network, image, target, scene.name):  # noqa: B007 - the last
        yield Preparation(f"Explaining picture {place[0] + 1} of {place[1]}", place[0] / place[1])
    if found is None:
        raise RuntimeError("a finished method must hold its map")
    return np.asarray(found.heatmap(), np.float32)


def _item(scene: Scene, options: Any, masks: Any, maps: Any, method: Any) -> StudyItem:
    signed = any(float(one.min()) < 0 for one in maps)
    return _made(scene, options, masks, maps, group=type(method).card.id, signed=signed)


def _check(scene: Scene, options: Any, masks: Any, maps: Any, *, signed: bool = False) -> StudyItem:
    return _made(scene, options, masks, maps, check=True, signed=signed)


def _made(scene: Scene, options: Any, masks: Any, maps: Any, **more: Any) -> StudyItem:
    from xaiwidgets.model.preprocess import to_uint8

    return StudyItem(to_uint8(colored(scene.pixels)), options, maps, masks, picture=scene.name, **more)
