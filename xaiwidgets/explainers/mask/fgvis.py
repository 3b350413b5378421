"""FGVis: a mask for each pixel and color, learned behind a filter that keeps adversarial signals out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from xaiwidgets.core.cards import explainer
from xaiwidgets.core.knobs import Choice, Flag, Range, knob
from xaiwidgets.core.results import Attribution
from xaiwidgets.explainers.onepass import covered, ruled_pass, size_of, to_numpy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from xaiwidgets.model.model import Model
    from xaiwidgets.model.passes import Gradients
    from xaiwidgets.model.propagate import Propagation
    from xaiwidgets.model.targets import Target
    from xaiwidgets.surgery.bounded import BoundsWatch

SILENT = (
    "No signal comes back to the photo from here: try the logit as score, another fill, noise, or a start from the "
    "whole photo."
)

#: A deletion that ends within this part of its steps had too long ones, and begins again with shorter ones; never with
#: any shorter than the last of these numbers.
EARLY, FINER, FINEST = 10, 5.0, 0.004


@explainer(
    id="fgvis",
    title="FGVis",
    family="mask",
    idea="Learns which single pixels and colors carry the class, as fine as the photo itself.",
    cite="Wagner, Köhler, Gindele, Hetzel, Wiedemer, Behnke 2019",
    paper="arXiv:1908.02686",
    section="2.3.10",
    needs=("gradient",),
    signed=False,
    formula="deletion: min over m of f(e) + λ Σ (1 − m); preservation: min −f(e) + λ Σ m; e = m x + (1 − m) r; "
    "at each activation h:  R ← R · 1[min(0, h(x)) ≤ h(e) ≤ max(0, h(x))]",
    how="Every color value of every pixel has a mask of its own, without smoothing, and moves against the gradient. "
    "That would find adversarial noise; so on the way back no signal passes a unit that is more active than it is for "
    "the whole photo: a mask can only take away evidence that was there. Deletion ends when the class changes.",
    caution="Fine grain is not certainty: another start or step size finds other pixels. Switch the defense off to see "
    "how an unfiltered mask fills with noise, even for a class that is not there. With the defense, an empty map can "
    "mean that all signals are blocked.",
)
class FGVis:
    """Mask per pixel and color, deletion or preservation game (Wagner et al. 2019, sections 3.1 to 3.3).

    Yields ``(C, H, W)`` in [0, 1] after every step: how much of each value is taken away (deletion, 1 − m) or kept
    (preservation, m). Steps go along the gradient over its largest absolute value. The bounds are the photo's own
    activations, recorded once, so nothing filters the first step of a deletion. Where that alone loses the class, a
    deletion (one that ends within a tenth of its steps) begins again with a fifth of the step, at most twice.

    ``details``: ``curves``, ``score`` and ``area`` by step, of the mask before it; ``image``, what the network sees
    under the mask, ``(H, W, C)`` in [0, 1]; ``step`` of ``planned`` steps; ``under``, at the end, the score under the
    finished mask; ``changed``, the steps after which another class was on top, if a deletion ended so; ``coverage``,
    what the filter covered.

    Raises ``NotApplicable``: with the defense, an activation that the filter has no meaning for.
    """

    curves: ClassVar[tuple[str, ...]] = ("score", "area")
    effort: ClassVar[float] = 1.6  # the filter at each activation
    game: str = knob(
        "deletion",
        Choice(("deletion", "preservation")),
        label="Game",
        help="deletion: the values that must go to lose the class; preservation: those that keep it.",
    )
    iterations: int = knob(80, Range(1, 1000, log=True), label="Steps", help="When to stop; the paper takes 500.")
    defend: bool = knob(
        True, Flag(), label="Defense", help="Stop signals to units that are more active than for the whole photo."
    )
    stop: bool = knob(
        True, Flag(), label="Stop at new class", help="A deletion ends when another class has come to the top."
    )
    sparsity: float = knob(
        1e-8, Range(0.0, 1.0), label="Sparsity λ", help="What each value costs, against the score's slope."
    )
    rate: float = knob(
        0.1,
        Range(0.005, 1.0, step=0.005),
        label="Step size",
        help="How far the value with the steepest slope moves.",
        advanced=True,
    )
    finer: bool = knob(
        True,
        Flag(),
        label="Finer steps",
        help="A deletion that loses the class within a tenth of its steps begins again with steps a fifth as long.",
        advanced=True,
    )
    fill: str = knob(
        "mean",
        Choice(("mean", "black", "white", "gray", "blur", "border")),
        label="Fill",
        help="What shows where the photo is taken away; mean: the data set's mean color, as in the paper.",
        advanced=True,
    )
    output: str = knob(
        "paper",
        Choice(("paper", "probability", "logit", "log_probability")),
        label="Score",
        help="What is lowered or kept up. As in the paper: a deletion lowers the probability, a preservation the "
        "cross-entropy, which is the log probability with the other sign.",
        advanced=True,
    )
    start: str = knob(
        "nothing",
        Choice(("nothing", "whole")),
        label="Start from",
        help="Of a preservation: from nothing kept, or from the whole photo. A deletion starts from the whole photo.",
        advanced=True,
    )
    noise: float = knob(
        0.0,
        Range(0.0, 1.0, step=0.05),
        label="Noise",
        help="Standard deviation of noise on what the network sees, drawn anew at each step; 0 is off.",
        advanced=True,
    )
    seed: int = knob(0, Range(0, 2**31 - 1), label="Seed", help="Of the noise.", advanced=True)

    def cost(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the (forward, backward) passes of one image; a deletion that ends at a new class takes fewer."""
        return self.iterations + 2, self.iterations

    def steps(self, model: Model, image: Tensor, target: Target) -> Iterator[Attribution]:
        """Yield the mask after every step."""
        import torch

        from xaiwidgets.engine.baselines import baseline

        deletes = self.game == "deletion"
        paper = "probability" if deletes else "log_probability"
        target = target.with_output(paper if self.output == "paper" else self.output)
        cover = baseline(model, image, self.fill)
        score, watch, kept_notes = self._whole(model, image, target)
        notes = kept_notes
        mask = torch.ones_like(image) if deletes or self.start == "whole" else torch.zeros_like(image)
        curves: dict[str, list[float]] = {"score": [], "area": []}
        details: dict[str, Any] = {
            "curve_words": {"score": target.unit, "area": f"share {'taken away' if deletes else 'kept'}"},
            "ends": ("seen as it is", "taken away") if deletes else ("taken away", "seen as it is"),
        }

        def result(progress: float, *more: str, **found: float) -> Attribution:
            kept = to_numpy(mask)
            return Attribution(
                values=1 - kept if deletes else kept,
                unit=f"share taken away to lower the {target.unit}" if deletes else f"share kept for the {target.unit}",
                signed=False,
                size=size_of(image),
                reduction="mean",
                progress=progress,
                score=score,
                notes=(*more, *notes),
                details={
                    "curves": {name: np.array(values, np.float32) for name, values in curves.items()},
                    "step": len(curves["score"]),
                    "planned": self.iterations - begun,
                    "image": model.to_pixels(torch.lerp(cover, image, mask)).clip(0, 1),
                    **details,
                    **found,
                },
            )

        first, rate, begun = -1, self.rate, 0
        for step in range(self.iterations):
            seen = torch.lerp(cover, image, mask)  # exactly the photo where all of it is kept
            if self.noise:
                generator = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
                noise = torch.randn(image.shape, generator=generator, dtype=torch.float64)
                seen = seen + self.noise * noise.to(image)
            found, slope = self._slope(model, seen, target, watch)
            now, top = float(found.score[0]), int(found.outputs[0].argmax())
            first = top if first < 0 else first
            if deletes and self.stop and top != first:
                done, was, is_now = step - begun, model.labels.short(first), model.labels.short(top)
                if self.finer and done <= self.iterations // EARLY and rate >= FINEST * FINER:
                    rate, begun, mask = rate / FINER, step + 1, torch.ones_like(image)
                    notes = (*kept_notes, f"Steps are {rate:g} long: with longer ones, the class was lost at once.")
                    curves["score"].clear()
                    curves["area"].clear()
                    continue
                planned = self.iterations - begun
                note = f"Stopped after {done} of {planned} steps: the class changes from {was} to {is_now}."
                yield result(1.0, self._ending(mask, target, score, now), note, under=now, changed=done)
                return
            details.update(covered(found))
            curves["score"].append(now)
            curves["area"].append(float((1 - mask).mean() if deletes else mask.mean()))
            # both games follow the same slope, down or up: of f − λ Σ m
            arrived = (image - cover) * slope
            told = () if arrived.any() else (SILENT,)
            uphill = arrived - self.sparsity
            steepest = float(uphill.abs().max())
            if steepest > 0:
                way = -1 if deletes else 1
                mask = (mask + way * rate / steepest * uphill).clamp(0, 1)
            yield result((step + 1) / (self.iterations + 1), *told)
        under = float(model.scores(torch.lerp(cover, image, mask), target)[0])
        yield result(1.0, self._ending(mask, target, score, under), *told, under=under)

    def _whole(self, model: Model, image: Tensor, target: Target) -> tuple[float, BoundsWatch | None, tuple[str, ...]]:
        """Return the photo's score, its activations as bounds, and what to say about them."""
        if not self.defend:
            return float(model.scores(image, target)[0]), None, ("Without the defense: expect adversarial noise.",)
        from xaiwidgets.surgery.bounded import BoundsWatch

        found, watch = ruled_pass("fgvis", model, image, target, BoundsWatch, start=lambda _source, _scores: ())
        return float(found.score[0]), watch, ()

    def _slope(
        self, model: Model, seen: Tensor, target: Target, watch: BoundsWatch | None
    ) -> tuple[Gradients | Propagation, Tensor]:
        """Return a pass on what the network sees, and the score's slope by it, filtered if there are bounds."""
        if watch is None:
            plain = model.gradient(seen, target)
            return plain, plain.input
        from xaiwidgets.model.propagate import unit_start
        from xaiwidgets.surgery.bounded import FilterPolicy

        bounds = watch.bounds
        found, _ = ruled_pass("fgvis", model, seen, target, lambda: FilterPolicy(bounds), start=unit_start)
        return found, found.inputs[0]

    def _ending(self, mask: Tensor, target: Target, score: float, under: float) -> str:
        """Return what the finished mask does, in words."""
        deletes = self.game == "deletion"
        area, way = float((1 - mask).mean() if deletes else mask.mean()), "taken away" if deletes else "kept"
        return f"With {area:.2%} of the photo {way}, the {target.unit} goes from {score:.3g} to {under:.3g}."
