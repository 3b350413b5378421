"""Smooth Grad-CAM++."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from xaiwidgets.core.cards import explainer
from xaiwidgets.core.knobs import Choice, LayerName, Range, knob
from xaiwidgets.core.results import Attribution
from xaiwidgets.explainers.cam.layered import positive
from xaiwidgets.explainers.cam.maps import assumptions
from xaiwidgets.explainers.cam.weighting import layer_pair
from xaiwidgets.explainers.noise import photo_noise, seeded
from xaiwidgets.explainers.onepass import size_of, to_numpy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Target


@explainer(
    id="smooth_grad_cam_pp",
    title="Smooth Grad-CAM++",
    family="cam",
    idea="Grad-CAM++ with derivatives averaged over noisy copies of the photo.",
    cite="Omeiza, Speakman, Cintas, Weldermariam 2019",
    paper="arXiv:1908.01224",
    section="2.3.9",
    needs=("gradient", "spatial"),
    signed=False,
    formula="ReLU( Σₖ wₖ Aᵏ ),  wₖ = Σᵢⱼ αᵏᵢⱼ ReLU(D₁),  α = D₂ / (2D₂ + (Σ Aᵏ) D₃),  Dₚ = mean of gᵖ over x + ε",
    how="Gaussian noise is added to the photo, and the first, second and third derivatives that Grad-CAM++ is made of "
    "are averaged over the noisy copies. The activations are those of the photo itself. Derivatives are averaged, not "
    "finished maps.",
    caution="As little class-specific as Grad-CAM++. Where only a mean and a linear layer follow, gradients are "
    "constant and the noise changes nothing; where it turns their sign, factors grow without bound: watch the standard "
    "error.",
)
class SmoothGradCamPP:
    """Grad-CAM++ from derivatives averaged over noisy inputs (Omeiza et al. 2019, section 3).

    Yields ``(1, h, w)`` in the unit of the score, at least 0 with ``relu``; ``details["standard_error"]``, same shape,
    is a jackknife's over groups of copies. Noise is drawn for each copy by its number, so the result does not depend on
    the batch size. Without noise it is Grad-CAM++.

    What is reviewed as equations 9 and 10 (section 2.3.9) is the same with an index in two meanings; it has no ReLU at
    the end (``relu=False``). The paper prints D₁ on top of α (``numerator="paper"``, then in units of activation); D₂
    is what follows from Grad-CAM++, and the default. Raises ``InvalidLayer`` for a layer that does not exist or gives
    no map.
    """

    effort: ClassVar[float] = 0.6  # the gradient stops at the layer

    layer: str = knob("", LayerName(), label="Layer", help="Empty: the last spatial stage.")
    samples: int = knob(12, Range(1, 512, log=True), label="Noisy copies", help="More is smoother and slower.")
    numerator: str = knob(
        "d2",
        Choice(("d2", "paper")),
        label="On top of α",
        help="d2: the mean second derivative, as in Grad-CAM++; paper: the first, as printed.",
        advanced=True,
    )
    noise: float = photo_noise()
    relu: bool = positive("Off keeps what negative activations contribute.")
    seed: int = seeded()

    def cost(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the (forward, backward) passes of one image: one of each a copy, and the photo's own."""
        return self.samples + 1, self.samples + 1

    def steps(self, model: Model, image: Tensor, target: Target) -> Iterator[Attribution]:
        """Yield the map of the derivatives so far, after every batch of copies."""
        from xaiwidgets.engine.batching import batch_size
        from xaiwidgets.engine.noise import noisy_copies
        from xaiwidgets.explainers.cam.derivatives import Derivatives

        activation, _, scores, layer = layer_pair("smooth_grad_cam_pp", model, image, target, self.layer)
        found = Derivatives(activation)
        size, notes = batch_size(model, gradient=True), assumptions(model, activation)
        for start in range(0, self.samples, size):
            numbers = range(start, min(start + size, self.samples))
            copies = noisy_copies(image, numbers, self.noise, self.seed)
            found.add(model.gradient(copies, target, layers=[layer], wrt_input=False).layers[layer][1], numbers)
            values, error = found.map(self.numerator, relu=self.relu)
            yield Attribution(
                values=to_numpy(values),
                unit=target.unit if self.numerator == "d2" else "activation",
                signed=not self.relu,
                size=size_of(image),
                progress=numbers.stop / self.samples,
                layer=layer,
                score=float(scores[0]),
                notes=notes,
                details={"standard_error": to_numpy(error)},
            )
