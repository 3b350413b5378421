"""The expected gradient over references and positions on the way from them: what the sampled path methods share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from xaiwidgets.core.knobs import Choice, Range, ReferenceName, check_knobs, knob
from xaiwidgets.core.results import Attribution
from xaiwidgets.engine.quadrature import early_first, nodes
from xaiwidgets.explainers.onepass import size_of
from xaiwidgets.model.references import find_references

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from torch import Tensor

    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Target

#: Fewer photos than this are not the data set that the expectation is meant over.
ENOUGH = 16
#: A sample's forward and backward pass, measured in forward passes.
SAMPLE = 3


def reference_knob(default: str) -> Any:
    """Return the knob for the set of references."""
    return knob(
        default,
        ReferenceName(),
        label="References",
        help="What the photo is compared with; xaiwidgets.reference_set(name, folder) adds your own.",
    )


def positions_knob() -> Any:
    """Return the knob for how the samples are drawn."""
    return knob(
        "stratified",
        Choice(("stratified", "random")),
        label="Sampled points",
        help="stratified: evenly spread, each reference as often as any; random: drawn independently.",
        advanced=True,
    )


def pictures_knob() -> Any:
    """Return the knob for how many references are taken of a large set."""
    return knob(
        16, Range(1, 256), label="Most references", help="So many of the set at most, spread over it.", advanced=True
    )


class Sampled:
    """Mixin: samples of (reference x′, position α, noise ε), each drawn by its number, and the mean over them.

    A sample's value is ``(x − x′) ⊙ ∂f/∂x`` at ``x′ + α(x + ε − x′)``; with ``noisy_difference`` the first factor is
    that of the noisy picture.
    """

    samples: int
    references: str
    positions: str
    pictures: int
    seed: int
    noise: float = 0.0
    noisy_difference: bool = False

    def __post_init__(self) -> None:
        check_knobs(self)
        find_references(self.references)

    @property
    def count(self) -> int:
        """How many references there are to draw from."""
        return min(self.samples, self.pictures, len(find_references(self.references)))

    def cost(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the (forward, backward) passes of one image: the samples, and the scores of photo and references."""
        return self.samples + 1 + self.count, self.samples

    def notes(self) -> tuple[str, ...]:
        """Return which references were used, and whether they are few."""
        found = find_references(self.references)
        if found.baselines or self.count >= ENOUGH:
            return (found.sentence(self.count),)
        few = (
            f"{self.count} are few for a mean over a data set: better take {ENOUGH} or more; "
            "xaiwidgets.reference_set(name, folder) adds your own."
        )
        return found.sentence(self.count), few

    def plan(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return the reference and the position of every sample, in the order of visit."""
        if self.positions == "stratified":
            # a random order in every round, so that no reference always lands on the same stretch of the way
            rounds = range(-(-self.samples // self.count))
            order = [np.random.default_rng((self.seed, turn)).permutation(self.count) for turn in rounds]
            at = nodes("riemann_middle", self.samples)[0][early_first(self.samples)]
            return np.concatenate(order)[: self.samples], at
        drawn = [np.random.default_rng((self.seed, number)) for number in range(self.samples)]
        return np.array([rng.integers(self.count) for rng in drawn]), np.array([rng.random() for rng in drawn])

    def steps(self, model: Model, image: Tensor, target: Target) -> Iterator[Attribution]:
        """Yield the running mean after every batch; the last steps find the gap by scoring the references."""
        import torch

        from xaiwidgets.engine.batching import batch_size
        from xaiwidgets.engine.moments import Moments
        from xaiwidgets.engine.noise import noisy_copies
        from xaiwidgets.engine.references import images_of

        starts = images_of(model, self.references, self.count, image)
        (which, at), notes = self.plan(), self.notes()
        size = batch_size(model, gradient=True)
        values, sums = Moments(), Moments()
        work = SAMPLE * self.samples + self.count
        score = float(model.scores(image, target)[0])

        def result(done: int, **found: Any) -> Attribution:
            return Attribution(
                values=values.of("mean"),
                unit=target.unit,
                signed=True,
                size=size_of(image),
                progress=done / work,
                score=score,
                notes=notes,
                **found,
            )

        for first in range(0, self.samples, size):
            numbers = range(first, min(first + size, self.samples))
            start = starts[torch.as_tensor(which[numbers], device=image.device)]
            alpha = torch.as_tensor(at[numbers], dtype=image.dtype, device=image.device).reshape(-1, 1, 1, 1)
            end = noisy_copies(image, numbers, self.noise, self.seed)
            found = model.gradient(torch.lerp(start, end, alpha), target).input
            parts = ((end if self.noisy_difference else image) - start).double() * found.double()
            values.add(parts.cpu().numpy())
            sums.add(parts.sum(dim=(1, 2, 3)).cpu().numpy())
            yield result(SAMPLE * numbers.stop, details={"standard_error": values.standard_error()})
        scores: list[float] = []
        for first in range(0, self.count, size):
            scores += model.scores(starts[first : first + size], target).tolist()
            if len(scores) < self.count:
                yield result(SAMPLE * self.samples + len(scores), details={"standard_error": values.standard_error()})
        reference = float(np.array(scores)[which].mean())
        yield result(
            work,
            gap=float(sums.of("mean")) - (score - reference),
            details={
                "standard_error": values.standard_error(),
                "sum_standard_error": float(sums.standard_error()),
                "explained": score - reference,
                "baseline_score": reference,
            },
        )
