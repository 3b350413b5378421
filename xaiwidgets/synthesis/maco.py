"""Feature visualization by phases alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from xaiwidgets.core.cards import synthesizer
from xaiwidgets.core.knobs import Range, knob
from xaiwidgets.synthesis import painting_knobs as shared
from xaiwidgets.synthesis.run import Resumable, play

if TYPE_CHECKING:
    from collections.abc import Generator

    from torch import Tensor

    from xaiwidgets.core.results import Synthesis
    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Goal


@synthesizer(
    title="Magnitude-constrained picture (MACO)",
    idea="Paints what excites a unit with waves that are exactly as strong as those of photos: only their places move.",
    cite="Fel et al. 2023",
    paper="arXiv:2306.06805",
    section="2.1",
    formula="x = sigmoid(D · std(irfft2(r · exp(i·std(φ)))));  φ ← NAdam(φ, ∂/∂φ mean S(crop(x) + noise)),  r fixed",
    how="How strong each wave is in photos is measured once and never changed; what is learned is the phase, which "
    "places the waves and so makes all that has a shape. At each step the network sees a few random crops of the "
    "picture with noise on top. Where the score asked for changes is added up over all steps and shown as opacity.",
    caution="Amplitudes of photos fill the picture with texture also where the network asked for nothing: look at it "
    "with its opacity. They are those of the few sample photos, not of the data that the network was trained on.",
)
class Maco(Resumable):
    """Gradient ascent on the phases of a picture whose amplitudes are the mean ones of photos.

    Yields a picture ``(H, W, 3)`` in [0, 1], of the network's input size times ``canvas``, after every step; the score
    is the mean over the crops that the network saw. Beside it, the picture with the summed absolute slope as opacity.
    Definition: Fel et al. 2023; crops and noise as in Xplique, whose noise of 0.08 in colors from -1 to 1 is 0.04 here.
    Phases of standard deviation 1 agree a little in the corners, which are bright and which nothing asked for.
    Amplitudes are measured on crops of the sample photos, in decorrelated colors, the same in all directions.

    Raises ``InvalidImage``: fewer than three sample photos are installed. ``InvalidKnob``: a fixed knob was changed
    while the run goes on.
    """

    crops: int = knob(
        4,
        Range(1, 32),
        label="Crops",
        help="How many crops of the picture the network sees at each step. More are slower and steadier.",
        live=True,
    )
    crop_first: float = knob(
        0.7,
        Range(0.05, 1.0, step=0.01),
        label="Crops at the start",
        help="Mean side of the crops at the first step. Sides vary by 0.05 around it.",
        unit="share of the picture",
        live=True,
    )
    crop_last: float = knob(
        0.4,
        Range(0.05, 1.0, step=0.01),
        label="Crops at the end",
        help="Mean side of the crops at the last step; small crops add detail.",
        unit="share of the picture",
        live=True,
    )
    noise: float = knob(
        0.04,
        Range(0.0, 0.5, step=0.01),
        label="Noise",
        help="Standard deviation of the noise on each crop, and width of the even noise beside it. Against patterns "
        "that need every pixel.",
        unit="share of white",
        live=True,
    )
    canvas: float = knob(
        1.5,
        Range(1.0, 4.0, step=0.25),
        label="Size of the picture",
        help="How much larger than the network's input the picture is along each side.",
        unit="times the input",
        advanced=True,
    )
    step_size: float = shared.step_size(1.0)
    iterations: int = shared.iterations(128)
    seed: int = shared.seed()

    def steps(self, model: Model, start: Tensor | None, target: Goal) -> Generator[Synthesis, Self | None, None]:
        """Yield the picture after every step; live knobs of a method that is sent in act from the next step on.

        Args:
            model: the network.
            start: not used.
            target: what to excite.
        """
        from xaiwidgets.synthesis.phasing import Phasing

        return play(Phasing, self, model, target)
