"""Representation inversion."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from xaiwidgets.core.cards import synthesizer
from xaiwidgets.core.knobs import Choice, Flag, LayerName, Range, knob
from xaiwidgets.synthesis.run import Resumable, play

if TYPE_CHECKING:
    from collections.abc import Generator

    from torch import Tensor

    from xaiwidgets.core.results import Synthesis
    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Goal


@synthesizer(
    title="Representation inversion",
    family="inversion",
    idea="Paints a picture in which a layer sees what it sees in the photo: whatever it has forgotten is free.",
    cite="Mahendran, Vedaldi 2015",
    paper="arXiv:1412.0035",
    section="2.1",
    asks=("photo",),
    formula="min ‖Φ(x) − Φ(x₀)‖² / ‖Φ(x₀)‖² + λ_α · mean |x|^α + λ_TV · 6.5² · mean ((∂↓x)² + (∂→x)²)^(β/2)",
    how="What a layer gives for the photo is kept, and a picture that begins as noise is changed until the layer gives "
    "the same for it. Two priors choose among all pictures that would do: one against extreme values, one against "
    "differences between neighbors. What differs from the photo in the end is what the layer does not tell.",
    caution="What is missing may be lost in the layer, or only not found in so many steps: look at the error, and at "
    "other starts. What looks natural may come from the priors. A small feature error is no small pixel error.",
)
class RepresentationInversion(Resumable):
    """Pictures with a photo's features, from noise (Mahendran and Vedaldi 2015, eq. 1, 3 and 5).

    Yields a picture ``(H, W, 3)`` in [0, 1] after every step; curves ``error`` (``‖Φ(x) − Φ(x₀)‖ / ‖Φ(x₀)‖``),
    ``squared_error``, both priors as they are weighted, and ``pixel_error``. x is in units of 127.5 gray levels from
    the mean color, and the priors are means, so the weights fit every picture size: the paper's 0.5, 5 and 50 for
    the total variation are about 0.013, 0.13 and 1.3. The paper's descent is ``optimizer="momentum"`` with
    ``schedule="steps"`` and ``step_size=0.004`` for 400 steps; the default is Adam (Kingma and Ba 2015).

    Raises ``InvalidLayer``: no such layer. ``InvalidKnob``: a window of a layer without a map, or a part of which the
    photo excites nothing. ``InvalidImage``: it excites nothing in the layer, or is not that of the saved run.
    """

    layer: str = knob(
        "", LayerName("middle stage"), label="Layer", help="What is inverted; empty: the stage in the middle."
    )
    layers: str = knob(
        "one",
        Choice(("one", "stages")),
        label="Layers",
        help="one: the layer above; stages: every stage of the network, in turn, to see what is lost where.",
    )
    tv_weight: float = knob(
        1e-3,
        Range(0.0, 10.0),
        label="Total variation",
        help="Weight of the differences between neighboring pixels; 0 is off.",
        live=True,
    )
    by_stride: bool = knob(
        True,
        Flag(),
        label="Raise it with the stride",
        help="Times the distance of the layer's places in pixels: what a deep layer does not tell, the prior must. The "
        "paper raises it a hundredfold from shallow to deep layers.",
        live=True,
    )
    alpha_weight: float = knob(
        1e-3,
        Range(0.0, 10.0),
        label="Alpha norm",
        help="Weight of extreme values. It acts near black and white and hardly in between; 0 is off.",
        live=True,
    )
    step_size: float = knob(
        0.05,
        Range(1e-5, 1.0, log=True),
        label="Step size",
        help="Adam: how far a step moves a pixel at most, of half the range from black to white. Momentum: the rate.",
        live=True,
    )
    momentum: float = knob(
        0.8,
        Range(0.0, 0.99, step=0.01),
        label="Momentum",
        help="How much of the last step is kept; 0.9 in the paper, which swings about the end for longer.",
        live=True,
    )
    beta: float = knob(
        2.0,
        Range(1.0, 4.0, step=0.1),
        label="Beta",
        help="Power of differences between neighbors. 1 keeps edges and makes spikes; 2 is smooth.",
        live=True,
        advanced=True,
    )
    alpha: float = knob(
        6.0,
        Range(1.0, 12.0, step=0.5),
        label="Alpha",
        help="Power of values. The higher, the more like a hard limit.",
        live=True,
        advanced=True,
    )
    in_range: bool = knob(
        True,
        Flag(),
        label="Keep to colors",
        help="Keeps every pixel between black and white, so that what is shown is what was measured.",
        live=True,
        advanced=True,
    )
    leaky: bool = knob(
        False,
        Flag(),
        label="Leaky backward pass",
        help="ReLUs that are off let 5 % of the signal back. Helps with layers of many units that are off; slower.",
        live=True,
        advanced=True,
    )
    group: str = knob(
        "all",
        Choice(("all", "strongest", "weakest", "first", "last")),
        label="Channels",
        help="Which of the layer's channels count: strongest and weakest are those that the photo excites so.",
        live=True,
    )
    channels: int = knob(
        16, Range(1, 8192, log=True), label="Number of channels", help="How many, unless all of them count.", live=True
    )
    rows: float = knob(
        1.0,
        Range(0.01, 1.0, step=0.01),
        label="Window height",
        help="Only places of the layer inside a window count.",
        unit="share of the map",
        live=True,
    )
    columns: float = knob(
        1.0,
        Range(0.01, 1.0, step=0.01),
        label="Window width",
        help="Only places of the layer inside a window count.",
        unit="share of the map",
        live=True,
    )
    down: float = knob(
        0.5, Range(0.0, 1.0, step=0.01), label="Window down", help="Its center; 0 is at the top.", live=True
    )
    right: float = knob(
        0.5, Range(0.0, 1.0, step=0.01), label="Window right", help="Its center; 0 is at the left.", live=True
    )
    repeats: int = knob(
        1, Range(1, 8), label="Starts", help="Pictures from so many different starts, at once. Each costs its time."
    )
    iterations: int = knob(
        160, Range(1, 2000, log=True), label="Steps", help="When to stop, for each layer.", unit="steps"
    )
    optimizer: str = knob(
        "adam",
        Choice(("adam", "momentum")),
        label="Optimizer",
        help="adam: every pixel has its own step size; momentum: gradient descent as in the paper.",
        advanced=True,
    )
    schedule: str = knob(
        "constant",
        Choice(("constant", "steps")),
        label="Schedule",
        help="steps: a tenth of the step size after a quarter of the steps and a hundredth after three quarters.",
        advanced=True,
    )
    seed: int = knob(
        0, Range(0, 2**31 - 1), label="Seed", help="Of the start's noise. Same seed, same picture.", advanced=True
    )

    def steps(self, model: Model, start: Tensor | None, target: Goal) -> Generator[Synthesis, Self | None, None]:
        """Yield the picture after every step; live knobs of a method that is sent in act from the next step on.

        Args:
            model: the network.
            start: network input ``(1, C, H, W)`` of the photo that is inverted.
            target: not used.
        """
        from xaiwidgets.synthesis.inversion import Inversion

        return play(Inversion, self, model, target, start)
