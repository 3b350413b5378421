"""Does a network use an artifact, such as a publisher's tag? Where its maps point, and what it says without it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from xaiwidgets.core.scores import Limit, Score, mean_and_interval
from xaiwidgets.errors import InvalidKnob
from xaiwidgets.evaluation.uses.common import (
    bounds,
    explained,
    labelled,
    last_of,
    pasted,
    pixels_of,
    probabilities,
    region_of,
    report,
    without,
)
from xaiwidgets.evaluation.uses.strategies import strategies_steps
from xaiwidgets.model.preprocess import to_uint8

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from numpy.typing import NDArray

    from xaiwidgets.data.scenes import Scene
    from xaiwidgets.model.model import Model

METHODS = ("saliency", "gradient_x_input", "integrated_gradients", "grad_cam")
#: Whose maps tell the place, where none is given.
LOOK = "gradient_x_input"
#: A change of probability by more than this shows that the artifact is used.
USED = 0.2
#: A region that draws so many times its share of the picture is suspicious.
SUSPICIOUS = 3.0
#: With fewer scenes, a share says little.
ENOUGH = 20
VERDICTS = ("uses the artifact", "suspicious", "no sign of use")


def artifact_audit(model: Model, scenes: Sequence[Scene], region: Any = None, **options: Any) -> Score:
    """Return whether a network uses an artifact; see ``artifact_audit_steps``, whose options these are."""
    return last_of(artifact_audit_steps(model, scenes, region, **options))  # type: ignore[no-any-return]


@report
def artifact_audit_steps(
    model: Model,
    scenes: Sequence[Scene],
    region: Any = None,
    *,
    others: Sequence[Scene] = (),
    methods: Sequence[Any] = METHODS,
    target: Any = None,
    seed: int = 0,
) -> Iterator[Score | None]:
    """Yield reports on whether a network uses an artifact, better and better; ``None`` between pieces of work.

    Maps alone only raise a suspicion: the verdict needs that the probability of the class falls when the artifact is
    replaced by what lies beside it, or rises when it is put into pictures of other classes, by more than 0.2. The
    value is the larger of the two changes (as Lapuschkin et al. 2016 tested horses without their copyright tag).

    ``rows``: for each method the share of |e| in the region, the region's share of the picture, and their ratio.
    ``details``: ``verdict``; ``region``, its box; ``removal`` and ``removal by mean color``, mean falls in probability;
    ``insertion``, the mean rise, and ``false positives``, the rise of the share that is taken for the class;
    ``accuracy with`` the artifact, ``accuracy without`` it, and ``accuracy with it put in``.

    Args:
        model: under study.
        scenes: with the artifact, labelled.
        region: where it is: a box (top, left, bottom, right) or a mask ``(H, W)``; by default the place that most maps
            of ``strategies`` share, which needs six scenes of the class.
        others: scenes without it, for what happens when it is put in.
        methods: ids, objects or pairs, as for ``evaluate``.
        target: the class that may rest on it; by default the most frequent one of ``scenes``.
        seed: of which artifact is put into which picture.

    Raises:
        InvalidImage: no scenes, or some without classes. InvalidKnob: the region is none.
    """
    labels = labelled("scenes", scenes, model)
    wanted = Counter(labels.tolist()).most_common(1)[0][0] if target is None else model.labels.index(target)
    size = model.preprocessing.size
    own = [scene for scene, label in zip(scenes, labels, strict=True) if label == wanted]
    if region is None:
        region = yield from _place(model, own, seed)
    mask = region_of(region, size)
    pixels = pixels_of(scenes, model)
    mine = pixels[labels == wanted]
    notes = []
    if len(scenes) < ENOUGH:
        notes.append(f"There are {len(scenes)} scenes with the artifact; shares of fewer than {ENOUGH} say little.")
    details: dict[str, Any] = {"class": model.labels.short(wanted), "area": float(mask.mean()), "region": bounds(mask)}
    details |= yield from _removal(model, pixels, labels, wanted, mask)
    examples = {}
    if len(mine):
        examples = {"with": to_uint8(_rgb(mine[0])), "without": to_uint8(_rgb(without(mine[:1], mask, "near")[0]))}
    if len(others):
        details |= yield from _insertion(model, others, mine if len(mine) else pixels, wanted, mask, seed)
    rows: list[tuple[Any, ...]] = []
    total = len(methods) + 1
    yield _report(rows, details, examples, tuple(notes), 1 / total)
    for number, method in enumerate(methods):
        shares, heat = [], np.zeros(size)
        for scene in own or scenes:
            values = yield from explained(model, scene, method, target=wanted)
            if values.any():
                shares.append(float(values[mask].sum() / values.sum()))
                heat += values / values.sum()
            yield None
        mean, interval = mean_and_interval(shares, seed=seed)
        name = method if isinstance(method, str) else getattr(getattr(type(method), "card", None), "id", str(method))
        low, high = interval or (mean, mean)
        rows.append((name, mean, low, high, details["area"], mean / details["area"]))
        examples_maps = {name: heat.astype(np.float32)}
        yield _report(rows, details, examples, tuple(notes), (number + 2) / total, examples_maps)


def _place(model: Model, scenes: Sequence[Scene], seed: int) -> Generator[None, None, Any]:
    """Return the box that most maps of some scenes share."""
    found = None
    for found in strategies_steps(model, scenes, LOOK, seed=seed):
        if found is None:
            yield
    if found is None or found.suspect is None:
        raise InvalidKnob("region must be given: the maps of these scenes share no place.")
    return found.suspect


def _removal(
    model: Model, pixels: NDArray[np.float32], labels: NDArray[np.int64], wanted: int, mask: NDArray[np.bool_]
) -> Generator[None, None, dict[str, Any]]:
    before = yield from probabilities(model, pixels)
    found: dict[str, Any] = {"accuracy with": float(np.mean(before.argmax(axis=1) == labels))}
    mine = labels == wanted
    for name, fill in (("removal", "near"), ("removal by mean color", "mean")):
        after = yield from probabilities(model, without(pixels, mask, fill))
        drops = (before - after)[mine, wanted]
        found[name] = float(drops.mean()) if mine.any() else float("nan")
        if fill == "near":
            found["drops"] = tuple(map(float, drops))
            found["accuracy without"] = float(np.mean(after.argmax(axis=1) == labels))
    return found


def _insertion(
    model: Model, others: Sequence[Scene], source: NDArray[np.float32], wanted: int, mask: NDArray[np.bool_], seed: int
) -> Generator[None, None, dict[str, Any]]:
    labels = labelled("others", others, model)
    pixels = pixels_of(others, model)
    picks = np.random.default_rng([seed, 21]).integers(len(source), size=len(pixels))
    before = yield from probabilities(model, pixels)
    after = yield from probabilities(model, pasted(pixels, mask, source[picks]))
    foreign = labels != wanted
    taken = (after.argmax(axis=1) == wanted)[foreign].mean() - (before.argmax(axis=1) == wanted)[foreign].mean()
    return {
        "accuracy of others": float(np.mean(before.argmax(axis=1) == labels)),
        "accuracy of others of the class": float(np.mean((before.argmax(axis=1) == labels)[~foreign]))
        if (~foreign).any()
        else float("nan"),
        "accuracy with it put in": float(np.mean((after.argmax(axis=1) == labels)[foreign])),
        "insertion": float((after - before)[foreign, wanted].mean()),
        "false positives": float(taken),
    }


def _report(
    rows: Sequence[tuple[Any, ...]],
    details: dict[str, Any],
    pictures: dict[str, Any],
    notes: tuple[str, ...],
    progress: float,
    maps: dict[str, Any] | None = None,
) -> Score:
    changes = [details["removal"], details.get("insertion", np.nan), details.get("false positives", np.nan)]
    value = float(np.nanmax(changes))
    suspicious = any(row[-1] >= SUSPICIOUS for row in rows)
    verdict = VERDICTS[0] if value > USED else VERDICTS[1 if suspicious else 2]
    return Score(
        value,
        f"change of probability of {details['class']}",
        direction="lower",
        progress=progress,
        limit=Limit("<=", USED, "what the class owes to the artifact: our choice"),
        header=("method", "share in the region", "low", "high", "area", "ratio"),
        rows=tuple(rows),
        maps=maps or {},
        pictures=pictures,
        items=details["drops"],
        details=details | {"verdict": verdict},
        notes=notes,
        metric="artifact_audit",
    )


def _rgb(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels
