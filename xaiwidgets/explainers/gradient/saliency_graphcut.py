"""Weakly supervised segmentation: the object that a saliency map points at, cut out by its colors."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from xaiwidgets.core.cards import explainer, resolve
from xaiwidgets.core.knobs import MethodName, Range, knob
from xaiwidgets.core.results import Attribution
from xaiwidgets.engine import graphcut
from xaiwidgets.engine.cost import passes
from xaiwidgets.explainers.noise import check_wrapper

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from torch import Tensor

    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Target

#: Pixels of the longer side of what is cut; a larger picture is made smaller first, and its mask enlarged.
LONGEST = 224
NO_CONTRAST = "The map or the photo has no contrast: no outline was sought, the mask is the largest part of the seeds."


@explainer(
    id="saliency_graphcut",
    title="Saliency + graph cut",
    family="gradient",
    idea="Cuts out the object that a map points at, and draws a box around it.",
    cite="Simonyan, Vedaldi, Zisserman 2014; Boykov, Jolly 2001",
    paper="arXiv:1312.6034",
    section="2.3.2",
    needs=("gradient",),
    signed=False,
    formula="min over L of Σ −log P(color | L) + λ Σ [Lp ≠ Lq] exp(−‖Δcolor‖² / 2β) / distance",
    how="The strongest pixels of a saliency map are seeds of the object, the weakest ones of the background. Each kind "
    "gets a mixture model of its colors; a minimum cut then finds the outline that fits both models and follows the "
    "edges. The largest part and its box remain.",
    caution="An outline by color, not by the network: where object and background share colors it runs astray, and it "
    "looks sharp even where the map is wrong. One object only.",
)
class SaliencyGraphcut:
    """Mask and box of one object from a map's seeds (Simonyan et al. 2014, section 3.2; Boykov and Jolly 2001).

    Yields ``(1, H, W)``, 1 on the object and 0 elsewhere: the foreground seeds at each step of the base, then each
    pixel's own decision by color, then the largest part of the minimum cut. ``details``: ``mask`` (H, W), ``box`` (top,
    left, bottom, right; bottom and right not included; ``None`` for an empty mask), ``seeds`` (1, −1, 0 for unknown)
    and ``energy`` in nats of the labels so far. No error is defined for early results: the cut that they lead to is
    exact, its seeds are a choice, and energies compare only under the same color mixtures. Without contrast in map or
    photo, the mask is the seeds', with a note.

    Raises:
        InvalidKnob: ``base`` is not the id of another explainer.
    """

    base: str = knob(
        "saliency", MethodName(exclude=("saliency_graphcut",)), label="Around", help="The map that gives the seeds."
    )
    foreground: float = knob(
        0.95, Range(0.5, 0.99, step=0.01), label="Object from", help="Quantile of the map above which pixels are seeds."
    )
    background: float = knob(
        0.30, Range(0.01, 0.49, step=0.01), label="Background to", help="Quantile of the map below which they are."
    )
    smoothing: float = knob(
        2.0, Range(0.0, 20.0, step=0.5), label="Smoothing", help="Of the map before seeding; 0 in the paper.", unit="px"
    )
    smoothness: float = knob(
        50.0, Range(0.0, 500.0), label="Smoothness λ", help="What an outline costs, against the colors.", advanced=True
    )
    components: int = knob(5, Range(1, 10), label="Colors", help="Components of each color mixture.", advanced=True)
    refits: int = knob(
        0, Range(0, 3), label="Refits", help="Rounds of new mixtures from the last cut, as in GrabCut.", advanced=True
    )
    seed: int = knob(0, Range(0, 2**31 - 1), label="Seed", help="Of the mixtures' start.", advanced=True)

    def __post_init__(self) -> None:
        check_wrapper(self)

    def cost(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the (forward, backward) passes of one image: the base's."""
        forward, backward = resolve(self.base).cost(size)
        return forward, backward

    def cost_on(self, model: Model, size: tuple[int, int]) -> tuple[int, int]:
        """Return the passes on a network, for a base whose number of passes depends on it."""
        return passes(resolve(self.base), model, size)

    def steps(self, model: Model, image: Tensor, target: Target) -> Iterator[Attribution]:
        """Yield the seeds at every step of the base, then the decision by color, then every cut."""
        from xaiwidgets.engine.run import check_applicable

        base = resolve(self.base)
        check_applicable(base, model)
        for found in base.steps(model, image, target):
            seeds = self._seeds(found)
            known = partial(_result, found, target, seeds)
            yield known(seeds == graphcut.FOREGROUND, found.progress / 2)
        pixels = graphcut.shrunk(model.to_pixels(image), LONGEST)
        if not (seeds == graphcut.FOREGROUND).any() or not np.ptp(pixels, axis=(0, 1)).any():
            yield known(graphcut.largest_part(seeds == graphcut.FOREGROUND), 1.0, note=NO_CONTRAST)
            return
        pairs = graphcut.pairs_of(pixels, self.smoothness)
        costs = graphcut.color_costs(pixels, seeds, self.components, self.seed)
        labels = graphcut.decide(costs, seeds)
        share = 0.5 / (2 + self.refits)
        yield known(labels, 0.5 + share, graphcut.energy(labels, costs, pairs))
        for number in range(1 + self.refits):
            if number:
                costs = graphcut.color_costs(pixels, graphcut.as_seeds(labels), self.components, self.seed)
            labels = graphcut.cut(costs, seeds, pairs)
            done = 1.0 if number == self.refits else 0.5 + share * (number + 2)
            yield known(graphcut.largest_part(labels), done, graphcut.energy(labels, costs, pairs))

    def _seeds(self, found: Attribution) -> NDArray[np.int8]:
        from scipy.ndimage import gaussian_filter

        # a signed map says where by how strongly it speaks, for or against: on an object both signs lie side by side
        values = np.abs(found.heatmap().astype(np.float64))
        smooth = gaussian_filter(values, self.smoothing) if self.smoothing else values
        return graphcut.seeds_of(graphcut.shrunk(smooth, LONGEST), self.foreground, self.background)


def _result(
    found: Attribution,
    target: Target,
    seeds: NDArray[np.int8],
    labels: NDArray[np.bool_],
    progress: float,
    energy: float | None = None,
    note: str = "",
) -> Attribution:
    """Return the labels at the picture's size, as an attribution that keeps what the base found out."""
    mask = graphcut.enlarged(labels, found.size)
    details: dict[str, Any] = {
        "mask": mask,
        "box": graphcut.box_of(mask),
        "seeds": graphcut.enlarged(seeds, found.size),
    }
    if energy is not None:
        details["energy"] = energy
    return Attribution(
        values=mask[None],
        unit=f"foreground by {target.unit}",
        signed=False,
        size=found.size,
        progress=progress,
        layer=found.layer,
        score=found.score,
        notes=(*found.notes, note) if note else found.notes,
        details=details,
    )
