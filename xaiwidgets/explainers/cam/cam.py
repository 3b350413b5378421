"""CAM: the class activation map of a network that ends in global average pooling."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from xaiwidgets.core.cards import explainer
from xaiwidgets.errors import NotApplicable
from xaiwidgets.explainers.cam.pooled import box_of, head_of, kernel, notes_of, threshold_knob
from xaiwidgets.explainers.onepass import OnePass, Raw, size_of

if TYPE_CHECKING:
    from torch import Tensor

    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Target


@explainer(
    title="CAM",
    family="cam",
    idea="The original class activation map: the class's own weights on the last maps, before they are averaged.",
    cite="Zhou, Khosla, Lapedriza, Oliva, Torralba 2016",
    paper="arXiv:1512.04150",
    section="2.3.6",
    needs=("gap_head",),
    formula="M(i,j) = Σₖ wₖ Aᵏ(i,j);  mean of M + bias = y",
    how="Such a network averages each map of its last layer and takes a weighted sum of the averages as the score of a "
    "class. Weighting the maps themselves says how much each place adds to that average. No gradient is needed, and "
    "one pass serves all classes.",
    caution="Only for networks that end in an average and one linear layer. Coarse, and shows the most telling part of "
    "an object rather than all of it.",
)
class Cam(OnePass):
    """Class activation map of a head of global average pooling (Zhou et al. 2016, eq. 2).

    Yields ``(1, h, w)`` in logits, signed, without the bias: the mean of the values plus the bias is the score, of
    which ``gap`` is what is missing. A hidden unit whose score is the mean of its map is explained by that map.
    ``details``: ``box``, around the largest connected part above a share of the maximum (ibid.), ``None``
    where no value is positive; ``bias``; ``accounted``, the mean of the values, and ``explained``, what it should be.

    Raises:
        NotApplicable: the network has no such head, or another score of a hidden unit is asked for.
    """

    threshold: float = threshold_knob("the maximum")

    def cost(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the (forward, backward) passes of one image."""
        return 1, 0

    def raw(self, model: Model, images: Tensor, target: Target) -> Raw:
        """Return the maps of a batch."""
        target = target.with_output("logit")
        if target.layer:
            maps, scores = _unit_maps(model, images, target)
            bias, layer, head = 0.0, target.layer, None
        else:
            head = head_of("cam", model)
            weight, bias = kernel(head, target)
            pooled, outputs = model.pooled(images)
            maps, scores = (pooled * weight[:, None, None]).sum(dim=1, keepdim=True), target.score(outputs)
            layer = head.layer
        mean, score = float(maps[0].mean()), float(scores[0])
        details = {
            "box": box_of(maps[0, 0], size_of(images), self.threshold),
            "bias": bias,
            "accounted": mean,
            "explained": score - bias,
        }
        return Raw(maps, scores, notes_of(model, head), layer, mean - (score - bias), details)

    def unit(self, target: Target) -> str:
        """Return that of the score: the mean of the values is a part of it."""
        return target.with_output("logit").unit

    @property
    def view(self) -> dict[str, Any]:
        """One map with evidence for and against."""
        return {"reduction": "sum", "signed": True}


def _unit_maps(model: Model, images: Tensor, target: Target) -> tuple[Tensor, Tensor]:
    """Return the maps ``(N, 1, h, w)`` of a hidden unit and its scores, their means."""
    if target.position != "mean" or not model.layer(target.layer).spatial:
        raise NotApplicable(
            "cam",
            "a class, or a unit of a spatial layer whose score is the mean of its map",
            f"{target.name} is none",
            ["grad_cam"],
        )
    maps = model.activations(images, [target.layer])[target.layer][:, target.channel : target.channel + 1]
    return maps, maps.mean(dim=(1, 2, 3))
