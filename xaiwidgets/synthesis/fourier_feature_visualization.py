"""Feature visualization by waves and random views."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from xaiwidgets.core.cards import synthesizer
from xaiwidgets.synthesis import painting_knobs as shared
from xaiwidgets.synthesis.run import Resumable, play

if TYPE_CHECKING:
    from collections.abc import Generator

    from torch import Tensor

    from xaiwidgets.core.results import Synthesis
    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Goal


@synthesizer(
    title="Feature visualization by waves",
    idea="Paints what excites a unit with waves and colors weighted like those of photos, seen from a little "
    "elsewhere at each step.",
    cite="Olah, Mordvintsev and Schubert 2017; Mordvintsev et al. 2018",
    paper="doi:10.23915/distill.00007",
    section="2.1",
    formula="x = sigmoid(D · irfft2(s / max(f, 1/side)^p) / 4);  s ← Adam(s, ∂S(t(x))/∂s),  t a random view",
    how="The picture is not learned pixel by pixel, but as a spectrum in which long waves weigh as much as they do in "
    "photos, and in colors without correlations. It is the same picture in other coordinates, but the steepest way up "
    "leads to shapes in place of fine noise. At each step the network sees it moved, scaled or turned a little, so "
    "that nothing is painted that holds for one position only.",
    caution="The waves and views make pictures that please: what is in them was asked for by the network, but what is "
    "left out may have been left out by them. Compare with pixels and no views, and with other seeds.",
)
class FourierFeatureVisualization(Resumable):
    """Gradient ascent on values that a picture is made of: a spectrum, pixels, a grid, a pyramid, or a small network.

    Yields a picture ``(H, W, 3)`` in [0, 1] after every step; the score is that of the view that the network saw.
    Spectrum, color matrix, start and Adam as in Lucid (Olah et al. 2017) and Lucent; pyramid and pattern-producing
    network as in Mordvintsev et al. 2018, "Differentiable image parameterizations". Networks of one channel have no
    colors to decorrelate. Views are those of Lucid, but the window keeps the size of the network's input. Objectives
    of several parts are climbed like any other (``xaiwidgets.objectives``), also DeepDream from a photo.

    Raises ``InvalidKnob``: the start ``photo`` without a photo, or with values that cannot be found for one; a fixed
    knob was changed while the run goes on.
    """

    step_size: float = shared.step_size()
    transforms: str = shared.transforms()
    strength: float = shared.strength()
    parameterization: str = shared.parameterization()
    iterations: int = shared.iterations(128)
    start: str = shared.start()
    jitter: int = shared.jitter()
    zoom: float = shared.zoom()
    rotation: float = shared.rotation()
    decorrelate: bool = shared.decorrelate()
    decay_power: float = shared.decay_power()
    cells: int = shared.cells()
    spread: float = shared.spread()
    seed: int = shared.seed()

    def steps(self, model: Model, start: Tensor | None, target: Goal) -> Generator[Synthesis, Self | None, None]:
        """Yield the picture after every step; live knobs of a method that is sent in act from the next step on.

        Args:
            model: the network.
            start: network input ``(1, C, H, W)`` of the photo to start from, if any.
            target: what to excite.
        """
        from xaiwidgets.synthesis.painting import Painting

        return play(Painting, self, model, target, start)
