"""Meaningful perturbation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from xaiwidgets.core.cards import explainer
from xaiwidgets.core.knobs import Choice, Flag, Range, knob
from xaiwidgets.explainers.mask.watch import CURVES, Watch, fall

if TYPE_CHECKING:
    from collections.abc import Generator

    from torch import Tensor

    from xaiwidgets.core.results import Attribution
    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Target

#: Centered discs that are tried as a start; the largest one touches the picture's border.
DISCS = 8
#: Share of the way from the whole photo's score to that of the hidden one that the first disc must go.
ENOUGH = 0.99
#: Slopes well under this do not move a cell: the noise of rounding is no reason to.
LEAST = 1e-5
#: What hides, in words.
COVERINGS = {"blur": "blur", "noise": "noise", "constant": "the mean color"}
#: A run that may stop early compares its last so many steps with as many before.
WINDOW = 20


@explainer(
    title="Meaningful perturbation",
    family="mask",
    idea="Learns, step by step, the smallest smooth region whose blurring makes the class vanish, or that alone keeps "
    "it.",
    cite="Fong and Vedaldi 2017",
    paper="arXiv:1704.03296",
    section="2.3.10",
    needs=("gradient",),
    signed=False,
    formula="deletion: min over s of λ₁ Σ s + λ₂ Σ |∇s|^β + E f(x blurred where s↑ = 1); preservation: λ₁ Σ s + "
    "λ₂ Σ |∇s|^β − E f(x kept where s↑ = 1); s in [0, 1] on a coarse grid",
    how="A coarse grid says how much of each cell is hidden (or, in the preservation game, kept). Every step asks the "
    "network how the score would change with each cell, and moves all cells against it; λ₁ makes the region small, λ₂ "
    "makes it smooth. All of this can be watched, paused and moved while it runs.",
    caution="One of many masks that would do: another start, blur or λ gives another. Watch the final score: a region "
    "under which the class has not vanished explains nothing. Without total variation, coarse cells and jitter "
    "(switch off Regularize) it finds scattered pixels that fool the network.",
)
class MeaningfulPerturbation:
    """Learned mask, deletion or preservation game (Fong and Vedaldi 2017, eqs. 3 to 6 and section 4.3).

    Yields ``(1, H, W)`` in [0, 1] after every step: the share of each pixel that is hidden (deletion) or kept
    (preservation). The score is divided by how far it falls when all is hidden, so that the weights of the regularizers
    mean the same for an unlikely class, a logit or a hidden unit as for a class the network is sure of, for which that
    is next to nothing. What is sent in, a dict of live hyper-parameters, acts from the next step on; the moments of
    Adam are kept.

    ``details``: ``curves``, ``score``, ``area`` and ``objective`` by step, of the mask before the step and with its
    jitter; ``step`` of ``planned`` steps; ``hidden_score``, with all hidden; ``events``, as in ``Synthesis``; at the
    end ``mask``, the cells, and ``under``, the score under the finished mask without jitter.
    """

    curves: ClassVar[tuple[str, ...]] = CURVES
    effort: ClassVar[float] = 1.15  # the mask
    game: str = knob(
        "deletion",
        Choice(("deletion", "preservation")),
        label="Game",
        help="deletion: the least that must be hidden to lose the score; preservation: the least that keeps it.",
    )
    sparsity: float = knob(
        3e-4,
        Range(0.0, 10.0),
        label="Sparsity λ₁",
        help="What a cell of the region costs, where the whole score is 1: more makes it smaller. In the paper 0.0001.",
        live=True,
    )
    smoothness: float = knob(
        1e-2,
        Range(0.0, 10.0),
        label="Smoothness λ₂",
        help="What differences between neighboring cells cost. More makes the region round and soft.",
        live=True,
    )
    iterations: int = knob(120, Range(1, 1000, log=True), label="Steps", help="When to stop; the paper takes 300.")
    perturbation: str = knob(
        "blur",
        Choice(("blur", "noise", "constant")),
        label="Hidden by",
        help="blur; noise with the photo's mean color and contrast, drawn anew at each step; constant: the photo's "
        "mean color.",
    )
    blur: int = knob(10, Range(1, 60), label="Blur width", help="Of the blur that hides.", unit="px", advanced=True)
    power: float = knob(
        3.0,
        Range(1.0, 5.0, step=0.5),
        label="Power β",
        help="Of the differences between neighbors: 1 allows sharp edges, more makes them soft.",
        live=True,
        advanced=True,
    )
    step_size: float = knob(
        0.1, Range(0.005, 0.5, step=0.005), label="Step size", help="Of Adam.", live=True, advanced=True
    )
    jitter: int = knob(
        4,
        Range(0, 32),
        label="Jitter",
        help="Every step sees the photo moved under the mask at random, by less than this either way; 0 is off.",
        unit="px",
        live=True,
        advanced=True,
    )
    cell: int = knob(8, Range(1, 64), label="Cell", help="Side of a cell of the mask.", unit="px", advanced=True)
    smoothing: int = knob(
        5, Range(0, 32), label="Smoothing", help="Gaussian over the enlarged mask; 0 is off.", unit="px", advanced=True
    )
    regularize: bool = knob(
        True,
        Flag(),
        label="Regularize",
        help="Off, to see what happens: a mask of single pixels without total variation, smoothing and jitter.",
        advanced=True,
    )
    start: str = knob(
        "disc",
        Choice(("disc", "whole")),
        label="Start from",
        help="disc: the smallest centered disc that is enough, as in the paper; whole: the whole photo.",
        advanced=True,
    )
    output: str = knob(
        "probability",
        Choice(("probability", "logit", "log_probability")),
        label="Score",
        help="The paper takes the probability.",
        advanced=True,
    )
    tolerance: float = knob(
        0.0,
        Range(0.0, 0.2, step=0.005),
        label="Stop at change",
        help="Stops early when the objective's mean over 20 steps has changed by less than this share; 0 is off.",
        advanced=True,
    )
    seed: int = knob(0, Range(0, 2**31 - 1), label="Seed", help="Of jitter and noise.", advanced=True)

    def cost(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the (forward, backward) passes of one image; a run that stops early takes fewer."""
        return self.iterations + 3 + (DISCS if self.start == "disc" else 0), self.iterations

    def steps(self, model: Model, image: Tensor, target: Target) -> Generator[Attribution, Any, None]:
        """Yield the mask after every step; live hyper-parameters that are sent in act from the next step on."""
        from xaiwidgets.engine.descent import Adam
        from xaiwidgets.engine.perturb import perturbed_scores
        from xaiwidgets.engine.softmasks import Cells, total_variation

        target = target.with_output(self.output)
        deletes = self.game == "deletion"
        grid = Cells(*self._grid(image))
        levels = self._levels(image, 0)
        whole = float(model.scores(image, target)[0])
        hidden = float(model.scores(levels.copies[:1], target)[0])
        scale = fall(whole, hidden)
        discs = [grid.disc((n + 1) / DISCS) for n in range(DISCS)] if self.start == "disc" else []
        watch = Watch(self, image, target, whole, hidden, before=len(discs), covering=COVERINGS[self.perturbation])

        def kept(cells: Tensor) -> Tensor:
            return 1 - grid.mask(cells) if deletes else grid.mask(cells)

        def hide(copies: Tensor, numbers: range) -> None:
            for copy, number in zip(copies, numbers, strict=True):
                copy.copy_(levels.under(kept(discs[number]))[0])

        # nothing is hidden at the start, unless a disc is found that is enough
        cells = image.new_full(grid.shape, 0.0 if deletes else 1.0)
        found = False
        for numbers, scores in perturbed_scores(model, image, target, len(discs), hide, fresh=False) if discs else ():
            for number, score in zip(numbers, scores.tolist(), strict=True):
                gone = whole - score if deletes else score - hidden
                if not found and whole > hidden and gone >= ENOUGH * (whole - hidden):
                    cells, found = discs[number], True
            watch.take((yield watch.result(grid.mask(cells), numbers.stop)))
        adam, stopped = Adam(cells, LEAST), False
        while watch.step < self.iterations and not stopped:
            now, number = watch.method, watch.step + 1
            seen = self._levels(image, number) if self.perturbation == "noise" else levels
            seen = seen.shifted(*self._shift(now.jitter, number))
            shown = kept(cells)
            passed = model.gradient(seen.under(shown), target)
            slope = -grid.back((passed.input * seen.slope(shown)).sum(dim=(0, 1))) / scale
            rough, roughness = total_variation(cells, now.power)
            smoothness = now.smoothness if self.regularize else 0.0
            score = float(passed.score[0])
            cost = float(now.sparsity * cells.sum() + smoothness * rough)
            watch.add(
                score=score,
                area=float(grid.mask(cells).mean()),
                objective=cost + (score if deletes else -score) / scale,
            )
            slope = slope + now.sparsity + smoothness * roughness
            cells = (cells + adam.step(slope, now.step_size)).clamp_(0, 1)
            stopped = _settled(watch.curves["objective"], self.tolerance)
            watch.take((yield watch.result(grid.mask(cells), watch.before + watch.step)))
        under = float(model.scores(levels.under(kept(cells)), target)[0])
        region = grid.mask(cells)
        notes: tuple[str, ...] = (watch.ending(float(region.mean()), under),)
        if watch.step < self.iterations:
            notes += (f"Stopped after {watch.step} of {self.iterations} steps: the objective hardly changes.",)
        yield watch.result(region, watch.all, notes, under=under, mask=cells.float().cpu().numpy())

    def _grid(self, image: Tensor) -> tuple[tuple[int, int], int, float, Tensor]:
        size = image.shape[-2], image.shape[-1]
        return (size, self.cell, self.smoothing, image) if self.regularize else (size, 1, 0.0, image)

    def _levels(self, image: Tensor, step: int) -> Any:
        """Return what a mask mixes at a step: the hidden photo and the plain one."""
        import torch

        from xaiwidgets.engine.baselines import gaussian_blur
        from xaiwidgets.engine.levels import Levels

        if self.perturbation == "blur":
            return Levels(torch.cat([gaussian_blur(image, self.blur), image]))
        mean = image.mean(dim=(2, 3), keepdim=True)
        hidden = mean.expand_as(image)
        if self.perturbation == "noise":
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
            noise = torch.randn(image.shape, generator=generator, dtype=torch.float64).to(image)
            hidden = mean + image.std(dim=(2, 3), keepdim=True) * noise
        return Levels(torch.cat([hidden, image]))

    def _shift(self, jitter: int, step: int) -> tuple[int, int]:
        import torch

        if not self.regularize or jitter < 2:
            return 0, 0
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + 500_000 + step)
        down, right = torch.randint(1 - jitter, jitter, (2,), generator=generator).tolist()
        return down, right


def _settled(objective: list[float], tolerance: float) -> bool:
    """Return whether the last steps are, on average, as good as those before them."""
    if not tolerance or len(objective) < 2 * WINDOW:
        return False
    before, now = sum(objective[-2 * WINDOW : -WINDOW]), sum(objective[-WINDOW:])
    return abs(now - before) < tolerance * abs(before)
