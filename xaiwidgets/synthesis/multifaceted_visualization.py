"""Multifaceted feature visualization."""

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
    title="Multifaceted visualization",
    idea="Finds the kinds of pictures that excite a unit, and paints one picture for each.",
    cite="Nguyen, Yosinski, Clune 2016",
    paper="arXiv:1602.03616",
    section="2.1",
    formula="codes of exciting pictures → PCA → t-SNE → k-means;  per group: x₀ = mean of the 15 nearest, then ascent",
    how="A unit answers to different things: a shop from outside and from inside. The pictures that excite it most are "
    "laid out by what the network sees in them, and grouped. Each group's mean is a blurred start that keeps its "
    "colors and layout, and activation maximization goes on from there.",
    caution="The facets are those of the pictures that are given; what they lack cannot be found. The number of groups "
    "is chosen by you, and k-means finds as many in anything.",
)
class MultifacetedVisualization(Resumable):
    """Activation maximization from the means of groups of pictures (Nguyen et al. 2016, section 3).

    Yields all facets in one picture, two in a row, ``(H, W, 3)`` in [0, 1]; ``beside`` has where the pictures lie, and
    for each facet its mean and what was made of it. ``score`` is the mean over facets, ``curve`` that of each round.
    There are fewer facets where there are not fifteen pictures for each. A facet that cannot go on, since its gradient
    is zero or a step is not finite, stays as it is, and a note says so; the others go on.

    Raises ``NotApplicable``: fewer than three pictures.
    """

    pictures: str = knob(
        "photos", ReferenceName(), label="Pictures", help="Where exciting pictures are looked for; "
        "xaiwidgets.reference_set(name, folder) adds your own."
    )  # fmt: skip
    crops: int = knob(
        12, Range(0, 64), label="Crops of each", help="Random crops of every picture count as pictures, too.",
        advanced=True,
    )  # fmt: skip
    used: int = knob(
        60, Range(3, 2000), label="Most exciting", help="How many pictures with the highest score are grouped.",
        unit="pictures",
    )  # fmt: skip
    facets: int = knob(4, Range(1, 10), label="Facets", help="How many groups are looked for.")
    embedding: str = knob(
        "tsne", Choice(("tsne", "pca")), label="Laid out by",
        help="t-SNE keeps neighbors together; pca: the two directions in which the codes differ most.",
    )  # fmt: skip
    code_layer: str = knob(
        "", LayerName(), label="Code layer", help="What tells pictures apart. Empty: the last spatial stage.",
        advanced=True,
    )  # fmt: skip
    begin: str = knob(
        "mean", Choice(("mean", "noise")), label="Begin with",
        help="mean: the mean of the fifteen pictures nearest to the group's center; noise: the same for all.",
    )  # fmt: skip
    step_size: float = knob(
        4.0, Range(0.1, 1000.0, log=True), label="Step size", help="How far one step moves the pixels.",
        unit="gray levels", live=True,
    )  # fmt: skip
    decay: float = knob(
        0.003, Range(0.0, 0.5, step=0.001), label="L2 decay", help="How far each step fades the picture; 0 is off.",
        unit="share per step", live=True,
    )  # fmt: skip
    blur_width: float = knob(
        1.5, Range(0.0, 5.0, step=0.1), label="Blur width", help="Gaussian blur every four steps; 0 is off.",
        unit="pixels", live=True,
    )  # fmt: skip
    jitter: int = knob(
        4, Range(0, 64), label="Jitter", help="Each step sees the picture shifted by up to so much; 0 is off.",
        unit="pixels", live=True,
    )  # fmt: skip
    iterations: int = knob(48, Range(1, 1000, log=True), label="Steps", help="For each facet.", unit="steps")
    seed: int = knob(0, Range(0, 2**31 - 1), label="Seed", help="Of crops, layout, groups, noise.", advanced=True)

    def steps(self, model: Model, start: Tensor | None, target: Goal) -> Generator[Synthesis, Self | None, None]:
        """Yield all facets after every step of one of them; before that, what was looked through."""
        from xaiwidgets.synthesis.multifaceted import Multifaceted

        return play(Multifaceted, self, model, target, None)
