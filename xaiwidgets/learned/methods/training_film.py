"""The same unit at points of a training, as a film."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from xaiwidgets.core.cards import synthesizer
from xaiwidgets.core.knobs import Choice, NetworkName, Range, knob
from xaiwidgets.synthesis.run import Resumable, play

if TYPE_CHECKING:
    from collections.abc import Generator

    from torch import Tensor

    from xaiwidgets.core.results import Synthesis
    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Goal


@synthesizer(
    title="Film of a training",
    idea="Shows what excites the same unit most at several points of a training.",
    cite="Zeiler, Fergus 2014",
    paper="arXiv:1311.2901",
    section="2.1",
    formula="x_t = argmax over x of S_t(x) − R(x),  for the weights at points t of the training",
    how="The network is kept at several points of its training. At each, a picture is made for the same unit, from the "
    "same start and with the same settings, so that what differs between the pictures comes from the training. "
    "All grow side by side.",
    caution="Scores of different points have different scales, so compare pictures and probabilities rather than "
    "scores. An early picture that looks like noise may say that the climb failed, not that the unit knows nothing.",
)
class TrainingFilm(Resumable):
    """One synthesis at each checkpoint of a training, after Zeiler and Fergus 2014, figure 4.

    Yields after every step the picture ``(H, W, 3)`` in [0, 1] of the last checkpoint, with one for each checkpoint
    ``beside`` it, in the order of training. The objective is the last checkpoint's; ``curves`` has one for each. Other
    than in the source, which shows the strongest of real pictures, pictures are synthesized.

    Raises:
        NotApplicable: no checkpoints of this architecture were kept: see ``train_checkpoints``, ``checkpoints``.
        InvalidKnob: those that are named are of another architecture.
    """

    technique: str = knob(
        "activation_maximization",
        Choice(("activation_maximization", "regularized_optimization", "class_model_visualization")),
        label="Technique",
        help="How the pictures are made: with its own settings, but less jitter and blur below 64 pixels.",
    )
    iterations: int = knob(
        64, Range(1, 2000, log=True), label="Steps", help="When to stop, at each checkpoint.", unit="steps"
    )
    seed: int = knob(0, Range(0, 9999), label="Seed", help="Of the start, which all checkpoints share.")
    checkpoints: str = knob(
        "",
        NetworkName("checkpoints"),
        label="Checkpoints",
        help="Name of a kept training; empty is the newest of a network that is built as this one.",
        advanced=True,
    )

    def steps(self, model: Model, start: Tensor | None, target: Goal) -> Generator[Synthesis, Self | None, None]:
        """Yield the film after every step; a photo is not used."""
        from xaiwidgets.learned.film import Film

        return play(Film, self, model, target, None)
