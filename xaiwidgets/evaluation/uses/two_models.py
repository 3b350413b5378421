"""Two networks that are right equally often: do they look at the same things?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from xaiwidgets.core.scores import Curve, Score, mean_and_interval
from xaiwidgets.errors import InvalidModel
from xaiwidgets.evaluation.criteria import top_pixels
from xaiwidgets.evaluation.similarity import SIMILARITIES, small
from xaiwidgets.evaluation.uses.common import explained, labelled, last_of, pixels_of, probabilities, region_of, report
from xaiwidgets.model.preprocess import to_uint8

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from numpy.typing import NDArray

    from xaiwidgets.data.scenes import Scene
    from xaiwidgets.model.model import Model

    Maps = tuple[NDArray[np.float32], NDArray[np.float32]]

#: Networks whose accuracies differ by more are not equally good.
POINT = 0.01
#: Pixels whose overlap is taken.
TOP = 0.1
#: Pictures that are shown and steps in which pixels are deleted.
SHOWN, STEPS = 3, 20
SEEN = ("spearman_abs", "ssim", "hog")


def compare_models(
    one: Model, other: Model, scenes: Sequence[Scene], method: Any = "saliency", **options: Any
) -> Score:
    """Return how alike two networks' reasons are; see ``compare_models_steps``, whose options these are."""
    return last_of(compare_models_steps(one, other, scenes, method, **options))  # type: ignore[no-any-return]


@report
def compare_models_steps(
    one: Model,
    other: Model,
    scenes: Sequence[Scene],
    method: Any = "saliency",
    *,
    region: Any = None,
    deletion: bool = True,
    seed: int = 0,
) -> Iterator[Score | None]:
    """Yield reports on how alike the reasons of two networks are, where both are right; ``None`` in between.

    The value is the mean rank correlation of |e| over those scenes (Arras et al. 2017 and Lapuschkin et al. 2016
    compared classifiers of equal accuracy by their maps). ``rows``: scenes with the least similar maps first:
    similarities, the overlap (IoU) of the strongest tenth of the pixels, and each network's share of |e| in a region.

    ``curves``: the probability as pixels are deleted, in the order of the network's own map and of the other's, and
    ``details["deletion"]`` the areas under them: a map of other reasons deletes more slowly. ``details``: ``accuracy``
    of both and ``equal``, whether they differ by at most one point; means of all similarities; ``shares``.

    Args:
        one: a network.
        other: another one with the same classes and input.
        scenes: labelled pictures.
        method: as for ``evaluate``.
        region: a box or mask whose share of the evidence is compared; by default each scene's object.
        deletion: whether pixels are deleted: 80 further passes for each of both networks and scene.
        seed: of the intervals.

    Raises:
        InvalidModel: the networks have other classes or inputs. InvalidImage: no scenes, or without classes.
    """
    _check_alike(one, other)
    labels = labelled("scenes", scenes, one)
    pixels = pixels_of(scenes, one)
    answers = []
    for model in (one, other):
        found = yield from probabilities(model, pixels)
        answers.append(found.argmax(axis=1) == labels)
    accuracy = tuple(float(right.mean()) for right in answers)
    both = np.flatnonzero(answers[0] & answers[1])
    mask = None if region is None else region_of(region, one.preprocessing.size)
    rows: list[tuple[Any, ...]] = []
    kept: dict[str, tuple[Scene, Maps]] = {}
    curves: list[NDArray[np.float64]] = []
    if not len(both):
        yield _report(rows, accuracy, {}, [], 1.0, one, seed)
        return
    for number, index in enumerate(both.tolist()):
        scene = scenes[index]
        first = yield from explained(one, scene, method)
        second = yield from explained(other, scene, method)
        place = mask if mask is not None else scene.mask
        row = (scene.name, *(SIMILARITIES[name](first, second) for name in SEEN), overlap(first, second))
        rows.append((*row, _share(first, place), _share(second, place)))
        kept[scene.name] = scene, (first, second)
        if deletion:
            curves.append((yield from _deleted((one, other), scene, int(labels[index]), (first, second))))
        yield _report(rows, accuracy, kept, curves, (number + 1) / len(both), one, seed)


def overlap(first: NDArray[Any], second: NDArray[Any], share: float = TOP) -> float:
    """Return the intersection over the union of the strongest pixels of two maps, in [0, 1].

    As many as are the share of the picture; of equal values, those that come first.
    """
    one, other = (top_pixels(np.abs(values), share) for values in (first, second))
    return float((one & other).sum() / (one | other).sum())


def _check_alike(one: Model, other: Model) -> None:
    names = [[model.labels.short(index) for index in range(model.classes)] for model in (one, other)]
    if names[0] != names[1]:
        raise InvalidModel(f"both networks must have the same classes; {one.name} and {other.name} have not.")
    if one.input_shape != other.input_shape:
        raise InvalidModel(
            f"both networks must take the same pictures; {one.name} takes {one.input_shape} and {other.name} "
            f"{other.input_shape}."
        )


def _share(values: NDArray[np.float32], place: NDArray[np.bool_] | None) -> float:
    total = float(values.sum())
    return math.nan if place is None or total == 0 else float(values[place].sum()) / total


def _deleted(
    models: tuple[Model, Model], scene: Scene, label: int, maps: Maps
) -> Generator[None, None, NDArray[np.float64]]:
    """Return probabilities ``(2, 2, steps + 1)``: of each network, as pixels go by each of both maps.

    The strongest go first, to the mean color of the network's normalization; equal ones in the order of the picture.
    """
    found = np.zeros((2, 2, STEPS + 1))
    for m, model in enumerate(models):
        gray = np.array(model.preprocessing.mean, np.float32)
        for k, values in enumerate(maps):
            order = np.argsort(-np.abs(values), axis=None, kind="stable")
            copies = np.repeat(scene.fitted(model.preprocessing)[None], STEPS + 1, axis=0)
            flat = copies.reshape(STEPS + 1, -1, copies.shape[3])
            for step in range(STEPS + 1):
                flat[step, order[: round(step / STEPS * len(order))]] = gray
            answers = yield from probabilities(model, copies)
            found[m, k] = answers[:, label]
    return found


def _report(
    rows: Sequence[tuple[Any, ...]],
    accuracy: tuple[float, ...],
    kept: dict[str, tuple[Scene, Maps]],
    curves: Sequence[NDArray[np.float64]],
    progress: float,
    model: Model,
    seed: int,
) -> Score:
    def key(row: tuple[Any, ...]) -> float:
        return 2.0 if math.isnan(row[1]) else float(row[1])

    ordered = sorted(rows, key=key)
    names = (*SEEN, "overlap of the top tenth")
    columns = {name: mean_and_interval([row[1 + k] for row in rows], seed=seed) for k, name in enumerate(names)}
    shares = tuple(mean_and_interval([row[-2 + k] for row in rows], seed=seed)[0] for k in (0, 1))
    equal = abs(accuracy[0] - accuracy[1]) <= POINT + 1e-9
    notes = [] if equal else [f"The accuracies differ by more than a point: {accuracy[0]:.3f} and {accuracy[1]:.3f}."]
    if not rows:
        notes.append("There is no scene on which both networks are right.")
    elif math.isnan(columns["spearman_abs"][0]):
        notes.append("The maps are constant: there is no order to compare.")
    value, interval = columns["spearman_abs"]
    lines, areas = _curves(curves)
    maps: dict[str, Any] = {}
    pictures: dict[str, Any] = {}
    for row in ordered[:SHOWN]:
        scene, (first, second) = kept[row[0]]
        maps |= {f"{row[0]}: first": first, f"{row[0]}: second": second}
        shown = np.repeat(scene.pixels, 3, axis=2) if scene.pixels.shape[2] == 1 else scene.pixels
        pictures[row[0]] = to_uint8(shown)
    return Score(
        value,
        "rank correlation of the maps",
        progress=progress,
        interval=interval,
        header=("scene", *names, "share of the first", "share of the second"),
        rows=tuple(ordered),
        curves=lines,
        maps=maps,
        pictures=pictures,
        items=tuple(float(row[1]) for row in rows),
        details={
            "accuracy": accuracy,
            "equal": equal,
            "both right": len(rows),
            "shares": shares,
            "deletion": areas,
            **{name: mean for name, (mean, _) in columns.items()},
        },
        notes=tuple(notes),
        warnings=(*(("W_SMALL",) if small(model.preprocessing.size) else ()), *(("W_OOD",) if len(curves) else ())),
        metric="compare_models",
        seed=seed,
    )


def _curves(found: Sequence[NDArray[np.float64]]) -> tuple[tuple[Curve, ...], dict[str, float]]:
    """Return mean probabilities as pixels are deleted, and the areas under them, by network and map."""
    if not len(found):
        return (), {}
    means = np.mean(found, axis=0)
    at = np.linspace(0, 1, STEPS + 1)
    lines, areas = [], {}
    for m, network in enumerate(("first", "second")):
        for k, own in enumerate(("first", "second")):
            name = f"{network} by the {own}'s map"
            lines.append(Curve(name, at, means[m, k], "share of pixels deleted", "probability of the class"))
            areas[name] = float((means[m, k, 1:] + means[m, k, :-1]).mean() / 2)
    return tuple(lines), areas
