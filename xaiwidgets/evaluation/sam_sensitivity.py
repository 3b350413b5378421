"""Sensitivity of attribution maps to a hyper-parameter of the method (SAM)."""

from __future__ import annotations

import dataclasses
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from xaiwidgets.core.knobs import Choice, Domain, Flag, KnobName, Range, knob, knobs_of
from xaiwidgets.core.metric_cards import metric
from xaiwidgets.core.scores import Curve, Score, mean_known
from xaiwidgets.engine.ranks import ranks
from xaiwidgets.errors import InvalidKnob, InvalidModel, NotApplicable, did_you_mean
from xaiwidgets.evaluation.case import map_of
from xaiwidgets.evaluation.paths import Curves, counts_of
from xaiwidgets.evaluation.removal import path, substrate
from xaiwidgets.evaluation.similarity import SIMILARITIES, small

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from numpy.typing import NDArray

    from xaiwidgets.core.knobs import Knob
    from xaiwidgets.evaluation.case import Case
    from xaiwidgets.model.model import Model

    Map = NDArray[np.float32]

#: How far from the default a number is moved, down and up.
FACTOR = 2.0
SHOWN = ("spearman_abs", "spearman_signed", "ssim", "hog")


@metric(
    title="Sensitivity to a hyper-parameter",
    category="faithfulness",
    question="Does the map stay the same when a hyper-parameter of the method is set to another sensible value?",
    cite="Bansal, Agarwal, Nguyen 2020",
    paper="arXiv:2003.08754",
    section="4.5",
    direction="higher",
    range=(-1.0, 1.0),
    formula="mean over pairs (h, h') of similarity(e_h, e_h')",
    how="The same question is asked with several values of one hyper-parameter; every two maps are compared. A map "
    "that depends on a number that nobody can choose by reason shows that number, too.",
    caution="The range of values decides the result: compare methods over ranges that people use.",
)
class SamSensitivity:
    """Mean similarity of maps over the values of one hyper-parameter (Bansal et al. 2020, section 4), in [-1, 1].

    The values are those of the method's own domain around what it is set to: half to twice a number, all options of a
    choice; or those of ``data``, a dictionary such as ``{"samples": (10, 25, 50)}``. ``details``: ``parameter``,
    ``values``, ``matrix`` of similarities, ``similarities``, the mean by each measure, ``deletion``, the area of each
    map (with ``deletion``) and ``deletion_range``. Maps: mean and standard deviation of each pixel over the values, of
    maps divided by their largest value, and ``robust``, where the mean is high and the deviation low.

    ``data`` may also be a second network for the same pictures and classes, or have one as ``"model"``: the paper's
    contrast is one that was trained to be robust (``train("shapes_robust")``). ``details["beside"]`` then has its
    ``name``, ``value``, ``matrix`` and ``similarities`` for the same target and values, and ``"advantage"`` is its
    value less that of the network in question.

    Raises:
        NotApplicable: the method has no hyper-parameter that could be varied.
        InvalidKnob: it has none of this name, or a value is outside its domain.
        InvalidModel: the second network takes other pictures or has other classes.
    """

    parameter: str = knob(
        "",
        KnobName(),
        label="Hyper-parameter",
        help="Name of the method's hyper-parameter; empty is its first number, or else its first choice.",
    )
    count: int = knob(5, Range(2, 20), label="Values", help="How many values of a number are tried.")
    similarity: str = knob(
        "spearman_abs", Choice(SHOWN), label="Similarity", help="Which measure the score is; all are in the table."
    )
    deletion: bool = knob(
        False,
        Flag(),
        label="Spread of deletion",
        help="Also gives the deletion score of every map: how much a ranking of methods depends on the value.",
    )

    def score(self, case: Case) -> Generator[Score | None, None, None]:
        """Yield the mean similarity with more and more of the values."""
        given, second = _given(case)
        name, values = self._values(case, given)
        maps: list[Map] = []
        others: list[Map] = []
        areas: list[float] = []
        base = substrate(case.model, case.image, "mean", case.rng(0))
        for number, value in enumerate(values):
            method = dataclasses.replace(case.method, **{name: value})
            found = yield from case.explaining(method=method)
            maps.append(map_of(found, "signed" if found.signed else "abs"))
            yield None
            if self.deletion:
                along = path("map", ranks(map_of(found, "abs")), case.image, base)
                curves = Curves(case.model, case.probability(), [along], counts_of(maps[-1].size, 28))
                for _ in curves.run():
                    yield None
                areas.append(curves.area(0))
            if second is not None:
                image = second.from_pixels(case.model.to_pixels(case.image))
                found = yield from case.explaining(method=method, model=second, image=image)
                others.append(map_of(found, "signed" if found.signed else "abs"))
            if number:
                score = self._result(name, values[: number + 1], maps, areas, (number + 1) / len(values))
                yield score if second is None else self._beside(score, second.name, others)

    def _values(self, case: Case, given: Mapping[str, Sequence[Any]]) -> tuple[str, list[Any]]:
        """Return the hyper-parameter and its values, what the method is set to among them."""
        card = type(case.method).card
        known = {one.name: one for one in knobs_of(case.method)}
        able = [one.name for one in known.values() if _varies(one.domain)]
        wanted = self.parameter or next(iter(given), "") or _first(known.values())
        if not wanted:
            raise NotApplicable("sam_sensitivity", "a method with a number or a choice to set", f"{card.id} has none")
        if wanted not in known or not (wanted in given or wanted in able):
            raise InvalidKnob(
                f"parameter must be one of {card.id} that can be varied: {', '.join(able)}; got {wanted!r}."
                f"{did_you_mean(wanted, able)}"
            )
        spec, own = known[wanted], getattr(case.method, wanted)
        values = (
            [spec.domain.check(wanted, one) for one in given[wanted]] if wanted in given else self._around(spec, own)
        )
        values = list(dict.fromkeys(values))
        if len(values) < 2:
            raise InvalidKnob(f"{wanted} of {card.id} must take at least two values; got {values}.")
        return wanted, values

    def _around(self, spec: Knob, own: Any) -> list[Any]:
        domain = spec.domain
        if isinstance(domain, Choice):
            return list(domain.options)
        if isinstance(domain, Flag):
            return [False, True]
        if not isinstance(domain, Range):
            raise TypeError(f"{spec.name} is neither a number nor a choice")
        low, high = domain.low, domain.high
        if own > 0:
            low, high = max(low, own / FACTOR), min(high, own * FACTOR)
            places = np.geomspace(max(low, 1e-12), high, self.count)
        else:
            places = np.linspace(low, high, self.count)
        return [domain.clamp(round(one) if domain.integer else float(one), own) for one in places]

    def _pairs(self, maps: list[Map]) -> tuple[NDArray[np.float64], dict[str, list[float]]]:
        """Return the matrix of similarities, and for each measure those of every two maps."""
        matrix = np.eye(len(maps))
        each: dict[str, list[float]] = {kind: [] for kind in SHOWN}
        for one, other in combinations(range(len(maps)), 2):
            for kind in SHOWN:
                each[kind].append(SIMILARITIES[kind](maps[one], maps[other]))
            matrix[one, other] = matrix[other, one] = each[self.similarity][-1]
        return matrix, each

    def _beside(self, score: Score, name: str, maps: list[Map]) -> Score:
        """Return the score with that of the second network beside it."""
        matrix, each = self._pairs(maps)
        means = {kind: mean_known(found) for kind, found in each.items()}
        value = means[self.similarity]
        own = score.curves[0]
        curve = dataclasses.replace(own, name=f"{own.name}, {name}", y=matrix[0])
        return score.replace(
            curves=(own, curve, *score.curves[1:]),
            maps={
                **score.maps,
                **{f"{name}: {key}": one for key, one in zip(score.details["values"], maps, strict=True)},
            },
            details={
                **score.details,
                "beside": {"name": name, "value": value, "matrix": matrix, "similarities": means},
                "advantage": value - score.value,
            },
            notes=(*score.notes, f"For {name} it is {value:.3f}, for the network in question {score.value:.3f}."),
        )

    def _result(self, name: str, values: list[Any], maps: list[Map], areas: list[float], progress: float) -> Score:
        number = len(maps)
        matrix, each = self._pairs(maps)
        pairs = zip(combinations(values, 2), zip(*each.values(), strict=True), strict=True)
        rows = [(one, other, *found) for (one, other), found in pairs]
        means = {kind: mean_known(found) for kind, found in each.items()}
        level = np.stack([np.abs(one) / (float(np.abs(one).max()) or 1.0) for one in maps])
        middle, spread = level.mean(axis=0), level.std(axis=0)
        shown = {f"{name} {value}": one for value, one in zip(values, maps, strict=True)}
        robust = np.where((middle >= np.quantile(middle, 0.8)) & (spread <= np.median(spread)), middle, 0)
        details: dict[str, Any] = {
            "parameter": name,
            "values": tuple(values),
            "matrix": matrix,
            "similarities": means,
            "deletion": tuple(areas),
        }
        if areas:
            details["deletion_range"] = max(areas) - min(areas)
        ticks = tuple(map(str, values))
        curves = [Curve(f"to {values[0]}", np.arange(float(number)), matrix[0], name, self.similarity, ticks=ticks)]
        if areas:
            curves.append(Curve("deletion", np.arange(float(number)), np.array(areas), name, "area", ticks=ticks))
        flat = bool(np.isnan(matrix).any())
        warnings = [*(["W_SMALL"] if small(maps[0].shape) else []), *(["W_DEGENERATE"] if flat else [])]  # type: ignore[arg-type]
        return Score(
            means[self.similarity],
            f"{self.similarity}, mean over pairs of values",
            progress=progress,
            curves=tuple(curves),
            header=(f"{name}", "and", *SHOWN),
            rows=tuple(rows),
            maps={"mean": middle, "spread": spread, "robust": robust, **shown},
            items=tuple(each[self.similarity]),
            details=details,
            notes=(f"{name} was set to {', '.join(ticks)}.",)
            + (("Some of the maps are constant and have no order.",) if flat else ()),
            warnings=tuple(warnings),
        )


def _given(case: Case) -> tuple[dict[str, Sequence[Any]], Model | None]:
    """Return the values and the second network of ``data``."""
    from xaiwidgets.model.model import Model

    data = {"model": case.data} if isinstance(case.data, Model) else case.data
    given = dict(data) if isinstance(data, dict) else data
    second = given.pop("model", None) if isinstance(given, dict) else None
    given = {} if given is None else given
    if not isinstance(given, dict) or any(isinstance(v, str) or not hasattr(v, "__iter__") for v in given.values()):
        raise InvalidKnob(
            f"data must be a second Model, or a dictionary such as {{'samples': (10, 25, 50)}}, with a Model under "
            f"'model' or none; got {case.data!r}."
        )
    if second is not None and not isinstance(second, Model):
        raise InvalidKnob(f"data['model'] must be a Model; got {type(second).__name__}.")
    if second is not None and (second.input_shape, second.classes) != (case.model.input_shape, case.model.classes):
        raise InvalidModel(
            f"data: the second network must take pictures and give classes as the first does, {case.model.input_shape} "
            f"and {case.model.classes}; got {second.input_shape} and {second.classes}."
        )
    return given, second


def _varies(domain: Domain) -> bool:
    return isinstance(domain, (Range, Choice, Flag))


def _first(known: Any) -> str:
    """Return the first number, or else the first choice or flag."""
    ordered = sorted((one for one in known if _varies(one.domain)), key=lambda one: not isinstance(one.domain, Range))
    return ordered[0].name if ordered else ""
