"""DeepSHAP: DeepLIFT against several references."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from xaiwidgets.core.cards import explainer
from xaiwidgets.core.knobs import Range, ReferenceName, knob
from xaiwidgets.core.results import Attribution
from xaiwidgets.explainers.compared import centered_knob, compare, gates_knob
from xaiwidgets.explainers.onepass import size_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Target


@explainer(
    id="deep_shap",
    title="DeepSHAP",
    family="relevance",
    idea="DeepLIFT averaged over several background photos, as an estimate of Shapley values.",
    cite="Lundberg, Lee 2017",
    paper="arXiv:1705.07874",
    section="2.3.4",
    needs=("gradient",),
    formula="(1/B) Σ DeepLIFT(x, x_b)",
    how="The photo is compared with one background photo after the other by DeepLIFT with the rescale rule, and the "
    "maps are averaged. The values add up to the score minus the mean score of the backgrounds; the standard error "
    "says how much they depend on which backgrounds were chosen.",
    caution="Approximates Shapley values as if the network were linear in its units. The backgrounds decide what "
    "counts as absent: few or odd ones give an odd map.",
)
class DeepShap:
    """Mean of DeepLIFT (Rescale) over background pictures (Lundberg & Lee 2017, section 4.2).

    Yields ``(C, H, W)`` in the unit of the score, signed, after every batch; the values sum to ``f(image)`` less the
    mean of ``f`` over the backgrounds so far. ``details["standard_error"]`` is that of the mean over backgrounds, same
    shape. Each background costs two passes, since the photo runs beside it.

    Raises:
        NotApplicable: an operation has no rule, or the network takes one image at a time.
        InvalidKnob: there is no such set of references.
    """

    effort: ClassVar[float] = 0.3  # its rules are cheaper than those that share out relevance

    references: str = knob(
        "photos", ReferenceName(), label="Backgrounds", help="The pictures that the photo is compared with."
    )
    count: int = knob(
        8, Range(1, 200, log=True), label="How many", help="At most so many of them, spread evenly over the set."
    )
    gates: str = gates_knob()
    centered: bool = centered_knob()

    def cost(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return two passes, forward and back, for each background that there is."""
        from xaiwidgets.model.references import find_references

        passes = 2 * len(find_references(self.references).chosen(self.count))
        return passes, passes

    def steps(self, model: Model, image: Tensor, target: Target) -> Iterator[Attribution]:
        """Yield the mean over the backgrounds so far, after every batch."""
        from xaiwidgets.engine.batching import batch_size
        from xaiwidgets.engine.moments import Moments
        from xaiwidgets.engine.references import images_of
        from xaiwidgets.model.references import find_references
        from xaiwidgets.surgery.deeplift import DeepLiftPolicy

        backgrounds = images_of(model, self.references, self.count, image)
        told = [find_references(self.references).sentence(self.count)]
        if bool((backgrounds == image).flatten(1).all(dim=1).any()):
            told.append("One of them is the picture itself, which shares out nothing and makes the mean smaller.")
        size = max(1, batch_size(model, gradient=True) // 2)
        mean, shared, below = Moments(), 0.0, 0.0
        for first in range(0, len(backgrounds), size):
            some = backgrounds[first : first + size]
            found = compare(
                "deep_shap",
                model,
                image.expand_as(some),
                some,
                target,
                lambda: DeepLiftPolicy(gates=self.gates),
                centered=self.centered,
            )
            mean.add(found.values.double().cpu().numpy())
            shared += float(found.values.double().sum())
            below += float(found.ends[1].double().sum())
            base = below / mean.count
            explained = float(found.ends[0][0]) - base
            yield Attribution(
                values=mean.of("mean"),
                unit=target.unit,
                signed=True,
                size=size_of(image),
                progress=min(1.0, (first + size) / len(backgrounds)),
                score=float(found.scores[0]),
                gap=shared / mean.count - explained,
                notes=(*found.notes, *told),
                details={
                    **found.details,
                    "explained": explained,
                    "baseline_score": base,
                    "standard_error": mean.standard_error(),
                    "backgrounds": mean.count,
                },
            )
