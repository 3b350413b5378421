"""Checks of the evaluations in this environment: cases with a known answer, and what was measured.

A check is a function that returns ``Check`` objects; ``@check`` puts it into the table. Others may add theirs from
anywhere: ``selftest`` runs all that are known.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from xaiwidgets.errors import UnknownMethod, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    Checker = Callable[[], Iterable["Check"]]


@dataclass(frozen=True)
class Check:
    """One identity.

    Attributes:
        name: what holds, in words.
        expected, measured: the number it should be and the one it is.
        ok: whether that is near enough.
        metric: the id of the evaluation that it is about. ``seconds``: since the check before.
    """

    name: str
    expected: float
    measured: float
    ok: bool
    metric: str = ""
    seconds: float = 0.0


class Checks(tuple[Check, ...]):
    """Checks that print themselves as a table, in a shell and in a notebook; ``ok`` is whether all hold."""

    __slots__ = ()

    @property
    def ok(self) -> bool:
        """Whether the scores can be trusted in this environment."""
        return all(one.ok for one in self)

    def __repr__(self) -> str:
        rows = [("metric", "check", "expected", "measured", ""), *map(_row, self)]
        widths = [max(len(row[i]) for row in rows) for i in range(5)]
        lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows]
        return "\n".join((*lines, self._verdict()))

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{name}</th>" for name in ("metric", "check", "expected", "measured", ""))
        body = "".join(
            f"<tr{'' if one.ok else ' style=color:#b00'}>"
            + "".join(f"<td>{escape(cell)}</td>" for cell in _row(one))
            + "</tr>"
            for one in self
        )
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        return f"{table}<p>{escape(self._verdict())}</p>"

    def _verdict(self) -> str:
        failed = sum(not one.ok for one in self)
        if failed:
            return f"{failed} of {len(self)} checks fail: do not trust the scores in this environment."
        return f"All {len(self)} checks hold."


def _row(one: Check) -> tuple[str, ...]:
    return one.metric, one.name, f"{one.expected:.6g}", f"{one.measured:.6g}", "ok" if one.ok else "FAILS"


CHECKS: dict[str, Checker] = {}


def check(metric: str) -> Callable[[Checker], Checker]:
    """Put a function that yields checks into the table, under the id of the evaluation that it is about."""

    def register(function: Checker) -> Checker:
        CHECKS[f"{metric}/{function.__name__}"] = function
        return function

    return register


def near(name: str, expected: float, measured: float, tolerance: float = 1e-6) -> Check:
    """Return the check that two numbers differ by at most ``tolerance``; two NaNs are equal."""
    both = math.isnan(expected) and math.isnan(measured)
    return Check(name, expected, float(measured), both or bool(abs(expected - measured) <= tolerance))


def selftest(*metrics: str) -> Checks:
    """Return what each check should give and what it gives here; see ``selftest_steps``."""
    return Checks(selftest_steps(*metrics))


def selftest_steps(*metrics: str) -> Iterator[Check]:
    """Yield the checks, each when it is done; together they take seconds.

    Args:
        *metrics: ids of evaluations, by default all that have checks.

    Raises:
        UnknownMethod: there are no checks for one of them.
    """
    from xaiwidgets.core.metric_cards import load_all

    load_all()  # modules beside this one may add checks
    known = sorted({name.partition("/")[0] for name in CHECKS})
    for one in metrics:
        if one not in known:
            raise UnknownMethod(f"checks are there for {', '.join(known)}; got {one!r}.{did_you_mean(one, known)}")
    for name, function in CHECKS.items():
        metric = name.partition("/")[0]
        if metrics and metric not in metrics:
            continue
        start = time.perf_counter()
        for found in function():
            now = time.perf_counter()
            yield replace(found, metric=metric, seconds=now - start)
            start = now


def linear_model(side: int = 8, classes: int = 4, *, scale: float = 1.0) -> tuple[Any, Any]:
    """Return a network that is one linear map of a gray picture, and its weights ``(classes, side, side)``.

    Args:
        side: of the picture.
        classes: how many.
        scale: of the weights; 0 gives a network that says the same about all pictures.
    """
    import torch
    from torch import nn

    from xaiwidgets.model.model import Model

    layer = nn.Linear(side * side, classes, bias=False)
    weights = np.random.default_rng(5).normal(size=(classes, side, side)).astype(np.float32) * np.float32(scale)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weights.reshape(classes, -1)))
    model = Model(nn.Sequential(nn.Flatten(), layer), mean=(0.0,), std=(1.0,), size=side, crop=1.0, name="linear")
    return model, weights


def given(values: Any, *, signed: bool = False) -> Any:
    """Return an attribution that holds these values ``(H, W)``, to be evaluated as a finished map."""
    from xaiwidgets.core.results import Attribution, Provenance

    values = np.asarray(values, np.float32)
    told = Provenance(method="saliency")
    return Attribution(values[None], "evidence", signed, values.shape, provenance=told)


def oracle() -> tuple[Any, Any]:
    """Return a scene of a plain picture with one object, and the network of shapes that takes it."""
    from xaiwidgets.data.scenes import Scene
    from xaiwidgets.model.zoo import load_model

    mask = np.zeros((48, 48), bool)
    mask[8:28, 12:36] = True
    return Scene(np.full((48, 48, 3), 0.5), "disk", masks=mask, name="plain"), load_model("shapes_gap")
