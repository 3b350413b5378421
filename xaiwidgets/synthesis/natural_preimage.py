"""Natural pre-images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from xaiwidgets.core.cards import synthesizer
from xaiwidgets.core.knobs import Choice, LayerName, Range, ReferenceName, knob
from xaiwidgets.synthesis.run import Resumable, play

if TYPE_CHECKING:
    from collections.abc import Generator

    from torch import Tensor

    from xaiwidgets.core.results import Synthesis
    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Goal


@synthesizer(
    title="Natural pre-image",
    family="inversion",
    idea="One frame for three questions: what a layer keeps of a photo, what excites a unit, what a layer exaggerates.",
    cite="Mahendran, Vedaldi 2016",
    paper="arXiv:1512.02017",
    section="2.1",
    asks=(),
    takes=("target", "photo"),
    formula="min C · loss(Φ(x), Φ₀) + mean (‖xᵢⱼ‖/B)^α + mean (‖∂xᵢⱼ‖/V)^β,  ‖xᵢⱼ‖ ≤ B₊;  loss = ‖Φ − Φ₀‖²/‖Φ₀‖² "
    "(inversion), −⟨Φ, unit⟩ (maximization), −⟨Φ, Φ₀⟩ (caricature)",
    how="All three change a picture step by step under the same two priors, written in what is usual in photos: the "
    "length of a color, and the difference of neighbors. The picture is a little larger than what the network sees, "
    "and every step shows it another part, so that nothing is tied to the network's grid. Only the loss differs.",
    caution="The priors make it look natural, whatever the network knows. A caricature shows what is there already, "
    "and a maximum what excites the unit beyond any photo. Try other weights before you read much into a detail.",
)
class NaturalPreimage(Resumable):
    """Inversion, activation maximization and caricature as one energy (Mahendran and Vedaldi 2016).

    Yields a picture ``(H, W, 3)`` in [0, 1] after every step, from the middle of the canvas; curves of the weighted
    ``loss``, of ``alpha_prior`` and ``tv_prior``, and of ``error`` and ``pixel_error`` (inversion), ``activation``
    (maximization) or ``agreement`` with the photo's features and ``likeness`` to the photo (caricature). Gray levels
    less the mean color; AdaGrad with a memory of 0.9 and momentum. The weight C is that of the paper for units
    (10,000 over the pixels seen and the largest score on photos), and 30 and 100 for the others, which is ours.

    Raises ``InvalidImage``: inversion and caricature need a photo. ``InvalidTarget``: maximization needs a target.
    ``InvalidLayer``: no such layer.
    """

    loss: str = knob(
        "inversion",
        Choice(("inversion", "maximization", "caricature")),
        label="Question",
        help="inversion: what the layer keeps of the photo; maximization: what excites the target; caricature: what "
        "the layer sees in the photo, exaggerated.",
    )
    layer: str = knob(
        "",
        LayerName("middle stage"),
        label="Layer",
        help="Of inversion and caricature; empty: the stage in the middle.",
    )
    weight: float = knob(
        1.0,
        Range(0.001, 1000.0, log=True),
        label="Weight of the question",
        help="How much it counts against the priors, in units of its usual weight.",
        live=True,
    )
    tv_weight: float = knob(
        1.0, Range(0.0, 100.0, step=0.05), label="Total variation", help="Weight of its prior; 0 is off.", live=True
    )
    alpha_weight: float = knob(
        1.0, Range(0.0, 100.0, step=0.05), label="Color size", help="Weight of its prior; 0 is off.", live=True
    )
    typical_color: float = knob(
        80.0,
        Range(1.0, 255.0, step=1.0),
        label="Usual color",
        help="B: how long a pixel's color usually is, from the mean color.",
        unit="gray levels",
        live=True,
        advanced=True,
    )
    typical_edge: float = knob(
        80.0 / 6.5,
        Range(0.5, 100.0, log=True),
        label="Usual difference",
        help="V: how far neighboring pixels usually are apart. Smaller is smoother.",
        unit="gray levels",
        live=True,
        advanced=True,
    )
    color_bound: float = knob(
        160.0,
        Range(1.0, 450.0, step=1.0),
        label="Longest color",
        help="B₊: colors that are longer, from the mean color, are shortened to it after every step.",
        unit="gray levels",
        live=True,
        advanced=True,
    )
    jitter: int = knob(
        0,
        Range(0, 64),
        label="Jitter",
        help="At how many places along each axis the network sees the picture. 1 is none; 0 is a quarter of the "
        "layer's stride.",
        unit="pixels",
        live=True,
    )
    step_size: float = knob(
        1.0,
        Range(0.01, 100.0, log=True),
        label="First step",
        help="Its size where slopes are small, in units of the paper's.",
        live=True,
        advanced=True,
    )
    alpha: float = knob(
        6.0, Range(1.0, 12.0, step=0.5), label="Alpha", help="Power of a color's length.", live=True, advanced=True
    )
    beta: float = knob(
        2.0,
        Range(1.0, 4.0, step=0.1),
        label="Beta",
        help="Power of differences. Near 1, edges stay sharp and contrasts grow.",
        live=True,
        advanced=True,
    )
    leaky: str = knob(
        "auto",
        Choice(("auto", "on", "off")),
        label="Leaky backward pass",
        help="ReLUs that are off let 5 % of the signal back, so that units that are off are found; the score stays "
        "what it is. auto: for maximization, as in the paper.",
        live=True,
        advanced=True,
    )
    iterations: int = knob(120, Range(1, 2000, log=True), label="Steps", help="When to stop.", unit="steps")
    settle: int = knob(
        30,
        Range(0, 500),
        label="Steps to settle",
        help="Inversion: so many more, without jitter and a tenth as long.",
        unit="steps",
        advanced=True,
    )
    start: str = knob(
        "auto",
        Choice(("auto", "noise", "photo")),
        label="Start from",
        help="auto: the photo for caricature, else faint noise.",
        advanced=True,
    )
    references: str = knob(
        "photos",
        ReferenceName(),
        label="Photos",
        help="Maximization: what the largest activation is looked up in, to weigh the question.",
        advanced=True,
    )
    seed: int = knob(
        0, Range(0, 2**31 - 1), label="Seed", help="Of noise and jitter. Same seed, same picture.", advanced=True
    )

    def steps(self, model: Model, start: Tensor | None, target: Goal) -> Generator[Synthesis, Self | None, None]:
        """Yield the picture after every step; live knobs of a method that is sent in act from the next step on.

        Args:
            model: the network.
            start: network input ``(1, C, H, W)`` of the photo, if any.
            target: what to excite, of maximization.
        """
        from xaiwidgets.synthesis.preimage import Preimage

        return play(Preimage, self, model, target, start)
