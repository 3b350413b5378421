"""XRAI: integrated gradients gathered into regions."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from xaiwidgets.core.cards import explainer
from xaiwidgets.core.knobs import Choice, Range, knob
from xaiwidgets.core.results import Attribution
from xaiwidgets.engine import regions
from xaiwidgets.engine.quadrature import early_first, nodes
from xaiwidgets.explainers.onepass import size_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray
    from torch import Tensor

    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Target

#: Results while regions are chosen; and the shares of the progress that the path and the segmentation take.
RESULTS, PATH, SEGMENTED = 16, 0.6, 0.9


@explainer(
    id="xrai",
    title="XRAI",
    family="gradient",
    idea="Which regions of the photo speak for the class: integrated gradients, gathered into segments.",
    cite="Kapishnikov, Bolukbasi, Viégas, Terry 2019",
    paper="arXiv:1906.02825",
    section="2.3.3",
    needs=("gradient",),
    formula="next region = argmax over segments s of mean of a over s ∖ M; M ← M ∪ s",
    how="Integrated gradients from black and from white are averaged. The photo is cut into segments, coarse and fine, "
    "and the segment whose new pixels have the largest mean attribution is added again and again. Every region shows "
    "that mean.",
    caution="The outlines are the photo's own, found without the network: a region may light up for a small part. "
    "Inherits the baselines' blind spots.",
)
class Xrai:
    """Regions by mean attribution, greedily chosen from overlapping segments (Kapishnikov et al. 2019, section 3).

    Yields ``(1, H, W)`` in the unit of the score, signed: the attribution of pixels along the path, then the means of
    ever coarser segments, then the regions in the order they are chosen; pixels of none have their mean, so each map
    sums to the attribution's. ``details``: ``order`` (H, W), 1 for the first region and 0 for none (see
    ``engine.regions.top`` for the regions of the first k percent), ``gains`` and ``areas`` (share of the picture) by
    region, and the ``attribution`` (H, W). With channels added up, ``gap`` is the completeness error of the path so
    far, from the first result on; for the largest channel, which sums to nothing known, no error is defined, nor is
    there one for the choice of regions. ``Look(regions=20)`` draws only the first regions, without another run.
    """

    points: int = knob(24, Range(2, 256, log=True), label="Path points", help="From each of the two baselines.")
    algorithm: str = knob(
        "full",
        Choice(("full", "fast")),
        label="Ranking",
        help="full: anew after each region; fast: once, by whole means.",
    )
    area: float = knob(
        1.0, Range(0.05, 1.0, step=0.05), label="Area", help="Share of the photo that regions are chosen for."
    )
    channels: str = knob(
        "max",
        Choice(("max", "sum")),
        label="Colors",
        help="max: the authors' program; sum: the paper, and complete.",
        advanced=True,
    )
    baselines: str = knob(
        "black and white",
        Choice(("black and white", "darkest and brightest")),
        label="Baselines",
        help="The ends of the scale, or the photo's own least and largest value.",
        advanced=True,
    )
    dilation: int = knob(
        5, Range(0, 20), label="Dilation", help="How far segments reach over their edges.", unit="px", advanced=True
    )
    least: int = knob(
        50, Range(1, 2000), label="Least pixels", help="That a region must add.", unit="px", advanced=True
    )

    def cost(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the (forward, backward) passes of one image: both paths, the score, and for a sum the baselines'."""
        return 2 * self.points + (3 if self.channels == "sum" else 1), 2 * self.points

    def steps(self, model: Model, image: Tensor, target: Target) -> Iterator[Attribution]:
        """Yield after every batch of the path, every segmentation, and some of the regions."""
        score = float(model.scores(image, target)[0])
        ends = self._ends(model, image)
        plain = partial(Attribution, unit=target.unit, signed=True, size=size_of(image), score=score)
        result, whole = plain, dict[str, Any]()
        if self.channels == "sum":
            whole["explained"] = score - float(model.scores(ends, target).double().mean())
        for total, done in self._path(model, image, ends, target):
            attribution = total.max(axis=0) if self.channels == "max" else total.sum(axis=0)
            if whole:
                result = partial(plain, gap=float(attribution.sum()) - whole["explained"])
            yield result(values=attribution[None].astype(np.float32), progress=PATH * done)
        whole = {"attribution": attribution, **whole}
        pixels = model.to_pixels(image)
        segments: list[NDArray[np.intp]] = []
        for number, scale in enumerate(regions.SCALES, 1):
            labels = regions.labels_at(pixels, scale)
            segments += regions.segments_of(labels, self.dilation)
            done = PATH + (SEGMENTED - PATH) * number / len(regions.SCALES)
            yield result(values=regions.segment_means(attribution, labels)[None].astype(np.float32), progress=done)
        chosen, shown = regions.Regions(attribution), 0.0
        for _ in chosen.grow(segments, least=self.least, area=self.area, fast=self.algorithm == "fast"):
            share = chosen.share / self.area
            if share >= shown + 1 / RESULTS and share < 1:
                shown = share
                yield _chosen(result, whole, chosen, SEGMENTED + (1 - SEGMENTED) * share)
        yield _chosen(result, whole, chosen, 1.0)

    def _ends(self, model: Model, image: Tensor) -> Tensor:
        """Return the two baselines, ``(2, C, H, W)``."""
        import torch

        from xaiwidgets.engine.baselines import baseline

        if self.baselines == "black and white":
            return torch.cat([baseline(model, image, name) for name in ("black", "white")])
        return torch.cat([torch.full_like(image, float(level)) for level in (image.min(), image.max())])

    def _path(
        self, model: Model, image: Tensor, ends: Tensor, target: Target
    ) -> Iterator[tuple[NDArray[np.float64], float]]:
        """Yield the mean of both path integrals ``(C, H, W)`` over the points visited so far, and their share."""
        import torch

        from xaiwidgets.engine.batching import batch_size

        alphas, weights = nodes("riemann_middle", self.points)
        # both baselines take turns, so that a prefix has seen as much of the one as of the other
        order, end = early_first(self.points).repeat(2), torch.arange(2).repeat(self.points)
        size = batch_size(model, gradient=True)
        total = torch.zeros_like(image[0], dtype=torch.float64)
        for first in range(0, len(order), size):
            chosen = slice(first, first + size)
            starts = ends[end[chosen]]
            path, share = (
                torch.as_tensor(v[order[chosen]], dtype=torch.float64, device=image.device).reshape(-1, 1, 1, 1)
                for v in (alphas, weights)
            )
            found = model.gradient(torch.lerp(starts, image, path.to(image.dtype)), target).input
            total += ((image - starts).double() * found.double() * share / 2).sum(dim=0)
            last = min(first + size, len(order))
            yield (total * (len(order) / last)).cpu().numpy(), last / len(order)


def _chosen(
    result: Callable[..., Attribution], whole: dict[str, Any], chosen: regions.Regions, progress: float
) -> Attribution:
    """Return the regions so far, with the list of them and what is known of the whole."""
    listed = {
        "order": chosen.order.copy(),
        "gains": np.array(chosen.gains),
        "areas": np.bincount(chosen.order.ravel())[1:] / chosen.order.size,
    }
    return result(values=chosen.values()[None].astype(np.float32), progress=progress, details={**listed, **whole})
