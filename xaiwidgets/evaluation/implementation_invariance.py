"""Implementation invariance."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from xaiwidgets.core.knobs import Choice, LayerName, Range, knob, knobs_of
from xaiwidgets.core.metric_cards import metric
from xaiwidgets.core.scores import Curve, Limit, Score
from xaiwidgets.errors import InvalidLayer, InvalidModel, NotApplicable
from xaiwidgets.evaluation.case import reduced
from xaiwidgets.evaluation.controls import CONTROLS
from xaiwidgets.evaluation.similarity import spearman_signed

if TYPE_CHECKING:
    from collections.abc import Generator

    from numpy.typing import NDArray

    from xaiwidgets.evaluation.case import Case

NAMES = (
    "permuted channels",
    "scaled channels",
    "split channels",
    "folded BatchNorm",
    "doubled ReLU",
    "inserted identity",
)
#: Scores that differ by a larger share are those of another function.
SAME = 1e-4
HEAD = ("rewrite", "places", "scores differ by", "map differs by", "rank correlation", "")


@metric(
    title="Implementation invariance",
    category="architecture",
    question="Do two networks that compute the same function get the same map?",
    cite="Sundararajan, Taly, Yan 2017",
    paper="arXiv:1703.01365",
    section="4.4",
    direction="lower",
    range=(0.0, math.inf),
    limit=Limit("<", 1e-4, "Equal up to rounding; the axiom asks for equality."),
    formula="max over rewrites g of f of max|e_f − e_g| / max|e_f|, where g(x) = f(x) for all x",
    how="The network is rewritten in six ways that change no score: channels in another order, scaled and scaled back, "
    "one channel as two halves, normalizations folded into convolutions, results as ReLU(z) − ReLU(−z), identities put "
    "in. Each gets its own map of the same question.",
    caution="Equal maps are what the function alone decides; that says nothing about whether they are right. A method "
    "that follows how a network is built, such as guided backpropagation, may still be useful on one network.",
)
class ImplementationInvariance:
    """Largest relative difference of maps of functionally equal networks (Sundararajan et al. 2017, section 2.2).

    All numbers are of 64 bits: rounding to 32 can switch single units of a deep network on or off, and their gradient
    with them. Maps are compared as they are, signed and before any reduction. A method's empty choice of a layer is
    that of the given network in all of them.

    ``rows``: each rewrite, in how many places it was possible, how far scores and maps differ, and the rank correlation
    of the maps summed over channels; ``maps``: those of the given and of each rewritten network, the same way;
    ``details``: ``differences``, ``errors`` (of scores) and ``places`` by rewrite.

    Raises ``NotApplicable`` when no layer can be rewritten: none holds weights of its own and runs once.
    """

    rewrite: str = knob(
        "all", Choice(("all", *NAMES)), label="Rewrites", help="All of them in turn, or one.", advanced=True
    )
    probes: int = knob(
        4, Range(1, 64), label="Inputs", help="On how many noisy copies of the picture scores are compared."
    )

    def score(self, case: Case) -> Generator[Score | None, None, None]:
        """Yield the largest difference so far, rewrite after rewrite."""
        import torch

        from xaiwidgets.evaluation.rewrites import precise, rewrite

        network, note = precise(case.model)
        yield None
        image = case.image.to(network.like)
        method = settled(case)
        given = yield from case.explaining(image=image, model=network, method=method)
        generator = torch.Generator().manual_seed(case.seed)
        spread = 0.1 * (float(image.max()) - float(image.min()))
        probes = image + spread * torch.randn((self.probes, *image.shape[1:]), generator=generator).to(image)
        table = _Table(given.values, (note,) if note else ())
        names = NAMES if self.rewrite == "all" else (self.rewrite,)
        for number, name in enumerate(names):
            yield None
            try:
                made = rewrite(network, name, probes, case.rng(number))
                yield None
                if made.places == 0 or not made.error < SAME:
                    table.skip(name, made.places, made.error)
                else:
                    other = yield from case.explaining(image=image, model=made.model, method=method)
                    table.add(name, made.places, made.error, other.values)
            except NotApplicable as error:
                table.fail(name, f"{error.method} needs {error.needs}, which is not there any more.")
            except (InvalidModel, InvalidLayer) as error:
                table.fail(name, str(error))
            if number < len(names) - 1:
                yield self._report(case, table, (number + 1) / len(names))
        if not any(table.places.values()):
            needs = "a layer that holds its own weights and runs once"
            raise NotApplicable("implementation_invariance", needs, f"{case.model.name} has none")
        yield self._report(case, table, 1.0)

    def _report(self, case: Case, table: _Table, progress: float) -> Score:
        found = table.differences
        pixels = case.model.to_pixels(case.image)
        one, other = (CONTROLS["random"](pixels, case.seed + more) for more in (0, 1))
        curve = Curve(
            "relative difference", np.arange(len(found), dtype=np.float64), np.array(list(found.values())), "rewrite",
            "difference of maps", ticks=tuple(found),
        )  # fmt: skip
        blank = not table.given.any()
        notes = table.notes if found else (*table.notes, "No rewrite was possible so far.")
        if blank:
            notes = (*notes, "The map is 0 everywhere.")
        return Score(
            max(found.values()) if found and not blank else math.nan,
            "largest relative difference",
            progress=progress,
            controls={"random": difference(one, other), "edges": 0.0},
            curves=(curve,) if found else (),
            header=HEAD,
            rows=tuple(table.rows),
            maps=dict(table.maps),
            items=tuple(found.values()),
            notes=notes,
            warnings=("W_DEGENERATE",) if blank else (),
            details={"differences": dict(found), "errors": dict(table.errors), "places": dict(table.places)},
        )


class _Table:
    """What each rewrite gave."""

    def __init__(self, given: NDArray[np.float32], notes: tuple[str, ...]) -> None:
        self.given, self.notes = given, notes
        self.rows: list[tuple[Any, ...]] = []
        self.maps = {"as it is": reduced(given, "signed")}
        self.differences: dict[str, float] = {}
        self.errors: dict[str, float] = {}
        self.places: dict[str, int] = {}

    def add(self, name: str, places: int, error: float, values: NDArray[np.float32]) -> None:
        if values.shape != self.given.shape:
            self.fail(name, f"The map has shape {values.shape} in place of {self.given.shape}.")
            return
        self.errors[name], self.places[name] = error, places
        self.maps[name] = reduced(values, "signed")
        self.differences[name] = found = difference(self.given, values)
        rank = spearman_signed(self.maps["as it is"], self.maps[name])
        self.rows.append((name, places, error, found, rank, "same" if found < SAME else "differs"))

    def skip(self, name: str, places: int, error: float) -> None:
        self.places[name] = 0
        why = "not possible here" if places == 0 else "left out: other scores"
        self.rows.append((name, places, error, math.nan, math.nan, why))

    def fail(self, name: str, why: str) -> None:
        self.places.setdefault(name, 0)
        self.rows.append((name, 0, math.nan, math.nan, math.nan, "not possible here"))
        self.notes = (*self.notes, f"{name}: {why}")


def difference(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Return the largest absolute difference of two arrays, divided by the first one's largest absolute value."""
    top = float(np.abs(one).max())
    far = float(np.abs(np.asarray(one, np.float64) - other).max())
    return far / top if top > 0 else (0.0 if far == 0 else math.inf)


def settled(case: Case) -> Any:
    """Return the method with the name of the given network's last stage wherever it leaves the layer to the network."""
    stages = case.model.stages
    layers = [k.name for k in knobs_of(case.method) if isinstance(k.domain, LayerName)]
    empty = [name for name in layers if not getattr(case.method, name)]
    return (
        dataclasses.replace(case.method, **dict.fromkeys(empty, stages[-1].name)) if empty and stages else case.method
    )
