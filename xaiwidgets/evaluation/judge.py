"""The driver of evaluations: runs a metric's generator, counts what it spends, and writes down how to redo it."""

from __future__ import annotations

import dataclasses
import math
import time
from typing import TYPE_CHECKING, Any

from xaiwidgets.core.cards import resolve
from xaiwidgets.core.knobs import knobs_of
from xaiwidgets.core.metric_cards import NEEDS, resolve_metric
from xaiwidgets.core.results import Attribution, Provenance
from xaiwidgets.core.scores import Limit, Score
from xaiwidgets.data.scenes import Scene
from xaiwidgets.engine.run import check_applicable, versions
from xaiwidgets.errors import InvalidImage, InvalidKnob, NotApplicable
from xaiwidgets.evaluation.case import Case
from xaiwidgets.model.meter import CURRENT, Meter
from xaiwidgets.model.pictures import read_picture

if TYPE_CHECKING:
    from collections.abc import Generator

    from xaiwidgets.model.model import Model

#: Needs that are met by what is given as ``data``.
GIVEN = ("pictures", "labels", "recipe", "models")


def judge(metric: Any, case: Case, limit: Limit | None = None) -> Generator[Score | None, None, None]:
    """Yield a metric's scores with their provenance; ``None`` while there is no new one, so that it can be cancelled.

    Closing the generator at any point leaves nothing behind.

    Raises:
        NotApplicable: the metric needs what this case does not have.
    """
    card = type(metric).card
    _check_needs(metric, case)
    meter, seconds = Meter(steady=set()), 0.0
    found = {k.name: getattr(case.method, k.name) for k in knobs_of(case.method)}
    base = Provenance(
        type(case.method).card.id,
        found,
        case.target.name,
        case.model.name,
        case.name,
        versions=versions(),
        preprocessing=case.model.preprocessing,
    )
    knobs = {k.name: getattr(metric, k.name) for k in knobs_of(metric)}
    steps = metric.score(case)
    try:
        while True:
            token, start = CURRENT.set(meter), time.perf_counter()
            try:
                score = next(steps)
            except StopIteration:
                return
            finally:
                CURRENT.reset(token)
                seconds += time.perf_counter() - start
            if score is None:
                yield None
                continue
            yield score.replace(
                metric=card.id,
                knobs=knobs,
                direction=score.direction or card.direction,
                limit=limit or score.limit or card.limit,
                seed=case.seed,
                provenance=dataclasses.replace(base, passes=meter.passes, seconds=seconds),
            )
    finally:
        steps.close()


def _check_needs(metric: Any, case: Case) -> None:
    card = type(metric).card
    for need in card.needs:
        if need == "truth":
            there = case.scene is not None and case.scene.masks is not None
        elif need in GIVEN:
            there = case.data is not None
        else:
            there = need in case.model.offers
        if not there:
            lacks = "none was given" if need in (*GIVEN, "truth") else f"{case.model.name} does not have that"
            raise NotApplicable(card.id, NEEDS[need], lacks)


def evaluate(
    model: Model,
    image: Any,
    method: Any = "grad_cam",
    metric: Any = "deletion",
    *,
    target: Any = None,
    seed: int = 0,
    data: Any = None,
    limit: Limit | None = None,
    **knobs: Any,
) -> Score:
    """Test an explanation of a picture and return the finished score.

    Args:
        model: from ``load_model`` or ``Model(module)``.
        image: as for ``explain``; or a ``Scene``, a picture with the place of its objects.
        method: an explainer's id, an object, an (id, hyper-parameters) pair; or a finished ``Attribution`` of it.
        metric: an id with hyper-parameters as keywords, or an object such as ``Deletion(steps=224)``.
        target: as for ``explain``; ``None`` is the scene's class if it has one, else the top-1 class.
        seed: of all that the metric draws.
        data: further pictures, scenes, a recipe or a second network, for metrics that say so.
        limit: the threshold, in place of the metric's own.
        **knobs: hyper-parameters of the metric.

    Raises:
        XaiError: one of its kinds, naming the argument and what would work.
    """
    score = None
    for found in evaluate_steps(
        model, image, method, metric, target=target, seed=seed, data=data, limit=limit, **knobs
    ):
        score = found or score
    if score is None:
        raise RuntimeError(f"{metric} gave no score")
    return score


def evaluate_steps(
    model: Model,
    image: Any,
    method: Any = "grad_cam",
    metric: Any = "deletion",
    *,
    target: Any = None,
    seed: int = 0,
    data: Any = None,
    limit: Limit | None = None,
    **knobs: Any,
) -> Generator[Score | None, None, None]:
    """Yield better and better scores, and ``None`` between them; see ``evaluate``. Closing it cancels the work."""
    made = resolve_metric(metric, **knobs)
    case = case_of(model, image, method, target=target, seed=seed, data=data)
    if limit is not None and not isinstance(limit, Limit):
        raise InvalidKnob(f"limit must be a Limit, such as xaiwidgets.Limit('<', 0.5); got {limit!r}.")
    yield from judge(made, case, limit)


def case_of(model: Model, image: Any, method: Any, *, target: Any = None, seed: int = 0, data: Any = None) -> Case:
    """Return what is evaluated, checked; see ``evaluate``."""
    from xaiwidgets.model.model import Model as Checked

    if not isinstance(model, Checked):
        raise InvalidKnob(f"model must be a Model (load_model(…) or Model(module)); got {type(model).__name__}.")
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**31:
        raise InvalidKnob(f"seed must be a whole number from 0 to 2**31 - 1; got {seed!r}.")
    given = method if isinstance(method, Attribution) else None
    made = method_of(given.provenance.method, given.provenance.knobs) if given is not None else _method(method)
    check_applicable(made, model)
    scene = image if isinstance(image, Scene) else None
    if scene is not None:
        pixels, name = model.from_pixels(scene.fitted(model.preprocessing)), scene.name
    else:
        picture = read_picture(image)
        pixels, name = model.input(picture), picture.name
    wanted = scene.label if target is None and scene is not None and scene.label is not None else target
    size = tuple(pixels.shape[2:])
    if given is not None and given.size != size:
        raise InvalidImage(f"an attribution of size {given.size} was given, and the network sees pictures of {size}.")
    found = model.target(wanted, pixels)
    return Case(model, pixels, made, found, seed=seed, name=name, attribution=given, scene=scene, data=data)


def _method(wanted: Any) -> Any:
    if isinstance(wanted, tuple) and len(wanted) == 2 and isinstance(wanted[1], dict):
        return method_of(*wanted)
    return method_of(wanted, {})


def method_of(wanted: Any, knobs: Any) -> Any:
    """Return an explainer from an id or an object; a synthesizer has no map that could be evaluated."""
    made = resolve(wanted, **knobs)
    if type(made).card.kind != "explainer":
        raise InvalidKnob(f"method must be an explainer; {type(made).card.id} is a {type(made).card.kind}.")
    return made


def refusal(metric: Any, error: NotApplicable) -> Score:
    """Return the score of a metric that does not apply, which says why."""
    card = type(metric).card
    return Score(math.nan, "", direction=card.direction, notes=(str(error),), metric=card.id, details={"refused": True})
