"""Localization errors of all methods, by the review's one threshold and by tuned ones, beside the values it prints."""

from __future__ import annotations

import hashlib
import json
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from xaiwidgets.core.cards import cards, resolve
from xaiwidgets.core.knobs import Range, knobs_of
from xaiwidgets.core.scores import mean_and_interval
from xaiwidgets.engine.bank import digest
from xaiwidgets.engine.cost import passes
from xaiwidgets.errors import InvalidKnob, XaiError, did_you_mean
from xaiwidgets.evaluation.boxes import best_iou, center_box, whole_box
from xaiwidgets.evaluation.controls import CONTROLS
from xaiwidgets.evaluation.judge import method_of
from xaiwidgets.evaluation.scenery import scenes
from xaiwidgets.evaluation.table1_rows import KeptRows, Table1Row
from xaiwidgets.evaluation.tuning import best_threshold, maps_and_truth, overlaps
from xaiwidgets.model.meter import CURRENT, Meter

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from os import PathLike

    from xaiwidgets.data.scenes import Scene
    from xaiwidgets.model.model import Model

#: Localization errors that the review's Table 1 prints (GoogLeNet on ImageNet's validation pictures), as shares.
PRINTED = {
    "saliency": 0.417, "guided_backprop": 0.420, "lrp": 0.578, "cam": 0.481, "grad_cam": 0.475, "feedback_cnn": 0.388,
    "excitation_backprop": 0.390, "occlusion": 0.486,
}  # fmt: skip
#: Printed there, too, and not in this table: both are masks.
PRINTED_ELSEWHERE = {"mask found by optimization": 0.431, "mask from a trained network": 0.369}
#: Bundled data: the network that knows them, how many scenes are tested, and how many are held out for tuning.
DATA = {"shapes": ("shapes_gap", 40), "composites": ("", 12), "digits": ("digits_gap", 40)}
#: Knobs in pixels were chosen for pictures of this side.
SIDE = 224
#: They give no evidence for a class.
LEFT_OUT = ("disagreement",)
REVIEW = ("energy", 0.95)


@dataclass(frozen=True)
class Trial:
    """Scenes that methods are tried on.

    Attributes:
        name: of the data. ``model``: that knows them. ``scenes``: for the error. ``held_out``: for the thresholds.
    """

    name: str
    model: Model
    scenes: Sequence[Scene]
    held_out: Sequence[Scene]


def table1(**options: Any) -> Iterator[Table1Row]:
    """Yield the rows of the table, each when it is there; see ``table1_steps``, whose options these are."""
    for row in table1_steps(**options):
        if row is not None:
            yield row


def table1_steps(
    methods: Sequence[Any] | None = None,
    data: str | Sequence[str | Trial] = tuple(DATA),
    *,
    count: int | None = None,
    seed: int = 0,
    path: str | PathLike[str] | None = None,
) -> Iterator[Table1Row | None]:
    """Yield two rows for each method and set of scenes, and ``None`` between pieces of work; closing it cancels.

    Boxes that need no explanation come first, then methods, the cheapest first. Hyper-parameters in pixels are scaled
    with the side of the picture. A method that does not apply gives rows without an error that say why.

    Args:
        methods: ids, objects or (id, hyper-parameters) pairs; by default all explainers that need no training.
        data: names of bundled scenes, one or several, or ``Trial`` objects.
        count: scenes of each bundled set that are tested, and as many that are held out; by default its own.
        seed: of the scenes; those held out have the next one.
        path: a file of JSON lines. Rows that it holds are not computed again.

    Raises:
        InvalidKnob: unknown data or a damaged file. UnknownMethod: no such method.
    """
    wanted = [_method(one) for one in methods] if methods is not None else None
    trials = [_trial(one, count, seed) for one in ((data,) if isinstance(data, str) else data)]
    kept = KeptRows(path)
    for make in trials:
        trial = make()
        yield None
        mark = _mark(trial, seed)
        yield from _stored(kept, (mark, "trivial"), _trivial(trial, seed))
        side = min(trial.model.preprocessing.size)
        chosen = _all(trial.model, side) if wanted is None else [scaled(one, side) for one in wanted]
        for method in chosen:
            knobs = {k.name: getattr(method, k.name) for k in knobs_of(method)}
            yield from _stored(kept, (mark, type(method).card.id, knobs), _rows(trial, method, knobs, seed))


def scaled(method: Any, side: int) -> Any:
    """Return a method whose untouched hyper-parameters in pixels are scaled from 224 px to a picture of this side."""
    changes = {}
    for one in knobs_of(method):
        if one.unit == "px" and isinstance(one.domain, Range) and getattr(method, one.name) == one.default:
            low = max(one.domain.low, 1 if one.default >= 1 else 0)
            changes[one.name] = one.domain.clamp(max(low, one.default * side / SIDE), one.default)
    return resolve(method, **changes) if side < SIDE else method


def _method(wanted: Any) -> Any:
    pair = isinstance(wanted, tuple) and len(wanted) == 2 and isinstance(wanted[1], dict)
    return method_of(*wanted) if pair else method_of(wanted, {})


def _all(model: Model, side: int) -> list[Any]:
    """Return all explainers, those with the fewest passes first."""
    made = [scaled(card.make(), side) for card in cards("explainer") if card.id not in LEFT_OUT]

    def price(method: Any) -> int:
        try:
            return sum(passes(method, model, model.preprocessing.size))
        except XaiError:
            return 0

    return sorted(made, key=price)


def _trial(wanted: Any, count: int | None, seed: int) -> Any:
    if isinstance(wanted, Trial):
        return lambda: wanted
    if wanted not in DATA:
        raise InvalidKnob(
            f"data must be of {', '.join(DATA)}, or Trial objects; got {wanted!r}.{did_you_mean(str(wanted), DATA)}"
        )

    def make() -> Trial:
        from xaiwidgets.model.zoo import load_model

        name, own = DATA[wanted]
        model = load_model(name) if name else load_model()
        many = own if count is None else count
        return Trial(wanted, model, scenes(wanted, model, many, seed=seed), scenes(wanted, model, many, seed=seed + 1))

    return make


def _mark(trial: Trial, seed: int) -> str:
    """Return what tells the scenes and the network of a trial apart, the same in another process."""
    found = hashlib.sha256(f"{trial.name} {digest(trial.model)} {seed}".encode())
    for scene in (*trial.scenes, *trial.held_out):
        found.update(scene.digest.encode())
    return found.hexdigest()[:24]


def _stored(kept: KeptRows, key: Any, rows: Iterator[Table1Row | None]) -> Iterator[Table1Row | None]:
    """Yield rows that are in the file already, or compute them, and write them together when all are there."""
    known = kept.rows.get(name := json.dumps(key, sort_keys=True, default=str))
    if known is not None:
        yield from known
        return
    found = []
    for row in rows:
        if row is not None:
            found.append(row)
        yield row
    kept.add(name, found)


def _trivial(trial: Trial, seed: int) -> Iterator[Table1Row | None]:
    size = trial.model.preprocessing.size
    truth = [scene.boxes for scene in trial.scenes if scene.boxes is not None]
    for name, box in (("whole picture", whole_box(size)), ("middle", center_box(size))):
        found = np.array([best_iou(box, boxes) for boxes in truth])
        yield from _both(trial, name, found, found, seed=seed, trivial=True)
    for name in ("random", "center", "edges"):
        made = CONTROLS[name]
        maps = [made(scene.pixels, seed + number) for number, scene in enumerate(trial.scenes)]
        yield None
        held = [made(scene.pixels, seed + number) for number, scene in enumerate(trial.held_out)]
        yield None
        yield from _two(trial, name, (maps, truth), held, seed=seed, trivial=True)


def _rows(trial: Trial, method: Any, knobs: dict[str, Any], seed: int) -> Iterator[Table1Row | None]:
    name = type(method).card.id
    common: dict[str, Any] = {"knobs": knobs, "printed": PRINTED.get(name, math.nan), "seed": seed}
    meter, start = Meter(steady=set()), time.perf_counter()
    results = []
    for part in (trial.scenes, trial.held_out):
        steps = maps_and_truth(trial.model, part, method)
        while True:
            token = CURRENT.set(meter)
            try:
                next(steps)
            except StopIteration as end:
                results.append(end.value)
                break
            except XaiError as error:
                for protocol in ("review", "tuned"):
                    yield Table1Row(trial.name, trial.model.name, name, protocol, note=str(error), **common)
                return
            finally:
                CURRENT.reset(token)
            yield None
    forward, backward = meter.passes
    cost = {"forward": forward, "backward": backward, "seconds": round(time.perf_counter() - start, 3)}
    yield from _two(trial, name, results[0], results[1][0], cost=cost, **common)


def _two(trial: Trial, name: str, tested: Any, held: Any, **common: Any) -> Iterator[Table1Row | None]:
    maps, truth = tested
    boxes = [scene.boxes for scene in trial.held_out if scene.boxes is not None]
    threshold = yield from best_threshold(held, boxes)
    review = overlaps(maps, truth, *REVIEW, largest=False)
    tuned = overlaps(maps, truth, threshold.rule, threshold.level, largest=False)
    yield from _both(trial, name, review, tuned, threshold, **common)


def _both(
    trial: Trial, name: str, review: Any, tuned: Any, threshold: Any = None, *, cost: Any = None, **common: Any
) -> Iterator[Table1Row]:
    """Yield the row by the review's protocol and the row by tuned thresholds, from the overlaps of their boxes."""
    for protocol, found in (("review", review), ("tuned", tuned)):
        error, interval = mean_and_interval(~(found > 0.5))
        own = protocol == "tuned" and threshold is not None
        if threshold is not None:
            rule, level = (threshold.rule, threshold.level) if own else REVIEW
            common |= {"rule": rule, "level": level, "tuned_error": threshold.error if own else math.nan}
        low, high = interval or (math.nan, math.nan)
        yield Table1Row(
            trial.name, trial.model.name, name, protocol, error=error, low=low, high=high, count=len(found),
            held_out=len(trial.held_out) if own else 0, overlap=float(np.mean(found)),
            **(common | (cost or {})),
        )  # fmt: skip
        cost = None
