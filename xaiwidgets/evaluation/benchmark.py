"""Many methods by many metrics over many pictures: row after row, resumable, nothing counted twice."""

from __future__ import annotations

import dataclasses
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xaiwidgets.core.knobs import knobs_of
from xaiwidgets.core.metric_cards import resolve_metric
from xaiwidgets.data.scenes import Scene
from xaiwidgets.engine.bank import digest
from xaiwidgets.errors import InvalidImage, InvalidKnob, NotApplicable, XaiError
from xaiwidgets.evaluation.judge import case_of, judge, method_of
from xaiwidgets.evaluation.records import Benchmark, Row, RowFile
from xaiwidgets.model.pictures import Picture, read_picture

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from os import PathLike

    from xaiwidgets.evaluation.case import Case
    from xaiwidgets.model.model import Model


def benchmark(
    model: Model,
    images: Any,
    methods: Sequence[Any],
    metrics: Sequence[Any],
    *,
    targets: Any = None,
    seed: int = 0,
    data: Any = None,
    path: str | PathLike[str] | None = None,
) -> Benchmark:
    """Evaluate methods by metrics over pictures and return all scores; see ``benchmark_steps``."""
    found = None
    for found in benchmark_steps(  # noqa: B007 - the last
        model, images, methods, metrics, targets=targets, seed=seed, data=data, path=path
    ):
        pass
    if found is None:
        raise RuntimeError("a benchmark must give a table")
    return found


def benchmark_steps(
    model: Model,
    images: Any,
    methods: Sequence[Any],
    metrics: Sequence[Any],
    *,
    targets: Any = None,
    seed: int = 0,
    data: Any = None,
    path: str | PathLike[str] | None = None,
) -> Iterator[Benchmark]:
    """Yield the table so far after each piece of work; closing the generator cancels the rest.

    Each map is computed once for all metrics. What goes wrong in one row is written into it and ends no other. Of
    several pictures, one that cannot be read has rows that say so; they are tried again the next time.

    Args:
        model: from ``load_model`` or ``Model(module)``.
        images: a folder, the name of a reference set, or a list of pictures or scenes.
        methods: ids, objects, or (id, hyper-parameters) pairs.
        metrics: the same, of metrics.
        targets: one class for all pictures, or a list with one for each; ``None`` is the scene's class, or the top one.
        seed: of all that the metrics draw.
        data: for metrics that need more than a picture. Rows do not say which data it was: use a file for each.
        path: a file of JSON lines, to which each row is added when it is there. Rows that it holds are not computed
            again: a run that was interrupted goes on where it was.

    Raises:
        XaiError: what was asked for makes no sense; one of its kinds, naming the argument.
    """
    pictures = _pictures(images)
    explainers = [_method(one) for one in _list("methods", methods)]
    asked = [_metric(one) for one in _list("metrics", metrics)]
    wanted = _targets(targets, len(pictures))
    kept = RowFile(path)
    weights = digest(model)
    planned = len(pictures) * len(explainers) * len(asked)
    rows: list[Row] = []
    reused = 0
    for (name, read), target in zip(pictures, wanted, strict=True):
        try:
            picture = read()
        except InvalidImage as error:
            if len(pictures) == 1:
                raise
            lost = Row(model.name, weights, name, "", _asked(target), "", {}, "", {}, seed)
            for method in explainers:
                for metric in asked:
                    row = _about(lost, method, metric)
                    rows.append(dataclasses.replace(row, note=str(error), verdict="not applicable"))
            yield Benchmark(rows, planned, reused)
            continue
        for method in explainers:
            case: Case | None = None
            for metric in asked:
                question = _question(model.name, weights, picture, target, method, metric, seed)
                if question.key in kept.rows:
                    rows.append(kept.rows[question.key])
                    reused += 1
                    continue
                try:
                    case = case or case_of(model, picture, method, target=target, seed=seed, data=data)
                except NotApplicable as error:
                    row = dataclasses.replace(question, note=str(error), verdict="not applicable")
                    kept.add(row)
                    rows.append(row)
                    continue
                for found in _rows(case, metric, question):
                    if found is not None:
                        kept.add(found)
                        rows.append(found)
                    yield Benchmark(rows, planned, reused)
    yield Benchmark(rows, planned, reused)


def _rows(case: Case, metric: Any, question: Row) -> Iterator[Row | None]:
    """Yield ``None`` while a score is computed, and its row at the end."""
    score = None
    try:
        for found in judge(metric, case):
            score = found or score
            if found is None or found.progress < 1:
                yield None
    except XaiError as error:
        yield dataclasses.replace(question, note=str(error), verdict="not applicable")
        return
    if score is None:
        raise RuntimeError(f"{type(metric).card.id} gave no score")
    forward, backward = score.provenance.passes
    yield dataclasses.replace(
        question,
        target=score.provenance.target,
        value=score.value,
        unit=score.unit,
        direction=score.direction,
        verdict=score.verdict,
        controls=dict(score.controls),
        forward=forward,
        backward=backward,
        seconds=round(score.provenance.seconds, 4),
        note=" ".join(score.notes),
    )


def _question(
    model: str, weights: str, picture: Picture | Scene, target: Any, method: Any, metric: Any, seed: int
) -> Row:
    empty = Row(model, weights, picture.name, picture.digest, _asked(target), "", {}, "", {}, seed)
    return _about(empty, method, metric)


def _about(row: Row, method: Any, metric: Any) -> Row:
    """Return the row of a method and a metric."""
    return dataclasses.replace(
        row,
        method=type(method).card.id,
        method_knobs={k.name: getattr(method, k.name) for k in knobs_of(method)},
        metric=type(metric).card.id,
        metric_knobs={k.name: getattr(metric, k.name) for k in knobs_of(metric)},
        direction=type(metric).card.direction,
    )


def _asked(target: Any) -> str:
    return "" if target is None else str(getattr(target, "name", target))


def _method(wanted: Any) -> Any:
    pair = isinstance(wanted, tuple) and len(wanted) == 2 and isinstance(wanted[1], dict)
    return method_of(*wanted) if pair else method_of(wanted, {})


def _metric(wanted: Any) -> Any:
    if isinstance(wanted, tuple) and len(wanted) == 2 and isinstance(wanted[1], dict):
        return resolve_metric(wanted[0], **wanted[1])
    return resolve_metric(wanted)


def _list(name: str, given: Any) -> list[Any]:
    if isinstance(given, str) or not hasattr(given, "__iter__"):
        given = [given]
    found = list(given)
    if not found:
        raise InvalidKnob(f"{name} must be a list of at least one.")
    return found


def _targets(given: Any, count: int) -> list[Any]:
    if not isinstance(given, (list, tuple)):
        return [given] * count
    if len(given) != count:
        raise InvalidKnob(f"targets must be one class, or one for each of the {count} pictures; got {len(given)}.")
    return list(given)


def _pictures(images: Any) -> list[tuple[str, Callable[[], Picture | Scene]]]:
    """Return names, and functions that read the pictures: a folder may hold more than memory does."""
    from xaiwidgets.model.references import ReferenceSet, find_references, reference_sets, unnamed

    if isinstance(images, str) and images in {one.name for one in reference_sets()}:
        images = find_references(images, "images")
    elif isinstance(images, (str, os.PathLike)) and Path(images).is_dir():
        images = unnamed(images)
    if isinstance(images, ReferenceSet):
        if images.baselines:
            raise InvalidImage(f"images must be pictures; the set {images.name!r} holds plain baselines.")
        return [(name, partial(images.picture, number)) for number, name in enumerate(images.names)]
    if isinstance(images, (str, os.PathLike, Scene)) or not isinstance(images, (list, tuple)):
        images = [images]
    if not images:
        raise InvalidImage("images must be a folder, the name of a reference set, or a list of at least one picture.")
    return [(_name(one), partial(_read, one)) for one in images]


def _name(image: Any) -> str:
    """Return what a picture is called before it is read."""
    return str(image) if isinstance(image, (str, os.PathLike)) else str(getattr(image, "name", type(image).__name__))


def _read(image: Any) -> Picture | Scene:
    return image if isinstance(image, Scene) else read_picture(image)
