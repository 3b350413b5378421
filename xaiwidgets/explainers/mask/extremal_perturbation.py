"""Extremal perturbation."""

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

#: Areas whose masks are added up.
AREAS = (0.025, 0.05, 0.1, 0.2, 0.4, 0.8)
#: Of the blur, from hidden to plain.
LEVELS = 8
#: Share of the direction of earlier steps that is kept.
KEPT = 0.9
#: The score is scaled so that it falls by this much when all is hidden, as the paper's logits about do.
FALL = 10.0
#: By how much the weight of the area grows in all: first the score says where the region lies, then it is made sharp.
GROWTH = 16.4
#: How much the square of the mask's area less the one asked for counts at the end, against the mean square of pixels.
HELD = 5.0
#: Seeds on a photo of 224 pixels. Of fewer, each has more to say, and its steps are shorter in proportion.
SEEDS = 1024


@explainer(
    title="Extremal perturbation",
    family="mask",
    idea="Finds the smooth region of a given area that excites the class most when all else is blurred.",
    cite="Fong, Patrick, Vedaldi 2019",
    paper="arXiv:1910.08485",
    section="2.3.10",
    needs=("gradient",),
    signed=False,
    formula="max over s of f(x blurred by m) − λ mean (sorted m − r_a)²; m(u) = smax_i k(|u − i| / σ) s_i; r_a is 1 on "
    "a share a of the pixels, else 0",
    how="The area is not weighed against the score, as in meaningful perturbation, but fixed: the mask is pushed to be "
    "1 on that share of the photo and 0 elsewhere. Soft discs around a grid of seeds keep it smooth. Every step asks "
    "the network how the score would change with each seed.",
    caution="A region of the asked area is always found, also where the class is not in the photo: look at the score "
    "under it. The best place for a small area need not lie inside that for a larger one.",
)
class ExtremalPerturbation:
    """Mask of a fixed area that keeps (or, hidden, destroys) the most (Fong, Patrick, Vedaldi 2019, eqs. 2 to 7).

    Yields ``(1, H, W)`` in [0, 1] after every step: the mask, or with ``several`` the mean of the masks of all areas
    (the paper shows their sum), which are learned side by side. What is sent in, a dict of live hyper-parameters, acts
    from the next step on. Where the score does not depend on the mask at all, the map is empty.

    As in the paper, all is kept at first, and the area is pressed out with a weight that grows sixteenfold; 100 at the
    start, not 300, held more of the score. Discs at the border pay for what they cover beyond it, as in the authors'
    code; over the second half this ends, and the mask's mean in the photo is held to the area. So that 150 steps get as
    far as 800 of 0.01, they are five times as long. The score is the log probability, scaled to fall by 10 in all.

    ``details``: as in meaningful perturbation, with ``several`` curves of the mean over areas; at the end ``mask``, the
    seeds, ``(areas, h, w)``, ``under``, the score under each finished mask, and ``areas``.
    """

    curves: ClassVar[tuple[str, ...]] = CURVES
    effort: ClassVar[float] = 2.2  # the mask takes as long again as the passes of a small network
    area: float = knob(
        0.2,
        Range(0.01, 0.9, step=0.01),
        label="Area",
        help="Share of the photo that the region takes up; where several areas are added up, it plays no part.",
        live=True,
    )
    several: bool = knob(
        False,
        Flag(),
        label="Several areas",
        help="The mean of the masks of six areas from 2.5 % to 80 %, in six times the time.",
    )
    game: str = knob(
        "preservation",
        Choice(("preservation", "deletion")),
        label="Game",
        help="preservation: the region is what alone keeps the score; deletion: hiding it destroys the score.",
    )
    iterations: int = knob(150, Range(1, 1000, log=True), label="Steps", help="When to stop; the paper takes 800.")
    step_size: float = knob(
        0.05, Range(0.005, 0.5, step=0.005), label="Step size", help="Of the descent.", live=True, advanced=True
    )
    constraint: float = knob(
        100.0,
        Range(0.0, 1000.0, step=5.0),
        label="Area weight λ",
        help="How much the area counts at the start, against the score; it grows sixteenfold until the end.",
        live=True,
        advanced=True,
    )
    flip: bool = knob(
        True,
        Flag(),
        label="Flip",
        help="Every other step sees the mirrored photo. Switch it off for letters and digits.",
        live=True,
        advanced=True,
    )
    blur: int = knob(20, Range(1, 60), label="Blur width", help="Of what is hidden.", unit="px", advanced=True)
    seed_step: int = knob(7, Range(4, 32), label="Seeds every", help="Pixels between seeds.", unit="px", advanced=True)
    width: int = knob(21, Range(2, 32), label="Disc width", help="Width σ of a seed's disc.", unit="px", advanced=True)
    output: str = knob(
        "log_probability",
        Choice(("log_probability", "logit", "probability")),
        label="Score",
        help="The paper takes the logit, which does not mind what else a region speaks for.",
        advanced=True,
    )

    def cost(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the (forward, backward) passes of one image."""
        masks = len(AREAS) if self.several else 1
        return (self.iterations + 1) * masks + 2, self.iterations * masks

    def steps(self, model: Model, image: Tensor, target: Target) -> Generator[Attribution, Any, None]:
        """Yield the mask after every step; live hyper-parameters that are sent in act from the next step on."""
        import torch

        from xaiwidgets.engine.descent import Momentum
        from xaiwidgets.engine.levels import blurred
        from xaiwidgets.engine.softmasks import Seeds, area_error

        target = target.with_output(self.output)
        size = image.shape[-2], image.shape[-1]
        levels = blurred(image, self.blur, LEVELS)
        grid = Seeds(size, self.seed_step, self.width, image, margin=self.width)
        whole = float(model.scores(image, target)[0])
        hidden = float(model.scores(levels.copies[:1], target)[0])
        scale = FALL / fall(whole, hidden)
        sign = 1.0 if self.game == "preservation" else -1.0
        count = len(AREAS) if self.several else 1
        watch = Watch(self, image, target, whole, hidden, masks=count)
        seeds = [image.new_ones(grid.shape) for _ in range(count)]
        made = [grid.mask(one) for one in seeds]  # (mask, its derivatives by the seeds)
        descents = [Momentum(one, KEPT) for one in seeds]
        answers = False  # whether the score has ever changed with a mask

        def seen(mask: Tensor) -> Tensor:
            return mask if self.game == "preservation" else 1 - mask

        def turned(values: Tensor, mirror: bool) -> Tensor:
            return values.flip(-1) if mirror else values

        def shown() -> Tensor:
            return (
                torch.stack([mask[grid.picture] for mask, _ in made]).mean(dim=0) if answers else image.new_zeros(size)
            )

        now = watch.method
        for done in range(self.iterations * count):
            number = done % count
            now = now if number else watch.method  # one step has one set of hyper-parameters, whatever was sent
            (full, by_seeds), share = made[number], AREAS[number] if self.several else now.area
            mask = full[grid.picture]
            mirror = now.flip and watch.step % 2 == 0
            passed = model.gradient(turned(levels.under(seen(mask)), mirror), target)
            pull = (turned(passed.input, mirror) * levels.slope(seen(mask))).sum(dim=(0, 1)) * scale
            answers = answers or bool(pull.any())
            late = max(0.0, 2 * watch.step / self.iterations - 1)
            pixels = share * mask.numel() + late * float(full.sum() - mask.sum())
            error, slope = area_error(full, pixels, mask.numel(), HELD * late)
            weight = now.constraint * GROWTH ** (watch.step / self.iterations)
            # hiding more (deletion) and keeping less are the same to the mask: its slope changes sign with the score's
            slope *= weight
            slope[grid.picture] -= pull
            slope = grid.back(slope, by_seeds)
            pace = now.step_size * slope.numel() / SEEDS
            seeds[number] = (seeds[number] + descents[number].step(slope, pace)).clamp_(0, 1)
            made[number] = grid.mask(seeds[number])
            score = float(passed.score[0])
            watch.add(score=score, area=float(mask.mean()), objective=sign * scale * score - weight * float(error))
            watch.take((yield watch.result(shown(), done + 1)))
        under: list[float] = []
        masks = [full[grid.picture] for full, _ in made]
        for number, mask in enumerate(masks):
            under.append(float(model.scores(levels.under(seen(mask)), target)[0]))
            if number < count - 1:
                watch.take((yield watch.result(shown(), self.iterations * count + number + 1)))
        yield watch.result(
            shown(),
            watch.all,
            self._notes(watch, [float(mask.mean()) for mask in masks], under, answers),
            under=under,
            areas=AREAS if self.several else (watch.method.area,),
            mask=torch.stack(seeds).float().cpu().numpy(),
        )

    def _notes(self, watch: Watch, shares: list[float], under: list[float], answers: bool) -> tuple[str, ...]:
        if not answers:
            return ("The score stayed the same whatever was hidden, so no region is better than another.",)
        return tuple(watch.ending(share, score) for share, score in zip(shares, under, strict=True))
