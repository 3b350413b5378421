"""What SmoothGrad, its moments, NoiseGrad and FusionGrad share: an explanation averaged over noise."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from xaiwidgets.core.cards import choices, resolve
from xaiwidgets.core.knobs import Choice, MethodName, Range, check_knobs, knob, knobs_of
from xaiwidgets.core.results import Attribution
from xaiwidgets.engine.cost import passes
from xaiwidgets.errors import InvalidKnob, did_you_mean
from xaiwidgets.explainers.onepass import OnePass, size_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from torch import Tensor

    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Target

#: The averages themselves, and means over methods. One around another would take the product of their passes.
AVERAGES = (
    *("smoothgrad", "smoothgrad_sq", "vargrad", "noisegrad", "fusiongrad"),
    *("agg_mean", "agg_var", "disagreement"),
)
#: A noisy network that runs fewer passes than this runs as built: preparing its fast copy would take longer.
WORTH_PREPARING = 16


def around() -> Any:
    """Return the knob for the explainer that is averaged."""
    return knob("saliency", MethodName(exclude=AVERAGES), label="Around", help="The map that is averaged.")


def which_moment() -> Any:
    """Return the knob for what is taken over the samples."""
    return knob(
        "mean",
        Choice(("mean", "square", "variance")),
        label="Average of",
        help="mean: SmoothGrad; square: SmoothGrad²; variance: VarGrad.",
        advanced=True,
    )


def seeded() -> Any:
    """Return the knob for the seed of the noise."""
    return knob(0, Range(0, 2**31 - 1), label="Seed", help="Same seed, same map.", advanced=True)


def photo_noise() -> Any:
    """Return the knob for the noise on the photo."""
    return knob(
        0.15,
        Range(0.0, 1.0, step=0.01),
        label="Noise level",
        help="Standard deviation of the noise as a share of the photo's range of values.",
    )


def weight_level() -> Any:
    """Return the knob for the noise on the weights."""
    return knob(
        0.02,
        Range(0.0, 1.0, step=0.005),
        label="Weight noise",
        help="Each weight is multiplied by a number with mean 1 and this standard deviation.",
    )


def check_wrapper(owner: Any) -> None:
    """Check the knobs of a frozen method with a ``base``, and that the base is an explainer that it may wrap.

    Raises:
        InvalidKnob: naming the knob.
    """
    check_knobs(owner)
    domains = (k.domain for k in knobs_of(owner) if k.name == "base")
    known = [card.id for domain in domains if isinstance(domain, MethodName) for card in choices(domain)]
    if owner.base not in known:
        hint = did_you_mean(owner.base, known)
        raise InvalidKnob(f"base must be one of the explainers {', '.join(known)}; got {owner.base!r}.{hint}")


@dataclass(frozen=True)
class Part:
    """Maps of a few samples, or of one that its base still refines.

    Attributes:
        values: ``(n, C, h, w)``. ``scores``: the target's, ``(n,)``.
        view: fields of the Attribution that say how to look at the base's values.
        progress: share of the work done.
    """

    values: NDArray[np.float32]
    scores: list[float]
    view: dict[str, Any]
    progress: float = 1.0


@dataclass(frozen=True)
class Average:
    """Moment of a base map over noisy networks, with noisy copies of the photo for each.

    Attributes:
        base: id of the explainer. ``seed``: of all noise.
        copies: for each network. ``photo``: level of their noise.
        networks: how many. ``weights``: level of their noise.
        moment: ``mean``, ``square`` or ``variance``.
    """

    base: str
    seed: int
    copies: int = 1
    photo: float = 0.0
    networks: int = 1
    weights: float = 0.0
    moment: str = "mean"

    def cost(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the (forward, backward) passes."""
        return self._all(resolve(self.base).cost(size))

    def cost_on(self, model: Model, size: tuple[int, int]) -> tuple[int, int]:
        """Return the passes on a network, for a base whose number of passes depends on it."""
        return self._all(passes(resolve(self.base), model, size))

    def _all(self, each: tuple[int, int]) -> tuple[int, int]:
        samples = self.networks * self.copies
        return samples * each[0] + 1, samples * each[1]

    def steps(self, model: Model, image: Tensor, target: Target) -> Iterator[Attribution]:
        """Yield the moment of what has been done so far."""
        from xaiwidgets.engine.moments import Moments
        from xaiwidgets.engine.run import check_applicable

        base = resolve(self.base)
        check_applicable(base, model)
        score = float(model.scores(image, target)[0])
        finished: tuple[Moments, list[float]] = Moments(), []
        for part, settled in self._parts(base, model, image, target):
            moments, scores = copy.copy(finished[0]), [*finished[1], *part.scores]
            moments.add(part.values)
            if settled:
                finished = moments, scores
            view = dict(part.view)
            if self.moment != "mean":
                view.update(unit=f"({view['unit']})²", signed=False)
            if self.weights:
                view["notes"] = (*view["notes"], self._warning(model, score, scores))
            yield Attribution(
                values=moments.of(self.moment),
                details={"standard_error": moments.standard_error(), "scores": np.array(scores, np.float32)},
                progress=part.progress,
                size=size_of(image),
                score=score,
                **view,
            )

    def _parts(self, base: Any, model: Model, image: Tensor, target: Target) -> Iterator[tuple[Part, bool]]:
        """Yield maps and whether they are finished: network after network, copies in batches if the base takes them."""
        from xaiwidgets.engine.batching import batch_size
        from xaiwidgets.engine.noise import noisy_copies, noisy_network

        batches = self.copies > 1 and isinstance(base, OnePass)
        many = self.weights > 0 and self.copies * sum(passes(base, model, size_of(image))) >= WORTH_PREPARING
        if many:  # measured once, on the model, and not on each network
            batch_size(model), batch_size(model, gradient=True)
        size, visit = (batch_size(model, gradient=True), _together) if batches else (1, _alone)
        samples = self.networks * self.copies
        for number in range(self.networks):
            network = noisy_network(model, self.weights, self.seed, number)
            if self.weights and not many:
                network = network.exactly()
            stop = (number + 1) * self.copies
            for start in range(number * self.copies, stop, size):
                numbers = range(start, min(start + size, stop))
                copies = noisy_copies(image, numbers, self.photo, self.seed)
                for part in visit(base, network, copies, target):
                    progress = (start + part.progress * len(numbers)) / samples
                    yield replace(part, progress=progress), part.progress == 1

    def _warning(self, model: Model, score: float, scores: list[float]) -> str:
        """Return a sentence on what the noise on the weights does to the network."""
        from xaiwidgets.engine.noise import is_calibrated

        origin = "not calibrated for this network (xaiwidgets.calibrate_noise finds what costs 5 % of its accuracy)"
        if is_calibrated(model, self.weights):
            origin = "calibrated on this network"
        spread = f" ± {np.std(scores, ddof=1):.3g}" if len(scores) > 1 else ""
        moved = f"the score moves from {score:.3g} to {np.mean(scores):.3g}{spread}"
        return f"Weight noise of {self.weights:.3g}, {origin}: {moved}."


class Averaged:
    """Mixin for the cards: each says what it averages."""

    @property
    def average(self) -> Average:
        """What is averaged over what."""
        raise NotImplementedError

    def __post_init__(self) -> None:
        check_wrapper(self)

    def cost(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the (forward, backward) passes of one image: the base's for each sample, and the photo's score."""
        return self.average.cost(size)

    def cost_on(self, model: Model, size: tuple[int, int]) -> tuple[int, int]:
        """Return the passes on a network."""
        return self.average.cost_on(model, size)

    def steps(self, model: Model, image: Tensor, target: Target) -> Iterator[Attribution]:
        """Yield the running moment after every batch; around a base of many steps, after each of its steps."""
        return self.average.steps(model, image, target)


def _together(base: OnePass, model: Model, images: Tensor, target: Target) -> Iterator[Part]:
    raw = base.raw(model, images, target)
    view = {"unit": base.unit(target), "notes": raw.notes, "layer": raw.layer, **base.view}
    yield Part(raw.values.detach().float().cpu().numpy(), raw.scores.tolist(), view)


def _alone(base: Any, model: Model, image: Tensor, target: Target) -> Iterator[Part]:
    for found in base.steps(model, image, target):
        view = {name: getattr(found, name) for name in ("unit", "notes", "reduction", "signed", "layer")}
        yield Part(found.values[None], [found.score], view, found.progress)
