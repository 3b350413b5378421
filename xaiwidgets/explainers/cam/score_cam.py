"""Score-CAM."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xaiwidgets.core.cards import explainer
from xaiwidgets.core.knobs import Choice, Range, knob
from xaiwidgets.core.results import Attribution
from xaiwidgets.explainers.cam.layered import positive, which_layer
from xaiwidgets.explainers.cam.weighting import layer_for
from xaiwidgets.explainers.onepass import size_of, to_numpy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Target


@explainer(
    title="Score-CAM",
    family="cam",
    idea="Weights each channel by the score that is left when only what it lights up is shown.",
    cite="Wang, Wang, Du, Yang, Zhang, Ding, Mardziel, Hu 2020",
    paper="arXiv:1910.01279",
    section="2.3.10",
    needs=("spatial",),
    signed=False,
    formula="ReLU( Σₖ αₖ Aᵏ ),  α = softmax over k of f(x ⊙ Hᵏ),  Hᵏ = Aᵏ enlarged and stretched to [0, 1]",
    how="Each channel of the layer becomes a mask over the photo. How high the class scores on the masked photo is the "
    "channel's weight in the sum; no gradient is needed.",
    caution="Masked photos are unlike any that the network has seen. The softmax leaves a few channels with nearly all "
    "weight, so the map may rest on one mask. Channels are taken by how much they vary, up to the number chosen.",
)
class ScoreCam:
    """Channels weighted by the score of the photo seen through them (Wang et al. 2020, section 3.2).

    Yields ``(1, h, w)`` in units of activation, at least 0 with ``relu``, channels with the largest spread over the
    layer's places first; channels without any are left out. ``details["weights"]`` holds the weight of each channel,
    NaN where it was not looked at. The authors' program weights by the probability, without the softmax over channels
    (``weights="probability"``). A constant added to all scores, such as that of the empty picture, changes nothing.

    Raises ``InvalidLayer`` for a layer that does not exist or gives no map.
    """

    channels: int = knob(128, Range(1, 8192, log=True), label="Channels", help="At most as many as the layer has.")
    output: str = knob(
        "logit",
        Choice(("logit", "probability", "log_probability")),
        label="Score",
        help="What the softmax over channels is taken of.",
        advanced=True,
    )
    weights: str = knob(
        "softmax",
        Choice(("softmax", "probability")),
        label="Weights",
        help="softmax over channels, as in the paper; probability: of the class, as in the authors' program.",
        advanced=True,
    )
    layer: str = which_layer()
    relu: bool = positive("Off keeps what negative activations contribute.")

    def cost(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the most (forward, backward) passes of one image: one a channel, the activations', and the score's."""
        return self.channels + 2, 0

    def cost_on(self, model: Model, size: tuple[int, int]) -> tuple[int, int]:
        """Return the passes on a network, whose layer may have fewer channels."""
        return min(self.channels, model.layer(self.layer, spatial=True).shape[0]) + 2, 0

    def steps(self, model: Model, image: Tensor, target: Target) -> Iterator[Attribution]:
        """Yield the map of the channels so far after every batch of masks."""
        import torch
        from torch.nn import functional

        from xaiwidgets.engine.perturb import perturbed_scores

        layer = layer_for("score_cam", model, target, self.layer).name
        maps = model.activations(image, [layer])[layer][0]
        score = float(model.scores(image, target)[0])
        asked = target.with_output("probability" if self.weights == "probability" else self.output)
        order = _by_spread(maps)[: self.channels]
        size = size_of(image)
        found = torch.full((len(maps),), float("nan"), dtype=torch.float64)
        done = torch.zeros(len(maps), dtype=torch.bool)

        def look_through(copies: Tensor, numbers: range) -> None:
            part = maps[order[numbers.start : numbers.stop]][:, None]
            large = functional.interpolate(part, size, mode="bilinear", align_corners=False).flatten(1)
            low, high = large.aminmax(dim=1, keepdim=True)
            mask = large.sub_(low).div_((high - low).clamp_min(torch.finfo(large.dtype).tiny))
            torch.mul(image, mask.reshape(-1, 1, *size), out=copies)

        def result(progress: float) -> Attribution:
            shares = found[done] if self.weights == "probability" else found[done].softmax(dim=0)
            total = (shares.to(maps)[:, None, None] * maps[done.to(maps.device)]).sum(dim=0)[None, None]
            every = torch.full_like(found, float("nan"))
            every[done] = shares
            return Attribution(
                values=to_numpy(total.clamp_min(0) if self.relu else total),
                unit="activation",
                signed=not self.relu,
                size=size,
                progress=progress,
                layer=layer,
                score=score,
                notes=_notes(len(order), len(maps)),
                details={"weights": every.float().numpy()},
            )

        for numbers, scores in perturbed_scores(model, image, asked, len(order), look_through, fresh=False):
            chosen = order[numbers.start : numbers.stop].cpu()
            found[chosen], done[chosen] = scores.double().cpu(), True
            yield result(numbers.stop / len(order))
        if not len(order):
            yield result(1.0)


def _by_spread(maps: Tensor) -> Tensor:
    """Return the channels of maps ``(K, h, w)`` by how much they vary over places, without those that do not."""
    import torch

    places = maps.flatten(1).double()
    low, high = places.aminmax(dim=1)
    rounding = 16 * torch.finfo(maps.dtype).eps * torch.maximum(low.abs(), high.abs())
    order = places.std(dim=1, correction=0).argsort(descending=True, stable=True)
    return order[(high - low > rounding)[order]]


def _notes(looked: int, every: int) -> tuple[str, ...]:
    if not looked:
        return ("No channel of this layer varies over the photo, so there is nothing to weight.",)
    return (f"{looked:,} of the layer's {every:,} channels, those that vary most.",) if looked < every else ()
