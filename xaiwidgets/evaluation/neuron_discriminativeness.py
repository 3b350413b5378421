"""Neuron discriminativeness."""

from __future__ import annotations

import math
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from xaiwidgets.core.knobs import LayerName, Range, knob
from xaiwidgets.core.metric_cards import metric
from xaiwidgets.core.scores import Curve, Score
from xaiwidgets.errors import NotApplicable
from xaiwidgets.evaluation.case import reduced
from xaiwidgets.evaluation.controls import CONTROLS

if TYPE_CHECKING:
    from collections.abc import Generator

    from numpy.typing import NDArray
    from torch import Tensor

    from xaiwidgets.evaluation.case import Case

    Unit = tuple[int, int, int]

STRONGEST, BESIDE, ELSEWHERE, OWN = "strongest unit", "same place", "elsewhere", "the layer itself"
HEAD = (
    "rule",
    "other channel, same place",
    "other unit",
    "Gaussian seeds",
    "positive seeds",
    "other photo's bottleneck",
)


@metric(
    title="Neuron discriminativeness",
    category="architecture",
    question="Does the map depend on the unit that it explains?",
    cite="Mahendran, Vedaldi 2016",
    paper="10.1007/978-3-319-46466-4_8",
    section="4.3",
    direction="lower",
    range=(-1.0, 1.0),
    formula="mean over pairs of active units u, v at one place of cos(e_u, e_v)",
    how="The map is made for the strongest unit of a layer and for other channels at its place. Then the network is "
    "reversed by three rules from seeds that mean nothing: if two random seeds give one picture, it comes from what "
    "the reversed pass remembers of the photo (which units were on, where maxima were), not from the seed.",
    caution="Units of one place see the same pixels, and may well be excited by the same ones: some likeness is right. "
    "Compare with the gradient. Positive seeds make all rules alike, for all units together see the whole photo.",
)
class NeuronDiscriminativeness:
    """Mean cosine of a method's maps of active units of one place (Mahendran and Vedaldi 2016), in [-1, 1].

    Maps are compared as they are, signed and before any reduction. A unit elsewhere is only shown, for it sees other
    pixels. ``rows``: for the gradient, DeconvNet and guided backpropagation (DeSaliNet), cosines between pictures of
    the strongest unit and of another channel at its place, of a unit elsewhere, of two Gaussian and two positive seeds,
    and between the picture that this photo's layer makes with another photo's bottleneck information (ReLU masks and
    pooling switches) and what each of them makes of its own. The other photo is the second one of ``data``, or this one
    upside down. ``details``: ``matrix``, all cosines between seeds by rule; ``seeds`` their names; ``units`` (channel,
    row, column) by name; ``pairs``, the method's cosines. ``maps``: of the method by unit, and of each rule by seed,
    summed over channels.

    Raises ``NotApplicable`` where fewer than two units of the layer are active at one place.
    """

    layer: str = knob("", LayerName(), label="Layer", help="Empty: the last spatial stage.")
    units: int = knob(4, Range(2, 32), label="Units", help="The strongest one and others at its place.")

    def score(self, case: Case) -> Generator[Score | None, None, None]:
        """Yield the mean over the pairs of units so far, then with the pictures of seeds."""
        import torch

        from xaiwidgets.evaluation.seeded import pictures, seeds

        layer = case.model.layer(self.layer, spatial=True).name
        activation = case.model.activations(case.image, [layer])[layer]
        units = self._units(activation[0].cpu().numpy(), case)
        maps: dict[str, NDArray[Any]] = {}
        for number, (name, (channel, row, column)) in enumerate(units.items()):
            yield None
            target = case.model.unit(layer, channel, (row, column))
            maps[name] = (yield from case.explaining(target=target)).values
            if number:
                yield self._report(case, maps, units, 0.7 * (number + 1) / len(units))
        generator = torch.Generator().manual_seed(case.seed)
        chosen = {name: units[name] for name in (STRONGEST, f"{BESIDE} 1", ELSEWHERE) if name in units}
        given = {**seeds(activation, chosen, generator), OWN: activation}
        yield None
        found = yield from pictures(case.model, case.image, layer, given)
        other = self._other(case)
        theirs = case.model.activations(other, [layer])[layer]
        swapped = yield from pictures(case.model, other, layer, {OWN: theirs, "this photo": activation})
        yield self._report(case, maps, units, 1.0, found, swapped)

    def _units(self, activation: NDArray[np.float32], case: Case) -> dict[str, Unit]:
        """Return active units that are not saturated: the strongest with others at its place, and one elsewhere."""
        active = activation > 0
        # several units at exactly the largest value are at the end of a ReLU6, where no gradient passes
        if (activation == activation.max()).sum() > 1:
            active &= activation < activation.max()
        # the strongest one that is not alone at its place
        best = np.where(active & (active.sum(axis=0) > 1), activation, -np.inf)
        if not np.isfinite(best).any():
            needs = "a layer with two active units at one place"
            raise NotApplicable("neuron_discriminativeness", needs, f"this picture excites {int(active.sum())} in all")
        channel, row, column = (int(v) for v in np.unravel_index(int(best.argmax()), best.shape))
        rng = case.rng(0)
        beside = [int(c) for c in rng.permutation(np.flatnonzero(active[:, row, column])) if c != channel]
        found: dict[str, Unit] = {STRONGEST: (channel, row, column)}
        found |= {f"{BESIDE} {n + 1}": (c, row, column) for n, c in enumerate(beside[: self.units - 1])}
        active[:, row, column] = False
        places = np.argwhere(active)
        if len(places):
            one = places[int(rng.integers(len(places)))]
            found[ELSEWHERE] = int(one[0]), int(one[1]), int(one[2])
        return found

    def _other(self, case: Case) -> Tensor:
        """Return another input: the second picture of the data, or this one upside down."""
        given = case.data if isinstance(case.data, (list, tuple)) else None
        if given is None or len(given) < 2:
            return case.image.flip((2, 3)).contiguous()
        return case.model.input(getattr(given[1], "pixels", given[1]))

    def _report(
        self,
        case: Case,
        maps: dict[str, NDArray[Any]],
        units: dict[str, Unit],
        progress: float,
        found: dict[str, dict[str, Tensor]] | None = None,
        swapped: dict[str, dict[str, Tensor]] | None = None,
    ) -> Score:
        pairs = {(a, b): cosine(maps[a], maps[b]) for a, b in combinations(maps, 2)}
        judged = [value for pair, value in pairs.items() if ELSEWHERE not in pair]
        there = [value for value in judged if not math.isnan(value)]
        pixels = case.model.to_pixels(case.image)
        one, other = (CONTROLS["random"](pixels, case.seed + more) - 0.5 for more in (0, 1))
        shown = {name: reduced(values, "signed") for name, values in maps.items()}
        details: dict[str, Any] = {"units": dict(units), "pairs": pairs}
        rows: list[tuple[Any, ...]] = []
        for rule, by_seed in (found or {}).items():
            arrays = {name: one.cpu().numpy() for name, one in by_seed.items()}
            names = tuple(arrays)
            matrix = [[cosine(arrays[a], arrays[b]) for b in names] for a in names]
            details.setdefault("matrix", {})[rule] = matrix
            details["seeds"] = names
            mixed, theirs = ((swapped or {})[rule][name].cpu().numpy() for name in ("this photo", OWN))
            rows.append((*_row(rule, names, matrix), cosine(mixed, arrays[OWN]), cosine(mixed, theirs)))
            shown[f"{rule}: other bottleneck"] = reduced(mixed, "signed")
            shown |= {f"{rule}: {name}": reduced(values, "signed") for name, values in arrays.items()}
        notes = []
        if len(there) < len(judged):
            notes.append(f"{len(judged) - len(there)} of {len(judged)} pairs have a map that is 0 everywhere.")
        if found is not None and len(found) == 1:
            notes.append(f"{case.model.name} has other activations than ReLUs: only its gradient was reversed.")
        x = np.arange(len(pairs), dtype=np.float64)
        ticks = tuple(f"{a}, {b}" for a, b in pairs)
        return Score(
            float(np.mean(there)) if there else math.nan,
            "mean cosine of two units' maps",
            progress=progress,
            controls={"edges": 1.0, "random": cosine(one, other)},
            curves=(Curve("pairs of units", x, np.array(list(pairs.values())), "pair", "cosine", ticks=ticks),),
            header=HEAD if rows else (),
            rows=tuple(rows),
            maps=shown,
            items=tuple(judged),
            notes=tuple(notes),
            warnings=("W_DEGENERATE",) if len(there) < len(judged) else (),
            details=details,
        )


def _row(rule: str, names: tuple[str, ...], matrix: list[list[float]]) -> tuple[Any, ...]:
    """Return what the table shows of a rule; NaN where there is no such unit."""

    def of(one: str, other: str) -> float:
        known = [next((n for n, name in enumerate(names) if name.startswith(start)), None) for start in (one, other)]
        return math.nan if known[0] is None or known[1] is None else matrix[known[0]][known[1]]

    return (
        rule,
        of(STRONGEST, BESIDE),
        of(STRONGEST, ELSEWHERE),
        of("Gaussian A", "Gaussian B"),
        of("positive A", "positive B"),
    )


def cosine(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Return the cosine of the angle between two arrays; NaN if either is 0 everywhere."""
    first, second = (np.asarray(a, np.float64).ravel() for a in (one, other))
    length = float(np.linalg.norm(first) * np.linalg.norm(second))
    return float(np.clip(first @ second / length, -1, 1)) if length > 0 else math.nan
