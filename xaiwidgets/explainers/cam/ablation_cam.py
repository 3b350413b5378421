"""Ablation-CAM."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xaiwidgets.core.cards import explainer
from xaiwidgets.core.knobs import Range, knob
from xaiwidgets.core.results import Attribution
from xaiwidgets.explainers.cam.layered import positive, which_layer
from xaiwidgets.explainers.cam.weighting import layer_for
from xaiwidgets.explainers.onepass import size_of, to_numpy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Target

#: A score below this share of the largest change is too near 0 to divide by.
NEAR_ZERO = 1e-3


@explainer(
    title="Ablation-CAM",
    family="cam",
    idea="Weights each channel by how much the score falls when that channel is switched off.",
    cite="Desai, Ramaswamy 2020",
    paper="doi:10.1109/WACV45572.2020.9093360",
    section="2.3.10",
    needs=("spatial",),
    signed=False,
    formula="ReLU( Σₖ wₖ Aᵏ ),  wₖ = (y − y with Aᵏ = 0) / y",
    how="One channel of the layer after another is set to zero, and the rest of the network is run again. The share of "
    "the score that goes with a channel is its weight; no gradient is needed, so none can saturate.",
    caution="Channels that stand in for one another hide each other's worth. A score near zero makes shares that mean "
    "nothing: then the changes themselves are the weights, and the result says so.",
)
class AblationCam:
    """Channels weighted by the share of the score that goes with them (Desai and Ramaswamy 2020, eq. 3 and 4).

    Yields ``(1, h, w)`` in units of activation, at least 0 with ``relu``, channels with the largest activations first.
    ``details["weights"]`` holds the weight of each channel, NaN where it was not looked at. What comes before the layer
    runs once where the network allows it (see ``Model.tail``).

    Raises ``InvalidLayer`` for a layer that does not exist or gives no map.
    """

    channels: int = knob(8192, Range(1, 8192, log=True), label="Channels", help="At most as many as the layer has.")
    layer: str = which_layer()
    relu: bool = positive("Off shows evidence against, too.")

    def cost(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the most (forward, backward) passes of one image: one a channel, and the whole picture's."""
        return self.channels + 1, 0

    def cost_on(self, model: Model, size: tuple[int, int]) -> tuple[int, int]:
        """Return the passes on a network, whose layer may have fewer channels."""
        return min(self.channels, model.layer(self.layer, spatial=True).shape[0]) + 1, 0

    def effort_on(self, model: Model, size: tuple[int, int]) -> float:
        """Return how heavy its passes are: only what follows the layer is run."""
        from xaiwidgets.engine.share import share_after

        return share_after(model, model.layer(self.layer, spatial=True).name) if model.stages else 1.0

    def steps(self, model: Model, image: Tensor, target: Target) -> Iterator[Attribution]:
        """Yield the map of the channels so far after every batch of them."""
        import torch

        from xaiwidgets.engine.perturb import altered_scores

        layer = layer_for("ablation_cam", model, target, self.layer).name
        tail = model.tail(image, target, layer)
        maps, score = tail.activation[0], float(tail.score[0])
        order = maps.double().square().sum(dim=(1, 2)).argsort(descending=True, stable=True)[: self.channels].tolist()
        falls = torch.full((len(maps),), float("nan"), dtype=torch.float64)
        done = torch.zeros(len(maps), dtype=torch.bool)

        def switch_off(copies: Tensor, numbers: range) -> None:
            for copy, number in zip(copies, numbers, strict=True):
                copy[order[number]] = 0

        for numbers, scores in altered_scores(model, tail.activation, tail.scores, len(order), switch_off):
            chosen = order[numbers.start : numbers.stop]
            falls[chosen], done[chosen] = score - scores.double().cpu(), True
            tiny = abs(score) <= NEAR_ZERO * float(falls[done].abs().max())
            weights = falls if tiny or not score else falls / score
            total = (torch.where(done, weights, 0.0).to(maps)[:, None, None] * maps).sum(dim=0)[None, None]
            yield Attribution(
                values=to_numpy(total.clamp_min(0) if self.relu else total),
                unit=f"activation × {target.unit}" if tiny else "activation",
                signed=not self.relu,
                size=size_of(image),
                progress=numbers.stop / len(order),
                layer=layer,
                score=score,
                notes=_notes(model, len(order), len(maps), tiny=tiny, whole=tail.whole),
                details={"weights": weights.float().numpy()},
            )


def _notes(model: Model, looked: int, every: int, *, tiny: bool, whole: bool) -> tuple[str, ...]:
    notes = []
    if tiny:
        notes.append("The score is near 0: changes of it are the weights, not shares.")
    if looked < every:
        notes.append(f"{looked:,} of the layer's {every:,} channels, the strongest.")
    if whole:
        notes.append(f"{model.name} cannot be run from the layer on: each channel took a pass of all of it.")
    return tuple(notes)
