"""FullGrad: the gradient at the input together with the gradients at all biases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from xaiwidgets.core.cards import explainer
from xaiwidgets.core.knobs import Choice, Range, knob
from xaiwidgets.core.results import Attribution
from xaiwidgets.explainers.fullgradient import decomposed, pile, rescaled, summed
from xaiwidgets.explainers.noise import photo_noise, seeded
from xaiwidgets.explainers.onepass import OnePass, Raw, size_of, to_numpy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Target


@explainer(
    id="fullgrad",
    title="FullGrad",
    family="gradient",
    idea="Adds up what the input and every bias in the network contribute to the score.",
    cite="Srinivas, Fleuret 2019",
    paper="arXiv:1905.00780",
    section="2.3.3",
    needs=("gradient",),
    signed=False,
    formula="f = ⟨∇ₓf, x⟩ + Σₗ ⟨∇f, bₗ⟩;  map = ψ(∇ₓf ⊙ x) + Σₗ ψ(∇f ⊙ bₗ),  ψ: size, rescaled to [0, 1], enlarged",
    how="The score is split exactly into a share for each input value and a share for each bias on the way. The sizes "
    "of the shares are rescaled layer by layer, enlarged to the photo and added. Biases of fully connected layers have "
    "no place: they count in the sum, not in the map.",
    caution="Rescaling gives a layer of tiny shares the weight of one with large shares: the map has no unit and no "
    "sign, and early layers say little about the class.",
)
class FullGrad(OnePass):
    """Full-gradient map (Srinivas & Fleuret 2019, eq. 4; rescaling and enlarging as in the authors' code).

    Yields ``(1, H, W)``, without a unit, not negative. ``gap`` is the sum of all terms less the score: rounding only,
    on any network, for an operation that is not affine has an implicit bias ``F(x) − J·x`` (section 3 there), and a
    target that is no logit has one, too. With ``simple``, gradients at layers with a bias stand for bias terms; with
    ``smooth``, the signed terms are averaged over noisy copies before they are rescaled. The pass runs on the network
    as it was built: where BatchNorm is folded into a convolution with a bias, two layers of the map would become one.

    Raises:
        NotApplicable: an operation hides from interception; the message names it.
    """

    effort: ClassVar[float] = 1.7  # each operation's bias is followed, too

    exact: ClassVar[bool] = True

    variant: str = knob(
        "full",
        Choice(("full", "simple", "smooth")),
        label="Variant",
        help="full: gradient times bias; simple: gradients only; smooth: averaged over noisy copies.",
    )
    samples: int = knob(25, Range(1, 512, log=True), label="Noisy copies", help="For smooth.", advanced=True)
    noise: float = photo_noise()
    seed: int = seeded()

    def cost(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the (forward, backward) passes of one image; for smooth: the copies, and the picture's score."""
        return (self.samples + 1, self.samples) if self.variant == "smooth" else (1, 1)

    def unit(self, target: Target) -> str:
        """Return what the values are measured in."""
        return f"{target.unit}, rescaled by layer"

    @property
    def view(self) -> dict[str, Any]:
        """One channel, without sign."""
        return {"reduction": "sum", "signed": False}

    def raw(self, model: Model, images: Tensor, target: Target) -> Raw:
        """Return the full or simple maps of a batch."""
        if self.variant == "smooth":
            raise NotImplementedError("the smooth variant averages over copies of one picture: use steps")
        simple = self.variant == "simple"
        parts = decomposed(model, images, target, rescaled, simple=simple)
        values = pile([rescaled(parts.input), *(t.map for t in parts.terms if t.map is not None)])
        if simple:
            return Raw(values, parts.scores, details={"coverage": parts.coverage})
        return Raw(values, parts.scores, (parts.note(),), gap=parts.gap(), details=parts.receipt())

    def steps(self, model: Model, image: Tensor, target: Target) -> Iterator[Attribution]:
        """Yield the one result, or for smooth the map of the terms' averages so far, after every batch."""
        if self.variant != "smooth":
            yield from super().steps(model, image, target)
            return
        from xaiwidgets.engine.batching import batch_size
        from xaiwidgets.engine.noise import noisy_copies

        score, size = float(model.scores(image, target)[0]), batch_size(model, gradient=True)
        sums: list[Tensor] = []
        gap = whole = 0.0
        for first in range(0, self.samples, size):
            done = min(first + size, self.samples)
            copies = noisy_copies(image, range(first, done), self.noise, self.seed)
            parts = decomposed(model.exactly(), copies, target, summed)
            found = [summed(parts.input), *(t.map for t in parts.terms if t.map is not None)]
            sums = [a + b for a, b in zip(sums, found, strict=True)] if sums else found
            given, biases = parts.sums()
            gap += float((given + biases - parts.scores.double()).sum())
            whole += float((given + biases).sum())
            yield Attribution(
                values=to_numpy(pile([rescaled(one / done) for one in sums], image.shape[-2:])),
                unit=self.unit(target),
                size=size_of(image),
                progress=done / self.samples,
                score=score,
                gap=gap / done,
                notes=(parts.note(),),
                details={
                    "bias_layers": len(parts.terms),
                    "accounted": whole / done,
                    "explained": (whole - gap) / done,
                },
                **self.view,
            )
