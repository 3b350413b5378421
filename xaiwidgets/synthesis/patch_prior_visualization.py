"""Patch prior visualization."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from xaiwidgets.core.cards import synthesizer
from xaiwidgets.core.knobs import Choice, Range, ReferenceName, knob
from xaiwidgets.synthesis.run import Resumable, play

if TYPE_CHECKING:
    from collections.abc import Generator

    from torch import Tensor

    from xaiwidgets.core.results import Synthesis
    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Goal


@synthesizer(
    title="Patch prior visualization",
    idea="Climbs a score while every small patch of the picture is pulled to the one in real photos that is nearest.",
    cite="Wei, Zhou, Torralba, Freeman 2015",
    paper="arXiv:1507.02379",
    section="2.1",
    formula="max over x of S(x) − λ₁ TV(x) − λ₂ Σ ‖x_p − D_p‖²,  D_p: the patch of the photos nearest to the patch x_p",
    how="Two steps take turns. With the nearest patches fixed, the picture climbs the score and is pulled to them; "
    "with the picture fixed, the nearest patches are looked up again among thousands cut from photos. What comes out "
    "is locally as smooth, edged and colored as the photos are.",
    caution="The patches put colors and edges in that the network did not ask for: with few photos the picture looks "
    "like them. The photos that come with the package are few and of a few places: compare with the weight at 0, and "
    "register a folder of your own.",
)
class PatchPriorVisualization(Resumable):
    """Gradient ascent with a prior of photo patches (Wei et al. 2015), made at half the input's size or in full.

    Yields a picture ``(H, W, 3)`` in [0, 1] after every step, the quilt of its nearest patches beside it. ``curves``
    has the mean ``‖x_p − D_p‖``, colors from 0 to 1; ``terms`` the share of the patches that each photo gives. The
    paper's constants are not published; these are ours: the score's gradient is divided by its root mean square, and
    at weight 1 a pixel 100 gray levels off the mean of its patches is pulled a tenth as far as the network moves it.
    Nearest is exact among principal components, in place of PatchMatch; for a style of a class take a hidden unit.

    Raises ``InvalidKnob``: no such set of photos or fewer than three, a patch larger than the picture, or gaps.
    """

    patch_weight: float = knob(
        5.0, Range(0.0, 10.0, step=0.1), label="Patch prior", help="How strongly patches are pulled to those of "
        "photos; 0 is off.", live=True,
    )  # fmt: skip
    total_variation: float = knob(
        0.0, Range(0.0, 2.0, step=0.01), label="Total variation", help="How strongly neighboring pixels pull each "
        "other together, against a gradient of 1; 0 is off.", live=True,
    )  # fmt: skip
    refresh: int = knob(
        10, Range(1, 50), label="Look up every", help="Nearest patches are looked up again after so many steps.",
        unit="steps", live=True,
    )  # fmt: skip
    step_size: float = knob(
        16.0, Range(0.1, 100.0, log=True), label="Step size", help="How far one step moves the pixels.",
        unit="gray levels", live=True,
    )  # fmt: skip
    momentum: float = knob(
        0.8, Range(0.0, 0.95, step=0.05), label="Momentum", help="How much of the direction of earlier steps is kept.",
        unit="share", live=True, advanced=True,
    )  # fmt: skip
    jitter: int = knob(
        4, Range(0, 64), label="Jitter", help="Every step sees the picture shifted at random by up to so much.",
        unit="pixels", live=True,
    )  # fmt: skip
    references: str = knob("photos", ReferenceName(), label="Photos", help="The pictures that patches are cut from.")
    detail: str = knob(
        "half", Choice(("half", "full", "half, then full")), label="Made at", help="half or full: the size of the "
        "network's input; half, then full: the last third of the steps in full.",
    )  # fmt: skip
    iterations: int = knob(80, Range(1, 2000, log=True), label="Steps", help="When to stop.", unit="steps")
    start: str = knob(
        "noise", Choice(("noise", "mean", "zero", "photo")), label="Start from", help="noise: faint noise on the mean "
        "color; mean: the data set's mean color; zero: black; photo: the photo.",
    )  # fmt: skip
    patch: int = knob(
        8, Range(3, 16), label="Patch", help="Side of a patch.", unit="pixels", advanced=True
    )  # fmt: skip
    stride: int = knob(
        4, Range(1, 16), label="Stride", help="From one patch of the picture to the next; at most the patch.",
        unit="pixels", advanced=True,
    )  # fmt: skip
    patches: int = knob(
        20_000, Range(100, 50_000, log=True), label="Library", help="How many patches are cut from the photos.",
        unit="patches", advanced=True,
    )  # fmt: skip
    components: int = knob(
        24, Range(1, 192), label="Components", help="How many principal components patches are compared by.",
        advanced=True,
    )  # fmt: skip
    seed: int = knob(
        0, Range(0, 2**31 - 1), label="Seed", help="Of the start, jitter, and where patches are cut.", advanced=True
    )

    def steps(self, model: Model, start: Tensor | None, target: Goal) -> Generator[Synthesis, Self | None, None]:
        """Yield the picture after every step; live knobs of a method that is sent in act from the next step on.

        Args:
            model: the network.
            start: network input ``(1, C, H, W)`` of the photo to start from, if any.
            target: what to excite.
        """
        from xaiwidgets.synthesis.patch_prior import PatchPrior

        return play(PatchPrior, self, model, target, start)
