"""Do maps get better as a network learns? One evaluation at several points of its training."""

from __future__ import annotations

from collections.abc import Sized
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from xaiwidgets.core.metric_cards import resolve_metric
from xaiwidgets.core.results import Provenance
from xaiwidgets.core.scores import Curve, Score, mean_and_interval
from xaiwidgets.errors import InvalidKnob
from xaiwidgets.evaluation.judge import case_of, judge
from xaiwidgets.evaluation.uses.common import labelled, last_of, pixels_of, probabilities, report

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from xaiwidgets.data.scenes import Scene
    from xaiwidgets.model.model import Model

#: Epochs of the bundled recipes at which maps are looked at, beside the untrained network and the last one.
EPOCHS = (1, 3, 8)


def maps_while_training(checkpoints: Iterable[tuple[Any, Model]], scenes: Sequence[Scene], **options: Any) -> Score:
    """Return how an evaluation changes over checkpoints; see ``maps_while_training_steps``."""
    return last_of(maps_while_training_steps(checkpoints, scenes, **options))  # type: ignore[no-any-return]


@report
def maps_while_training_steps(
    checkpoints: Iterable[tuple[Any, Model]],
    scenes: Sequence[Scene],
    *,
    method: Any = "grad_cam",
    metric: Any = "pointing_game",
    detail: str = "",
    seed: int = 0,
    count: int | None = None,
) -> Iterator[Score | None]:
    """Yield a report after each checkpoint, ``None`` in between (Wang et al. 2020 did so for Score-CAM's deletion).

    ``rows`` and ``curves``: accuracy and the mean score, with its 95 % interval, at each checkpoint. The value is the
    last mean less the first.

    Args:
        checkpoints: pairs (name or number of the step, network), in the order of training; may be a generator, such as
            ``while_training("shapes")``.
        scenes: labelled, with what the metric needs.
        method: as for ``evaluate``.
        metric: an id or an object.
        detail: a number among the score's details in place of its value, such as ``energy`` of the pointing game.
        seed: of all that the metric draws.
        count: of the checkpoints, for the progress, where they are a generator.

    Raises:
        InvalidKnob: there are no checkpoints, or no such detail.
    """
    made = resolve_metric(metric)
    names: list[str] = []
    places: list[float] = []
    rows: list[tuple[Any, ...]] = []
    spent = Provenance()
    known = len(checkpoints) if isinstance(checkpoints, Sized) else count
    for number, (name, model) in enumerate(checkpoints):
        labels = labelled("scenes", scenes, model)
        answers = yield from probabilities(model, pixels_of(scenes, model))
        accuracy = float(np.mean(answers.argmax(axis=1) == labels))
        values = []
        for scene in scenes:
            case = case_of(model, scene, method, seed=seed)
            score = None
            for found in judge(made, case):
                score = found or score
                yield None
            if score is None:
                raise RuntimeError(f"{type(made).card.id} gave no score")
            values.append(_number(score, detail))
            spent = _added(spent, score.provenance)
        mean, interval = mean_and_interval(values, seed=seed)
        low, high = interval or (mean, mean)
        names.append(str(name))
        places.append(float(name) if isinstance(name, (int, float)) else float(number))
        rows.append((str(name), accuracy, mean, low, high, int(np.isfinite(values).sum())))
        progress = min(1.0, (number + 1) / known) if known else 1 - 0.5 ** (number + 1)
        yield _report(rows, names, places, type(made).card, detail, progress).replace(provenance=spent)
    if not rows:
        raise InvalidKnob("checkpoints must be at least one pair of a name and a network.")
    yield _report(rows, names, places, type(made).card, detail, 1.0).replace(provenance=spent)


def while_training(recipe: Any, *, epochs: Sequence[int] = EPOCHS, seed: int = 0) -> Iterator[tuple[int, Model]]:
    """Yield pairs (step of training, network): untrained, after some epochs, and at the end, as it learns.

    Args:
        recipe: as for ``train_steps``.
        epochs: after which the network is looked at.
        seed: of the training.
    """
    from xaiwidgets.learned.recipes import recipe as resolve
    from xaiwidgets.learned.recipes import train_steps, untrained

    made = resolve(recipe)
    images, _ = made.load("train")
    steps = -(-len(images) // made.batch)
    yield 0, untrained(made, seed=seed)
    for state in train_steps(made, seed=seed, models=True):
        if state.model is not None and (state.epoch in epochs or state.epoch == made.epochs):
            yield state.epoch * steps, state.model


def _added(one: Provenance, other: Provenance) -> Provenance:
    """Return the account of one evaluation with the passes of those before it."""
    forward, backward = (a + b for a, b in zip(one.passes, other.passes, strict=True))
    return replace(other, passes=(forward, backward))


def _number(score: Score, detail: str) -> float:
    if not detail:
        return score.value
    if not isinstance(score.details.get(detail), (int, float)):
        known = [name for name, value in score.details.items() if isinstance(value, (int, float))]
        raise InvalidKnob(f"detail must be a number among the score's details ({', '.join(known)}); got {detail!r}.")
    return float(score.details[detail])


def _report(
    rows: Sequence[tuple[Any, ...]],
    names: Sequence[str],
    places: Sequence[float],
    card: Any,
    detail: str,
    progress: float,
) -> Score:
    at, columns = np.array(places), list(zip(*rows, strict=True))
    numbers = all(name.replace(".", "", 1).isdigit() for name in names)
    axis: dict[str, Any] = {
        "x_label": "step of training" if numbers else "checkpoint",
        "ticks": () if numbers else tuple(names),
    }
    title = detail or card.title.lower()
    means = np.array(columns[2])
    return Score(
        float(means[-1] - means[0]),
        f"change of {title}",
        direction=card.direction if not detail else "",
        progress=progress,
        header=("checkpoint", "accuracy", title, "low", "high", "scenes"),
        rows=tuple(rows),
        curves=(
            Curve("accuracy", at, np.array(columns[1]), y_label="share", **axis),
            Curve(title, at, means, y_label="share", low=np.array(columns[3]), high=np.array(columns[4]), **axis),
        ),
        items=tuple(map(float, means)),
        notes=() if np.isfinite(means).all() else ("At some checkpoints no map has a value.",),
        metric="maps_while_training",
    )
