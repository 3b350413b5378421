"""Softplus smoothing: an explanation of the network with its ReLUs rounded off."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from xaiwidgets.core.cards import explainer, resolve
from xaiwidgets.core.knobs import Choice, MethodName, Range, knob
from xaiwidgets.engine.cost import passes
from xaiwidgets.explainers.noise import check_wrapper

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from xaiwidgets.core.results import Attribution
    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Target
    from xaiwidgets.surgery.smooth import Smoothing


@explainer(
    id="softplus_smoothing",
    title="Softplus smoothing",
    family="backprop",
    idea="Rounds off every ReLU and explains that network: as smooth as an average over endless noise, in one pass.",
    cite="Dombrowski, Alber, Anders, Ackermann, Müller, Kessel 2019",
    paper="arXiv:1906.07983",
    section="2.3.10",
    needs=("rectifier",),
    formula="ReLU(u) → log(1 + exp(βu)) / β",
    how="At each ReLU the kink is replaced by a softplus, forward and backward, and any explainer is run on the "
    "network that results. For one neuron this equals SmoothGrad with endless samples. The smaller β, the smoother.",
    caution="It explains another network: watch whether its class is still the same. Smoothing makes maps harder to "
    "manipulate, not truer.",
)
class SoftplusSmoothing:
    """A base map of the network whose ReLUs are softplus_β (Dombrowski et al. 2019).

    Yields what the base yields; ``score`` is the smoothed network's. ``notes`` compare score and top-1 class with those
    of the network as it is. ReLU6 becomes softplus_β(u) − softplus_β(u − 6). With ``gradient_only`` the forward pass
    stays, and each ReLU's derivative is sigmoid(βu).

    Raises:
        InvalidKnob: ``base`` is not the id of another explainer, or one whose rules need the ReLUs' on/off gate.
        NotApplicable: the network has no ReLU or ReLU6; the message names its activations.
    """

    effort: ClassVar[float] = 1.2  # with the gradient alone smoothed: its rule at each ReLU

    beta: float = knob(10.0, Range(1.0, 1000.0, log=True), label="Sharpness β", help="Smaller is smoother.")
    base: str = knob(
        "saliency",
        MethodName(exclude=("softplus_smoothing",), without=("relu",)),
        label="Around",
        help="The map of the smoothed network.",
    )
    variant: str = knob(
        "full",
        Choice(("full", "gradient_only")),
        label="Smooth",
        help="full: the network itself; gradient_only: the derivative, and the scores stay as they are.",
        advanced=True,
    )

    def __post_init__(self) -> None:
        check_wrapper(self)

    @property
    def softplus(self) -> Smoothing:
        """What is done to each ReLU."""
        from xaiwidgets.surgery.smooth import Smoothing

        return Smoothing(self.beta, self.variant == "gradient_only")

    def cost(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the (forward, backward) passes of one image: the base's, and a score before and after smoothing."""
        forward, backward = resolve(self.base).cost(size)
        return forward + 2 * (self.variant == "full"), backward

    def cost_on(self, model: Model, size: tuple[int, int]) -> tuple[int, int]:
        """Return the passes on a network, for a base whose number of passes depends on it."""
        forward, backward = passes(resolve(self.base), model, size)
        return forward + 2 * (self.variant == "full"), backward

    def steps(self, model: Model, image: Tensor, target: Target) -> Iterator[Attribution]:
        """Yield the base's results on the smoothed network."""
        from xaiwidgets.engine.run import check_applicable

        base, full = resolve(self.base), self.variant == "full"
        smoothed = model.transformed(self.softplus, "with softplus for ReLU")
        check_applicable(base, smoothed)
        note = "Only the gradient is smoothed: the scores are those of the network as it is."
        if full:
            note = _comparison(model, smoothed, image, target)
        for result in base.steps(smoothed, image, target):
            yield result.replace(notes=(note, *result.notes))


def _comparison(model: Model, smoothed: Model, image: Tensor, target: Target) -> str:
    """Return a sentence on what smoothing does to the score and to the class."""
    before, after = model.logits(image), smoothed.logits(image)
    was, now = (model.labels.short(int(logits[0].argmax())) for logits in (before, after))
    top = f"the top class is still {now}" if was == now else f"the top class changes from {was} to {now}"
    if target.layer:
        return f"In the smoothed network {top}."
    return (
        f"In the smoothed network the {target.unit} of {target.name} is {float(target.score(after)[0]):.3g} "
        f"({float(target.score(before)[0]):.3g} as it is), and {top}."
    )
