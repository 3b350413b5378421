"""SmoothGrad: the mean of an explanation over noisy copies of the picture, around any explainer."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from xaiwidgets.core.cards import cards, explainer, resolve
from xaiwidgets.core.knobs import Choice, MethodName, Range, check_knobs, knob
from xaiwidgets.core.results import Attribution
from xaiwidgets.errors import InvalidKnob, did_you_mean
from xaiwidgets.explainers.onepass import size_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from xaiwidgets.engine.moments import Moments
    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Target

    #: The maps so far, how the base looks at its own, and the share of the work done.
    Found = tuple[Moments, dict[str, Any], float]


@explainer(
    id="smoothgrad",
    title="SmoothGrad",
    family="gradient",
    idea="The mean of a map over noisy copies of the photo: sharper than any one of them.",
    cite="Smilkov, Thorat, Kim, Viégas, Wattenberg 2017",
    paper="arXiv:1706.03825",
    section="2.3.3",
    needs=("gradient",),
    formula="(1/n) Σ M(x + ε), ε ~ N(0, σ²)",
    how="Gaussian noise is added to the photo, the map is computed for each noisy copy, and the signed maps are "
    "averaged. What flickers cancels out; the standard error says how far the mean has settled.",
    caution="Inherits what its base map gets wrong; too much noise explains pictures the network never saw.",
)
class SmoothGrad:
    """Mean, mean square or variance of a base map over noisy inputs (Smilkov et al. 2017, section 3).

    Yields what the base yields; ``details["standard_error"]`` holds the standard error of the mean, same shape. Noise
    is drawn for each sample by its number, so the result does not depend on the batch size.

    Raises:
        InvalidKnob: ``base`` is not the id of another explainer.
    """

    samples: int = knob(24, Range(1, 512, log=True), label="Noisy copies", help="More is smoother and slower.")
    noise: float = knob(
        0.15,
        Range(0.0, 1.0, step=0.01),
        label="Noise level",
        help="Standard deviation of the noise as a share of the photo's range of values.",
    )
    base: str = knob("saliency", MethodName(exclude=("smoothgrad",)), label="Around", help="The map that is averaged.")
    moment: str = knob(
        "mean",
        Choice(("mean", "square", "variance")),
        label="Average of",
        help="mean: SmoothGrad; square: SmoothGrad²; variance: VarGrad.",
        advanced=True,
    )
    seed: int = knob(0, Range(0, 2**31 - 1), label="Seed", help="Same seed, same map.", advanced=True)

    def __post_init__(self) -> None:
        check_knobs(self)
        known = [card.id for card in cards("explainer") if card.cls is not type(self)]
        if self.base not in known:
            hint = did_you_mean(self.base, known)
            raise InvalidKnob(f"base must be one of the explainers {', '.join(known)}; got {self.base!r}.{hint}")

    def cost(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the (forward, backward) passes of one image: the base's for each copy, and the picture's score."""
        forward, backward = resolve(self.base).cost(size)
        return self.samples * forward + 1, self.samples * backward

    def steps(self, model: Model, image: Tensor, target: Target) -> Iterator[Attribution]:
        """Yield the running moment after every batch; around a base of many steps, after each of its steps."""
        from xaiwidgets.engine.run import check_applicable

        base = resolve(self.base)
        check_applicable(base, model)
        score = float(model.scores(image, target)[0])
        visit = self._batches if hasattr(base, "raw") else self._one_by_one
        for moments, view, progress in visit(base, model, image, target):
            if self.moment != "mean":
                view = {**view, "unit": f"({view['unit']})²", "signed": False}  # noqa: PLW2901 - a view of the view
            yield Attribution(
                values=moments.of(self.moment),
                details={"standard_error": moments.standard_error()},
                progress=progress,
                size=size_of(image),
                score=score,
                **view,
            )

    def _batches(self, base: Any, model: Model, image: Tensor, target: Target) -> Iterator[Found]:
        """Visit the copies batch by batch, for a base that takes batches."""
        from xaiwidgets.engine.batching import batch_size
        from xaiwidgets.engine.moments import Moments

        moments, size = Moments(), batch_size(model, gradient=True)
        for start in range(0, self.samples, size):
            numbers = range(start, min(start + size, self.samples))
            raw = base.raw(model, self._noisy(image, numbers), target)
            moments.add(raw.values.float().cpu().numpy())
            view = {"unit": base.unit(target), "notes": raw.notes, "layer": raw.layer, **base.view}
            yield moments, view, numbers.stop / self.samples

    def _one_by_one(self, base: Any, model: Model, image: Tensor, target: Target) -> Iterator[Found]:
        """Visit one copy after another; a map that its base still refines counts as it is for the time being."""
        from xaiwidgets.engine.moments import Moments

        moments = Moments()
        for number in range(self.samples):
            trial = moments
            for result in base.steps(model, self._noisy(image, range(number, number + 1)), target):
                trial = copy.copy(moments)
                trial.add(result.values[None])
                view = {name: getattr(result, name) for name in ("unit", "notes", "reduction", "signed", "layer")}
                yield trial, view, (number + result.progress) / self.samples
            moments = trial

    def _noisy(self, image: Tensor, numbers: range) -> Tensor:
        import torch

        spread = self.noise * float(image.max() - image.min())
        copies = []
        for number in numbers:
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + number)
            copies.append(torch.randn(image.shape[1:], generator=generator))
        return image + spread * torch.stack(copies).to(image)
