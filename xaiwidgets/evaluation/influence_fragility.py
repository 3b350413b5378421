"""Influence fragility."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from xaiwidgets.core.correlation import spearman
from xaiwidgets.core.knobs import Choice, Range, knob
from xaiwidgets.core.metric_cards import metric
from xaiwidgets.core.scores import Curve, Score
from xaiwidgets.engine.ranks import ranks
from xaiwidgets.errors import NotApplicable
from xaiwidgets.evaluation.examples import labelled, seen

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from xaiwidgets.evaluation.case import Case
    from xaiwidgets.evaluation.influence import HeadInfluence

    Floats = NDArray[np.float64]

#: Training pictures a pass, how many are needed, and draws of random signs beside the attack.
BATCH, LEAST, BESIDE = 32, 200, 3


@metric(
    title="Influence fragility",
    category="input",
    question="Do the same training pictures stay the most influential when the picture is changed invisibly?",
    cite="Ghorbani, Abid, Zou 2019",
    paper="arXiv:1710.10547",
    section="4.4",
    direction="higher",
    range=(-1.0, 1.0),
    needs=("labels",),
    formula="ρ(J(x), J(x′)), J_i = ∇L(x)ᵀ H⁻¹ ∇L(z_i), x′ = x - ε sign(∇ₓ Σ J_i over the top 3)",
    how="How much each training picture helps the answer is computed exactly for the last layer. Then each pixel moves "
    "a little in the direction that takes the most from the three that help most, and all are ranked again.",
    caution="It is about explanations by training pictures, not about the map. Only the last layer is fitted anew: "
    "what the features before it owe to a training picture is not seen.",
)
class InfluenceFragility:
    """Rank correlation of influences before and after an attack (Ghorbani et al. 2019, section 3; Koh and Liang 2017).

    ``data``: labelled training pictures or scenes, at least 200. ``details``: ``ranks``, the new ranks of those that
    helped most, from 1; ``top`` and ``top_now``, their numbers in ``data``; ``influence`` and ``influence_now``, of
    each picture, n times what its removal adds to the loss; ``answer`` of the last layer before and after; ``kept``,
    whether it and the network's first class stay. ``controls``: the same for random signs. The method is not asked.

    Raises:
        NotApplicable: too few pictures, or too many weights for an exact Hessian.
    """

    aim: str = knob(
        "lower",
        Choice(("lower", "raise")),
        label="Attack",
        help="Take from those that help most, or give to one of your choice.",
    )
    epsilon: float = knob(
        8.0, Range(0.0, 64.0, step=0.5), label="Change", help="Of each pixel, of 255 levels.", unit="levels"
    )
    top: int = knob(3, Range(1, 50), label="Most influential", help="How many are attacked.")
    point: int = knob(0, Range(0, 10_000_000), label="Picture to raise", help="Its number in the data.", advanced=True)
    decay: float = knob(
        1e-3, Range(1e-6, 1.0, log=True), label="Weight decay", help="Of the last layer's fit.", advanced=True
    )

    def score(self, case: Case) -> Generator[Score | None, None, None]:
        """Yield one score."""
        import torch

        from xaiwidgets.evaluation.influence import HeadInfluence, feature_layer, helped

        model = case.model
        layer = feature_layer(model)
        inputs, classes = labelled(model, case.data)
        if len(classes) < LEAST:
            raise NotApplicable("influence_fragility", f"at least {LEAST} labelled pictures", f"got {len(classes)}")
        if self.aim == "raise" and self.point >= len(classes):
            raise NotApplicable("influence_fragility", "the number of one of the pictures", f"got {self.point}")
        parts = []
        for start in range(0, len(classes), BATCH):
            some = inputs(range(start, min(start + BATCH, len(classes))))
            parts.append(model.activations(some, [layer])[layer].flatten(1).cpu())
            yield None
        present = sorted(set(classes))
        numbers = {index: number for number, index in enumerate(present)}
        head = HeadInfluence.fit(torch.cat(parts), torch.tensor([numbers[c] for c in classes]), self.decay)
        yield None
        own = self.features(case, layer, case.image)
        wanted = case.target.classes[0] if case.scene is not None and len(case.target.classes) == 1 else -1
        label = numbers.get(wanted, head.answer(own))
        before = head.helps(own, label).numpy()
        order = np.argsort(-before, kind="stable")
        attacked = order[: self.top] if self.aim == "lower" else np.array([self.point])
        yield None
        slope = model.gradient(case.image, helped(layer, head, torch.from_numpy(attacked.copy()), label)).input
        signs = slope.sign() * (-1 if self.aim == "lower" else 1)
        changed = self.moved(case, signs)
        yield None
        after = head.helps(self.features(case, layer, changed), label).numpy()
        chance: list[Floats] = []
        for _ in range(BESIDE):
            drawn = torch.from_numpy(case.rng(13, len(chance)).integers(0, 2, tuple(case.image.shape)) * 2.0 - 1)
            other = self.moved(case, drawn.to(case.image))
            chance.append(head.helps(self.features(case, layer, other), label).numpy())
            yield None
        yield self.made(case, head, inputs, present, (before, after, chance), attacked, changed, layer)

    def features(self, case: Case, layer: str, image: Tensor) -> Tensor:
        """Return the features of a picture ``(1, d)``."""
        return case.model.activations(image, [layer])[layer].flatten(1).cpu()

    def moved(self, case: Case, signs: Tensor) -> Tensor:
        """Return the picture, each pixel moved by epsilon along its sign, inside what a picture may be."""
        import torch

        std, mean = (
            torch.tensor(v, dtype=torch.float64).reshape(1, -1, 1, 1)
            for v in (case.model.preprocessing.std, case.model.preprocessing.mean)
        )
        low, high = ((level - mean) / std for level in (0.0, 1.0))
        found = case.image + (self.epsilon / 255 / std).to(case.image) * signs
        # rounding may have put the picture itself a little outside
        return found.clamp(low.to(found).minimum(case.image), high.to(found).maximum(case.image))

    def made(
        self,
        case: Case,
        head: HeadInfluence,
        inputs: Any,
        present: Sequence[int],
        found: tuple[Floats, Floats, list[Floats]],
        attacked: NDArray[np.int64],
        changed: Tensor,
        layer: str,
    ) -> Score:
        """Return the score."""
        before, after, chance = found
        model = case.model
        now_ranks, random_ranks = ranks(after)[attacked] + 1, [ranks(one)[attacked] + 1 for one in chance]
        order, now = (np.argsort(-line, kind="stable") for line in (before, after))
        was, is_now = (present[head.answer(self.features(case, layer, one))] for one in (case.image, changed))
        first, second = (int(model.logits(one)[0].argmax()) for one in (case.image, changed))
        places = np.arange(1.0, len(before) + 1)
        names = [model.labels.short(present[int(head.labels[number])]) for number in attacked]
        return Score(
            spearman(before, after),
            "rank correlation",
            controls={"random signs": float(np.mean([spearman(before, one) for one in chance]))},
            curves=tuple(
                Curve(name, places, line[order], "rank before", "influence")
                for name, line in (("before", before), ("after", after))
            ),
            header=("training picture", "class", "influence", "influence now", "rank now"),
            rows=tuple(
                (int(number), name, float(before[number]), float(after[number]), int(rank))
                for number, name, rank in zip(attacked, names, now_ranks, strict=True)
            ),
            pictures={
                "picture": seen(model, case.image),
                "changed": seen(model, changed),
                "most influential before": strip(case, inputs, order[: self.top]),
                "most influential now": strip(case, inputs, now[: self.top]),
            },
            details={
                "ranks": tuple(int(rank) for rank in now_ranks),
                "ranks_of_random_signs": tuple(float(rank) for rank in np.mean(random_ranks, axis=0)),
                "top": tuple(order[: self.top].tolist()),
                "top_now": tuple(now[: self.top].tolist()),
                "influence": before,
                "influence_now": after,
                "answer": (model.labels.short(was), model.labels.short(is_now)),
                "kept": was == is_now and first == second,
                "largest_change": float(np.abs(model.to_pixels(changed) - model.to_pixels(case.image)).max() * 255),
            },
            notes=() if was == is_now and first == second else ("The attack changes the class, too.",),
        )


def strip(case: Case, inputs: Any, numbers: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Return training pictures side by side, uint8 ``(H, n W, 3)``."""
    return np.concatenate([seen(case.model, inputs([int(number)])) for number in numbers], axis=1)
