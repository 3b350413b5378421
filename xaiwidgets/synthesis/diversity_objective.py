"""Several pictures of one unit that are kept apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from xaiwidgets.core.cards import synthesizer
from xaiwidgets.core.knobs import LayerName, Range, knob
from xaiwidgets.synthesis import painting_knobs as shared
from xaiwidgets.synthesis.run import Resumable, play

if TYPE_CHECKING:
    from collections.abc import Generator

    from torch import Tensor

    from xaiwidgets.core.results import Synthesis
    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Goal


@synthesizer(
    title="Diverse pictures",
    idea="Paints several pictures of one unit at once and keeps them apart, to show that it answers to more than one "
    "thing.",
    cite="Olah, Mordvintsev and Schubert 2017",
    paper="doi:10.23915/distill.00007",
    section="2.1",
    needs=("gradient", "spatial"),
    formula="max Σ_b S(x_b) − w · (1/B) Σ_b Σ_{b'≠b} ⟨G_b, G_b'⟩,  G = Φ Φᵀ / ‖Φ Φᵀ‖ of a layer's channels",
    how="A batch of pictures is painted, each to excite the unit. Which channels of a layer are active together in a "
    "picture is written down as a matrix, its style; what two matrices have in common is a penalty. The more the "
    "penalty weighs, the more of the unit's facets must be shown.",
    caution="With a heavy penalty the pictures differ at the unit's expense: what sets them apart may be texture that "
    "has nothing to do with it. Look at the score of each picture before you call it a facet.",
)
class DiversityObjective(Resumable):
    """Feature visualization of a batch, less the cosines between the Gram matrices of its pictures.

    Yields the first picture ``(H, W, 3)`` in [0, 1] after every step; the others and the matrix of cosines stand beside
    it. The score is the mean of the unit's scores in the views that the network saw; ``similarity`` is the mean cosine
    of two pictures, in [0, 1] for activations that are not negative. Definition: Lucid (Olah et al. 2017), whose
    tutorial has a weight of 100; there the pictures of the bundled network for a class lose it (probability 0.3 after
    64 steps), with 10 they keep it (0.99) and are as different. A log probability as goal has an
    upper end, so that a small weight is enough. All pictures of a step are seen from the same place.

    Raises ``InvalidLayer``: no such layer, or one without a spatial map. ``InvalidKnob``: as in
    ``FourierFeatureVisualization``.
    """

    weight: float = knob(
        10.0,
        Range(0.0, 1000.0),
        label="Weight of diversity",
        help="How much the mean likeness of each picture to all others costs, in units of the score. At 0 the pictures "
        "differ only by their start.",
        live=True,
    )
    pictures: int = knob(4, Range(2, 8), label="Pictures", help="How many are painted at once.")
    compared_at: str = knob(
        "",
        LayerName("that of the unit"),
        label="Layer of likeness",
        help="Where pictures are compared. By default the unit's own layer, for a class the last spatial one.",
    )
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
        """Yield the pictures after every step; live knobs of a method that is sent in act from the next step on.

        Args:
            model: the network.
            start: network input ``(1, C, H, W)`` of the photo that all start from, if any.
            target: what to excite.
        """
        from xaiwidgets.synthesis.apart import Apart

        return play(Apart, self, model, target, start)
